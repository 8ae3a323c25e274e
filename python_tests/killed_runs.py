"""Ends processes at every step that they take in the file system, and looks whether the same work then ends as ever.

``python killed_runs.py FOLDER --every N`` prints, for each scenario, how many such points there are and what went wrong
at every Nth. Each is tried in a process of its own, forked once everything is imported and loaded.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import json
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # what an optimizer imports, before the fork
from PIL import Image
from tiny_runs import assert_same_run, digits, digits_classifier, tiny_config
from torch.utils import tensorboard  # noqa: F401  before the fork too

from amgan_fast.compare import compare, plan, results
from amgan_fast.errors import InputError
from amgan_fast.evaluate import Request, TrainedClassifier, evaluate_request, read_classifier, save_report
from amgan_fast.evaluate.sheets import save_sheets
from amgan_fast.files import whole_file
from amgan_fast.metrics import class_ms_ssim
from amgan_fast.runs import Checkpoint, RunFolder, previous_checkpoint
from amgan_fast.train import Observer, cached_classifier, resume, train, train_classifier_file

KILLED = 77
OPTIONS = {"log_every": 1, "score_every": 3, "score_samples": 10, "final_samples": 20, "batch_size": 10}
CONFIG = tiny_config(**OPTIONS, steps=6, checkpoint_every=2)


class Killer:
    """Counts the points of this process at which a file or a name is about to change, and ends it at one of them.

    A point lies before each such call. What is there after it is there before the next one, but for a file that is
    written: points also lie where it is empty and where half of it is written. A point at which all is as at the one
    before is none.
    """

    def __init__(self, root: Path, at: int | None) -> None:
        self.points = 0
        self._root = str(root)
        self._at = at
        self._before: list[tuple[str, int, int]] = []

    def install(self) -> None:
        for module, name in (
            (os, "replace"),
            (os, "rename"),
            (os, "link"),
            (os, "unlink"),
            (os, "remove"),
            (os, "mkdir"),
            (os, "rmdir"),
            (os, "fsync"),
            (shutil, "copyfile"),
        ):
            setattr(module, name, self._counted(getattr(module, name)))
        io.open = builtins.open = self._opening(builtins.open)
        torch.save = self._saving(torch.save)

    def _point(self, half: Callable[[], object] | None = None) -> None:
        if threading.current_thread() is not threading.main_thread():  # TensorBoard's, which keeps no order
            return
        now = self._look()
        self.points += now != self._before or half is not None
        self._before = now
        if self.points == self._at:
            if half is not None:
                half()
            os._exit(KILLED)

    def _look(self) -> list[tuple[str, int, int]]:
        """Every name with its file and how much is in it."""
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(self._root) for name in [*names, "."]]
        found = ((path, os.stat(path)) for path in paths if "tensorboard" not in path)
        return sorted((path, stat.st_ino, stat.st_size) for path, stat in found)

    def _counted(self, call: Callable) -> Callable:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._point()
            return call(*arguments, **options)

        return counted

    def _opening(self, call: Callable) -> Callable:
        def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if mode in ("r", "rb") or not str(file).startswith(self._root):
                return call(file, mode, *arguments, **options)
            self._point()
            opened = call(file, mode, *arguments, **options)
            self._point()
            write = opened.write

            def half_first(data: Any) -> Any:
                self._point(lambda: (write(data[: len(data) // 2]), opened.flush()))
                opened.write = write
                return write(data)

            opened.write = half_first
            return opened

        return opening

    def _saving(self, call: Callable) -> Callable:
        def saving(state: Any, path: Path) -> None:
            self._point()
            whole = io.BytesIO()
            call(state, whole)
            self._point(lambda: path.write_bytes(b""))
            self._point(lambda: path.write_bytes(whole.getvalue()[: whole.tell() // 2]))
            path.write_bytes(whole.getvalue())

        return saving


class Scenario:
    """What is done in a folder, again after it was killed, and how to tell that it is done."""

    def prepare(self, folder: Path) -> None:
        """Before the work begins."""

    def work(self, folder: Path) -> None:
        raise NotImplementedError

    def go_on(self, folder: Path) -> None:
        self.work(folder)

    def check_killed(self, folder: Path) -> None:
        """Before it goes on."""

    def check(self, folder: Path, whole: Path) -> None:
        """``whole`` is the folder of a process that nothing happened to."""
        raise NotImplementedError


class FreshRun(Scenario):
    def work(self, folder: Path) -> None:
        train(CONFIG, folder / "run")

    def go_on(self, folder: Path) -> None:
        if RunFolder(folder / "run").config.exists():
            resume(folder / "run")
        else:
            self.work(folder)

    def check_killed(self, folder: Path) -> None:
        steps = []
        checkpoint = RunFolder(folder / "run").checkpoint
        for path in (checkpoint, previous_checkpoint(checkpoint)):
            with contextlib.suppress(InputError):
                steps.append(Checkpoint.load(path).steps)
        if steps:
            assert Checkpoint.load_last(checkpoint)[0].steps == max(steps)
        else:
            self.check_without_checkpoint(folder)

    def check_without_checkpoint(self, folder: Path) -> None:
        assert not RunFolder(folder / "run").has_checkpoint

    def check(self, folder: Path, whole: Path) -> None:
        assert_same_run(folder / "run", whole / "run")


class RunWithDamage(FreshRun):
    """Goes on from the checkpoint before the last one."""

    def prepare(self, folder: Path) -> None:
        class Killed(BaseException):
            """What no run saves itself from."""

        class Kills(Observer):
            def logged(self, row: dict[str, Any]) -> None:
                if row["step"] == 5:
                    raise Killed

        with contextlib.suppress(Killed):
            train(CONFIG, folder / "run", Kills())
        checkpoint = RunFolder(folder / "run").checkpoint
        data = bytearray(checkpoint.read_bytes())
        data[len(data) // 3] ^= 1
        checkpoint.write_bytes(data)

    def work(self, folder: Path) -> None:
        resume(folder / "run")

    def check_without_checkpoint(self, folder: Path) -> None:
        raise AssertionError("no checkpoint is whole")

    def check(self, folder: Path, whole: Path) -> None:
        super().check(folder, whole)
        assert (folder / "run" / "checkpoint.damaged.pt").exists()


class RunWithoutCheckpoint(FreshRun):
    """Begins anew where there are rows and pictures already."""

    def prepare(self, folder: Path) -> None:
        train(CONFIG, folder / "run")
        run = RunFolder(folder / "run")
        for path in (run.checkpoint, previous_checkpoint(run.checkpoint), run.summary, run.curves, run.samples):
            path.unlink()

    def work(self, folder: Path) -> None:
        resume(folder / "run")


class ClassifierFile(Scenario):
    def work(self, folder: Path) -> None:
        train_classifier_file(digits(), out=folder / "c.pt", network="cnn")

    def go_on(self, folder: Path) -> None:
        if (folder / "c.pt").exists():
            with pytest.raises(InputError, match=r"c\.pt exists"):
                self.work(folder)
        else:
            self.work(folder)

    def check_killed(self, folder: Path) -> None:
        if (folder / "c.pt").exists():
            read_classifier(folder / "c.pt")

    def check(self, folder: Path, whole: Path) -> None:
        assert read_classifier(folder / "c.pt").sha256() == read_classifier(whole / "c.pt").sha256()
        assert (folder / "c.json").read_text() == (whole / "c.json").read_text()


class CachedClassifier(Scenario):
    def work(self, folder: Path) -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder)
        cached_classifier(digits(), Observer())

    def check(self, folder: Path, whole: Path) -> None:
        (kept,) = (folder / "amgan_fast").glob("*.pt")
        assert read_classifier(kept).sha256() == read_classifier(whole / "amgan_fast" / kept.name).sha256()


class Comparing(Scenario):
    def work(self, folder: Path) -> None:
        compare(folder / "all", plan(CONFIG, models=["gan"], labels=["dynamic"], seeds=1))

    def check_killed(self, folder: Path) -> None:
        all_runs = folder / "all"
        for file in (all_runs / "settings.json", all_runs / "comparison.json", *all_runs.glob("runs/*/ms_ssim.json")):
            if file.exists():
                json.loads(file.read_text())
        if (all_runs / "comparison.md").exists():
            assert (all_runs / "comparison.md").read_text().endswith("|\n")

    def check(self, folder: Path, whole: Path) -> None:
        (run,) = (whole / "all" / "runs").iterdir()
        assert_same_run(folder / "all" / "runs" / run.name, run)
        for name in ("comparison.md", "settings.json"):
            assert (folder / "all" / name).read_text() == (whole / "all" / name).read_text()


class Pictures(Scenario):
    """Of a run: a report, and sheets."""

    def prepare(self, folder: Path) -> None:
        train(CONFIG, folder / "run")

    def work(self, folder: Path) -> None:
        save_report(folder / "report.html", evaluate_request(Request(run=folder / "run", samples=20)))
        save_sheets(folder / "run", folder / "sheets")

    def check_killed(self, folder: Path) -> None:
        if (folder / "report.html").exists():
            self._check_report(folder)
        for sheet in (folder / "sheets").glob("[!.]*"):
            Image.open(sheet).load()

    def _check_report(self, folder: Path) -> None:
        assert (folder / "report.html").read_text().rstrip().endswith("</html>")

    def check(self, folder: Path, whole: Path) -> None:
        self._check_report(folder)
        for sheet in (whole / "sheets").iterdir():
            assert (folder / "sheets" / sheet.name).read_bytes() == sheet.read_bytes()


SCENARIOS = {
    "fresh run": FreshRun(),
    "damaged checkpoint": RunWithDamage(),
    "no checkpoint": RunWithoutCheckpoint(),
    "classifier file": ClassifierFile(),
    "classifier cache": CachedClassifier(),
    "comparison": Comparing(),
    "pictures": Pictures(),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classifier", type=Path, help="of the digits; default: one is trained")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(sys.stderr):
        classifier = digits_classifier() if options.classifier is None else read_classifier(options.classifier)
        quick_work(options.folder, classifier, patch)
        for name in options.scenarios:
            root = options.folder / name.replace(" ", "-")
            root.mkdir()
            found[name] = try_points(SCENARIOS[name], root, options.every)
    print(json.dumps(found))


def quick_work(root: Path, classifier: TrainedClassifier, patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and has nothing to do with files."""
    cache = root / "cache" / "amgan_fast" / f"classifier-digits-{digits().fingerprint()[:12]}.pt"
    cache.parent.mkdir(parents=True)
    classifier.save(cache)
    patch.setenv("XDG_CACHE_HOME", str(root / "cache"))

    def draw(path: Path, *_: Any, **__: Any) -> None:
        with whole_file(path) as file:
            file.write_bytes(b"a picture")

    patch.setattr("amgan_fast.train.finish.save_training_curves", draw)
    patch.setattr("amgan_fast.compare.comparison.save_comparison_curves", draw)
    for name in ("save_entropy_histogram", "save_label_balance", "save_mode_drop"):
        patch.setattr(f"amgan_fast.evaluate.report.{name}", draw)
    patch.setattr("amgan_fast.train.classifier_training.train_classifier", lambda *_, **__: classifier)
    two_images = class_ms_ssim(torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), pairs=1)
    patch.setattr(results, "class_ms_ssim", lambda *_, **__: two_images)
    patch.setattr(results, "_ms_ssim", lambda _: two_images.to_dict())


def try_points(scenario: Scenario, root: Path, every: int) -> dict[str, Any]:
    base, whole = root / "base", root / "whole"
    base.mkdir()
    assert in_a_process(lambda: scenario.prepare(base)) == 0
    shutil.copytree(base, whole)
    points = count_points(scenario, whole)
    tried = range(1, points + 1, every)
    failures = {point: failure for point in tried if (failure := try_point(scenario, point, root))}
    return {"points": points, "tried": len(tried), "failures": failures}


def count_points(scenario: Scenario, folder: Path) -> int:
    killer = Killer(folder, None)

    def count() -> None:
        killer.install()
        scenario.work(folder)
        points = killer.points
        (folder.parent / "points").write_text(str(points))

    assert in_a_process(count) == 0, "the work cannot be done at all"
    return int((folder.parent / "points").read_text())


def try_point(scenario: Scenario, point: int, root: Path) -> str:
    """What goes wrong after a process was killed there; nothing: ''."""
    folder = root / f"killed-{point}"
    shutil.copytree(root / "base", folder)
    killer = Killer(folder, point)

    def be_killed() -> None:
        killer.install()
        scenario.work(folder)

    def go_on() -> None:
        scenario.check_killed(folder)
        scenario.go_on(folder)
        scenario.check(folder, root / "whole")
        assert files(folder) == files(root / "whole")

    if in_a_process(be_killed) != KILLED:
        return "it was not killed"
    before = files(folder)
    log = root / "log"
    if in_a_process(go_on, log):
        return f"of {before}: {log.read_text()[-1500:]}"
    shutil.rmtree(folder)
    return ""


def files(folder: Path) -> list[str]:
    """Without locks, which the next process that holds them removes, where one does."""
    paths = [path for path in folder.rglob("*") if "tensorboard" not in path.parts and not path.name.endswith(".lock")]
    return sorted(str(path.relative_to(folder)) for path in paths)


def in_a_process(work: Callable[[], object], log: Path | None = None) -> int:
    """Its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        text = traceback.format_exc()
        print(text, file=sys.stderr)
        if log is not None:
            log.write_text(text)
    finally:
        sys.stderr.flush()
        os._exit(status)
    raise AssertionError


if __name__ == "__main__":
    main()
