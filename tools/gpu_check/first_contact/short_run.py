"""Whole runs of some hundred steps on the digits, as the command trains."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from amgan_fast.runs import Config
from amgan_fast.train import train
from tools.gpu_check.first_contact.measurement import Figures, Measurement


def _run(cuda_graph: str, device: torch.device) -> Figures:
    steps, samples = (400, 5000) if device.type == "cuda" else (4, 500)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # the classifier is trained anew, and leaves the user's alone
        start = time.perf_counter()
        config = Config.for_dataset(
            "digits", device=device.type, cuda_graph=cuda_graph, steps=steps, score_samples=100, final_samples=samples
        )
        result = train(config, Path(folder) / "run")
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "inception_score": result.evaluation.generated.scores.inception_score}


def short_run(device: torch.device) -> Iterator[Measurement]:
    yield Measurement("digits, eager", partial(_run, "off", device))
    if device.type == "cuda":
        yield Measurement("digits, CUDA graph", partial(_run, "on", device))
