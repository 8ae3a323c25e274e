"""CUDA graphs: every operation captured with its gradient, replayed with other numbers, and several at a time.

A capture fails on anything that waits for the GPU, in the operation and in its backward alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from checking import assert_same, upstream_like, values_and_gradients, with_gradient
from sample_inputs import CASES, Case, Sampler, by_name
from torch import Tensor

from amgan_fast import ops

pytestmark = pytest.mark.cuda

Results = tuple[Tensor, ...]


def capture(work: Callable[[], Results], stream: torch.cuda.Stream) -> tuple[torch.cuda.CUDAGraph, Results]:
    """A graph, and the results that every replay writes anew."""
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()  # what a first call sets up is no part of the graph
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = work()
    return graph, results


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(("classes", "rows"), [(10, 100), (1000, 64)])
@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_replays_equal_eager_calls(case: Case, classes, rows, reduction):
    def inputs(seed):
        return with_gradient(case.build(Sampler(rows, classes, seed=seed, device="cuda")))

    keywords = case.keywords("column", reduction)
    static = inputs(0)
    with torch.no_grad():
        upstream = upstream_like(case.reference()(*static, **keywords)).float() if case.differentiable else None
    run = partial(values_and_gradients, case, case.fused(), keywords=keywords, upstream=upstream)
    graph, results = capture(lambda: run(static), torch.cuda.Stream())
    for seed in (1, 2, 3):
        fresh = inputs(seed)
        with torch.no_grad():
            for x, new in zip(static, fresh, strict=True):
                if isinstance(x, Tensor):
                    x.copy_(new)
        graph.replay()
        assert_same(results, run(fresh), f"{case.name}, seed {seed}")


def test_graphs_captured_on_one_stream_run_at_the_same_time():
    """With each other and with that stream's eager calls: each counts its finished blocks for itself."""
    capturing, *others = (torch.cuda.Stream() for _ in range(3))
    logits = [Sampler(4000, 10, seed=seed, device="cuda").logits() for seed in range(3)]
    want = [ops.am_generator_loss(x) for x in logits]
    captured = [capture(lambda x=x: (ops.am_generator_loss(x),), capturing) for x in logits[:2]]

    def replay(graph, results):
        (total,) = results
        total.fill_(math.nan)  # a replay that writes none shows
        graph.replay()
        return total.clone()

    runs = [*(partial(replay, *graph) for graph in captured), partial(ops.am_generator_loss, logits[2])]
    streams = [*others, capturing]
    totals: list[list[Tensor]] = [[], [], []]
    torch.cuda.synchronize()
    torch.cuda._sleep(50_000_000)  # some hundredths of a second, in which the calls queue up
    for stream in streams:
        stream.wait_stream(torch.cuda.current_stream())
    for _ in range(50):
        for run, stream, seen in zip(runs, streams, totals, strict=True):
            with torch.cuda.stream(stream):
                seen.append(run())
    torch.cuda.synchronize()
    for i, (seen, total) in enumerate(zip(totals, want, strict=True)):
        assert_same(torch.stack(seen), total.expand(50), f"stream {i}")


def test_destroyed_graphs_give_their_counters_back():
    """40,000 captured totals, of graphs that live one at a time; graphs may hold 32,768."""
    x = Sampler(4000, 10, device="cuda").logits()
    want = ops.am_generator_loss(x)
    for _ in range(40):
        graph, totals = capture(lambda: tuple(ops.am_generator_loss(x) for _ in range(1000)), torch.cuda.Stream())
    graph.replay()
    assert_same(torch.stack(totals), want.expand(1000))
