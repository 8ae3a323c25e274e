"""Runs that end before their end: killed, stopped, broken, and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forked import run_forked
from tiny_runs import (
    assert_same_run,
    assert_same_state,
    digits_classifier,
    tiny_config,
    tiny_run,
    use_classifier_cache,
)
from typer.testing import CliRunner
from waiting import waited_for

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.runs import Checkpoint, RunFolder, previous_checkpoint
from amgan_fast.tensor_files import load_tensors, save_tensors
from amgan_fast.train import Observer, TrainingStopped, resume, train

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


class StopAt(Observer):
    """Sends this process signals once a step is logged."""

    def __init__(self, step: int, *numbers: signal.Signals) -> None:
        self.step = step
        self.numbers = numbers or (signal.SIGTERM,)

    def logged(self, row):
        if row["step"] == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


class Killed(BaseException):
    """Ends a run where it is, as nothing that an observer may raise does."""


def dead_process() -> int:
    """The number that a process had."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


RUNS = {
    "amgan": {},
    "predefined": {"labels": "predefined"},
    "everything": {
        "model": "acgan",
        "labels": "predefined",
        "feature_matching": 0.1,
        "historical_averaging": 0.01,
        "halve_every": 3,
        "network_options": {"weight_norm": True, "minibatch_discrimination": True},
    },
    "regularized": {
        "r1": 0.1,
        "r2": 0.1,
        "penalty_every": 4,
        "lecam": 0.1,
        "consistency": 0.1,
        "augment": 0.3,
        "augment_target": 0.6,
        "augment_images": 2000,
        "network_options": {"spectral_norm": True, "weight_norm": True},
    },
    "proxies": {
        "model": "reacgan",
        "objective": {"embedding_size": 16},
        "precision": "bfloat16",
        "network_options": {"spectral_norm": True},
    },
    "virtual": {"network_options": {"normalization": "virtual"}},
    "class embedding": {
        "labels": "predefined",
        "network_options": {"conditioning": "embedding", "normalization": "virtual", "weight_norm": True},
    },
    "conditional batch norm": {
        "labels": "predefined",
        "network_options": {"conditioning": "batch-norm", "weight_norm": True},
    },
    "unlabelled": {"model": "improved-gan", "labelled_per_class": 5},
    "bfloat16": {"precision": "bfloat16"},
    "shared latents": {"share_latents": True, "labels": "predefined", "precision": "bfloat16"},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, cache, options):
    number = signal.SIGINT if "labels" in options else signal.SIGTERM
    options = {"steps": 10, "log_every": 2, "score_every": 4, "checkpoint_every": 3, **options}
    tiny_run(tmp_path / "whole", **options)
    with pytest.raises(TrainingStopped, match=f"stopped by {number.name} and saved at step 6"):
        train(tiny_config(**options), tmp_path / "stopped", StopAt(6, number))
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize(("seconds", "step"), [(60.0, 6), (0.0, 5)])
def test_a_second_signal_ends_it_at_once_but_for_the_same_request_by_another_way(
    tmp_path, cache, monkeypatch, seconds, step
):
    """Of one Ctrl-C both the terminal and the process that has started this one may tell it."""
    monkeypatch.setattr("amgan_fast.train.stopping._ONE_REQUEST", seconds)
    stop = StopAt(6, signal.SIGTERM, signal.SIGINT)
    with pytest.raises(TrainingStopped, match=f"saved at step {step}"):
        train(tiny_config(steps=10, log_every=2, checkpoint_every=5), tmp_path / "run", stop)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_while_the_end_is_scored_is_not_swallowed(tmp_path, cache):
    class StopTheScoring(Observer):
        def progress(self, what, done, total):
            if what != "step":
                os.kill(os.getpid(), signal.SIGINT)

    steps = tiny_config().steps
    with pytest.raises(TrainingStopped, match=f"stopped by SIGINT and saved at step {steps}"):
        train(tiny_config(), tmp_path / "stopped", StopTheScoring())
    whole = tiny_run(tmp_path / "whole")
    assert resume(tmp_path / "stopped").evaluation.generated.scores == whole.evaluation.generated.scores


def test_a_killed_process_goes_on_to_the_same_end(tmp_path, cache):
    """SIGKILL at some moment between two checkpoints, or while one is written."""
    options = {"steps": 60, "log_every": 1, "score_every": 20, "checkpoint_every": 1, "score_samples": 50}
    config = tiny_config(**options)
    config.save(tmp_path / "config.toml")
    train(config, tmp_path / "whole")
    command = [sys.executable, "-m", "amgan_fast", "train", "--config", tmp_path / "config.toml"]
    process = subprocess.Popen([*map(str, command), "--out", str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
    metrics = RunFolder(tmp_path / "killed").metrics
    assert waited_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 30, seconds=300)
    process.kill()
    process.wait()
    done = Checkpoint.load_last(RunFolder(tmp_path / "killed").checkpoint)[0].steps
    assert 25 < done < 60
    result = run_forked(["-m", "amgan_fast", "train", "--resume", "killed"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.fixture
def stopped(tmp_path, cache) -> Path:
    with pytest.raises(TrainingStopped):
        train(tiny_config(steps=8, checkpoint_every=2), tmp_path / "run", StopAt(4))
    return tmp_path / "run"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(stopped, tmp_path):
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    checkpoint = RunFolder(stopped).checkpoint
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 3] ^= 1  # one bit of a weight, say
    checkpoint.write_bytes(data)

    texts = []
    observer = Observer()
    observer.message = texts.append
    resume(stopped, observer)
    assert any("checkpoint.pt is damaged" in text and "checkpoint.previous.pt" in text for text in texts)
    assert_same_run(stopped, tmp_path / "whole")


def test_every_bit_of_a_checkpoint_counts(tmp_path):
    state = {"weights": torch.randn(300), "steps": 5, "names": ["a", "b"]}
    save_tensors(tmp_path / "a.pt", state)
    whole = (tmp_path / "a.pt").read_bytes()
    random = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole), (300,), generator=random).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        (tmp_path / "b.pt").write_bytes(data)
        with contextlib.suppress(InputError):  # else it was padding, or a date
            assert_same_state(load_tensors(tmp_path / "b.pt"), state)


def test_when_both_are_damaged_nothing_is_guessed(stopped):
    run = RunFolder(stopped)
    for path in (run.checkpoint, previous_checkpoint(run.checkpoint)):
        path.write_bytes(b"no zip file")
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged[^\n]*; [^\n]*checkpoint\.previous\.pt is damaged"):
        resume(stopped)


def test_a_checkpoint_of_an_earlier_version_goes_on(stopped, tmp_path):
    """It held the averaged weights once more, and no stream of unlabelled images."""
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    checkpoint = RunFolder(stopped).checkpoint
    state = load_tensors(checkpoint)
    del state["unlabelled"]
    save_tensors(checkpoint, state | {"averaged": state["step"]["averaged"]})
    resume(stopped)
    assert_same_run(stopped, tmp_path / "whole")


@pytest.mark.parametrize(
    "change",
    [{"seconds": None}, {"config": None}, {"config": []}, {"step": {}}, {"step": None}, {"batches": {}}, {"random": 3}],
    ids=str,
)
def test_a_checkpoint_with_another_content_is_refused_in_one_line(stopped, change):
    """None: it is not there."""
    run = RunFolder(stopped)
    previous_checkpoint(run.checkpoint).unlink()
    state = load_tensors(run.checkpoint) | change
    save_tensors(run.checkpoint, {name: value for name, value in state.items() if change.get(name, "") is not None})
    with pytest.raises(InputError, match=r"^[^\n]*checkpoint\.pt is damaged or of another version \([^\n]*\), wanted"):
        resume(stopped)


def test_a_changed_configuration_is_refused_by_its_keys(stopped):
    path = RunFolder(stopped).config
    text = path.read_text().replace("generator_lr = 0.002", "generator_lr = 0.001", 1).replace("seed = 0", "seed = 3")
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"discriminator_lr is 0\.001 instead of|generator_lr is .*; seed is 0 instead of 3"
    ):
        resume(stopped)


def test_options_beside_resume_are_refused(stopped):
    result = CliRunner().invoke(app, ["train", "--resume", str(stopped), "--batch-size", "9"])
    assert result.exit_code == 2
    assert "--batch-size" in result.stderr


def test_a_finished_run_is_not_trained_again(tmp_path, cache):
    result = tiny_run(tmp_path / "run")
    before = load_tensors(result.folder.checkpoint)
    again = resume(tmp_path / "run")
    assert_same_state(load_tensors(result.folder.checkpoint), before)
    assert again.evaluation.generated.scores == result.evaluation.generated.scores


def test_the_train_command_says_how_to_go_on(tmp_path, cache):
    config = tiny_config(steps=100_000, log_every=1, score_every=50)
    config.save(tmp_path / "config.toml")
    command = [sys.executable, "-m", "amgan_fast", "train", "--config", "config.toml", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = RunFolder(tmp_path / "run").metrics
    assert waited_for(metrics.exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "amgan-fast: stopped by SIGINT and saved at step" in errors
    assert "amgan-fast train --resume run" in errors


@pytest.mark.parametrize("when", ["at the classifier", "at the first step"])
def test_ctrl_c_before_the_first_checkpoint_says_how_to_go_on(tmp_path, cache, monkeypatch, when):
    def interrupt(*_):
        raise KeyboardInterrupt

    where = "start.cached_classifier" if when == "at the classifier" else "setup.AdversarialStep"
    tiny_config().save(tmp_path / "config.toml")
    with monkeypatch.context() as patch:
        patch.setattr(f"amgan_fast.train.{where}", interrupt)
        command = ["train", "--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 130
    said = f"stopped by SIGINT before the first checkpoint; go on with: amgan-fast train --resume {tmp_path / 'run'}"
    assert said in result.stderr
    assert_same_run(resume(tmp_path / "run").folder.path, tiny_run(tmp_path / "whole").folder.path)


def test_ctrl_c_before_there_is_a_folder_says_that_there_is_none(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("amgan_fast.runs.Config.load_dataset", interrupt)
    result = CliRunner().invoke(app, ["train", "--out", str(tmp_path / "run")])
    assert result.exit_code == 130
    assert "stopped before the run began; the same command starts it" in result.stderr
    assert not (tmp_path / "run").exists()


def test_that_a_run_stopped_can_be_told_to_another_process(tmp_path):
    stopped = TrainingStopped(RunFolder(tmp_path), 3, signal.SIGTERM)
    again = pickle.loads(pickle.dumps(stopped))
    assert (str(again), again.folder, again.step, again.signal) == (str(stopped), stopped.folder, 3, signal.SIGTERM)


def test_a_full_disk_leaves_earlier_files(stopped, monkeypatch):
    """The limit of a file's size stands in for a full disk: the system refuses to write on in either."""
    run = RunFolder(stopped)
    before = {path.name: path.read_bytes() for path in (run.checkpoint, previous_checkpoint(run.checkpoint))}
    size = run.checkpoint.stat().st_size
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}));"
        "sys.argv = ['amgan-fast', 'train', '--resume', sys.argv[1]];"
        "from amgan_fast.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", script, str(stopped)], capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert "checkpoint.pt cannot be written" in result.stderr
    assert {path.name: path.read_bytes() for path in (run.checkpoint, previous_checkpoint(run.checkpoint))} == before
    assert not [path for path in stopped.iterdir() if path.name.endswith(".tmp")]


def test_half_a_line_of_metrics_does_no_harm(stopped, tmp_path):
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    with RunFolder(stopped).metrics.open("a") as file:
        file.write('{"step": 6, "discrim')
    resume(stopped)
    assert_same_run(stopped, tmp_path / "whole")


def test_a_checkpoint_that_is_gone_falls_back_to_the_one_before(stopped, tmp_path):
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    RunFolder(stopped).checkpoint.unlink()
    resume(stopped)
    assert_same_run(stopped, tmp_path / "whole")


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before(stopped):
    """Which is read at once, before anything else is written."""
    checkpoint = RunFolder(stopped).checkpoint
    before = previous_checkpoint(checkpoint).read_bytes()
    checkpoint.write_bytes(b"no zip file")

    class NoMore(Observer):
        def progress(self, what, done, total):
            raise Killed

    with pytest.raises(Killed):
        resume(stopped, NoMore())
    assert checkpoint.read_bytes() == before
    assert (stopped / "checkpoint.damaged.pt").read_bytes() == b"no zip file"


@pytest.mark.parametrize("left", ["config.toml", "classifier.pt", "metrics.jsonl"])
def test_a_run_without_a_checkpoint_begins_anew_from_its_configuration(tmp_path, cache, left):
    whole = tiny_run(tmp_path / "whole", steps=8)
    run = RunFolder(tmp_path / "run")

    class Kills(Observer):
        def message(self, text):
            if left == "config.toml" and run.config.exists():
                raise Killed

        def progress(self, what, done, total):
            if left == "classifier.pt":
                raise Killed

        def logged(self, row):
            if row["step"] == 6:
                raise Killed

    with pytest.raises(Killed):
        train(tiny_config(steps=8), run.path, Kills())
    assert (run.path / left).exists()
    assert not run.has_checkpoint
    texts = []
    observer = Observer()
    observer.message = texts.append
    resume(run.path, observer)
    assert any("has no checkpoint.pt yet: starting from its config.toml" in text for text in texts)
    assert_same_run(run.path, whole.folder.path)


def test_the_folder_of_a_run_that_did_not_begin_is_empty_enough(tmp_path, cache):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".config.{dead_process()}.tmp.toml").write_text("steps")
    (tmp_path / "run" / ".lock").write_text("")
    run = tiny_run(tmp_path / "run").folder
    assert not [path.name for path in run.path.iterdir() if path.name.startswith(".")]


def test_a_used_folder_names_the_way_to_go_on(stopped):
    with pytest.raises(InputError, match=rf"is not empty, wanted .*; amgan-fast train --resume {stopped} goes on"):
        tiny_run(stopped)


def test_only_temporary_files_of_dead_processes_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        kept = [f".a.{process.pid}.tmp.pt", f".a.{dead_process()}.tmp.png", ".a.tmp.pt", ".a.1x.tmp.pt", "a.7.tmp.pt"]
        removed = [f".a.{dead_process()}.tmp.pt", f".a.{os.getpid()}.tmp.pt", f".a.{10**30}.tmp.pt"]
        for name in kept + removed:
            (tmp_path / name).write_text("")
        save_tensors(tmp_path / "a.pt", {"step": 1})
        assert {path.name for path in tmp_path.iterdir()} == {*kept, "a.pt"}
    finally:
        process.communicate(b"\n")


def test_a_file_of_a_whole_grid_alone_is_one(tmp_path, cache):
    """Where a process was killed half a picture may be left, of any name that is no step."""
    run = tiny_run(tmp_path / "run").folder
    for name in (".00000003.123.tmp.png", "mine.png", "\u00b2.png"):
        (run.path / "grids" / name).write_bytes(b"")
    assert [grid.name for grid in run.grids()] == ["00000004.png", "00000006.png"]
    resume(run.path)


def test_rows_that_are_no_rows_are_passed_over(stopped, tmp_path):
    tiny_run(tmp_path / "whole", steps=8, checkpoint_every=2)
    rows = RunFolder(stopped).metrics.read_bytes()
    RunFolder(stopped).metrics.write_bytes(b'[]\n"step"\n' + rows + b'{"step": "x"}\n\xff\x00\x00\n')
    resume(stopped)
    assert_same_run(stopped, tmp_path / "whole")


def test_work_goes_on_wherever_it_was_killed(tmp_path, request):
    """At each point at which a file or a name changes; without --slow at a few of them, of half of the work."""
    digits_classifier().save(tmp_path / "classifier.pt")
    command = [sys.executable, Path(__file__).with_name("killed_runs.py"), tmp_path]
    command += ["--classifier", tmp_path / "classifier.pt"]
    if not request.config.getoption("--slow"):
        command += ["--every", 37, "--scenarios", "fresh run", "damaged checkpoint", "classifier file"]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for scenario, found in json.loads(result.stdout).items():
        assert found["points"] > 10, scenario
        assert found["failures"] == {}, scenario


def test_nan_stops_with_the_last_good_checkpoint_named(tmp_path, cache, monkeypatch):
    from amgan_fast.train.step import AdversarialStep

    update = AdversarialStep._update

    def break_at_five(self, name):
        update(self, name)
        if self.steps == 5:
            next(self.generator.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(AdversarialStep, "_update", break_at_five)
    with pytest.raises(FloatingPointError, match=r"step 6: .*last good checkpoint is .*checkpoint\.pt of step 4"):
        train(tiny_config(steps=12, checkpoint_every=2, log_every=2), tmp_path / "run")
    assert load_tensors(RunFolder(tmp_path / "run").checkpoint)["step"]["steps"] == 4
