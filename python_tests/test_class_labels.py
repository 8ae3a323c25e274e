"""Which class a label stands for: class folders of any names, arrays, datasets and runs, against images whose classes
are known by their pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_data import write_idx_set
from test_data_tiny_imagenet import WNIDS, write_tiny_imagenet
from tiny_runs import digits, digits_classifier, tiny_config, use_classifier_cache
from torchvision.datasets import FashionMNIST
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import load_dataset
from amgan_fast.drawing import save_sheet
from amgan_fast.errors import InputError
from amgan_fast.evaluate import ImageClassifier, Inputs, load_classifier, open_classifier, read_classifier
from amgan_fast.evaluate.class_labels import classes_of_labels
from amgan_fast.evaluate.sources import ImageFolderSource, Source, TensorSource
from amgan_fast.images import in_class_order, is_number
from amgan_fast.metrics import label_balance, save_label_balance
from amgan_fast.tensor_files import load_tensors, save_tensors
from amgan_fast.train import train

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# The class is the grey level over ten, whatever a file is called.
GREY_LEVELS = """
import torch
def make(classes):
    def classify(images):
        level = images.flatten(1).mean(1).mul(127.5).add(127.5).div(10).round().long()
        return 20.0 * torch.nn.functional.one_hot(level, classes).float()
    return classify
def twelve():
    return make(12)
"""


def grey_folders(folder: Path, names: dict[str, int], count: int = 3) -> Path:
    """Folders of images whose grey level says of which class they are."""
    for name, label in names.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (4, 4), 10 * label).save(folder / name / f"{i}.png")
    return folder


def digit_folders(folder: Path, names: dict[int, str], part: str = "test", count: int = 1000) -> Path:
    """Digits by class, in folders of these names."""
    images, labels = getattr(digits(), f"{part}_images"), getattr(digits(), f"{part}_labels")
    for digit, name in names.items():
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(images[labels == digit][:count]):
            Image.fromarray(image[0].numpy()).save(folder / name / f"{i:03}.png")
    return folder


def evaluated(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu", "--json", "--splits", "1"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu", "--splits", "1"])
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("amgan-fast: ")]
    return line


@pytest.fixture
def twelve(tmp_path, monkeypatch) -> str:
    """A classifier of twelve grey levels, without names."""
    (tmp_path / "grey_levels.py").write_text(GREY_LEVELS)
    monkeypatch.syspath_prepend(tmp_path)
    return "grey_levels:twelve"


@torch.no_grad()
def true_accuracy(classes: list[int]) -> float:
    """Of the digits' classifier on held-out digits of these classes."""
    kept = torch.isin(digits().test_labels, torch.tensor(classes))
    logits = digits_classifier().for_images().logits(digits().test_images[kept])
    return (logits.argmax(1) == digits().test_labels[kept]).double().mean().item()


# Folders called by numbers.


def test_twelve_folders_called_by_numbers_agree_as_the_same_labels_in_an_array_do(tmp_path, twelve):
    folder = grey_folders(tmp_path / "samples", {str(i): i for i in range(12)})
    labels = np.arange(12).repeat(3)
    images = np.full((36, 4, 4, 1), 10, np.uint8) * labels[:, None, None, None].astype(np.uint8)
    np.savez(tmp_path / "samples.npz", arr_0=images, arr_1=labels)
    for source in (("--images", folder), ("--npz", tmp_path / "samples.npz")):
        assert evaluated(*source, "--classifier", twelve)["generated"]["label_accuracy"] == 1.0
    held_out = evaluated("--images", folder, "--classifier", twelve, "--held-out", folder)["held_out"]
    assert held_out["label_accuracy"] == 1.0


@pytest.mark.parametrize("names", [{3: "3", 7: "7"}, {3: "003", 7: "7"}])
def test_some_of_the_folders_called_by_numbers(tmp_path, names):
    digits_classifier().save(tmp_path / "classifier.pt")
    folder = digit_folders(tmp_path / "digits", names)
    got = evaluated("--images", folder, "--classifier", tmp_path / "classifier.pt")["generated"]
    assert got["label_accuracy"] == pytest.approx(true_accuracy([3, 7]))
    assert got["label_note"] is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({str(i): i for i in range(1, 13)}, "has the classes 12, wanted 0 to 11: the classes of the classifier"),
        ({"-1": 0, "0": 0}, "has the classes -1, wanted 0 to 11"),
        ({str(i): 0 for i in range(14)}, "has the classes 12, 13, wanted 0 to 11"),
        ({"99999999999999999999": 0}, "has the classes 99999999999999999999, wanted 0 to 11"),
    ],
)
def test_folders_called_by_numbers_out_of_range_are_refused_by_name(tmp_path, twelve, names, said):
    folder = grey_folders(tmp_path / "samples", names)
    assert f"{folder} {said}" in refused("--images", folder, "--classifier", twelve)
    good = grey_folders(tmp_path / "good", {"0": 0})
    assert f"{folder} {said}" in refused("--images", good, "--held-out", folder, "--classifier", twelve)


@pytest.mark.parametrize(("label", "said"), [(12, "has a label of 12, wanted 0 to 11: the classes of the"),
                                             (-1, "has a label of -1, wanted 0 or more")])  # fmt: skip
def test_labels_out_of_range_are_refused_by_name_in_arrays(tmp_path, twelve, label, said):
    labels = np.array([0, 1, label])
    np.savez(tmp_path / "samples.npz", arr_0=np.zeros((3, 4, 4, 1), np.uint8), arr_1=labels)
    name = f"arr_1 of {tmp_path / 'samples.npz'}"
    assert f"{name} {said}" in refused("--npz", tmp_path / "samples.npz", "--classifier", twelve)
    np.save(tmp_path / "logits.npy", np.zeros((3, 12), np.float32))
    np.save(tmp_path / "labels.npy", labels)
    line = refused("--logits", tmp_path / "logits.npy", "--labels", tmp_path / "labels.npy")
    assert f"{tmp_path / 'labels.npy'} {said}" in line


# Folders with names.


@pytest.fixture(scope="module")
def words_classifier(tmp_path_factory) -> Path:
    """The file of a classifier trained by the command on four digits in folders called by words."""
    root = tmp_path_factory.mktemp("words")
    names = {digit: WORDS[digit] for digit in (1, 3, 7, 8)}
    digit_folders(root / "data" / "train", names, "train", count=60)
    digit_folders(root / "data" / "test", names)
    (root / "data" / "train" / "three" / "broken.png").write_bytes(b"no image")
    command = ["train-classifier", "--dataset", "image-folder", "--data-dir", str(root / "data"), "--out"]
    options = [str(root / "words.pt"), "--epochs", "20", "--threads", "1", "--device", "cpu"]
    refused = CliRunner().invoke(app, [*command, *options])
    assert refused.exit_code == 2
    assert "three/broken.png (no image that can be read)" in refused.stderr
    trained = CliRunner().invoke(app, [*command, *options, "--skip-unreadable"])
    assert trained.exit_code == 0, trained.output
    assert "1 left out" in trained.stdout
    return root / "words.pt"


def test_a_classifier_keeps_the_names_of_its_classes(words_classifier):
    names = ["eight", "one", "seven", "three"]
    assert json.loads(words_classifier.with_suffix(".json").read_text())["class_names"] == names
    assert read_classifier(words_classifier).class_names == tuple(names)
    assert open_classifier(str(words_classifier)).class_names == tuple(names)


def test_some_of_the_classes_that_a_classifier_has_names_of(tmp_path, words_classifier):
    whole = words_classifier.parent / "data" / "test"
    digit_folders(tmp_path / "some", {3: "three", 8: "eight"})
    classifier = open_classifier(str(words_classifier))
    for folder in (whole, tmp_path / "some"):
        source = ImageFolderSource(folder)
        agreeing = total = 0
        for batch in source.batches(100):
            names = [source.class_names[label] for label in batch.labels]
            found = [classifier.class_names[place] for place in classifier.logits(batch.values).argmax(1)]
            agreeing += sum(a == b for a, b in zip(names, found, strict=True))
            total += len(names)
        got = evaluated("--images", folder, "--classifier", words_classifier)
        assert got["generated"]["label_accuracy"] == pytest.approx(agreeing / total)
        assert got["generated"]["label_accuracy"] > 0.8
        assert got["classifier"]["class_names"] == ["eight", "one", "seven", "three"]


def test_folders_that_are_none_of_the_classes_with_names(tmp_path, words_classifier):
    some = grey_folders(tmp_path / "some", {"three": 3, "tree": 4})
    want = f"{some} has the classes tree, wanted some of the 4 of {words_classifier}: eight, one, seven and 1 more"
    arguments = ("--classifier", words_classifier, "--resize", "bilinear")
    assert want in refused("--images", some, *arguments)
    others = grey_folders(tmp_path / "others", {"cat": 3, "dog": 4})
    note = f"the classes are cat, dog, those of {words_classifier} are eight, one, seven and 1 more"
    got = evaluated("--images", others, *arguments)["generated"]
    assert (got["label_accuracy"], got["label_note"]) == (None, note)
    table = CliRunner().invoke(app, ["evaluate", "--images", str(others), *map(str, arguments), "--splits", "1"])
    assert f"no agreement: generated labels: {note}" in table.stdout
    assert "classifier agrees" not in table.stdout


def test_names_that_nobody_knows_give_no_agreement_and_the_reason(tmp_path, twelve):
    folder = grey_folders(tmp_path / "samples", {f"prompt {i}": 0 for i in range(20)})
    got = evaluated("--images", folder, "--classifier", twelve)["generated"]
    assert got["label_accuracy"] is None
    names = "prompt 0, prompt 1, prompt 10 and 17 more"
    assert got["label_note"] == f"the classes are {names}, and grey_levels:twelve carries no class names"


def test_a_file_of_an_earlier_version_has_no_names_and_loads(tmp_path, words_classifier):
    state = load_tensors(words_classifier)
    del state["class_names"]
    save_tensors(tmp_path / "earlier.pt", state)
    assert read_classifier(tmp_path / "earlier.pt").class_names is None
    dataset = load_dataset("image-folder", words_classifier.parent / "data", skip_unreadable=True)
    assert load_classifier(tmp_path / "earlier.pt", dataset).class_names == dataset.class_names
    whole = words_classifier.parent / "data" / "test"
    got = evaluated("--images", whole, "--classifier", tmp_path / "earlier.pt")["generated"]
    assert got["label_accuracy"] is None
    assert "is of an earlier version, which kept no class names" in got["label_note"]
    save_tensors(tmp_path / "damaged.pt", state | {"class_names": ["a"]})
    with pytest.raises(InputError, match=r"damaged\.pt holds no classifier that fits \(ValueError: class_names are 1"):
        read_classifier(tmp_path / "damaged.pt")


def test_names_are_on_the_page_and_in_the_table(tmp_path, words_classifier):
    whole = words_classifier.parent / "data" / "test"
    arguments = ["evaluate", "--images", str(whole), "--classifier", str(words_classifier), "--device", "cpu"]
    table = CliRunner().invoke(app, [*arguments, "--report", str(tmp_path / "page.html")])
    assert "classes:     4: eight, one, seven and 1 more" in table.stdout
    assert "4: eight, one, seven and 1 more" in (tmp_path / "page.html").read_text()


# Runs and datasets.


def test_a_run_keeps_names_and_shows_them(tmp_path, monkeypatch, words_classifier):
    dataset = load_dataset("image-folder", words_classifier.parent / "data", skip_unreadable=True)
    cache = use_classifier_cache(tmp_path / "cache", monkeypatch).parent
    state = load_tensors(words_classifier)
    save_tensors(cache / f"classifier-image-folder-{dataset.fingerprint()[:12]}.pt", state)
    options = {
        "dataset": "image-folder",
        "data_dir": str(words_classifier.parent / "data"),
        "skip_unreadable": True,
        "labels": "predefined",
        "steps": 2,
        "batch_size": 20,
    }
    folder = train(replace(tiny_config(), **options), tmp_path / "run").folder
    names = ["eight", "one", "seven", "three"]
    assert load_tensors(folder.classifier)["class_names"] == names
    assert json.loads(folder.summary.read_text())["classifier"]["class_names"] == names
    # Names stand before the rows: twelve samples a row are narrower.
    with Image.open(folder.samples) as picture:
        assert picture.width > 12 * (56 + 2) + 2
    whole = words_classifier.parent / "data" / "test"
    accuracy = evaluated("--images", whole, "--classifier", words_classifier)["generated"]["label_accuracy"]
    own = evaluated("--images", whole, "--classifier", folder.classifier)
    assert own["generated"]["label_accuracy"] == accuracy
    # Digits' own classifier knows none of these names, and has ten classes.
    other = evaluated("--run", folder.path, "--samples", 100, "--classifier", cache / next(
        path.name for path in cache.glob("classifier-digits-*")
    ))  # fmt: skip
    for part in ("generated", "held_out"):
        assert other[part]["label_accuracy"] is None
        assert other[part]["label_note"].startswith("the classes are eight, one, seven and 1 more, those of")


def stub(num_classes: int, **known: object) -> ImageClassifier:
    return ImageClassifier("net", lambda x: x, Inputs(), torch.device("cpu"), num_classes, **known)


def whole_set(*names: str) -> Source:
    return TensorSource(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), "a set", names)


DIGITS = tuple(map(str, range(10)))


@pytest.mark.parametrize(
    ("source", "classifier", "want"),
    [
        (whole_set(*DIGITS), stub(10, dataset="digits"), list(range(10))),
        (whole_set(*DIGITS), stub(10), list(range(10))),  # anyone's network, of as many classes
        (whole_set(*DIGITS), stub(1000), None),  # ImageNet's classes, say
        (whole_set(*DIGITS), stub(10, dataset="cifar10", class_names=tuple("abcdefghij")), None),
        (whole_set(*DIGITS), stub(10, dataset="image-folder"), None),  # an earlier version counted otherwise
        (whole_set("b", "a"), stub(3, dataset="image-folder", class_names=("a", "b", "c")), [1, 0]),
        (whole_set("7", "3"), stub(10, dataset="digits"), [7, 3]),
        (whole_set("a", "b"), stub(10, dataset="digits"), None),
    ],
)
def test_labels_of_a_whole_set_under_any_classifier(source, classifier, want):
    classes, note = classes_of_labels(source, classifier, classifier.num_classes)
    if want is None:
        assert classes is None
        assert note
    else:
        assert classes.tolist() == want
        assert note is None


def test_folders_called_by_numbers_are_those_of_a_classifier_whose_classes_have_other_names(tmp_path):
    folder = grey_folders(tmp_path, {"2": 2, "0": 0})
    classes, _ = classes_of_labels(ImageFolderSource(folder), stub(3, class_names=("ant", "bee", "cat")), 3)
    assert classes.tolist() == [0, 2]
    # Trained on folders 1 to 3: theirs are names that can be matched.
    with pytest.raises(InputError, match=r"has the classes 0, wanted some of the 3 of net: 1, 2, 3"):
        classes_of_labels(ImageFolderSource(folder), stub(3, class_names=("1", "2", "3")), 3)
    (folder / "0").rename(folder / "03")
    classes, _ = classes_of_labels(ImageFolderSource(folder), stub(3, class_names=("1", "2", "3")), 3)
    assert classes.tolist() == [1, 2]


def test_the_order_of_class_names():
    assert in_class_order(["10", "9", "-1", "007"]) == ["-1", "007", "9", "10"]
    assert in_class_order(["10", "9", "b", "B"]) == ["10", "9", "B", "b"]
    assert [name for name in ("1", "-1", "", "-", "+1", "1_0", "1.0", " 1", "²", "٣") if is_number(name)] == ["1", "-1"]


def test_published_datasets_bring_the_names_of_their_classes(tmp_path):
    write_idx_set(tmp_path / "fashion", packed=False)
    assert load_dataset("fashion-mnist", tmp_path / "fashion").class_names == tuple(FashionMNIST.classes)
    write_tiny_imagenet(tmp_path / "tiny")
    assert load_dataset("tiny-imagenet", tmp_path / "tiny").names == tuple(sorted(WNIDS))
    assert load_dataset("digits").names == DIGITS


def test_bars_of_classes_are_called_by_their_names(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("amgan_fast.metrics.balance.save_figure", lambda path, figure: figures.append(figure))
    balance = label_balance([torch.eye(3)], [1 / 3] * 3)
    names = ["$\\frac$ and $x$", "\udcff", "a" * 300]
    save_label_balance(tmp_path / "balance.png", {"real": balance}, names)
    figures[0].savefig(tmp_path / "balance.png")  # nothing in a name is mathematics
    shown = [label.get_text() for label in figures[0].axes[0].get_xticklabels()]
    assert shown == [names[0], "\\udcff", "a" * 23 + "…"]


def test_names_of_any_characters_are_drawn(tmp_path):
    rows = torch.zeros(4, 2, 1, 8, 8, dtype=torch.uint8)
    save_sheet(tmp_path / "plain.png", rows)
    save_sheet(tmp_path / "named.png", rows, ["кот", "a" * 300, "日本", "\udcff"])
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "named.png") as named:
        assert named.height == plain.height
        left = named.crop((0, 0, named.width - plain.width, named.height))
        assert named.crop((named.width - plain.width, 0, named.width, named.height)).tobytes() == plain.tobytes()
    middle = np.asarray(left.convert("L"))
    for row in range(4):
        assert (middle[2 + row * 58 : 58 + row * 58] < 128).any()
