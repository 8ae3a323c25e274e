"""What a classifier makes of samples, kept in files while they are scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.image_classifier import Outputs
from amgan_fast.evaluate.npy_writing import NpyRows, growing_npy
from amgan_fast.evaluation_request import OutputFiles

_DTYPES = {"logits": np.float32, "features": np.float32, "labels": np.int64}


@contextmanager
def written_outputs(files: OutputFiles, classes: Tensor | None) -> Iterator[SavedOutputs]:
    """What takes the batches as they are classified; files take their places once all have come.

    Args:
        classes: int64 [S], the class that each label stands for, for labels.

    Raises:
        InputError: a file cannot be written; what was there is as it was.
    """
    given = files.given
    if not given:
        yield SavedOutputs({}, None)
        return
    try:
        with ExitStack() as stack:
            rows = {name: stack.enter_context(growing_npy(path, _DTYPES[name])) for name, path in given.items()}
            yield SavedOutputs(rows, classes)
    except OSError as error:
        named = ", ".join(map(str, given.values()))
        raise InputError(f"{named} cannot be written ({error.strerror}); earlier files are as they were") from error


class SavedOutputs:
    """The files while they are written; arguments as of :func:`written_outputs`."""

    def __init__(self, files: dict[str, NpyRows], classes: Tensor | None) -> None:
        self._files = files
        self._classes = None if classes is None else classes.cpu()

    def add(self, outputs: Outputs, labels: Tensor | None) -> None:
        """A batch's, with its labels, [N] or None."""
        if (file := self._files.get("logits")) is not None:
            file.add(outputs.logits.float().cpu().numpy())
        if (file := self._files.get("features")) is not None and outputs.features is not None:
            file.add(outputs.features.float().cpu().numpy())
        if (file := self._files.get("labels")) is not None and labels is not None and self._classes is not None:
            file.add(self._classes[labels.cpu()].numpy())
