"""What the GPU is given to do: one kernel a loss, two at most for the sums of scores, nothing to clear or to copy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checking import values_and_gradients, with_gradient
from sample_inputs import CASES, Case, Sampler, by_name
from torch.profiler import ProfilerActivity, profile

pytestmark = pytest.mark.cuda


def activities(work: Callable[[], object], trace: Path) -> Counter[str]:
    """How many kernels, copies and clearings of memory a call consists of on the GPU, from the profiler's trace."""
    work()  # what a first call sets up does not count
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    kinds = ("kernel", "gpu_memcpy", "gpu_memset")
    return Counter(event["cat"] for event in events if event.get("cat") in kinds)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(("classes", "rows"), [(10, 100), (10, 5000), (1000, 64)])
@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_an_operation_is_one_kernel(case: Case, classes, rows, reduction, tmp_path):
    args = with_gradient(case.build(Sampler(rows, classes, device="cuda")))
    keywords = case.keywords("column", reduction)
    upstream = torch.ones_like(case.fused()(*args, **keywords)) if case.differentiable else None
    found = activities(lambda: values_and_gradients(case, case.fused(), args, keywords, upstream), tmp_path / "t.json")
    if case.op == "score_sums":
        assert found in ({"kernel": 1}, {"kernel": 2})
    else:
        assert found == {"kernel": 2 if case.differentiable else 1}  # forward and backward


def test_the_trace_would_show_more(tmp_path):
    x = torch.ones(1000, device="cuda")
    assert activities(lambda: (x.exp(), x.clone()), tmp_path / "t.json") == {"kernel": 1, "gpu_memcpy": 1}
