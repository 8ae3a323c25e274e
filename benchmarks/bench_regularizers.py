"""What each regularization of the discriminator costs a training step, and classifier guidance of the generator.

    python -m benchmarks.bench_regularizers [--device cpu|cuda --network conv|paper --batch-size 100 --rounds 7]

``AdversarialStep`` in float32, interleaved, medians of wall time, beside the same step without any; ``--steps`` (16) at
a time, so that an exact gradient penalty, which one of them has, is in the mean. No step is captured.

Leaves build/bench_regularizers.json; some minutes on two cores.
"""

from __future__ import annotations

from typing import Any

from amgan_fast.nn import build_classifier
from amgan_fast.train import AdversarialStep
from benchmarks.bench_train_step import CLASSES, SHAPE, ours
from benchmarks.step_variants import compare_steps

EXACT = {"r1": 1.0, "r2": 1.0}
DIFFERENCES = {**EXACT, "gradient_penalty": "finite-difference"}
REGULARIZERS: dict[str, dict[str, Any]] = {
    "none": {},
    "R1 and R2, exact, every 16 steps": {**EXACT, "penalty_every": 16},
    "R1 and R2, exact, every step": {**EXACT, "penalty_every": 1},
    "R1 and R2, differences of a quarter": {**DIFFERENCES, "penalty_share": 0.25},
    "R1 and R2, differences of all": {**DIFFERENCES, "penalty_share": 1.0},
    "LeCam": {"lecam": 0.1},
    "augmentation, p adaptive": {"augment": 0.5, "augment_target": 0.6},
    "consistency": {"consistency": 10.0},
    "spectral norm": {"network": {"spectral_norm": True}},
    "guidance by cnn": {"guidance": 1.0, "guide": "cnn"},
}
"""Options of the step, ``network``: of the networks, and ``guide``: the architecture of the classifier."""


def regularized(
    name: str, device: str, network: dict[str, Any] | None = None, guide: str | None = None, **options: Any
) -> AdversarialStep:
    """With averages of batch norm, which gradient penalties need."""
    classifier = None if guide is None else build_classifier(guide, SHAPE, CLASSES).to(device)
    return ours(name, device, {"running_statistics": True, **(network or {})}, classifier, **options)


def main() -> None:
    compare_steps(__doc__, "bench_regularizers", regularized, REGULARIZERS)


if __name__ == "__main__":
    main()
