"""What each way to tell the generator its class costs a training step.

    python -m benchmarks.bench_conditioning [--device cpu|cuda --network conv|paper --batch-size 100 --rounds 7]

``AdversarialStep`` in float32 with predefined labels of ten classes, interleaved, medians of wall time of ``--steps``
(16) at a time. No step is captured.

Leaves build/bench_conditioning.json; some minutes on two cores.
"""

from __future__ import annotations

from amgan_fast.nn.options import CONDITIONINGS
from amgan_fast.train import AdversarialStep
from benchmarks.bench_train_step import CLASSES, ours
from benchmarks.step_variants import compare_steps


def conditioned(network: str, device: str, conditioning: str) -> AdversarialStep:
    return ours(network, device, {"conditioning": conditioning}, classes=CLASSES)


def main() -> None:
    variants = {conditioning: {"conditioning": conditioning} for conditioning in CONDITIONINGS}
    compare_steps(__doc__, "bench_conditioning", conditioned, variants)


if __name__ == "__main__":
    main()
