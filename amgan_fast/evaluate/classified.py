"""Batches with what a classifier makes of each; on a CPU a thread takes a whole one, where network and source allow it.

PyTorch by itself has all threads work on one operation, and each wait for the last one, some dozen times a batch. For
small images and networks that costs as much as it gains, and while threads decode images, or another program computes,
much more: the one that comes late has been waiting for a CPU. A batch by one thread also gives the same bits however
many there are; where there are more of PyTorch's threads than batches at a time, several share each of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias

import torch
from torch import Tensor

from amgan_fast.ahead import called_ahead
from amgan_fast.device import cpu_threads
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier, Outputs
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.evaluate.network_copies import network_copies
from amgan_fast.evaluate.sources import Batch

_MOST_THREADS = 8  # with a network's tensors each

Classified: TypeAlias = tuple[Batch, Outputs]


@contextmanager
def classified(
    batches: Iterable[Batch],
    count: int,
    classifier: ImageClassifier,
    probe: Batch,
    *,
    by_threads: bool,
    features: bool = False,
) -> Iterator[Iterator[Classified]]:
    """Each of ``batches`` with its logits, to be taken within the context.

    Args:
        count: how many batches there are.
        classifier: on a CPU.
        probe: some samples, of which the first is classified to see whether threads can do it.
        by_threads: whether they may: not where ``batches`` are computed by all of PyTorch's threads.
        features: whether the features are wanted, too.

    Raises:
        InputError: (when it is come to) as :meth:`ImageClassifier.outputs`, or what ``batches`` raises.
    """
    available = torch.get_num_threads()
    threads = min(available, _MOST_THREADS, count)

    def try_out(one: ImageClassifier) -> list[Tensor | None]:
        outputs = one.outputs([probe.values[0]], features=features)
        return [outputs.logits, outputs.features]

    copies = network_copies(classifier, try_out, threads) if by_threads and threads > 1 else []
    if not copies:
        yield ((batch, classifier.outputs(batch.values, features=features)) for batch in batches)
        return
    free: SimpleQueue[ImageClassifier] = SimpleQueue()
    for one in copies:
        free.put(one)

    def classify(batch: Batch) -> Classified:
        mine = free.get()
        try:
            return batch, mine.outputs(batch.values, features=features)
        finally:
            free.put(mine)

    each = available // threads
    # Of the whole process: threads that set and restored precision by themselves would undo that of each other.
    with full_precision(), cpu_threads(each):
        calls = (partial(classify, batch) for batch in batches)
        with closing(called_ahead(calls, threads, begin=partial(torch.set_num_threads, each))) as found:
            yield found
