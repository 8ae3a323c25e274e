"""A GPU is not waited for, batch by batch, and what comes out is what comes out on the CPU.

Each test runs on a GPU that is pretended, and on a real one under ``torch.cuda.set_sync_debug_mode("error")``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from checking import assert_same
from torch import Tensor, nn

from amgan_fast.evaluate import ImageClassifier, Inputs, Settings, evaluate
from amgan_fast.evaluate.gallery import Gallery, class_sheet
from amgan_fast.evaluate.measurements import Collector
from amgan_fast.evaluate.passes import Pass
from amgan_fast.evaluate.sources import Batch, GeneratorSource, Source, TensorSource
from amgan_fast.memory import all_to_device
from amgan_fast.metrics import (
    ClassSums,
    CompatSums,
    CopyCounts,
    EntropyCounts,
    LabelCounts,
    LabelSums,
    ScoreAccumulator,
    StratumSums,
    class_ms_ssim,
    measure_resolutions,
    mode_drop,
)
from amgan_fast.metrics.class_counts import ClassCounts
from amgan_fast.metrics.modules import AMScore, CorrectedScores, InceptionScore
from amgan_fast.nn import LatentSource, Sampler

K, N, BATCH = 5, 120, 40


def rows() -> tuple[Tensor, Tensor]:
    """Logits, and labels that they mostly agree with."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(K, (N,), generator=random)
    return 4 * torch.eye(K)[labels] + torch.randn(N, K, generator=random), labels


def fields(result: Any) -> dict[str, Any]:
    return result.to_dict() if hasattr(result, "to_dict") else {"value": result}


def assert_close(got: Any, want: Any) -> None:
    """Float32 rows are summed as such on a GPU: 1e-6 of a sum, ten times that of a difference of two."""
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for name in want:
            assert_close(got[name], want[name])
    elif isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_close(one, other)
    elif isinstance(want, Tensor):
        assert_close(got.tolist(), want.tolist())
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6, nan_ok=True)
    else:
        assert got == want


class OfAccumulator:
    """How one is made, given a batch, and read."""

    def __init__(self, make: Callable[[], Any], read: Callable[[Any], Any], labels: str | None = None) -> None:
        self.make, self.read, self._labels = make, read, labels

    def update(self, accumulator: Any, logits: Tensor, labels: Tensor) -> None:
        accumulator.update(logits, **({} if self._labels is None else {self._labels: labels}))


ACCUMULATORS = {
    "scores": OfAccumulator(lambda: ScoreAccumulator(K), lambda a: fields(a.compute())),
    "scores in order": OfAccumulator(lambda: ScoreAccumulator(K, num_samples=N), lambda a: fields(a.compute())),
    "scores of strata": OfAccumulator(lambda: ScoreAccumulator(K, strata=K), lambda a: fields(a.compute()), "strata"),
    "class sums": OfAccumulator(lambda: ClassSums(K), lambda a: fields(mode_drop(a, orders=3)), "labels"),
    "stratum sums": OfAccumulator(lambda: StratumSums(K, K), lambda a: a.design().moments.mean, "strata"),
    "label sums": OfAccumulator(
        lambda: LabelSums(K, K, classes=torch.arange(K)), lambda a: fields(a.compute()), "labels"
    ),
    "class counts": OfAccumulator(lambda: ClassCounts(K, strata=K), lambda a: a.table(), "strata"),
    "label counts": OfAccumulator(lambda: LabelCounts(K, strata=K), lambda a: fields(a.compute([1 / K] * K)), "strata"),
    "entropies": OfAccumulator(lambda: EntropyCounts(K), lambda a: fields(a.compute())),
    "other tools": OfAccumulator(
        lambda: CompatSums(K, N), lambda a: {name: fields(score) for name, score in a.compute().items()}
    ),
    "copies": OfAccumulator(CopyCounts, lambda a: fields(a.compute())),
    "inception score": OfAccumulator(lambda: InceptionScore(None), lambda a: [float(x) for x in a.compute()]),
    "am score": OfAccumulator(lambda: AMScore([1 / K] * K), lambda a: float(a.compute())),
    "corrected scores": OfAccumulator(lambda: CorrectedScores(K), lambda a: fields(a.compute())["value"]),
    "corrected scores of strata": OfAccumulator(
        lambda: CorrectedScores(K, [1 / K] * K, strata=K), lambda a: fields(a.compute())["value"], "strata"
    ),
}
MODULES = {name for name in ACCUMULATORS if name.startswith(("inception", "am ", "corrected"))}


def collected(one: OfAccumulator, batches: Iterator[tuple[Tensor, Tensor]]) -> Any:
    accumulator = one.make()
    for logits, labels in batches:
        one.update(accumulator, logits, labels)
    return accumulator


def batches(device: torch.device | None = None) -> list[tuple[Tensor, Tensor]]:
    logits, labels = rows()
    return list(zip(logits.to(device).split(BATCH), labels.to(device).split(BATCH), strict=True))


@pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")
@pytest.mark.parametrize("name", ACCUMULATORS)
def test_an_accumulator_takes_batches_without_waiting(gpu, name):
    one = ACCUMULATORS[name]
    want = one.read(collected(one, batches()))
    first, *others = batches(gpu.device)
    accumulator = one.make()
    if name in MODULES:
        accumulator.to(gpu.device)
    one.update(accumulator, *first)  # the sums go there
    with gpu.waits(allowed=False):
        for logits, labels in others:
            one.update(accumulator, logits, labels)
    assert_close(one.read(accumulator), want)


@pytest.mark.parametrize("name", [name for name, one in ACCUMULATORS.items() if one._labels])
@pytest.mark.parametrize("wrong", [K, -1])
def test_a_label_out_of_range_is_named_by_what_reads_the_sums(gpu, name, wrong):
    one, (first, second, *_) = ACCUMULATORS[name], batches(gpu.device)
    accumulator = one.make()
    if name in MODULES:
        accumulator.to(gpu.device)
    one.update(accumulator, *first)
    second[1][7] = wrong
    with gpu.waits(allowed=False):
        one.update(accumulator, *second)
    least, greatest = (0, K) if wrong == K else (-1, K - 1)
    said = f"{one._labels} of samples {BATCH} to {2 * BATCH - 1} are {least} to {greatest}, wanted 0 to {K - 1}"
    others = () if name in MODULES else (lambda a: a.state_dict(), lambda a: a.merge(one.make()))
    for read in (one.read, *others):
        with pytest.raises(ValueError, match=said):
            read(accumulator)


def test_a_stratum_out_of_range_is_named_as_one_of_all_samples(gpu):
    scores = ScoreAccumulator(K, strata=2, start=100)
    scores.update(torch.zeros(5, K, device=gpu.device), strata=torch.tensor([0, 1, 2, 0, 1]).to(gpu.device))
    with pytest.raises(ValueError, match="strata of samples 100 to 104 are 0 to 2, wanted 0 to 1"):
        scores.state_dict()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_labels_of_a_gpu_may_be_of_a_dtype_that_has_no_number_for_every_class(gpu, dtype):
    sums = ClassSums(300)
    sums.update(torch.zeros(3, 300, device=gpu.device), torch.tensor([0, 5, 5], dtype=dtype).to(gpu.device))
    assert sums.sums.count.sum((0,))[[0, 5]].tolist() == [1, 2]


@pytest.mark.parametrize("name", sorted(set(ACCUMULATORS) - {"copies", "class counts"}))
def test_a_row_that_gives_no_distribution_is_found_by_what_reads_the_sums(gpu, name):
    one, (first, second, *_) = ACCUMULATORS[name], batches(gpu.device)
    accumulator = one.make()
    if name in MODULES:
        accumulator.to(gpu.device)
    one.update(accumulator, *first)
    second[0][7] = math.nan
    with gpu.waits(allowed=False):
        one.update(accumulator, *second)
    with pytest.raises(ValueError, match="gives no distribution; wanted finite logits"):
        one.read(accumulator)


@pytest.mark.parametrize("name", ["scores", "class sums", "stratum sums", "label sums", "other tools"])
def test_sums_without_a_device_follow_the_rows_even_when_some_are_there(gpu, name):
    one = ACCUMULATORS[name]
    on_cpu, on_gpu = batches(), batches(gpu.device)
    accumulator = one.make()
    assert all(total.device.type == "cpu" for total in accumulator._states().values())
    before = collected(one, iter(on_cpu[:1]))
    accumulator.load_state_dict(before.state_dict())
    one.update(accumulator, *on_gpu[1])
    assert all(total.device == gpu.device for total in accumulator._states().values())
    want = collected(one, iter(on_cpu[:2])).state_dict()
    assert_close(
        {k: v for k, v in accumulator.state_dict().items() if k != "first_rows"},
        {k: v for k, v in want.items() if k != "first_rows"},
    )


def test_sums_stay_where_they_were_asked_for(gpu):
    accumulator = ScoreAccumulator(K, device="cpu")
    accumulator.update(rows()[0].to(gpu.device))
    assert accumulator._sums.prob.device.type == "cpu"


# --- Pictures


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("classes", [3, 21])
def test_a_gallery_takes_the_first_of_each_class_without_waiting(gpu, classes):
    """Of the classes one has no images, and one few."""
    pixels, labels = images(90), torch.arange(90) % (classes - 1)
    labels[labels == 1] = classes  # none of the classes that it has rows of
    labels[40] = 1
    on_cpu, on_gpu = Gallery(classes, columns=4), Gallery(classes, columns=4)
    for batch, of in zip(pixels.split(15), labels.split(15), strict=True):
        on_cpu.update(batch, of)
        there, of_there = batch.to(gpu.device), of.to(gpu.device)
        with gpu.waits(allowed=False):
            on_gpu.update(there, of_there)
    assert_same(on_gpu.sheet(), on_cpu.sheet())
    assert_same(on_gpu.state_dict()["rows"], on_cpu.state_dict()["rows"])
    wanted = [i for i, label in enumerate(labels.tolist()) if label < classes] if classes > 20 else None
    sheet = on_cpu.sheet()
    if wanted is not None:
        assert_same(sheet.flatten(0, 1), pixels[wanted][:40])
    else:
        assert_same(sheet[0], pixels[labels == 0][:4])
        assert_same(sheet[1, :1], pixels[40:41])
        assert (sheet[1, 1:] == 128).all()
        assert (sheet[2] == 128).all()


def test_a_full_gallery_is_known_to_be_full(gpu):
    gallery = Gallery(2, columns=3)
    pixels, labels = images(8).to(gpu.device), (torch.arange(8) % 2).to(gpu.device)
    assert not gallery.is_full
    with gpu.waits(allowed=False):
        gallery.update(pixels, labels)
    gallery.sheet()  # waits
    assert gallery.is_full


def test_a_gallery_on_a_gpu_takes_what_another_kept(gpu):
    pixels, labels = images(12).to(gpu.device), (torch.arange(12) % 3).to(gpu.device)
    first, second, whole = (Gallery(3, columns=3) for _ in range(3))
    first.update(pixels[:5], labels[:5])
    second.update(pixels[5:], labels[5:])
    whole.update(pixels, labels)
    first.merge_state(second.state_dict())
    assert_same(first.sheet(), whole.sheet())


# --- Whole evaluations


class MixedSizes(Source):
    """Lists of images on the CPU."""

    kind = "images"
    count = N
    num_labels = K
    description = "images of two sizes"

    def __init__(self) -> None:
        self.skipped = []

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        for first in range(start, N if stop is None else stop, batch_size):
            places = range(first, min(first + batch_size, N))
            found = [image[:, : 3 + i % 2] for i, image in zip(places, images(N)[first:], strict=False)]
            yield Batch(found, torch.tensor([i % K for i in places]))


def classifier(device: torch.device, **inputs: Any) -> ImageClassifier:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, K)).requires_grad_(False).eval()
    wanted = {"size": (4, 4), "channels": 3, "value_range": "imagenet"} | inputs
    return ImageClassifier("pixels", network.to(device), Inputs(**wanted), device, is_users=True)


def on_the_host(device: torch.device) -> Source:
    return TensorSource(images(N), torch.arange(N) % K, "images on the CPU")


def on_the_device(device: torch.device) -> Source:
    return TensorSource(images(N).to(device), (torch.arange(N) % K).to(device), "images on the GPU")


SOURCES = {
    "host": (on_the_host, {}),
    "device": (on_the_device, {}),
    "mixed sizes": (lambda device: MixedSizes(), {"resize": "bilinear"}),
}


def evaluated(source: Source, judge: ImageClassifier, **settings: Any) -> Any:
    return evaluate(source, judge, settings=Settings(batch_size=BATCH, splits=4, **settings)).generated


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        ("host", {"modes": False}),
        ("device", {}),
        ("mixed sizes", {"modes": False, "contiguous": True}),
        ("host", {"modes": False, "compat": "all"}),
    ],
    ids=str,
)
def test_an_evaluation_waits_for_a_gpu_when_it_is_computed(gpu, monkeypatch, source, settings):
    make, inputs = SOURCES[source]
    cpu = torch.device("cpu")
    want = evaluated(make(cpu), classifier(cpu, **inputs), **settings)
    judge, compute, run, update = classifier(gpu.device, **inputs), Collector.compute, Pass.run, Collector.update
    taken = []

    def counting(self: Collector, logits: Tensor, *others: Any) -> None:
        taken.append(len(logits))
        update(self, logits, *others)

    def without_waits(self: Pass) -> Any:
        with gpu.waits(allowed=False):
            return run(self)

    def waiting(self: Collector, *args: Any, **options: Any) -> Any:
        with gpu.waits(allowed=True):
            return compute(self, *args, **options)

    monkeypatch.setattr(Collector, "compute", waiting)
    evaluated(make(gpu.device), judge, **settings)  # what is made once is there then
    monkeypatch.setattr(Collector, "update", counting)
    monkeypatch.setattr(Pass, "run", without_waits)
    got = evaluated(make(gpu.device), judge, **settings)
    assert taken == [BATCH] * (N // BATCH)
    assert_close(got.to_dict(), want.to_dict())
    assert_same(got.gallery, want.gallery)


def test_a_generator_is_evaluated_where_it_is(gpu, monkeypatch):
    network = nn.Sequential(nn.Linear(4 + K, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4))).requires_grad_(False).eval()
    sampler = Sampler(network.to(gpu.device), LatentSource(4, torch.full((K,), 1 / K).to(gpu.device)))
    judge = classifier(gpu.device, value_range="amgan")
    source = GeneratorSource(sampler, N, seed=0)
    (batch,) = source.batches(N)
    cpu = torch.device("cpu")
    copied = TensorSource(images(N), batch.labels.cpu(), "copies")
    monkeypatch.setattr(copied, "batches", lambda *_: iter([Batch(batch.values.cpu(), batch.labels.cpu())]))
    got, want = evaluated(source, judge), evaluated(copied, classifier(cpu, value_range="amgan"))
    assert_close(got.scores.to_dict(), want.scores.to_dict())
    sheet = class_sheet(sampler, judge.network, torch.Generator(gpu.device), num_classes=K, rows=2, columns=3)
    assert sheet.shape == (2, 3, 1, 4, 4)
    assert sheet.device == cpu


def test_probabilities_of_a_users_network_are_refused_at_the_first_sample(gpu):
    judge = classifier(gpu.device)
    judge.network.append(nn.Softmax(1))
    with pytest.raises(Exception, match="pixels gives probabilities"):
        evaluated(on_the_host(gpu.device), judge)


# --- Others


def test_accuracies_at_resolutions_are_read_once(gpu):
    pixels, labels = images(40).float() / 128 - 1, torch.arange(40) % K
    batches = [(pixels[:20], labels[:20]), (pixels[20:], labels[20:])]
    judge = classifier(torch.device("cpu"), channels=1)
    want = measure_resolutions(batches, lambda x: judge.network(x.expand(-1, 3, -1, -1)), [2, 4])
    there = [(x.to(gpu.device), y.to(gpu.device)) for x, y in batches]
    network = classifier(gpu.device).network
    last = []

    def given() -> Iterator[tuple[Tensor, Tensor]]:
        with gpu.waits(allowed=False):
            yield from there
        last.append(True)

    assert_close(fields(measure_resolutions(given(), lambda x: network(x.expand(-1, 3, -1, -1)), [2, 4])), fields(want))
    assert last


def test_pairs_are_compared_as_on_the_cpu(gpu):
    pixels, labels = images(40), torch.arange(40) % 2
    want = class_ms_ssim(pixels, labels, pairs=5, data_range=255)
    assert_close(fields(class_ms_ssim(pixels.to(gpu.device), labels, pairs=5, data_range=255)), fields(want))


def test_tensors_of_several_shapes_go_in_one_copy(gpu):
    values = [images(1, seed=i)[0, :, : 1 + i % 4] for i in range(9)]
    with gpu.waits(allowed=False):
        there = all_to_device(values, gpu.device)
    for one, other in zip(there, values, strict=True):
        assert one.device == gpu.device
        assert_same(one.cpu(), other)


@pytest.mark.parametrize("name", ["class sums", "stratum sums", "label sums"])
def test_sums_by_label_are_the_same_to_the_bit_each_time(gpu, name):
    """``index_add_`` of CUDA adds as rows come, and the last bits are others each time."""
    one = ACCUMULATORS[name]
    logits = torch.randn(5000, K, generator=torch.Generator().manual_seed(1)).to(gpu.device)
    labels = (torch.arange(5000) % 2).to(gpu.device)
    first, second = (collected(one, iter([(logits, labels)]))._states() for _ in range(2))
    for total, again in zip(first.values(), second.values(), strict=True):
        assert_same(total.cpu(), again.cpu())


# --- The GPU that these tests are on


WAITS = {
    "a value": lambda x: float(x[0]),
    "all values": lambda x: x.tolist(),
    "a truth": lambda x: bool((x > 0).any()),
    "a copy to the CPU": lambda x: x.cpu(),
    "a copy from the CPU": lambda x: torch.ones(3).to(x.device),
    "numbers": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "rows by a mask": lambda x: x[x > 0],
    "where": lambda x: x.nonzero(),
    "equality": lambda x: torch.equal(x, x.clone()),
}
GOES_ON = {
    "sums": lambda x: (x * 2).sum(),
    "new tensors": lambda x: x + torch.zeros(3, device=x.device),
    "rows by number": lambda x: x[torch.arange(2, device=x.device)],
    "a copy of pinned memory": lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True),
    "a copy to pinned memory": lambda x: torch.empty(3, pin_memory=True).copy_(x, non_blocking=True),
    "an order": lambda x: x.argsort(stable=True),
    "sums by place": lambda x: x.index_put_((torch.zeros(3, dtype=torch.int64, device=x.device),), x * 1, True),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_for_the_gpu_is_an_error(gpu, name):
    x = torch.ones(3, device=gpu.device)
    WAITS[name](x)
    with gpu.waits(allowed=False), pytest.raises(RuntimeError, match=r"synchroniz|aten\."):
        WAITS[name](x)


@pytest.mark.parametrize("name", GOES_ON)
def test_what_does_not_wait_is_none(gpu, name):
    x = torch.ones(3, device=gpu.device)
    GOES_ON[name](x)
    with gpu.waits(allowed=False):
        GOES_ON[name](x)
