"""One process at a time writes to a run, a comparison, a classifier's file."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_runs import digits, digits_classifier, tiny_config, tiny_run, use_classifier_cache

from amgan_fast.compare import compare, plan
from amgan_fast.errors import InputError
from amgan_fast.lock import hold_file, hold_folder
from amgan_fast.runs import RunFolder
from amgan_fast.train import Observer, cached_classifier, resume, train_classifier_file

HOLD = """
import sys
from contextlib import ExitStack
from pathlib import Path
from amgan_fast.lock import hold_file, hold_folder
with ExitStack() as stack:
    for path in map(Path, sys.argv[1:]):
        stack.enter_context(hold_file(path) if path.suffix == ".pt" else hold_folder(path))
    print("held", flush=True)
    input()
"""


@contextmanager
def held_by_another_process(*paths: Path) -> Iterator[subprocess.Popen]:
    """Until it is killed, or to the end."""
    command = [sys.executable, "-c", HOLD, *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


def test_the_second_process_is_told_who_the_first_is_and_takes_over_when_that_is_killed(tmp_path, cache):
    run = tiny_run(tmp_path / "run").folder
    cells = plan(tiny_config(), models=["gan"], labels=["dynamic"], seeds=1)
    attempts = {
        run.path: lambda: resume(run.path),
        tmp_path / "new": lambda: tiny_run(tmp_path / "new"),
        tmp_path / "all": lambda: compare(tmp_path / "all", cells),
        tmp_path / "c.pt": lambda: train_classifier_file(few, out=tmp_path / "c.pt", network="cnn", epochs=1),
    }
    few = digits().labelled_subset(2, seed=0)
    with held_by_another_process(*attempts) as process:
        for path, attempt in attempts.items():
            said = f"{path} is in use by process {process.pid} on {socket.gethostname()}, wanted it to end first"
            for _ in range(2):  # nor does the first attempt disturb the second
                with pytest.raises(InputError, match=said):
                    attempt()
        process.kill()
        process.wait()
        for attempt in attempts.values():
            attempt()
    assert not list(tmp_path.rglob("*.lock"))


def test_a_process_that_wants_the_classifier_waits_for_the_one_that_trains_it(tmp_path, cache, monkeypatch):
    cache.unlink()
    monkeypatch.setattr("amgan_fast.train.classifier_training.train_classifier", None)
    texts = []

    class EndsTheOther(Observer):
        def message(self, text):
            texts.append(text)
            if "waiting" in text:
                digits_classifier().save(cache)
                process.kill()

    with held_by_another_process(cache) as process:
        classifier = cached_classifier(digits(), EndsTheOther())
    assert classifier.sha256() == digits_classifier().sha256()
    assert f"{cache} is in use by process {process.pid}" in texts[0]


@pytest.mark.parametrize("hold", [hold_folder, hold_file])
def test_a_lock_is_let_go_at_the_end_and_after_an_error(tmp_path, hold):
    def fail():
        with hold(tmp_path / "what"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for _ in range(2):
        with hold(tmp_path / "what"), pytest.raises(InputError, match=r"is in use by process \d+ on"):
            hold(tmp_path / "what").__enter__()
    assert not list(tmp_path.rglob("*lock"))


def test_a_lock_that_names_no_one_is_another_process(tmp_path):
    with hold_folder(tmp_path):
        (tmp_path / ".lock").write_text("")
        with pytest.raises(InputError, match="is in use by another process, wanted"), hold_folder(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file cannot be used as --out \((File exists|Not a directory)\)"):
        tiny_run(tmp_path / "file")
    cells = plan(tiny_config(), models=["gan"], labels=["dynamic"], seeds=1)
    with pytest.raises(InputError, match=r"file cannot be written to \((File exists|Not a directory)\)"):
        compare(tmp_path / "file", cells)
    assert RunFolder(tmp_path / "file").path.read_text() == ""
