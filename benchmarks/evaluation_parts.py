"""Where an evaluation spends its time: the parts of ``amgan-fast evaluate --images``, one after the other.

    python -m benchmarks.evaluation_parts FOLDER NETWORK [--size 224]

Seconds of a CPU, by one thread, so that no part is counted for another. Where there are more threads all that is below
the headers is shared out. Images are of one size. NETWORK is module:function.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.markdown_tables import header, row


class Parts:
    """Seconds of a CPU by what they were for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - start

    def table(self) -> list[str]:
        total = sum(self.seconds.values())
        lines = [row([what, f"{spent:.2f}", f"{spent / total:.0%}"]) for what, spent in self.seconds.items()]
        return [*header(["part", "CPU s", "share"]), *lines]


def evaluate_in_parts(folder: Path, network: str, size: int | None) -> Parts:
    parts = Parts()
    with parts.of("import torch"):
        import numpy as np
        import torch
    with parts.of("import amgan_fast"):
        from amgan_fast.cli import app  # noqa: F401
        from amgan_fast.console import ProgressBar  # noqa: F401
        from amgan_fast.evaluate import Settings, open_classifier
        from amgan_fast.evaluate.batch_size import fitting_batch_size
        from amgan_fast.evaluate.measurements import Collector
        from amgan_fast.evaluate.sources.source import batch_ranges
        from amgan_fast.images import FileReader, find_images, read_headers, read_many_pixels, read_pixels
    with parts.of("import scipy.special"):
        import scipy.special  # noqa: F401

    torch.set_num_threads(1)
    with parts.of("names of files"):
        listing = find_images(folder)
    with parts.of("their headers"):
        read_headers(listing)
    classifier = (
        open_classifier(network) if size is None else open_classifier(network, resize="bilinear", size=(size, size))
    )
    one = torch.from_numpy(read_pixels(folder / listing.names[0], channels=3))[None]
    batch_size = fitting_batch_size(classifier.logits, one, torch.device("cpu"))
    files = FileReader(folder, listing.names, partial(read_pixels, channels=3), partial(read_many_pixels, channels=3))
    # By this thread, when asked: what others read ahead would count for the parts that go on meanwhile.
    batches = files.read(batch_ranges(len(listing), batch_size), workers=0)
    collector = None
    while True:
        with parts.of("decoding"):
            found = next(batches, None)
            if found is None:
                break
            samples = torch.from_numpy(np.stack(found))
        with parts.of("resizing" if size else "scaling"):
            prepared = classifier.inputs(samples)
        with parts.of("network"), torch.no_grad():
            logits = classifier.network(prepared)
        with parts.of("scores"):
            collector = collector or Collector(logits.size(1), len(listing), Settings(), torch.device("cpu"))
            collector.update(logits, None, None, samples)
    with parts.of("scores"):
        if collector is not None:
            collector.compute(None)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("--size", type=int)
    options = parser.parse_args()
    print(*evaluate_in_parts(options.folder, options.network, options.size).table(), sep="\n")


if __name__ == "__main__":
    main()
