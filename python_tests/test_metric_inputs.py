"""What every measurement takes, refuses and warns of, by one rule."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from amgan_fast.evaluate.interpolation import interpolate_latents
from amgan_fast.metrics import (
    ClassSums,
    EntropyCounts,
    LabelCounts,
    Numbers,
    ResolutionAccuracy,
    ScoreAccumulator,
    ScoreWarning,
    class_ms_ssim,
    entropy_histogram,
    inception_score,
    label_balance,
    measure_resolutions,
    mode_drop,
    ms_ssim,
    nearest_neighbours,
    scores,
    synthetic_mode_drop,
)
from amgan_fast.metrics.first_rows import FirstRows

K, N = 10, 500
UNIFORM = [1 / K] * K

MEASUREMENTS = {
    "scores": lambda rows, **options: scores(rows, UNIFORM, **options),
    "label_balance": lambda rows, **options: label_balance(rows, [50] * K, **options),
    "entropy_histogram": entropy_histogram,
    "openai": lambda rows, **options: inception_score(rows, compat="openai", **options),
    "ignite": lambda rows, **options: inception_score(rows, compat="ignite", **options),
}


def class_sums(rows, **options) -> ClassSums:
    sums = ClassSums(K)
    sums.update(rows, rows.argmax(1), **options)
    return sums


STREAMS = {
    "ScoreAccumulator": lambda: ScoreAccumulator(K),
    "LabelCounts": lambda: LabelCounts(K),
    "EntropyCounts": lambda: EntropyCounts(K),
}

measurements = pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)


def of(stream, *rows: Tensor):
    for batch in rows:
        stream.update(batch)
    return stream.compute(*([UNIFORM] if isinstance(stream, LabelCounts) else []))


# --- What is given


@measurements
def test_a_tensor_an_array_and_batches_of_either_give_the_same(logits, measure):
    want = measure(logits)
    array = logits.numpy()
    read_only = array.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (array, read_only, np.asfortranarray(array), array.astype(">f8"), array[::-1][::-1]):
            assert measure(given) == want
        one = measure([logits])
        assert one == want
        many = [measure(given) for given in (logits.split(100), list(array.reshape(5, 100, K)))]
    assert many[0] == many[1]
    for name in ("inception_score", "mean", "mean_entropy", "chi_square"):
        if hasattr(want, name):
            assert getattr(many[0], name) == pytest.approx(getattr(want, name), rel=1e-12)


@measurements
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (lambda x: x.tolist(), TypeError, "are a list, wanted a torch.Tensor or a numpy.ndarray"),
        (lambda x: [(x, x)], TypeError, "are a tuple, wanted a torch.Tensor or a numpy.ndarray"),
        (lambda x: 3, TypeError, "are a int, wanted a tensor, an array or batches of them"),
        (lambda x: np.ma.masked_array(x.numpy()), TypeError, "are a MaskedArray, wanted"),
        (lambda x: x.numpy().astype(object), TypeError, "are an array of object, wanted a dtype that PyTorch has"),
        (lambda x: x.numpy().astype(np.longdouble), TypeError, "are an array of float128, wanted"),
        (lambda x: x.long(), TypeError, "are torch.int64, wanted a floating-point dtype"),
        (
            lambda x: x.to(torch.float8_e4m3fn),
            TypeError,
            "are torch.float8_e4m3fn, wanted a floating-point dtype: float",
        ),
        (lambda x: x.to_sparse(), TypeError, "are of layout torch.sparse_coo, wanted a dense tensor"),
        (lambda x: x.to("meta"), TypeError, r"are a tensor without values \(meta\), wanted a dense tensor"),
        (lambda x: [x, x[:, 1:]], ValueError, r"are \[500, 9\], wanted \[N, 10\]"),
        (lambda x: x[0], ValueError, r"are \[10\], wanted \[N, K\]"),
        (lambda x: x[0].numpy(), ValueError, r"are \[10\], wanted \[N, K\]"),
        (lambda x: x[None], ValueError, r"are \[1, 500, 10\], wanted \[N, K\]"),
        (lambda x: x[:, :1], ValueError, r"are \[500, 1\], wanted \[N, K\] with K at least 2"),
        (lambda x: [x[:, :1]], ValueError, r"are \[500, 1\], wanted \[N, K\] with K at least 2"),
        (lambda x: x[:, :0], ValueError, r"are \[500, 0\], wanted \[N, K\] with K at least 2"),
        (lambda x: [], ValueError, "batches hold no samples"),
    ],
)
def test_anything_else_is_refused_by_what_it_is(logits, measure, given, error, said):
    if said.startswith("are an array of float128") and np.longdouble(0).itemsize == 8:
        pytest.skip("no long double here")
    with pytest.raises(error, match=said):
        measure(given(logits))


@pytest.mark.parametrize("make", [*STREAMS.values(), lambda: ClassSums(K)], ids=[*STREAMS, "ClassSums"])
def test_streams_take_and_refuse_the_same(logits, make):
    labels = [logits.argmax(1).numpy()] if isinstance(make(), ClassSums) else []
    make().update(logits.numpy(), *labels)
    for given, error, said in (
        (logits.tolist(), TypeError, "logits are a list, wanted a torch.Tensor"),
        (logits[:, :1], ValueError, r"logits are \[500, 1\], wanted \[N, 10\]"),
        (logits.int(), TypeError, "logits are torch.int32"),
    ):
        with pytest.raises(error, match=said):
            make().update(given, *labels)
    with pytest.raises(ValueError, match=r"probabilities row 3 \(sample 3\) gives no distribution"):
        make().update(logits.softmax(1).index_fill(0, torch.tensor(3), 0.5), *labels, from_logits=False)


@pytest.mark.parametrize("make", [ScoreAccumulator, LabelCounts, EntropyCounts, ClassSums])
def test_a_single_class_is_refused(make):
    with pytest.raises(ValueError, match="num_classes is 1, wanted at least 2"):
        make(1)


def test_labels_and_images_may_be_arrays_and_are_no_lists(logits, generator):
    images = torch.randint(256, (6, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    options = {"data_range": 255}
    assert class_ms_ssim(images.numpy(), labels.numpy(), **options) == class_ms_ssim(images, labels, **options)
    small = {"form": "small", **options}
    assert torch.equal(ms_ssim(images.numpy(), images.numpy(), **small), ms_ssim(images, images, **small))
    found = nearest_neighbours(images[:2].numpy(), images.numpy())
    assert found.indices.flatten().tolist() == [0, 1]
    for measure, said in (
        (lambda: class_ms_ssim(images.tolist(), labels), "images are a list"),
        (lambda: class_ms_ssim(images, labels.tolist(), **options), "labels are a list"),
        (lambda: ms_ssim(images, images.tolist()), "images_b are a list"),
        (lambda: nearest_neighbours(images, [1]), "train are a list"),
        (lambda: ClassSums(K).update(logits, logits.argmax(1).tolist()), "labels are a list"),
    ):
        with pytest.raises(TypeError, match=f"{said}, wanted a torch.Tensor or a numpy.ndarray"):
            measure()


@pytest.mark.parametrize("reference", ["uniform", 0.5, {"a": 1}, None])
def test_references_that_are_none(logits, reference):
    for measure in (label_balance, lambda rows, given: scores(rows, given or object())):
        with pytest.raises((TypeError, ValueError), match=r"reference is .*, wanted K? ?.*probabilities"):
            measure(logits, reference)


def test_a_reference_may_be_an_array(logits):
    want = scores(logits, UNIFORM)
    assert scores(logits, np.array(UNIFORM)) == scores(logits, np.array(UNIFORM, ">f8")) == want


# --- Probabilities in the place of logits


@measurements
def test_probabilities_in_the_place_of_logits_are_warned_of(logits, measure):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        with pytest.warns(ScoreWarning, match=r"within \[0, 1\] and sum to 1.*from_logits=False.*--probabilities"):
            measure(logits.softmax(1).to(dtype))
    with pytest.warns(ScoreWarning, match="within"):
        measure(torch.eye(K).repeat(6, 1))  # certain


@measurements
def test_logits_and_probabilities_as_such_are_not(logits, measure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(logits)
        measure(logits.log_softmax(1))
        measure(torch.rand(N, K))  # within [0, 1]
        measure(logits - logits.mean(1, keepdim=True) + 1 / K)  # of sum 1
        from_p, from_logits = measure(logits.softmax(1), from_logits=False), measure(logits)
    for name in ("inception_score", "mean", "mean_entropy", "chi_square"):
        if hasattr(from_p, name):
            assert getattr(from_p, name) == pytest.approx(getattr(from_logits, name), rel=1e-11)


def test_sums_of_classes_are_warned_of_too(logits):
    sums = class_sums(logits.softmax(1))
    for measure in (lambda: sums.score_of([1, 2, 3]), lambda: mode_drop(sums, orders=2)):
        with pytest.warns(ScoreWarning, match="from_logits=False"):
            measure()
    from_p, from_logits = class_sums(logits.softmax(1), from_logits=False), class_sums(logits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got, want = mode_drop(from_p, orders=2), mode_drop(from_logits, orders=2)
        from_p.score_of(range(K))
    assert got.log_inception_score.mean == pytest.approx(want.log_inception_score.mean, rel=1e-10)


@pytest.mark.parametrize("name", STREAMS)
def test_one_row_of_logits_among_the_first_is_enough_for_no_warning(logits, name):
    p = logits.softmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of(STREAMS[name](), p[:20], logits[:1], p[20:])
    with pytest.warns(ScoreWarning, match="from_logits=False"):
        of(STREAMS[name](), *p[:100].split(7), logits)  # the first 64 rows are looked at


def test_the_suspicion_goes_where_the_samples_go(logits):
    p = logits.softmax(1)
    accumulator, merged, loaded = (ScoreAccumulator(K) for _ in range(3))
    accumulator.update(p)
    merged.merge(accumulator)
    loaded.load_state_dict(accumulator.state_dict())
    for one in (accumulator, merged, loaded):
        with pytest.warns(ScoreWarning, match="from_logits=False"):
            assert one.compute().probability_like
        with pytest.warns(ScoreWarning, match="from_logits=False"):
            scores(logits, one)  # for a reference
    merged.update(logits)
    real = ScoreAccumulator(K)
    real.update(logits)
    real.merge(accumulator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        real.compute()


def test_rows_left_out_are_not_looked_at(logits):
    p = logits.softmax(1)
    p[::3] = math.nan
    with pytest.warns(ScoreWarning, match="from_logits=False"):
        scores(p, skip_non_finite=True)


def test_no_more_rows_are_looked_at_than_the_first(logits, monkeypatch):
    looked = []
    monkeypatch.setattr(
        "amgan_fast.metrics.first_rows.bad_rows",
        lambda rows, **_: looked.append(len(rows)) or torch.zeros(len(rows)) > 0,
    )
    first_rows = FirstRows()
    for batch in logits.split(50):
        first_rows.look(batch)
    assert looked == [50, 14]


# --- Few samples


def test_fewer_than_five_samples_a_class_are_warned_of(logits):
    with pytest.warns(
        ScoreWarning, match=r"49 samples of 10 classes: below 5 samples a class \(50\) corrected"
    ) as caught:
        few = scores(logits[:49], UNIFORM)
    assert few.few_samples
    assert few.warnings == (str(caught[0].message),)
    assert few.to_dict()["warnings"] == json.loads(few.to_json())["warnings"] == list(few.warnings)
    assert str(few).count("(too few samples)") == 4  # beside the corrected scores and their intervals
    assert few.warnings[0] in str(few)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enough = scores(logits[:50], UNIFORM)
    assert not enough.few_samples
    assert enough.to_dict()["warnings"] == []
    assert "too few" not in str(enough)


def test_a_transposed_array_does_not_score_in_silence(logits):
    with pytest.warns(ScoreWarning, match="10 samples of 500 classes"):
        scores(logits.T)


# --- What comes out


@pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")
@pytest.mark.parametrize(
    "result",
    [
        lambda x: scores(torch.eye(K), [0.5, 0.5] + [0.0] * 8, from_logits=False),
        lambda x: scores(x[:1]),
        lambda x: scores(torch.zeros(5, K)),
        lambda x: label_balance(x, [0.5, 0.5] + [0.0] * 8),
        lambda x: label_balance(x[:1], UNIFORM),
        lambda x: entropy_histogram(x[:1]),
        lambda x: mode_drop(
            class_sums(torch.eye(K, dtype=torch.float64), from_logits=False), reference=UNIFORM, orders=2
        ),
        lambda x: mode_drop(class_sums(x[:1]), reference=UNIFORM, orders=1),
        lambda x: synthetic_mode_drop([1.0], orders=1),
        lambda x: class_ms_ssim(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 1, 1])),
        lambda x: class_ms_ssim(torch.zeros(2, 1, 8, 8), torch.tensor([0, 0])),
        lambda x: nearest_neighbours(
            torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
        ),
        lambda x: measure_resolutions([(torch.zeros(1, 1, 4, 4), torch.zeros(1))], lambda y: y.flatten(1), [4]),
        lambda x: ResolutionAccuracy(1, (4,), (math.nan,), (math.inf,)),
        lambda x: interpolate_latents(lambda z: z[:, :, None, None] / 0, torch.zeros(1, 2), torch.zeros(1, 2)),
    ],
)
def test_every_result_is_standard_json(logits, result):
    text = json.dumps(result(logits).to_dict(), allow_nan=False)
    assert json.loads(text)


def test_a_class_of_one_image_is_null():
    result = class_ms_ssim(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 1, 1])).to_dict()
    assert (result["means"], result["standard_errors"][0]) == ([None, 1.0], None)


def test_results_of_a_thousand_classes_have_a_short_repr(generator):
    logits = torch.randn(5000, 1000, generator=generator)
    reference = [1e-3] * 1000
    pictures = torch.rand(2000, 1, 2, 2, generator=generator)
    results = [
        scores(logits, reference),
        label_balance(logits, reference),
        entropy_histogram(logits),
        synthetic_mode_drop(orders=1),
        class_ms_ssim(pictures, torch.arange(2000) // 2, pairs=1),
    ]
    for result in results:
        assert isinstance(result, Numbers)
        assert len(repr(result)) < 1200
        assert repr(result).startswith(f"{type(result).__name__}(")
    assert f"n=5000, num_classes=1000, inception_score={results[0].inception_score!r}" in repr(results[0])
    assert repr(ResolutionAccuracy(3, (4, 8), (0.5, 1.0), (0.1, 0.0))) == (
        "ResolutionAccuracy(n=3, sizes=(4, 8), accuracy=(0.5, 1.0), standard_error=(0.1, 0.0))"
    )
