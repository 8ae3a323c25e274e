"""Batches with the logits of each; on a CPU a thread takes a whole batch, where network and source allow it.

PyTorch by itself has all threads work on one operation, and each wait for the last one, some dozen times a batch. For
small images and networks that costs as much as it gains, and while threads decode images, or another program computes,
much more: the one that comes late has been waiting for a CPU. A batch by one thread also gives the same bits however
many there are; where there are more of PyTorch's threads than batches at a time, several share each of them again.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias

import torch
from torch import Tensor, nn

from amgan_fast.ahead import called_ahead
from amgan_fast.device import cpu_threads
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.evaluate.sources import Batch

_MOST_THREADS = 8  # with a network's tensors each

Classified: TypeAlias = tuple[Batch, Tensor]


@contextmanager
def classified(
    batches: Iterable[Batch], count: int, classifier: ImageClassifier, probe: Batch, *, by_threads: bool
) -> Iterator[Iterator[Classified]]:
    """Each of ``batches`` with its logits, to be taken within the context.

    Args:
        count: how many batches there are.
        classifier: on a CPU.
        probe: some samples, of which the first is classified to see whether threads can do it.
        by_threads: whether they may: not where ``batches`` are computed by all of PyTorch's threads.

    Raises:
        InputError: (when it is come to) as :meth:`ImageClassifier.logits`, or what ``batches`` raises.
    """
    available = torch.get_num_threads()
    threads = min(available, _MOST_THREADS, count)
    copies = _copies(classifier, probe, threads) if by_threads and threads > 1 else []
    if not copies:
        yield ((batch, classifier.logits(batch.values)) for batch in batches)
        return
    free: SimpleQueue[ImageClassifier] = SimpleQueue()
    for one in copies:
        free.put(one)

    def classify(batch: Batch) -> Classified:
        mine = free.get()
        try:
            return batch, mine.logits(batch.values)
        finally:
            free.put(mine)

    each = available // threads
    # Of the whole process: threads that set and restored precision by themselves would undo that of each other.
    with full_precision(), cpu_threads(each):
        calls = (partial(classify, batch) for batch in batches)
        with closing(called_ahead(calls, threads, begin=partial(torch.set_num_threads, each))) as found:
            yield found


@torch.no_grad()
def _copies(classifier: ImageClassifier, probe: Batch, count: int) -> list[ImageClassifier]:
    """So many that can be used at the same time, weights shared; none where that could change what is computed.

    What a module keeps of a call is kept by its copy. What is beyond a module cannot be seen: functions, and modules
    with hooks or functions made by others in them, are left to one thread, as are networks that are compiled, draw
    random numbers or change their tensors. So is what autocast or a mode of the caller's thread is to change.
    """
    network = classifier.network
    if not isinstance(network, nn.Module) or any(map(_is_more, network.modules())) or _thread_has_modes():
        return []
    one = [probe.values[0]]
    logits = _logits_without_a_trace(classifier, network, one)
    if logits is None:
        return []
    try:
        _Parts(io.BytesIO()).dump(network)
        copies = [replace(classifier, network=_copy(network)) for _ in range(count)]
        if all(torch.equal(each.logits(one), logits) for each in copies):
            return copies
    except Exception:  # a module that cannot be copied, or does not work then
        pass
    return []


def _logits_without_a_trace(classifier: ImageClassifier, network: nn.Module, images: Sequence[Tensor]) -> Tensor | None:
    """None of a network that drew random numbers or changed its tensors: that is undone, as if it had not been tried,
    so that scores do not depend on how many threads there are."""
    random, buffers = torch.get_rng_state(), [buffer.clone() for buffer in network.buffers()]
    tensors = _tensors(network)
    versions = [tensor._version for tensor in tensors]
    logits = classifier.logits(images)
    after = _tensors(network)
    unchanged = list(map(id, after)) == list(map(id, tensors)) and [one._version for one in after] == versions
    if unchanged and torch.equal(torch.get_rng_state(), random):
        return logits
    torch.set_rng_state(random)
    for buffer, before in zip(network.buffers(), buffers, strict=False):
        buffer.copy_(before)
    return None


class _Parts(pickle.Pickler):
    """Fails for functions that have no name in a module, wherever in a network: a copy would have the same ones, and
    with them what they hold. Nothing is unpickled."""

    def persistent_id(self, part: object) -> str | None:
        return "shared" if isinstance(part, Tensor) or _is_scripted(part) else None


def _copy(network: nn.Module) -> nn.Module:
    """The module and those within, with the same tensors. A scripted one has no state of its own between calls."""
    shared = [*_tensors(network), *filter(_is_scripted, network.modules())]
    return copy.deepcopy(network, {id(one): one for one in shared})


def _is_scripted(part: object) -> bool:
    return isinstance(part, torch.jit.ScriptModule)


def _is_more(module: nn.Module) -> bool:
    """Whether there is more to a call of it than its forward."""
    names = ("_forward_hooks", "_forward_pre_hooks")
    hooks = any(getattr(module, name, None) or getattr(nn.modules.module, f"_global{name}") for name in names)
    return hooks or type(module).__module__.startswith("torch._dynamo")


def _thread_has_modes() -> bool:
    """Which other threads would not have."""
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    return modes > 0 or torch.is_autocast_enabled("cpu")


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
