"""The other measurements against numpy, SciPy, scikit-learn and PIL, and their pictures."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import scipy.spatial
import scipy.special
import scipy.stats
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from tiny_runs import digits, digits_classifier
from torch import Tensor

from amgan_fast import drawing
from amgan_fast.data import to_float
from amgan_fast.evaluate import (
    interpolate_latents,
    save_interpolation,
)
from amgan_fast.metrics import (
    EntropyCounts,
    LabelCounts,
    entropy_histogram,
    label_balance,
    measure_resolutions,
    nearest_neighbours,
    neighbours,
    save_entropy_histogram,
    save_label_balance,
    save_neighbour_distances,
    save_neighbours,
    save_resolutions,
)

K, N = 6, 500


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 4 * torch.randn(N, K, generator=generator, dtype=torch.float64)


def entropies_of(logits: Tensor) -> np.ndarray:
    return scipy.stats.entropy(scipy.special.softmax(logits.double().numpy(), axis=1), axis=1)


def assert_picture(path, width_at_least: int = 1) -> None:
    with Image.open(path) as image:
        image.load()
        assert image.width >= width_at_least
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# --- Entropy histogram


@pytest.mark.parametrize("sizes", [[N], [1] * N, [3, 0, 497]])
def test_entropies_are_counted_as_numpy_counts_them(logits, sizes):
    histogram = entropy_histogram(logits.split(sizes), bins=20, threshold=0.3)
    values = entropies_of(logits)
    counts, edges = np.histogram(values, bins=20, range=(0, math.log(K)))
    assert histogram.n == N
    assert histogram.counts == tuple(counts)
    assert histogram.edges == pytest.approx(edges)
    assert histogram.mean == pytest.approx(values.mean(), rel=1e-10)
    assert histogram.below == (values < 0.3).mean()


def test_the_least_and_the_greatest_entropy_are_in_the_outer_bins(device):
    certain, uniform = torch.tensor([[1e4, 0.0, 0.0]]), torch.zeros(2, 3)
    histogram = entropy_histogram([certain.to(device), uniform.to(device)], bins=4)
    assert histogram.counts == (1, 0, 0, 2)
    assert histogram.below == pytest.approx(1 / 3)
    assert histogram.mean == pytest.approx(2 / 3 * math.log(3), rel=1e-6)


def test_entropy_histogram_as_json_text_and_picture(logits, tmp_path):
    histogram = entropy_histogram([logits])
    assert json.loads(json.dumps(histogram.to_dict()))["counts"] == list(histogram.counts)
    assert f"{histogram.below:.2%} below 0.05" in str(histogram)
    save_entropy_histogram(tmp_path / "entropy.png", {"real": histogram, "generated": entropy_histogram([logits / 4])})
    assert_picture(tmp_path / "entropy.png")


@pytest.mark.parametrize(
    ("batches", "options", "said"),
    [
        ([], {}, "batches hold no samples"),
        ([torch.zeros(2, 3)], {"bins": 0}, "bins is 0, wanted at least 1"),
        ([torch.zeros(2)], {}, r"logits are \[2\], wanted \[N, K\]"),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], {}, r"logits are \[2, 4\], wanted \[N, 3\]"),
        ([torch.zeros(2, 3), torch.tensor([[0, math.nan, 0]])], {}, r"row 0 \(sample 2\).*NaN"),
    ],
)
def test_bad_entropies(batches, options, said):
    with pytest.raises(ValueError, match=said):
        entropy_histogram(batches, **options)


# --- Label balance


@pytest.mark.parametrize("sizes", [[N], [1] * N, [3, 0, 497]])
def test_label_balance_against_scipy(logits, sizes):
    reference = 100 * np.arange(1, K + 1)
    balance = label_balance(logits.split(sizes), reference)
    counts = np.bincount(logits.argmax(1).numpy(), minlength=K)
    test = scipy.stats.chi2_contingency([counts, reference], correction=False)
    assert balance.n == N
    assert balance.counts == tuple(counts)
    assert balance.mean == pytest.approx(scipy.special.softmax(logits.numpy(), axis=1).mean(0), rel=1e-10)
    assert balance.reference == pytest.approx(np.arange(1, K + 1) / 21)
    assert balance.reference_counts == tuple(reference)
    assert balance.chi_square == pytest.approx(test.statistic, rel=1e-10)
    assert balance.degrees_of_freedom == pytest.approx(K - 1, rel=1e-10)
    assert balance.p_value == pytest.approx(test.pvalue, rel=1e-8)


def test_classes_that_neither_has_are_not_compared(device):
    rows = 20 * torch.eye(3, device=device)[[0] * 50 + [1] * 50]
    balance = label_balance([rows], [50, 50, 0])
    assert (balance.cells, balance.chi_square, balance.p_value) == (2, 0, 1)


def test_label_balance_as_json_text_and_picture(logits, tmp_path):
    balance = label_balance([logits], [100] * K)
    assert json.loads(json.dumps(balance.to_dict()))["counts"] == list(balance.counts)
    assert f"p = {balance.p_value:.3g}" in str(balance)
    assert len(str(balance).splitlines()) == K + 2
    save_label_balance(tmp_path / "balance.png", {"real": balance, "generated": balance})
    assert_picture(tmp_path / "balance.png")


def test_of_very_many_classes_the_most_and_the_least_frequent_are_drawn(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("amgan_fast.metrics.balance.save_figure", lambda path, figure: kept.append(figure))
    counts = {700: 30, 3: 20} | {k: 200 - k for k in range(100, 118)}  # 20 classes; others come once, 5 and 6 never
    labels = [k for k in range(1000) for _ in range(counts.get(k, k not in (5, 6)))]
    balance = label_balance([10 * torch.eye(1000)[labels]], [1 / 1000] * 1000)
    save_label_balance(tmp_path / "balance.png", {"generated": balance})
    (figure,) = kept
    names = [[int(text.get_text()) for text in axes.get_xticklabels()] for axes in figure.axes]
    assert names[0] == [*range(100, 118), 700, 3]
    assert names[1][-2:] == [5, 6]
    assert len(names[1]) == 20
    heights = [[bar.get_height() * balance.n for bar in axes.containers[0]] for axes in figure.axes]
    assert heights == [pytest.approx([balance.counts[k] for k in classes]) for classes in names]


def test_no_class_is_left_out_of_forty(monkeypatch):
    kept = []
    monkeypatch.setattr("amgan_fast.metrics.balance.save_figure", lambda path, figure: kept.append(figure))
    save_label_balance("balance.png", {"generated": label_balance([torch.eye(40)], [1 / 40] * 40)})
    assert [len(axes.get_xticks()) for axes in kept[0].axes] == [40]


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "batches hold no samples"),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], r"logits are \[2, 4\], wanted \[N, 3\]"),
        ([torch.zeros(2, 4)], r"reference is \[3\], wanted 4 probabilities"),
        ([torch.zeros(1, 3), torch.full((1, 3), math.inf)], r"row 0 \(sample 1\).*\+inf"),
    ],
)
def test_bad_balances(batches, said):
    with pytest.raises(ValueError, match=said):
        label_balance(batches, [0.3, 0.3, 0.4])


# --- The same, batch by batch


def test_counts_may_be_read_on_the_way(logits, device):
    entropies, labels = EntropyCounts(K, bins=20, threshold=0.3, device=device), LabelCounts(K, device=device)
    for stop, start in ((200, 0), (N, 200)):
        for one in (entropies, labels):
            one.update(logits[start:stop].to(device))
        values = entropies_of(logits[:stop])
        histogram, balance = entropies.compute(), labels.compute([1 / K] * K)
        assert histogram.counts == tuple(np.histogram(values, bins=20, range=(0, math.log(K)))[0])
        assert histogram.mean == pytest.approx(values.mean(), rel=1e-10)
        assert balance.counts == tuple(np.bincount(logits[:stop].argmax(1).numpy(), minlength=K))
        assert (histogram.n, balance.n) == (stop, stop)


@pytest.mark.parametrize("counts", [EntropyCounts(K), LabelCounts(K)])
def test_bad_rows_and_shapes_are_not_counted(logits, counts):
    arguments = [[1 / K] * K] if isinstance(counts, LabelCounts) else []
    counts = copy.deepcopy(counts)
    with pytest.raises(ValueError, match="no samples, wanted at least one update before compute"):
        counts.compute(*arguments)
    counts.update(logits[:100])
    before = counts.compute(*arguments)
    with pytest.raises(ValueError, match=r"logits are \[500, 5\], wanted \[N, 6\]"):
        counts.update(logits[:, 1:])
    logits[142, 3] = math.nan
    with pytest.raises(ValueError, match=r"row 42 \(sample 142\).*NaN"):
        counts.update(logits[100:])
    assert counts.compute(*arguments) == before


@pytest.mark.cuda
def test_bad_rows_on_a_gpu_are_found_by_compute(logits):
    logits[142, 3] = math.nan
    for counts, arguments in ((EntropyCounts(K, device="cuda"), ()), (LabelCounts(K, device="cuda"), ([1 / K] * K,))):
        counts.update(logits.cuda())
        with pytest.raises(ValueError, match="a row of the logits gives no distribution"):
            counts.compute(*arguments)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EntropyCounts(0), "num_classes is 0, wanted at least 2"),
        (lambda: EntropyCounts(K, bins=0), "bins is 0, wanted at least 1"),
        (lambda: LabelCounts(0), "num_classes is 0, wanted at least 2"),
    ],
)
def test_bad_counts(make, said):
    with pytest.raises(ValueError, match=said):
        make()


# --- Nearest neighbours


@pytest.mark.parametrize("values", [2**22, 20_000, 1])
def test_neighbours_against_scipy_with_ties_and_in_any_chunks(generator, monkeypatch, device, values):
    monkeypatch.setattr(neighbours, "_VALUES", values)
    monkeypatch.setattr(neighbours, "_SAMPLES", 37)
    # Few grey levels: many training images are equally near.
    samples, train = (torch.randint(3, (n, 1, 3, 3), generator=generator, dtype=torch.uint8) for n in (80, 300))
    found = nearest_neighbours(samples.to(device), train.to(device), k=5)
    distances = scipy.spatial.distance.cdist(samples.flatten(1), train.flatten(1), "cityblock")
    order = distances.argsort(axis=1, kind="stable")[:, :5]  # of equal ones the first
    assert torch.equal(found.indices, torch.from_numpy(order))
    assert found.distances.numpy() == pytest.approx(np.take_along_axis(distances, order, 1) / 9)


def test_neighbours_of_digits_against_scikit_learn():
    samples, train = digits().test_images, digits().train_images
    found = nearest_neighbours(samples, train)
    theirs = NearestNeighbors(n_neighbors=1, metric="manhattan").fit(train.flatten(1).double())
    distances, _ = theirs.kneighbors(samples.flatten(1).double())
    assert found.distances.numpy() == pytest.approx(distances / 64)


def test_large_images_are_exact(generator):
    train = torch.randint(256, (3, 3, 200, 200), generator=generator, dtype=torch.uint8)
    sample = train[1:2].clone()
    sample[0, 0, 0, 0] ^= 1
    found = nearest_neighbours(sample, train, k=3)
    far = [int((sample.int() - train[i].int()).abs().sum()) for i in (0, 2)]
    assert found.indices[0, 0] == 1
    assert (found.distances[0] * 120_000).tolist() == pytest.approx([1, *sorted(far)], rel=1e-14)


def test_a_copy_has_distance_0_and_is_said_to_be_one():
    train = digits().train_images
    found = nearest_neighbours(train[5:7], train)
    assert (found.distances == 0).all()
    assert found.indices[:, 0].tolist() == [5, 6]
    assert "2 of them copies" in str(found)


def test_neighbours_as_json_and_as_pictures(tmp_path):
    held_out, train = digits().test_images[:30], digits().train_images
    found = nearest_neighbours(held_out, train, k=3)
    as_dict = json.loads(json.dumps(found.to_dict()))
    assert as_dict["indices"] == found.indices.tolist()
    assert as_dict["quantiles"]["0.5"] == pytest.approx(np.median(found.distances[:, 0]))
    (tmp_path / "sheet").mkdir()
    save_neighbours(tmp_path / "sheet" / "sheet.png", held_out, train, found, rows=4)
    assert_picture(tmp_path / "sheet" / "sheet.png")
    with Image.open(tmp_path / "sheet" / "sheet.png") as sheet:
        assert sheet.size == (4 * 58 + 2, 4 * 58 + 2)  # 4 rows of a sample and 3 neighbours, 8 pixels enlarged to 56
        cells = np.asarray(sheet)[2 + 3 : -2 : 58, 2 + 3 : -2 : 58, 0]  # the first pixel of each image
    want = torch.cat([held_out[:4, None], train[found.indices[:4]]], 1)[:, :, 0, 0, 0]
    assert cells.tolist() == want.tolist()
    (tmp_path / "plot").mkdir()
    save_neighbour_distances(tmp_path / "plot" / "distances.png", {"held-out": found, "same": found})
    assert_picture(tmp_path / "plot" / "distances.png")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"samples": torch.zeros(2, 1, 4, 4)}, TypeError, "samples are torch.float32, wanted uint8"),
        ({"train": torch.zeros(2, 4, 4).byte()}, ValueError, r"train are \[2, 4, 4\], wanted \[N, C, H, W\]"),
        ({"samples": torch.zeros(0, 1, 4, 4).byte()}, ValueError, "nothing empty"),
        ({"samples": torch.zeros(2, 1, 4, 5).byte()}, ValueError, r"wanted images of \[1, 4, 4\] as in train"),
        ({"k": 4}, ValueError, "k is 4, wanted 1 to the 3 images of train"),
    ],
)
def test_bad_neighbours(change, error, said):
    given = {"samples": torch.zeros(2, 1, 4, 4).byte(), "train": torch.zeros(3, 1, 4, 4).byte()}
    with pytest.raises(error, match=said):
        nearest_neighbours(**given | change)


# --- Resolution discriminability


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("shape", [(12, 12), (12, 18)])
def test_images_are_shrunk_and_enlarged_as_pil_does_it(generator, shape):
    images = torch.randn(4, 1, *shape, generator=generator)
    seen = []

    def classifier(batch):
        seen.append(batch)
        return torch.zeros(len(batch), 2)

    result = measure_resolutions([(images, torch.zeros(4).long())], classifier, [12, 5, 5, 2])
    assert result.sizes == (2, 5, 12)
    assert torch.equal(seen[2], images)
    for batch, height in zip(seen, (2, 5), strict=False):
        small = (height, round(shape[1] * height / shape[0]))
        want = [resized(resized(image.numpy(), *small), *shape) for image in images[:, 0]]
        assert batch[:, 0].numpy() == pytest.approx(np.stack(want), abs=1e-5)


def test_accuracy_and_its_error_count_correct_labels(device):
    labels = torch.arange(10) % 2
    given = labels.clone()
    given[:3] = 1 - given[:3]  # three are not what the images show
    images = labels.float()[:, None, None, None].expand(-1, 1, 8, 8)  # no detail: every resolution is the same

    def brightness(batch):
        return torch.stack([0.5 - batch.mean((1, 2, 3)), batch.mean((1, 2, 3)) - 0.5], 1)

    batches = [
        (part.to(device), wanted.to(device)) for part, wanted in zip(images.split(4), given.split(4), strict=True)
    ]
    result = measure_resolutions(batches, brightness, [1, 4, 8])
    assert (result.n, result.accuracy) == (10, (0.7,) * 3)
    assert result.standard_error == pytest.approx((math.sqrt(0.7 * 0.3 / 10),) * 3)
    z_sq = 1.959964**2  # Wilson's interval has the ends p with (0.7 - p)^2 = z^2 p (1 - p) / n
    for end in result.ci95[0]:
        assert (0.7 - end) ** 2 == pytest.approx(z_sq * end * (1 - end) / 10, rel=1e-5)
    assert result.ci95[0][0] < 0.7 < result.ci95[0][1]


def test_digits_lose_accuracy_with_resolution(tmp_path):
    images, labels = digits().test_images, digits().test_labels
    classifier = digits_classifier()
    result = measure_resolutions([(to_float(images), labels)], classifier.network, [8, 6, 1])
    assert result.accuracy[2] == pytest.approx(classifier.test_accuracy)
    assert result.accuracy[0] < result.accuracy[1] < result.accuracy[2]
    assert json.loads(json.dumps(result.to_dict()))["sizes"] == [1, 6, 8]
    low, high = result.ci95[2]
    assert f"{result.accuracy[2]:.4f}, 95% interval {low:.4f} to {high:.4f}" in str(result)
    save_resolutions(tmp_path / "resolution.png", {"held-out": result})
    assert_picture(tmp_path / "resolution.png")


@pytest.mark.parametrize(
    ("batches", "sizes", "said"),
    [
        ([], [4], "batches hold no samples"),
        ([], [], r"sizes are \[\], wanted at least one"),
        ([], [0, 4], r"sizes are \[0, 4\], wanted at least one, of at least 1 pixel"),
        ([(torch.zeros(2, 1, 8, 8), torch.zeros(2))], [9], r"sizes are \[9\], wanted at most the images' height of 8"),
        ([(torch.zeros(2, 1, 8, 8), None)], [4], "labels are None, wanted the intended labels"),
    ],
)
def test_bad_resolutions(batches, sizes, said):
    with pytest.raises(ValueError, match=said):
        measure_resolutions(batches, lambda images: images.flatten(1), sizes)


# --- Latent interpolation


def as_image(inputs: Tensor) -> Tensor:
    """A generator whose images are its inputs."""
    return inputs[:, None, None, :]


def test_latents_go_in_a_straight_line_and_conditions_stay(generator):
    start, end = torch.randn(2, 3, 4, generator=generator)
    condition = torch.eye(3)[[2, 0, 0]]
    result = interpolate_latents(as_image, start, end, steps=5, condition=condition)
    assert result.images.shape == (3, 5, 1, 1, 7)
    inputs = result.images[:, :, 0, 0].numpy()
    assert inputs[:, :, :4] == pytest.approx(np.linspace(start.numpy(), end.numpy(), 5, axis=1), abs=1e-6)
    assert (inputs[:, :, 4:] == condition[:, None].numpy()).all()
    assert torch.equal(result.images[:, [0, -1], 0, 0, :4], torch.stack([start, end], 1))
    change = np.abs((end - start).numpy()).sum(1, keepdims=True) / 4 / 7
    assert result.changes.numpy() == pytest.approx(np.repeat(change, 4, 1), rel=1e-4)


def test_interpolation_without_condition_as_json_and_picture(tmp_path, device):
    start = torch.zeros(2, 6, device=device)
    result = interpolate_latents(lambda z: z.unflatten(1, (1, 2, 3)), start, start + 0.5, steps=3)
    assert result.images.device.type == "cpu"
    assert json.loads(json.dumps(result.to_dict())) == {"changes": [[0.25, 0.25]] * 2}
    save_interpolation(tmp_path / "lines.png", result)
    assert_picture(tmp_path / "lines.png", width_at_least=3 * 56)
    with Image.open(tmp_path / "lines.png") as sheet:
        first = np.asarray(sheet)[5, 5, 0]
    assert first == 128  # of -1 to 1, 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": torch.zeros(0, 4)}, r"start is \[0, 4\], wanted \[R, D\] with R at least 1"),
        ({"end": torch.zeros(3, 4)}, r"end is \[3, 4\], wanted \[2, 4\] as start"),
        ({"condition": torch.zeros(3, 4)}, r"condition is \[3, 4\], wanted \[2, L\]"),
        ({"steps": 1}, "steps is 1, wanted at least 2"),
    ],
)
def test_bad_interpolations(change, said):
    with pytest.raises(ValueError, match=said):
        interpolate_latents(as_image, **{"start": torch.zeros(2, 4), "end": torch.zeros(2, 4)} | change)


# --- Files


def test_a_picture_that_fails_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "plot.png"
    drawing.save_figure(path, drawing.new_figure())
    before = path.read_bytes()

    def half(self, file, **_):
        file.write_bytes(before[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        drawing.save_figure(path, drawing.new_figure())
    assert path.read_bytes() == before
    assert_picture(path)
