"""``amgan-fast evaluate --shard --state`` and ``amgan-fast merge``: one evaluation of shards as one process makes it,
and what is said of shards that do not make one."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_evaluate_command import logits_of
from tiny_runs import digits, digits_classifier, tiny_run, use_classifier_cache, write_digits
from typer.testing import CliRunner

import amgan_fast.evaluate.state
from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.evaluate import EvaluationInterrupted, Settings, evaluate, merge_states
from amgan_fast.evaluate.sources import LogitsSource
from amgan_fast.evaluate.state_file import read_state, write_state
from amgan_fast.processes import Share


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Samples of every kind, with labels; tests read them."""
    folder = tmp_path_factory.mktemp("files")
    write_digits(folder, 150)
    images, labels = digits().test_images, digits().test_labels
    np.save(folder / "logits.npy", logits_of(images).numpy())
    np.save(folder / "training.npy", logits_of(digits().train_images).numpy())
    np.save(folder / "labels.npy", labels.numpy())
    return folder


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("amgan-fast: ")]
    return line


def shard(files: Path, out: Path, place: int, number: int, *arguments: object) -> Path:
    """The state of a shard of the logits, or what is said instead."""
    what = arguments or ("--logits", files / "logits.npy", "--labels", files / "labels.npy")
    path = out / f"{place}-of-{number}.safetensors"
    call("evaluate", *what, "--shard", f"{place}/{number}", "--state", path, "--json")
    return path


def assert_same(got: object, want: object, where: str = "") -> None:
    """Numbers to 1e-13; degrees of freedom, of which a quotient of variances takes digits, to 1e-12."""
    if isinstance(want, dict):
        assert isinstance(got, dict)
        assert got.keys() == want.keys(), where
        for name, value in want.items():
            assert_same(got[name], value, f"{where}.{name}")
    elif isinstance(want, list):
        assert isinstance(got, list)
        assert len(got) == len(want), where
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            assert_same(one, other, f"{where}.{i}")
    elif isinstance(want, float):
        rel = 1e-12 if where.endswith("degrees_of_freedom") else 1e-13
        assert got == pytest.approx(want, rel=rel, abs=1e-15), where
    else:
        assert got == want, where


def page(path: Path) -> str:
    """But for what made it, and when."""
    text = path.read_text()
    return re.sub(
        r"<dt>(command|made)</dt>.*?</dd>|<t[dh][^>]*>(command|made)</t[dh]>.*?</t[dh]>", "", text, flags=re.S
    )


def compare_with_shards(tmp_path: Path, numbers: tuple[int, ...], arguments: tuple[object, ...]) -> dict:
    """In table, JSON and page; returns the JSON."""
    table = call("evaluate", *arguments)
    want = json.loads(call("evaluate", *arguments, "--json"))
    call("evaluate", *arguments, "--report", tmp_path / "whole.html", "--json", tmp_path / "whole.json")
    for number in numbers:
        paths = [tmp_path / f"{place}-of-{number}.safetensors" for place in range(1, number + 1)]
        for place, path in enumerate(paths, 1):
            call("evaluate", *arguments, "--shard", f"{place}/{number}", "--state", path)
        random.Random(number).shuffle(paths)
        assert call("merge", *paths) == table
        assert_same(json.loads(call("merge", *reversed(paths), "--json")), want)
        call("merge", *paths, "--report", tmp_path / "merged.html", "--json", tmp_path / "merged.json")
        assert_same(
            json.loads((tmp_path / "merged.json").read_text()), json.loads((tmp_path / "whole.json").read_text())
        )
        assert page(tmp_path / "merged.html") == page(tmp_path / "whole.html")
    return want


def test_shards_of_logits_with_labels_beside_real_ones_of_which_the_reference_is_measured(files, tmp_path):
    real = ("--reference", files / "training.npy", "--held-out", files / "logits.npy")
    labelled = ("--logits", files / "logits.npy", "--labels", files / "labels.npy")
    got = compare_with_shards(tmp_path, (1, 2, 7), (*labelled, *real, "--compat", "all"))
    assert got["generated"]["label_accuracy"] is not None
    assert got["generated"]["scores"]["sampling"] == "per-class"
    assert got["generated"]["scores"]["reference_error"] > 0
    assert got["held_out"]["scores"]["sampling"] == "random"


@pytest.mark.parametrize("source", [("--npz", "digits.npz"), ("--images", "digits")])
def test_shards_of_images(files, tmp_path, source):
    judge = ("--classifier", files / "classifier.pt", "--dtype", "float64")  # float32 depends on what is in a batch
    got = compare_with_shards(tmp_path, (7,), (source[0], files / source[1], *judge, "--device", "cpu"))
    assert got["held_out"]["scores"]["n"] == 360


def test_shards_of_a_run(tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    run = tiny_run(tmp_path / "run", labels="predefined").folder.path
    arguments = ("--run", run, "--samples", 3200, "--dtype", "float64", "--device", "cpu")
    assert compare_with_shards(tmp_path, (7,), arguments)["generated"]["scores"]["n"] == 3200
    text = refused("evaluate", *arguments, "--shard", "1/8")
    assert "shard is 1/8, and 3,200 samples of a generator of digits can be cut into 7 parts, wanted no more" in text


def test_merged_scores_are_compared_with_others_as_those_of_one_process(files, tmp_path):
    np.save(tmp_path / "others.npy", np.load(files / "logits.npy")[::-1] * 0.9)
    call("evaluate", "--logits", tmp_path / "others.npy", "--json", tmp_path / "others.json")
    against = ("--against", tmp_path / "others.json", "--json")
    want = json.loads(call("evaluate", "--logits", files / "logits.npy", *against))
    paths = [shard(files, tmp_path, place, 2, "--logits", files / "logits.npy") for place in (1, 2)]
    got = json.loads(call("merge", *paths, *against))
    assert got["difference"] is not None
    assert_same(got["difference"], want["difference"])
    np.save(tmp_path / "unlike.npy", np.zeros((40, 3), np.float32))
    call("evaluate", "--logits", tmp_path / "unlike.npy", "--json", tmp_path / "unlike.json")
    assert "has 3 classes, wanted 10" in refused("merge", *paths, "--against", tmp_path / "unlike.json")


def test_a_shard_by_itself_is_marked_as_partial(files, tmp_path):
    arguments = ("--logits", files / "logits.npy", "--shard", "2/7")
    got = json.loads(call("evaluate", *arguments, "--json"))
    assert got["partial"].startswith("shard 2 of 7: 51 of 51 samples of 360 x 10 logits")
    assert got["generated"]["scores"]["n"] == 51
    assert "PARTIAL:" in call("evaluate", *arguments)


def test_images_that_cannot_be_read_are_named_once_in_their_order(files, tmp_path):
    out, tmp_path = tmp_path / "states", tmp_path / "images"
    out.mkdir()
    tmp_path.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    (tmp_path / "07.png").write_bytes(b"")  # in the header
    for i in (3, 21, 38):  # when it is read
        (tmp_path / f"{i:02}.png").write_bytes((tmp_path / f"{i:02}.png").read_bytes()[:2000])
    judge = ("--classifier", files / "classifier.pt", "--resize", "bilinear", "--dtype", "float64", "--device", "cpu")
    arguments = ("--images", tmp_path, "--skip-unreadable", *judge)
    want = json.loads(call("evaluate", *arguments, "--json"))
    paths = [shard(files, out, place, 3, *arguments) for place in (3, 1, 2)]
    got = json.loads(call("merge", *paths, "--json"))
    assert len(got["skipped"]) == 4
    for name in ("source", "skipped", "warnings", "held_out"):
        assert_same(got[name], want[name], name)
    assert got["generated"]["scores"]["n"] == 36
    plain = ("inception_score", "am_score", "mean_entropy", "class_distribution")  # not by groups of samples
    for name in plain:
        assert_same(got["generated"]["scores"][name], want["generated"]["scores"][name], name)


def test_shards_that_are_missing_or_there_twice_are_named(files, tmp_path):
    paths = [shard(files, tmp_path, place, 4) for place in range(1, 5)]
    assert "found 3 of 4 shards, shard 3 is missing, wanted a file of each" in refused("merge", *paths[:2], paths[3])
    assert "found 1 of 4 shards, shards 1, 3, 4 are missing" in refused("merge", paths[1])
    text = refused("merge", *paths, paths[2])
    assert f"{paths[2]} and {paths[2]} are both shard 3 of 4" in text
    other = shard(files, tmp_path, 2, 3)
    text = refused("merge", *paths, other)
    assert f"{other} has shards in all: 3 and {paths[0]} 4, wanted shards of one evaluation" in text


def shards_that_do_not_belong_to(files: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """What is evaluated, by what is other than in the first."""
    logits = np.load(files / "logits.npy")
    np.save(tmp_path / "others.npy", logits + 1e-3)
    np.save(tmp_path / "more.npy", np.concatenate([logits, logits]))
    np.save(tmp_path / "fewer.npy", logits[:, :9])
    np.save(tmp_path / "uniform.npy", np.full(10, 0.1))
    np.save(tmp_path / "unequal.npy", np.arange(1, 11) / 55)
    np.save(tmp_path / "shuffled.npy", np.load(files / "labels.npy")[::-1].copy())
    first = ("--logits", files / "logits.npy")
    labels, uniform = ("--labels", files / "labels.npy"), ("--reference", tmp_path / "uniform.npy")
    return {
        "nothing": (*first, *labels, *uniform),
        "generated samples with the fingerprint": ("--logits", tmp_path / "others.npy", *labels, *uniform),
        "generated samples, in number": ("--logits", tmp_path / "more.npy", *uniform),
        "classes K of generated samples": ("--logits", tmp_path / "fewer.npy"),
        "generated samples with the fingerprint ": (*first, "--labels", tmp_path / "shuffled.npy", *uniform),
        "the reference with SHA-256": (*first, *labels, "--reference", tmp_path / "unequal.npy"),
        "the reference with SHA-256 ": (*first, *labels),
        "the reference with SHA-256  ": (*first, *labels, "--reference", files / "training.npy"),
        "generated compat = adm": (*first, *labels, *uniform, "--compat", "adm"),
        "generated splits = 5": (*first, *labels, *uniform, "--splits", 5),
        "generated skip_non_finite = True": (*first, *labels, *uniform, "--skip-non-finite"),
        "generated sampling = random": (*first, *labels, *uniform, "--sampling", "random"),
        "held-out samples of the kind": (*first, *labels, *uniform, "--held-out", files / "logits.npy"),
        "generated samples of the kind": ("--probabilities", tmp_path / "p.npy", *labels, *uniform),
        "generated samples of the kind ": ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt"),
    }


def test_shards_that_do_not_belong_together_are_named_with_what_differs(files, tmp_path):
    logits = torch.from_numpy(np.load(files / "logits.npy")).double()
    np.save(tmp_path / "p.npy", logits.softmax(1).numpy())
    cases = shards_that_do_not_belong_to(files, tmp_path)
    first = shard(files, tmp_path, 1, 2, *cases.pop("nothing"))
    (tmp_path / "other").mkdir()
    for what, arguments in cases.items():
        second = shard(files, tmp_path / "other", 2, 2, *arguments)
        text = refused("merge", first, second)
        assert text.startswith(f"amgan-fast: {second} has "), what
        assert f" and {first} " in text
        assert text.endswith("wanted shards of one evaluation")
        assert what.strip() in text


def test_shards_under_other_classifiers_are_named(files, tmp_path):
    state = digits_classifier().network.state_dict()
    other = digits_classifier()
    moved = tmp_path / "moved.pt"
    other.save(moved)
    arguments = ("--npz", files / "digits.npz", "--device", "cpu", "--classifier")
    first = shard(files, tmp_path, 1, 2, *arguments, files / "classifier.pt")
    second = shard(files, tmp_path, 2, 2, *arguments, moved, "--batch-size", 50)
    assert json.loads(call("merge", first, second, "--json"))["generated"]["scores"]["n"] == 360  # wherever it lies
    of_other_inputs = shard(files, tmp_path, 2, 2, *arguments, moved, "--dtype", "float64")
    assert "has the classifier's inputs " in refused("merge", first, of_other_inputs)
    assert state.keys() == other.network.state_dict().keys()
    changed = read_state(second)
    changed["classifier"]["sha256"] = "5ha"
    write_state(second, changed)
    text = refused("merge", first, second)
    assert f"{second} has the classifier with SHA-256 5ha and {first} {digits_classifier().sha256()}" in text


def test_states_of_another_version_are_refused(files, tmp_path, monkeypatch):
    first = shard(files, tmp_path, 1, 2)
    monkeypatch.setattr(amgan_fast.evaluate.state, "__version__", "0.0.7")
    second = shard(files, tmp_path, 2, 2)
    text = refused("merge", first, second)
    assert str(first) in text
    assert f"it is of amgan_fast {amgan_fast.__version__}, this is 0.0.7" in text


def test_files_that_are_damaged_or_lack_something_are_named(files, tmp_path):
    first, second = (shard(files, tmp_path, place, 2) for place in (1, 2))
    whole = second.read_bytes()
    second.write_bytes(whole[:-100] + bytes(100))
    assert f"{second} is damaged" in refused("merge", first, second)
    second.write_bytes(whole[:1000])
    assert f"{second} is damaged" in refused("merge", first, second)
    second.write_bytes(whole)
    state = read_state(second)
    for lacking in ("passes", "shard", "version"):
        write_state(second, {name: value for name, value in state.items() if name != lacking})
        assert f"{second} is damaged or of another version" in refused("merge", first, second)
    state["passes"]["generated"]["sums"]["scores"].pop("prob")
    write_state(second, state)
    assert "state has no prob" in refused("merge", first, second)
    assert "logits.npy is damaged or no safetensors file" in refused("merge", first, files / "logits.npy")


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/2/3", "-1/2", "1/0"])
def test_a_shard_is_written_i_of_n(files, text):
    found = refused("evaluate", "--logits", files / "logits.npy", f"--shard={text}")
    assert f"--shard is '{text}', wanted I/N, 1/N to N/N" in found


def test_contiguous_splits_have_no_shards(files):
    text = refused("evaluate", "--logits", files / "logits.npy", "--contiguous", "--shard", "1/2")
    assert "splits are contiguous and samples shared out" in text


def test_what_stops_a_shard_leaves_its_file_as_it_was(files, tmp_path):
    path = tmp_path / "sums.safetensors"
    call("evaluate", "--logits", files / "logits.npy", "--shard", "1/2", "--state", path)
    before = path.read_bytes()
    logits = np.load(files / "logits.npy")
    logits[30] = np.nan
    np.save(tmp_path / "bad.npy", logits)
    arguments = ("evaluate", "--logits", tmp_path / "bad.npy", "--batch-size", 20, "--shard", "1/2", "--state", path)
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2
    assert "state: " not in result.stderr
    assert "PARTIAL:" in result.stdout
    assert path.read_bytes() == before

    def interrupt(what, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(EvaluationInterrupted):
        evaluate(
            LogitsSource(files / "logits.npy"), None, settings=Settings(batch_size=20), progress=interrupt, state=path
        )
    assert path.read_bytes() == before
    assert "wanted a file in a folder that exists" in refused(
        "evaluate", "--logits", files / "logits.npy", "--state", tmp_path / "nowhere" / "a.safetensors"
    )


def test_shards_are_shared_by_processes(files, tmp_path):
    """Jobs of several processes: the shares of one are those of its shard."""
    source = LogitsSource(files / "logits.npy")
    paths = [tmp_path / f"{i}" for i in range(3)]
    for i, path in enumerate(paths):
        evaluate(source, None, share=Share(shard=i, shards=3), state=path)
    assert merge_states(paths).generated.scores.n == 360
    with pytest.raises(InputError, match="found no files"):
        merge_states([])
