"""``evaluate --save-logits``, ``--save-features``, ``--save-labels``: what a classifier makes of samples, scored again
without it."""

from __future__ import annotations

import json
import re
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import digits, digits_classifier, tiny_run, use_classifier_cache, write_digits
from torch.nn.functional import adaptive_avg_pool2d, relu
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import to_float
from amgan_fast.errors import InputError
from amgan_fast.evaluate import Request, evaluate_request, measure_classifier, open_run
from amgan_fast.nn import build_classifier
from amgan_fast.processes import Share

FILES = ("logits", "features", "labels")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A classifier, a run, and held-out digits as files; tests read them."""
    folder = tmp_path_factory.mktemp("files")
    write_digits(folder, 60)
    images = digits().test_images
    np.savez(folder / "unlabelled.npz", arr_0=images.permute(0, 2, 3, 1).numpy())
    with pytest.MonkeyPatch.context() as patch:
        use_classifier_cache(folder / "cache", patch)
        tiny_run(folder / "run", labels="predefined")
    return folder


def evaluate(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", "--device", "cpu", "--json", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["generated"]


def saved(folder: Path, *names: str) -> list[object]:
    return [word for name in names for word in (f"--save-{name}", folder / f"{name}.npy")]


def load(folder: Path, *names: str) -> list[np.ndarray]:
    return [np.load(folder / f"{name}.npy") for name in names]


def test_logits_features_and_labels_are_those_of_the_samples_in_their_order(files, tmp_path):
    judge = ("--classifier", files / "classifier.pt")
    evaluate("--npz", files / "digits.npz", *judge, "--batch-size", 70, *saved(tmp_path, *FILES))
    logits, features, labels = load(tmp_path, *FILES)
    layers = digits_classifier().network.layers
    with torch.no_grad():
        want = layers[:-1](to_float(digits().test_images))
        np.testing.assert_allclose(features, want.numpy(), atol=1e-5)
        np.testing.assert_allclose(logits, layers[-1](want).numpy(), atol=1e-4)
    np.testing.assert_array_equal(labels, digits().test_labels.numpy())
    assert (logits.dtype, features.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.npy" for name in FILES}


def test_features_of_a_densenet(files, tmp_path):
    network = build_classifier("densenet-bc", (1, 8, 8), 10, depth=10, growth=4)
    measure_classifier(network, digits(), recipe={}).save(tmp_path / "densenet.pt")
    evaluate("--npz", files / "digits.npz", "--classifier", tmp_path / "densenet.pt", *saved(tmp_path, "features"))
    with torch.no_grad():
        maps = relu(network.layers.features(to_float(digits().test_images)))
        want = adaptive_avg_pool2d(maps, 1).flatten(1)
    np.testing.assert_allclose(load(tmp_path, "features")[0], want.numpy(), atol=1e-5)


@pytest.mark.parametrize("source", ["run", "npz"])
def test_scores_of_the_saved_logits_are_the_same_to_the_bit(files, source, tmp_path):
    judge = files / "run" / "classifier.pt"
    scored = ("--run", files / "run", "--samples", 700)
    if source == "npz":
        scored = ("--npz", files / "digits.npz", "--classifier", judge)
    first = evaluate(*scored, "--batch-size", 90, *saved(tmp_path, "logits", "labels"))
    again = ("--logits", tmp_path / "logits.npy", "--labels", tmp_path / "labels.npy", "--reference", judge)
    second = evaluate(*again, "--batch-size", 90)
    for name in ("scores", "entropy", "balance", "modes", "classes", "label_accuracy", "class_counts"):
        assert second[name] == first[name], name
    assert second["scores"]["am_score"] is not None
    other = evaluate(*again)["scores"]
    for name in ("am_score", "inception_score", "mode_score"):
        assert other[name] == pytest.approx(first["scores"][name], rel=1e-12)


def test_saving_changes_no_score(files, tmp_path):
    scored = ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt")
    assert evaluate(*scored, *saved(tmp_path, *FILES)) == evaluate(*scored)


def test_what_a_run_makes_is_saved(files, tmp_path):
    evaluate("--run", files / "run", "--samples", 700, *saved(tmp_path, *FILES))
    logits, features, labels = load(tmp_path, *FILES)
    run = open_run(files / "run", "cpu")
    images, asked = run.samples(700)
    with torch.no_grad():
        want = run.classifier.network.layers[:-1](images)
    np.testing.assert_allclose(features, want.numpy(), atol=1e-5)
    np.testing.assert_array_equal(labels, asked.numpy())
    assert logits.shape == (700, 10)


def test_several_threads_keep_the_order(files, threads, tmp_path):
    threads(3)
    scored = ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", "--batch-size", 20)
    evaluate(*scored, *saved(tmp_path, "logits", "features"))
    logits, features = load(tmp_path, "logits", "features")
    last = digits_classifier().network.layers[-1]
    with torch.no_grad():
        np.testing.assert_allclose(last(torch.from_numpy(features)).numpy(), logits, atol=1e-5)
        want = digits_classifier().network(to_float(digits().test_images))
    np.testing.assert_allclose(logits, want.numpy(), atol=1e-4)


def test_images_that_are_left_out_have_no_row(files, tmp_path):
    folder = tmp_path / "folder"
    for name in ("0.png", "1.png", "2.png"):
        (folder / "7").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 50 * int(name[0]), np.uint8)).save(folder / "7" / name)
    whole = (folder / "7" / "1.png").read_bytes()
    (folder / "7" / "1.png").write_bytes(whole[: whole.index(b"IDAT") + 6])  # cut short within its pixels
    scored = ("--images", folder, "--classifier", files / "classifier.pt", "--splits", 1, "--skip-unreadable")
    evaluate(*scored, *saved(tmp_path, "logits", "labels"))
    logits, labels = load(tmp_path, "logits", "labels")
    with torch.no_grad():
        grey = torch.tensor([0, 100], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
        want = digits_classifier().network(to_float(grey))
    np.testing.assert_allclose(logits, want.numpy(), atol=1e-4)
    assert labels.tolist() == [7, 7]  # the class, not the place of the folder


def test_the_shards_of_several_jobs_make_one_set(files, tmp_path):
    scored = ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", "--batch-size", 60)
    evaluate(*scored, *saved(tmp_path, "logits"))
    (whole,) = load(tmp_path, "logits")
    parts = []
    for shard in ("1/3", "2/3", "3/3"):
        evaluate(*scored, "--shard", shard, *saved(tmp_path, "logits"))
        parts += load(tmp_path, "logits")
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_half_precision_is_saved_as_it_is(files, tmp_path):
    scored = ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", "--dtype", "bfloat16")
    evaluate(*scored, *saved(tmp_path, "logits", "features"))
    for values in load(tmp_path, "logits", "features"):
        assert values.dtype == np.float32
        assert torch.from_numpy(values).bfloat16().float().numpy().tolist() == values.tolist()


USERS = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.Tanh(), nn.Linear(7, 4))

def scaled():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()
        def forward(self, x):
            return 2 * self.inner(x)
    return Scaled()

def function():
    return lambda images: images.flatten(1)
"""


def test_features_of_a_users_network(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("users_features.py").write_text(USERS)
    evaluate("--npz", files / "unlabelled.npz", "--classifier", "users_features:network", *saved(tmp_path, "features"))
    import users_features

    images = digits().test_images.float() / 127.5 - 1
    with torch.no_grad():
        want = users_features.network()[:-1](images)
    np.testing.assert_allclose(load(tmp_path, "features")[0], want.numpy(), atol=1e-5)
    for name, said in (("scaled", "logits are of no linear layer"), ("function", "which shows no layers")):
        scored = ("--npz", files / "unlabelled.npz", "--classifier", f"users_features:{name}")
        assert said in refused(*scored, "--save-features", "f.npy")
        assert not Path("f.npy").exists()
        evaluate(*scored, "--save-logits", "l.npy")
        assert len(np.load("l.npy")) == 360


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", "--device", "cpu", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("amgan-fast: ")]
    return line


def test_what_cannot_be_saved_is_one_line_and_nothing_written(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scored = ("--npz", files / "unlabelled.npz", "--classifier", files / "classifier.pt")
    np.save("logits.npy", np.zeros((20, 3), np.float32))
    for options, said in (
        (("--save-logits", "l.txt"), "--save-logits is l.txt, wanted a name that ends in .npy"),
        (("--save-features", "no/f.npy"), "--save-features is no/f.npy, wanted a file in a folder that exists"),
        (("--save-logits", "x.npy", "--save-features", "x.npy"), "with one name, wanted a file for each"),
        (("--save-labels", "y.npy"), "found --save-labels, and 360 images"),
    ):
        assert said in refused(*scored, *options)
    assert "found --save-logits without" in refused("--logits", "logits.npy", "--save-logits", "l.npy")
    request = Request(npz=files / "digits.npz", classifier=str(files / "classifier.pt"), save_logits=Path("l.npy"))
    with pytest.raises(InputError, match="found --save-logits in 2 processes, wanted one, or jobs with a --shard each"):
        evaluate_request(request, share=Share(rank=0, ranks=2))
    assert [path.name for path in tmp_path.iterdir()] == ["logits.npy"]


def test_labels_of_unknown_classes_are_not_saved(files, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "pets" / name / "0.png")
    scored = ("--images", tmp_path / "pets", "--classifier", files / "classifier.pt", "--splits", 1)
    said = refused(*scored, "--save-labels", tmp_path / "y.npy")
    assert re.search(r"has labels of unknown classes \(the classes are cat, dog", said)


def test_nothing_is_left_of_what_was_not_finished(files, tmp_path, monkeypatch):
    (tmp_path / "logits.npy").write_text("precious")
    scored = ("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", "--batch-size", 50)

    def interrupt(bar: object, what: str, done: int, total: int) -> None:
        if done >= 100:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("amgan_fast.console.ProgressBar.progress", interrupt)
        arguments = ["evaluate", *map(str, (*scored, *saved(tmp_path, *FILES)))]
        assert CliRunner().invoke(app, arguments).exit_code == 130
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # bytes
    try:
        said = refused(*scored, *saved(tmp_path, "logits"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "logits.npy cannot be written (File too large); earlier files are as they were" in said
    assert [path.name for path in tmp_path.iterdir()] == ["logits.npy"]
    assert (tmp_path / "logits.npy").read_text() == "precious"


def test_a_classifiers_file_is_the_reference_that_it_carries(files, tmp_path):
    np.save(tmp_path / "vector.npy", digits_classifier().reference.numpy())
    evaluate("--npz", files / "digits.npz", "--classifier", files / "classifier.pt", *saved(tmp_path, "logits"))
    by_file, by_vector = (
        evaluate("--logits", tmp_path / "logits.npy", "--reference", path)["scores"]
        for path in (files / "classifier.pt", tmp_path / "vector.npy")
    )
    assert by_file["am_score"] == pytest.approx(by_vector["am_score"], rel=1e-12)
    (tmp_path / "other.pt").write_text("no classifier")
    assert "other.pt is damaged or no checkpoint" in refused(
        "--logits", tmp_path / "logits.npy", "--reference", tmp_path / "other.pt"
    )
