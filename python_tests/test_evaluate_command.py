"""``amgan-fast evaluate``: from files of every kind to tables, JSON and a page; what it says of bad input."""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import run_forked, torchrun_forked
from tiny_runs import digits, digits_classifier, tiny_run, use_classifier_cache, write_digits
from typer.testing import CliRunner

import amgan_fast
from amgan_fast.cli import app
from amgan_fast.data import to_float


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A classifier and held-out digits as files of every kind; tests read them."""
    folder = tmp_path_factory.mktemp("files")
    write_digits(folder)
    images, labels = digits().test_images, digits().test_labels
    np.save(folder / "logits.npy", logits_of(images).numpy())
    np.save(folder / "labels.npy", labels.numpy())
    return folder


@torch.no_grad()
def logits_of(images: torch.Tensor) -> torch.Tensor:
    return digits_classifier().network(to_float(images))


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu"])
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("amgan-fast: ")]
    return line


def assert_close(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        if isinstance(value, dict):
            assert_close(got[name], value)
        else:
            numbers = all(isinstance(x, (int, float)) for x in (value if isinstance(value, list) else [value]))
            assert got[name] == (pytest.approx(value, rel=1e-6) if numbers else value), name


def of_inputs(warnings: list[str]) -> list[str]:
    """Without those of samples that are their own reference, as they are where a test has no others."""
    return [text for text in warnings if "the reference is of these very samples" not in text]


def expected(images: torch.Tensor) -> dict[str, float]:
    """From the formulas, in float64."""
    p = logits_of(images).double().softmax(1)
    m, ref = p.mean(0), digits_classifier().reference
    entropy = torch.special.entr(p).sum(1).mean()
    kl = (ref * (ref / m).log()).sum()
    inception = (torch.special.entr(m).sum() - entropy).exp()
    return {"am_score": float(kl + entropy), "inception_score": float(inception), "kl_reference": float(kl)}


@pytest.mark.parametrize("source", [("--npz", "digits.npz"), ("--images", "digits")])
def test_images_from_files_score_as_the_formulas_say(files, source):
    got = run(source[0], files / source[1], "--classifier", files / "classifier.pt")
    scores = got["generated"]["scores"]
    assert scores["n"] == 360
    for name, value in expected(digits().test_images).items():
        assert scores[name] == pytest.approx(value, rel=1e-5)
    accuracy = (logits_of(digits().test_images).argmax(1) == digits().test_labels).double().mean()
    assert got["generated"]["label_accuracy"] == pytest.approx(float(accuracy))
    assert got["classifier"]["sha256"] == digits_classifier().sha256()
    assert got["held_out"]["scores"]["am_score"] == pytest.approx(scores["am_score"], rel=1e-6)  # the same images


def test_logits_with_a_reference_of_every_form(files, tmp_path):
    np.save(tmp_path / "vector.npy", digits_classifier().reference.numpy())
    np.save(tmp_path / "training.npy", logits_of(digits().train_images).numpy())
    training = CliRunner().invoke(app, ["evaluate", "--logits", str(tmp_path / "training.npy"), "--json"])
    (tmp_path / "training.json").write_text(training.stdout)
    want = expected(digits().test_images)
    for name in ("vector.npy", "training.npy", "training.json"):
        scores = run("--logits", files / "logits.npy", "--reference", tmp_path / name)["generated"]["scores"]
        assert scores["am_score"] == pytest.approx(want["am_score"], rel=1e-5)
    assert run("--logits", files / "logits.npy")["generated"]["scores"]["am_score"] is None


def test_labels_of_logits(files):
    got = run("--logits", files / "logits.npy", "--labels", files / "labels.npy")
    npz = run("--npz", files / "digits.npz", "--classifier", files / "classifier.pt")
    assert got["generated"]["label_accuracy"] == npz["generated"]["label_accuracy"]


def test_probabilities_score_as_their_logits(files, tmp_path):
    logits = np.load(files / "logits.npy").astype(np.float64)
    p = np.exp(logits - logits.max(1, keepdims=True))
    np.save(tmp_path / "p.npy", p / p.sum(1, keepdims=True))
    real = {"--labels": files / "labels.npy", "--batch-size": 77}
    want = run(
        "--logits",
        files / "logits.npy",
        *(x for pair in real.items() for x in pair),
        "--reference",
        files / "logits.npy",
        "--held-out",
        files / "logits.npy",
        "--report",
        tmp_path / "a.html",
    )
    got = run(
        "--probabilities",
        tmp_path / "p.npy",
        *(x for pair in real.items() for x in pair),
        "--reference",
        tmp_path / "p.npy",
        "--held-out",
        tmp_path / "p.npy",
        "--report",
        tmp_path / "b.html",
    )
    assert of_inputs(got["warnings"]) == []
    for name in ("generated", "held_out"):
        for part in ("scores", "entropy", "balance"):
            assert_close(got[name][part], want[name][part])
        assert got[name]["label_accuracy"] == want[name]["label_accuracy"]
    assert got["generated"]["scores"]["am_score"] == pytest.approx(got["generated"]["scores"]["mean_entropy"])


@pytest.mark.parametrize("place", ["generated", "held-out", "reference"])
def test_probabilities_given_as_logits_are_warned_of(files, tmp_path, place):
    p = torch.from_numpy(np.load(files / "logits.npy")).softmax(1).numpy()
    np.save(tmp_path / "p.npy", p)
    given = dict.fromkeys(("--logits", "--held-out", "--reference"), files / "logits.npy")
    given["--logits" if place == "generated" else f"--{place}"] = tmp_path / "p.npy"
    got = run(*(x for pair in given.items() for x in pair))
    (text,) = of_inputs(got["warnings"])
    assert "from_logits=False (amgan-fast evaluate: --probabilities)" in text
    assert text.startswith("logits are within [0, 1]" if place == "generated" else f"{place}: logits are within")


def test_a_reference_of_scores_that_were_warned_of_is_too(files, tmp_path):
    np.save(tmp_path / "p.npy", torch.from_numpy(np.load(files / "logits.npy")).softmax(1).numpy())
    (tmp_path / "mistaken.json").write_text(json.dumps(run("--logits", tmp_path / "p.npy")))
    (text,) = of_inputs(run("--logits", files / "logits.npy", "--reference", tmp_path / "mistaken.json")["warnings"])
    assert text.startswith("reference: logits are within [0, 1]")
    got = run("--probabilities", tmp_path / "p.npy")
    (tmp_path / "right.json").write_text(json.dumps(got))
    right = run("--logits", files / "logits.npy", "--reference", tmp_path / "right.json")
    assert of_inputs(right["warnings"]) == []


def test_rows_that_are_no_probabilities_are_named_or_left_out(files, tmp_path):
    p = torch.from_numpy(np.load(files / "logits.npy")).softmax(1).numpy()
    for value, said in ((-0.5, "its least entry is -0.5"), (0.9, "it sums to 1."), (np.nan, "it holds NaN")):
        bad = p.copy()
        bad[323, np.argmin(p[323])] = value
        np.save(tmp_path / "bad.npy", bad)
        line = refused("--probabilities", tmp_path / "bad.npy", "--batch-size", 100)
        assert "probabilities row 23 (sample 323) gives no distribution" in line
        assert said in line
        got = run("--probabilities", tmp_path / "bad.npy", "--skip-non-finite")["generated"]
        assert (got["scores"]["n"], got["scores"]["non_finite_rows"], sum(got["entropy"]["counts"])) == (359, 1, 359)


def test_few_samples_are_named_beside_the_scores(files, tmp_path):
    np.save(tmp_path / "few.npy", np.load(files / "logits.npy")[:49])
    arguments = ("--logits", tmp_path / "few.npy", "--held-out", files / "logits.npy")
    got = run(*arguments, "--report", tmp_path / "page.html")
    (text,) = got["warnings"]
    assert text.startswith("49 samples of 10 classes: below 5 samples a class (50) corrected scores and intervals")
    assert got["generated"]["warnings"] == got["generated"]["scores"]["warnings"] == [text]
    table = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "120"}).stdout
    for shown in (table, (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert text in shown
        assert shown.count("(too few samples)") == 2


def test_a_batch_size_changes_nothing(files):
    big, small = (run("--logits", files / "logits.npy", "--batch-size", size)["generated"] for size in (1000, 7))
    assert_close(small["scores"], big["scores"])
    assert big["entropy"]["counts"] == small["entropy"]["counts"]


def test_the_page_holds_scores_and_pictures(files, tmp_path):
    page = tmp_path / "page.html"
    got = run("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", "--report", page)
    text = page.read_text()
    for picture in ("Samples: generated", "Samples: held-out real", "Class balance", "Entropy", "Mode drop"):
        assert f"<h2>{picture}</h2>" in text
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]{200,}"', text)) == 5
    assert "<script" not in text
    assert "http" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)  # nothing to fetch
    assert f"{got['generated']['scores']['am_score']:.4f}" in text
    assert got["classifier"]["sha256"] in text
    assert got["generated"]["modes"]["kept"] == list(range(1, 11))
    assert list(tmp_path.iterdir()) == [page]


def test_the_page_says_how_when_and_by_what_it_was_made(files, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    arguments = ["evaluate", "--logits", str(files / "logits.npy"), "--report", str(page), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["/somewhere/amgan-fast", *arguments, "--classifier", "a b"])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [f"report: {page}"]
    text = page.read_text()
    assert '<th scope="row" class="part">entropy of the mean</th>' in text  # kept apart by no spaces: a phone is narrow
    assert f"<code>amgan-fast evaluate --logits {files / 'logits.npy'} " in text
    assert "--classifier &#39;a b&#39;</code>" in text
    (date,) = re.findall(r"<td>(\d{4}-\d\d-\d\d \d\d:\d\d) UTC</td>", text)
    age = datetime.now(timezone.utc) - datetime.fromisoformat(date + "+00:00")
    assert timedelta(0) <= age < timedelta(hours=1)
    assert f"amgan_fast {amgan_fast.__version__}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}" in text


def test_the_table_says_what_scores_rest_on(files):
    arguments = ["evaluate", "--npz", str(files / "digits.npz"), "--classifier", str(files / "classifier.pt")]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for text in ("held-out real", "95% interval", digits_classifier().sha256(), "splits:", "(u - 127.5) / 128"):
        assert text in result.stdout


def test_contiguous_splits_of_sorted_samples_are_warned_of(files):
    sorted_images = run("--images", files / "digits", "--classifier", files / "classifier.pt", "--contiguous")
    assert any("split" in text for text in sorted_images["warnings"])
    assert run("--images", files / "digits", "--classifier", files / "classifier.pt")["warnings"] == []


def test_rows_that_are_no_distribution(files, tmp_path):
    logits = np.load(files / "logits.npy")
    logits[123, 4] = np.nan
    np.save(tmp_path / "bad.npy", logits)
    assert "row 123 (sample 123) gives no distribution: it holds NaN" in refused("--logits", tmp_path / "bad.npy")
    got = run("--logits", tmp_path / "bad.npy", "--skip-non-finite")["generated"]
    assert (got["scores"]["n"], got["scores"]["non_finite_rows"]) == (359, 1)
    assert sum(got["entropy"]["counts"]) == 359
    np.save(tmp_path / "bad.npy", np.full_like(logits, np.nan))
    said = f"no samples but {len(logits)} rows left out, wanted at least one that gives a distribution"
    assert said in refused("--logits", tmp_path / "bad.npy", "--skip-non-finite")


def test_what_cannot_be_written_at_the_end_loses_no_scores(files, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    arguments = ["evaluate", "--logits", str(files / "logits.npy"), "--report", str(tmp_path / "page.html"), "--json"]
    monkeypatch.setattr("amgan_fast.cli.output.write_json", full)
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "scores.json")])
    assert (result.exit_code, "Inception Score" in result.stdout) == (2, True)
    assert "scores.json cannot be written (No space left on device), wanted a place for --json" in result.stderr
    monkeypatch.setattr("amgan_fast.evaluate.save_report", full)
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, json.loads(result.stdout)["generated"]["scores"]["n"]) == (2, 360)
    monkeypatch.setattr("amgan_fast.evaluate.state_file.save_safetensors", full)
    state = ["--state", str(tmp_path / "sums.safetensors"), "--json"]
    result = CliRunner().invoke(app, [*arguments[:3], *state])
    assert (result.exit_code, json.loads(result.stdout)["generated"]["scores"]["n"]) == (2, 360)
    assert "sums.safetensors cannot be written" in result.stderr


def test_unreadable_images_are_named_and_left_out_on_request(files, tmp_path):
    shutil.copytree(files / "digits", tmp_path / "digits")
    (tmp_path / "digits" / "3" / "broken.png").write_bytes(b"no picture")
    arguments = ("--images", tmp_path / "digits", "--classifier", files / "classifier.pt")
    assert "broken.png" in refused(*arguments)
    got = run(*arguments, "--skip-unreadable")
    assert got["generated"]["scores"]["n"] == 360
    assert ["broken.png" in text for text in got["skipped"]] == [True]


def test_what_is_known_of_the_samples_before_a_bad_one_is_shown(files, tmp_path):
    logits = np.load(files / "logits.npy")
    logits[323, 4] = np.nan
    np.save(tmp_path / "bad.npy", logits)
    arguments = ["evaluate", "--logits", str(tmp_path / "bad.npy"), "--batch-size", "100", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    got = json.loads(result.stdout)
    assert got["generated"]["scores"]["n"] == 300
    assert "300 of 360 samples" in got["partial"]
    assert "row 23 (sample 323)" in got["partial"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "found nothing to score, wanted one of --run, --images, --npz, --logits and --probabilities"),
        (("--probabilities", "p.npy", "--classifier", "classifier.pt"), "probabilities are a classifier's output"),
        (("--probabilities", "p.npy", "--logits", "logits.npy"), "found --logits and --probabilities, wanted one of"),
        (("--probabilities", "p.npy", "--held-out", "digits.npz"), "images, wanted a classifier for images"),
        (("--probabilities", "logits.npy"), "logits.npy: probabilities row 0 (sample 0) gives no distribution"),
        (("--logits", "one.npy"), "one.npy is float32 [20, 1], wanted logits of at least 2 classes"),
        (("--npz", "digits.npz", "--classifier", "one_output:make"), "one_output:make gives 1 classes, wanted"),
        (("--npz", "digits.npz", "--logits", "logits.npy"), "found --npz and --logits, wanted one of"),
        (("--npz", "digits.npz"), "wanted a classifier to score images with"),
        (("--logits", "logits.npy", "--classifier", "classifier.pt"), "wanted one of them"),
        (
            ("--npz", "digits.npz", "--classifier", "classifier.pt", "--labels", "labels.npy"),
            "arr_1 of digits.npz holds",
        ),
        (("--logits", "logits.npy", "--splits", "361"), "360 samples, wanted at least one for each of 361 splits"),
        (("--logits", "logits.npy", "--reference", "five.npy"), "reference has 5 classes, wanted the 10 of the logits"),
        (("--logits", "logits.npy", "--held-out", "five_logits.npy"), "of 10 and 5 classes, wanted as many"),
        (("--logits", "logits.npy", "--report", "page.pdf"), "wanted a name that ends in .html"),
        (("--logits", "logits.npy", "--report", "nowhere/page.html"), "wanted a file in a folder that exists"),
        (("--logits", "logits.npy", "--json", "nowhere/a.json"), "json is nowhere/a.json, wanted a file in a folder"),
        (("--logits", "logits.npy", "--json", "/dev/null"), "json is /dev/null, wanted a file in a folder"),
        (("--logits", "logits.npy", "--json", "."), "json is ., wanted a file in a folder"),
        (("--logits", "nowhere.npy"), "nowhere.npy"),
        (("--logits", "logits.npy", "--reference", "nowhere.json"), "nowhere.json cannot be read (No such file"),
        (("--logits", "logits.npy", "--reference", "no.json"), "no.json holds no scores"),
        (("--npz", "digits.npz", "--classifier", "classifier.pt", "--data-dir", "x"), "--data-dir without --dataset"),
        (("--npz", "digits.npz", "--classifier", "classifier.pt", "--input-range", "unit"), "amgan"),
        *(
            (("--logits", "logits.npy", *option), f"found {option[0]} without {user}, wanted it with")
            for user, options in {
                "--run": ["--samples 9"],
                "--classifier": ["--weights no.pth", "--no-last-bias", "--input-range unit", "--input-size 8"],
                "--run or --classifier": ["--resize bilinear", "--dtype float64", "--dataset digits"],
                "a folder of images": ["--workers 2", "--skip-unreadable", "--allow-empty"],
            }.items()
            for option in map(str.split, options)
        ),
        (("--probabilities", "p.npy", "--samples", "50000"), "found --samples without --run"),
        (("--images", "digits", "--classifier", "classifier.pt", "--samples", "9"), "found --samples without --run"),
        (("--npz", "digits.npz", "--classifier", "classifier.pt", "--workers", "2"), "found --workers without"),
        (("--run", ".", "--input-size", "9"), "found --input-size without --classifier, wanted it with"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(files, tmp_path, monkeypatch, arguments, said):
    for file in files.iterdir():
        (tmp_path / file.name).symlink_to(file)
    np.save(tmp_path / "five.npy", np.full(5, 0.2))
    np.save(tmp_path / "five_logits.npy", np.zeros((20, 5), np.float32))
    (tmp_path / "no.json").write_text('{"scores": 3}')
    np.save(tmp_path / "p.npy", np.full((20, 5), 0.2, np.float32))
    np.save(tmp_path / "one.npy", np.zeros((20, 1), np.float32))
    (tmp_path / "one_output.py").write_text("def make():\n    return lambda images: images.flatten(1)[:, :1]\n")
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)


def test_a_run_with_another_classifier(tmp_path, files, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    result = tiny_run(tmp_path / "run", labels="predefined")
    own = run("--run", result.folder.path, "--samples", 600)
    assert own["generated"]["scores"]["am_score"] == pytest.approx(
        result.evaluation.generated.scores.am_score, rel=1e-5
    )
    assert own["held_out"]["scores"]["n"] == 360
    other = run("--run", result.folder.path, "--samples", 600, "--classifier", files / "classifier.pt")
    assert other["generated"]["scores"]["am_score"] == pytest.approx(own["generated"]["scores"]["am_score"], rel=1e-5)


def test_a_classifier_from_its_command_scores(tmp_path, files):
    arguments = ["train-classifier", "--out", str(tmp_path / "c.pt"), "--epochs", "2", "--threads", "1"]
    trained = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert trained.exit_code == 0, trained.output
    facts = json.loads((tmp_path / "c.json").read_text())
    got = run("--npz", files / "digits.npz", "--classifier", tmp_path / "c.pt")
    assert got["classifier"]["sha256"] == facts["sha256"]
    assert got["generated"]["label_accuracy"] == pytest.approx(facts["test_accuracy"], abs=0.002)
    assert got["generated"]["entropy"]["below"] == pytest.approx(facts["held_out_entropy"]["below"], abs=0.01)
    again = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert again.exit_code == 2
    assert "c.pt exists, wanted a new file" in again.stderr
    numbers = CliRunner().invoke(app, ["train-classifier", "--out", str(tmp_path / "d.pt"), "--depth", "10"])
    assert "found --depth with --network cnn, wanted --network densenet-bc" in numbers.stderr


LOUD_CLASSIFIER = """
import ctypes, os, sys
print("imported")
def make():
    print("made")
    def network(images):
        print("python")
        os.system("echo process")
        os.write(1, b"descriptor\\n")
        ctypes.CDLL(None).puts(b"C")
        return images.flatten(1)[:, :10] * 9
    return {"network": network, "input_size": 8}
"""


@pytest.mark.parametrize("place", [["--json"], ["--json", "-"], ["--json", "scores.json"], ["--json=scores.json"]])
def test_json_is_alone_on_the_standard_output_or_whole_in_a_file(files, tmp_path, place):
    """Whatever a user's network prints, in whichever way."""
    (tmp_path / "loud.py").write_text(LOUD_CLASSIFIER)
    command = ["evaluate", *place, "--npz", str(files / "digits.npz"), "--classifier", "loud:make", "--device", "cpu"]
    done = run_forked(["-m", "amgan_fast", *command], tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("imported", "made", "python", "process", "descriptor", "C"):
        assert word in done.stderr.splitlines()
        assert word not in done.stdout.splitlines()
    in_file = "scores.json" in place[-1]
    got = json.loads((tmp_path / "scores.json").read_text() if in_file else done.stdout)
    assert got["generated"]["scores"]["n"] == 360
    assert in_file == ("Inception Score (higher is better)" in done.stdout)
    assert in_file == ("json: scores.json" in done.stderr.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["loud.py", *["scores.json"] * in_file]


def test_info_in_json(tmp_path):
    printed = CliRunner().invoke(app, ["info", "--json"])
    assert json.loads(printed.stdout) == json.loads(json.dumps(amgan_fast.build_info()))
    CliRunner().invoke(app, ["info", "--json", str(tmp_path / "info.json")])
    assert json.loads((tmp_path / "info.json").read_text()) == json.loads(printed.stdout)


SLOW_CLASSIFIER = """
import time, torch
def make():
    class Slow(torch.nn.Module):
        def forward(self, x):
            if len(x) > 1:
                print("classified", flush=True)
                time.sleep(0.2)
            return x.flatten(1)[:, :10]
    return Slow()
"""


def test_ctrl_c_prints_what_is_known_so_far(files, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_CLASSIFIER)
    command = ["evaluate", "--npz", files / "digits.npz", "--classifier", "slow:make", "--batch-size", "20", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "amgan_fast", *map(str, command)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(2):
        while process.stderr.readline() != "classified\n":  # its output is kept off the standard output
            pass
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "amgan-fast: interrupted" in errors
    got = json.loads(output)
    assert 0 < got["generated"]["scores"]["n"] < 360
    assert "interrupted" in got["partial"]
    assert f"{got['generated']['scores']['n']} of 360 samples" in got["partial"]


@pytest.mark.parametrize("source", ["images", "run"])
def test_two_processes_give_the_scores_of_one(files, tmp_path, source, monkeypatch):
    if source == "run":
        use_classifier_cache(tmp_path / "cache", monkeypatch)
        arguments = ["--run", tiny_run(tmp_path / "run").folder.path, "--samples", 1700]
        arguments += ["--compat", "all"]
    else:
        images = digits().train_images[:1300]
        np.savez(tmp_path / "images.npz", images.permute(0, 2, 3, 1).numpy())
        arguments = ["--npz", tmp_path / "images.npz", "--classifier", files / "classifier.pt"]
    command = [*map(str, arguments), "--device", "cpu", "--json"]
    one = run(*arguments)
    two = torchrun_forked(["-m", "amgan_fast", "evaluate", *command], tmp_path)
    assert two.returncode == 0, two.stderr
    got = json.loads(two.stdout)
    assert got["generated"]["scores"]["n"] == one["generated"]["scores"]["n"]
    for part in ("generated", "held_out"):
        assert_close(got[part]["scores"], one[part]["scores"])
        assert got[part]["entropy"]["counts"] == one[part]["entropy"]["counts"]
        assert got[part]["balance"]["counts"] == one[part]["balance"]["counts"]
        for name, score in (one[part]["compat"] or {}).items():
            assert_close(got[part]["compat"][name], score)
