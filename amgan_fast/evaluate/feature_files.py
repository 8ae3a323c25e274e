"""Features of real images from files: mean and covariance alone, or the sums of an earlier evaluation of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from amgan_fast.errors import InputError, as_input_error
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.feature_extraction import FeatureExtraction
from amgan_fast.evaluate.feature_reference import FeatureReference
from amgan_fast.evaluate.state import load_states
from amgan_fast.metrics import GaussianMoments

_MOMENTS = {"mu", "sigma"}


def read_feature_reference(
    path: Path, extraction: FeatureExtraction, classifier: ImageClassifier | None
) -> FeatureReference | None:
    """Of an .npz with ``mu`` and ``sigma``, as the statistics of other tools, or of a .safetensors that
    ``amgan-fast evaluate --state`` wrote with features; None of anything else: images.

    Args:
        path: of the file.
        extraction: what features are to be compared with them.
        classifier: whose features these are where the extractor is none of its own.

    Raises:
        InputError: a damaged file, moments of no distribution, or a state without features or of others.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate.feature_extraction import FeatureExtraction
    >>> from amgan_fast.evaluate.feature_files import read_feature_reference
    >>> np.savez("statistics.npz", mu=np.zeros(3), sigma=np.eye(3))
    >>> read_feature_reference(Path("statistics.npz"), FeatureExtraction(None, 10_000), None).origin
    'mu and sigma of statistics.npz'
    """
    if path.suffix == ".safetensors" and path.is_file():
        return _from_state(path, extraction, classifier)
    if not _has_moments(path):
        return None
    with as_input_error():
        return FeatureReference.exact(GaussianMoments.load(path), f"mu and sigma of {path}")


def holds_features_alone(path: Path) -> bool:
    """Whether a file has what :func:`read_feature_reference` takes, and no images beside it.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate.feature_files import holds_features_alone
    >>> np.savez("statistics.npz", mu=np.zeros(3), sigma=np.eye(3))
    >>> np.savez("images.npz", arr_0=np.zeros((2, 4, 4, 3), np.uint8), mu=np.zeros(3), sigma=np.eye(3))
    >>> holds_features_alone(Path("statistics.npz")), holds_features_alone(Path("images.npz"))
    (True, False)
    """
    if path.suffix == ".safetensors":
        return path.is_file()
    return _has_moments(path) and len(_arrays_in(path)) == len(_MOMENTS)


def _has_moments(path: Path) -> bool:
    return path.suffix == ".npz" and path.is_file() and _arrays_in(path) >= _MOMENTS


def _arrays_in(path: Path) -> set[str]:
    if not zipfile.is_zipfile(path):
        return set()
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def _from_state(path: Path, extraction: FeatureExtraction, classifier: ImageClassifier | None) -> FeatureReference:
    loaded = load_states([path], modes=False)
    real, comparison = loaded.passes[0], loaded.features
    kept = real.collector.features
    if kept is None or comparison is None:
        raise InputError(f"{path} has no features, wanted the --state of an evaluation with --features")
    mine, others = extraction.identity(classifier), comparison.extraction.identity(real.classifier)
    if mine != others:
        raise InputError(f"{path} has features of {others}, wanted those of {mine}, as of the samples")
    return FeatureReference(kept, f"{real.source.description} ({path})", real.source.record().fingerprint)
