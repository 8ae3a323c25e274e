"""A batch a thread: the logits of one thread, wherever a copy of the network can give them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from amgan_fast.device import cpu_threads
from amgan_fast.errors import InputError
from amgan_fast.evaluate import EvaluationError, ImageClassifier, Inputs, Settings, evaluate
from amgan_fast.evaluate.classified import classified
from amgan_fast.evaluate.sources import Batch, ImageFolderSource

CPU = torch.device("cpu")


class Network(nn.Module):
    """That notes which threads run it, and with which weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
        self.noted = Noted()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        self.noted.add((threading.get_ident(), self.layers[0].weight.data_ptr()))
        return self.layers(images)


class Noted(set):
    """The same one in every copy."""

    def __deepcopy__(self, memo: object) -> Noted:
        return self


def batches(count: int = 7) -> list[Batch]:
    random = torch.Generator().manual_seed(1)
    sizes = [3, 8, 1, 5, 8, 2, 6][:count]
    return [Batch(torch.randint(256, (n, 3, 8, 8), generator=random, dtype=torch.uint8)) for n in sizes]


def classifier(network: object) -> ImageClassifier:
    return ImageClassifier("mine", network, Inputs(channels=3), CPU)


def logits_of(network: object, given: list[Batch], *, by_threads: bool = True):
    return classified(iter(given), len(given), classifier(network), given[0], by_threads=by_threads)


def logits(network: object, threads: int, *, by_threads: bool = True, given: list[Batch] | None = None) -> list[Tensor]:
    given = batches() if given is None else given
    found = []
    with cpu_threads(threads), logits_of(network, given, by_threads=by_threads) as results:
        for batch, (same, outputs) in zip(given, results, strict=True):
            assert same is batch
            found.append(outputs.logits)
    return found


def threads_of(network: Network) -> set[int]:
    return {thread for thread, _ in network.noted} - {threading.get_ident()}


@pytest.mark.parametrize("threads", [2, 3])
def test_logits_are_those_of_one_thread_to_the_bit(threads):
    network = Network()
    want = logits(network, 1)
    assert not threads_of(network)
    found = logits(network, threads)
    assert threads_of(network)
    assert all(map(torch.equal, found, want))
    assert {weights for _, weights in network.noted} == {network.layers[0].weight.data_ptr()}


class KeepsWhatItSaw(Network):
    """Until another thread is as far, and then goes on from there."""

    def forward(self, images: Tensor) -> Tensor:
        self.seen = super().forward(images)
        if self.noted.barrier is not None:
            self.noted.barrier.wait()
        return self.seen


def test_a_network_that_keeps_what_it_saw_is_not_shared():
    network = KeepsWhatItSaw()
    network.noted.barrier = None
    given = batches(6)
    want = logits(network, 1, given=given)

    def then_together() -> Iterator[Batch]:  # the copies have been tried by now
        network.noted.barrier = threading.Barrier(2, timeout=10)
        yield from given

    with cpu_threads(2), classified(then_together(), 6, classifier(network), given[0], by_threads=True) as results:
        assert all(torch.equal(found.logits, one) for (_, found), one in zip(results, want, strict=True))


class DrawsNumbers(Network):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 0 * torch.rand(())


class Counts(Network):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.count += 1
        return super().forward(images)


class CannotBeCopied(Network):
    def __deepcopy__(self, memo: object) -> Network:
        raise TypeError("no copies")


class Others(Network):
    """Copies of which give something else."""

    def __deepcopy__(self, memo: object) -> Network:
        other = Network()
        other.noted = self.noted
        other.layers[-1].bias += 1
        return other


def hooked() -> Network:
    network = Network()
    network.layers[0].register_forward_hook(lambda module, inputs, output: output)
    return network


def closed_over() -> Network:
    network = Network()
    inner = network.forward  # of this one, in every copy
    network.forward = lambda images: inner(images)
    return network


def with_a_function_within() -> Network:
    network = Network()
    other = nn.Identity()
    network.kept = [{"function": lambda images: other(images)}]
    return network


@pytest.mark.parametrize(
    "make", [DrawsNumbers, Counts, CannotBeCopied, Others, hooked, closed_over, with_a_function_within]
)
def test_a_network_of_which_copies_may_differ_has_one_thread(make):
    network = make()
    found = logits(network, 3)
    assert not threads_of(network)
    for one, want in zip(found, logits(network, 1), strict=True):  # not to the bit: three threads share a convolution
        torch.testing.assert_close(one, want)


def test_a_network_that_was_tried_and_turned_away_is_as_if_it_had_not_been():
    for make in (DrawsNumbers, Counts):
        left = []
        for threads in (1, 3):
            network = make()
            torch.manual_seed(3)
            logits(network, threads)
            left.append((torch.rand(()), *network.buffers()))
        assert all(map(torch.equal, *left))


@pytest.mark.parametrize(
    "way",
    [
        "a function",
        "autocast",
        "a hook of all modules",
        "a mode of the thread",
        "samples that are computed",
        "one batch",
    ],
)
def test_one_thread_takes_all_where_others_would_compute_something_else(way):
    network = Network()
    contexts = {
        "autocast": lambda: torch.autocast("cpu"),
        "a mode of the thread": lambda: torch.device("cpu"),
        "a hook of all modules": lambda: register_module_forward_hook(lambda module, inputs, output: None),
    }
    with contexts.get(way, nullcontext)():
        logits(
            network.forward if way == "a function" else network,
            3,
            by_threads=way != "samples that are computed",
            given=batches(1) if way == "one batch" else None,
        )
    assert network.noted
    assert not threads_of(network)


@pytest.mark.filterwarnings("ignore:.*jit.script.*:FutureWarning", "ignore:.*jit.script.*:DeprecationWarning")
def test_a_scripted_network_gives_the_same():
    scripted = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval())
    both = nn.Sequential(scripted, nn.Linear(5, 4)).eval()
    for network in (scripted, both):
        assert all(map(torch.equal, logits(network, 2), logits(network, 1)))


class FailsAtFive(Network):
    def forward(self, images: Tensor) -> Tensor:
        if len(images) == 5:
            raise ValueError("five of them")
        return super().forward(images)


def take_one_and_fail(results: Iterator[object]) -> None:
    next(results)
    raise KeyError


def test_an_error_comes_in_its_place_and_threads_are_as_many_as_before():
    given, found = batches(), []
    with cpu_threads(3):
        with pytest.raises(InputError, match="five of them"), logits_of(FailsAtFive(), given) as results:
            found.extend(len(outputs.logits) for _, outputs in results)
        assert found == [3, 8, 1]
        assert torch.get_num_threads() == 3
        with pytest.raises(KeyError), logits_of(Network(), given) as results:
            take_one_and_fail(results)
        assert torch.get_num_threads() == 3
    with cpu_threads(3), logits_of(FailsAtFive(), given) as results:
        assert [len(next(results)[1].logits) for _ in range(3)] == [3, 8, 1]
        assert torch.get_num_threads() == 1


def test_faster_precision_is_off_meanwhile_and_as_before_afterwards():
    convolutions = torch.backends.mkldnn.conv
    before, seen = convolutions.fp32_precision, set()

    class Looks(Network):
        def forward(self, images: Tensor) -> Tensor:
            seen.add(convolutions.fp32_precision)
            return super().forward(images)

    convolutions.fp32_precision = "bf16"
    try:
        logits(Looks(), 2)
        assert convolutions.fp32_precision == "bf16"
    finally:
        convolutions.fp32_precision = before
    assert seen
    assert "bf16" not in seen


def test_a_folder_has_the_scores_of_one_thread_to_the_bit(tmp_path: Path):
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    found = []
    for threads in (1, 3):
        network = Network()
        with cpu_threads(threads):
            result = evaluate(ImageFolderSource(tmp_path), classifier(network), settings=Settings(batch_size=3))
        assert bool(threads_of(network)) == (threads > 1)
        found.append(result.generated.scores)
    assert found[0] == found[1]


def test_a_file_that_cannot_be_read_leaves_the_scores_of_the_batches_before_it(tmp_path: Path):
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    broken = tmp_path / "07.png"
    broken.write_bytes(broken.read_bytes()[:60])
    found = []
    for threads in (1, 3):
        network, settings = Network(), Settings(batch_size=2, splits=1)
        with cpu_threads(threads):
            with pytest.raises(EvaluationError, match=r"07\.png") as raised:
                evaluate(ImageFolderSource(tmp_path), classifier(network), settings=settings)
            assert torch.get_num_threads() == threads
        assert bool(threads_of(network)) == (threads > 1)
        assert raised.value.evaluation is not None
        found.append(raised.value.evaluation.generated.scores)
    assert found[0] == found[1]
    assert found[0].n == 6
