"""One evaluation of the files of its shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amgan_fast.errors import as_input_error
from amgan_fast.evaluate.against import OtherEvaluation
from amgan_fast.evaluate.evaluation import Evaluation, evaluation_of
from amgan_fast.evaluate.state import load_states
from amgan_fast.progress import Progress, to_no_one


def merge_states(
    paths: Sequence[Path],
    *,
    modes: bool = True,
    against: OtherEvaluation | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """What one process would have found that had taken all samples: from the files that shards of it were written to,
    by ``state`` of :func:`amgan_fast.evaluate.evaluate` or ``amgan-fast evaluate --state``.

    Args:
        paths: one for each shard, in any order.
        modes: with the mode-drop curve that a report draws.
        against: what the scores are compared with, as of :func:`amgan_fast.evaluate.evaluate`.
        progress: told of scores of features, which take a while.

    Raises:
        InputError: a file that is damaged or of something else, shards that do not belong together, or one that is
            missing or there twice, by name; or ``against`` is of another classifier or reference.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs, evaluate, merge_states
    >>> from amgan_fast.evaluate.sources import TensorSource
    >>> from amgan_fast.processes import Share
    >>> images = torch.randint(256, (60, 1, 2, 2), dtype=torch.uint8)
    >>> source = TensorSource(images, torch.zeros(60, dtype=torch.int64), "60 images of noise")
    >>> classifier = ImageClassifier("pixels", torch.nn.Flatten(), Inputs(), torch.device("cpu"))
    >>> files = [Path("first.safetensors"), Path("second.safetensors")]
    >>> for i, file in enumerate(files):
    ...     part = evaluate(source, classifier, share=Share(shard=i, shards=2), state=file)
    >>> part.partial
    'shard 2 of 2: 30 of 30 samples of 60 images of noise; amgan-fast merge makes one evaluation of all'
    >>> merge_states(files).generated.scores.n
    60
    """
    with as_input_error():
        loaded = load_states(paths, modes=modes)
        passes, reference, features = loaded.passes, loaded.reference, loaded.features
        if against is not None:
            vector = None if reference is None else reference.probabilities
            against.require_comparable(passes[0].classifier, passes[0].num_classes, vector)
        known = (None, None) if reference is None else (reference.reference, reference.class_counts)
        done = [one.collector.compute(*known) for one in passes]
        if features is not None:
            done = features.scores_of(passes, done, progress or to_no_one)
        return evaluation_of(passes, done, reference, against=against, features=features)
