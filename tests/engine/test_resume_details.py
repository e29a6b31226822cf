"""What a resume must get right besides the weights of the plain case: odd batches, signals, records, full disks."""

import dataclasses
import errno
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import same, stop_at, weights

from conftest import toy
from gesso.cli import main
from gesso.devices import Choice
from gesso.devices.cpu import processor
from gesso.engine import checkpoint, launch
from gesso.engine import train as loop
from gesso.engine.runlog import read_log
from gesso.engine.runs import lock_run, read_recipe
from gesso.engine.track import Narrator
from gesso.engine.train import resume, train
from gesso.errors import DiskError, UsageError
from gesso.models.pix2pix import Pix2Pix
from gesso.recipe import Checkpoints, Recipe, Tracking, TranslationEvaluation

Patch = pytest.MonkeyPatch


class Killed(BaseException):
    """Ends a run in the middle, as a kill would, without a save."""


def kill_at(patch: Patch, step: int) -> None:
    """Raise in the middle of training step `step`."""
    before(patch, Pix2Pix, "train_step", step, Killed())


def before(patch: Patch, where: Any, name: str, call: int, what: BaseException | Callable[[], Any]) -> None:
    """Let call number `call` of `where.name` raise `what`, or do it first."""
    original = getattr(where, name)
    calls = iter(range(10**6))

    def changed(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            if isinstance(what, BaseException):
                raise what
            what()
        return original(*arguments, **options)

    patch.setattr(where, name, changed)


def signalled(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_log(run / "log.jsonl") if record["kind"] == kind]


def small(pairs: Path, **changes: Any) -> Recipe:
    """24 images in steps of 2, a checkpoint every 6, scores and sheet every 12."""
    settings: dict[str, Any] = {
        "epochs": 1,
        "checkpoints": Checkpoints(every=0.25),
        "evaluation": TranslationEvaluation(every=0.5),
        "tracking": Tracking(log_every=2, sheet_every=0.5, sheet_images=1, trackers=()),
    }
    return toy("pix2pix", pairs, **(settings | changes))


@pytest.fixture(scope="module")
def whole(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `small` that was not stopped."""
    torch.set_num_threads(1)
    return train(small(pairs), runs=tmp_path_factory.mktemp("runs"), name="whole").path


@pytest.mark.parametrize(("batch", "step"), [(5, 3), (7, 2)])
def test_resume_inside_an_epoch_that_the_batch_does_not_divide(
    batch: int, step: int, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    recipe = small(pairs, batch_size=batch, epochs=2, ema=20.0)
    train(recipe, runs=tmp_path, name="whole")
    with monkeypatch.context() as patch:
        stop_at(patch, recipe, step, signal.SIGTERM)
        assert not train(recipe, runs=tmp_path, name="stopped").finished
    stopped_at = checkpoint.list_checkpoints(tmp_path / "stopped")[-1].name
    assert int(stopped_at) == (step + 1) * batch and (step + 1) * batch % 24
    train(recipe, runs=tmp_path, name="stopped")
    assert same(tmp_path / "whole", tmp_path / "stopped")


def test_bf16_resumes_to_the_same_bits(pairs: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    recipe = small(pairs, precision="bf16")
    train(recipe, runs=tmp_path, name="whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 8)
        train(recipe, runs=tmp_path, name="killed")
    train(recipe, runs=tmp_path, name="killed")
    assert same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("step", [0, 1])
def test_ctrl_c_in_the_first_steps_is_resumed(
    step: int, whole: Path, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, small(pairs), step, signal.SIGINT)
        stopped = train(small(pairs), runs=tmp_path, name="run")
    assert not stopped.finished
    assert checkpoint.list_checkpoints(stopped.path)[-1].name == f"{2 * (step + 1):09d}"
    assert train(small(pairs), runs=tmp_path, name="run").finished
    assert same(whole, stopped.path)


@pytest.mark.parametrize("during", ["_evaluate", "_draw_sheet"])
def test_ctrl_c_during_the_upkeep_saves_before_it_stops(
    during: str, whole: Path, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    recipe = small(pairs, checkpoints=Checkpoints(every=1, best="none"))
    with monkeypatch.context() as patch:
        before(patch, loop, during, 0, signalled)
        assert not train(recipe, runs=tmp_path, name="run").finished
    (note,) = records(tmp_path / "run", "note")
    newest = checkpoint.list_checkpoints(tmp_path / "run")[-1]
    assert f"stopped and saved at {int(newest.name)} of 24" in note["text"]
    train(recipe, runs=tmp_path, name="run")
    assert same(whole, tmp_path / "run")


def test_ctrl_c_twice_stops_at_once_and_leaves_a_run_to_resume(
    whole: Path, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    def twice() -> None:
        signalled()
        signalled()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        before(patch, Pix2Pix, "train_step", 7, twice)
        train(small(pairs), runs=tmp_path, name="run")
    assert checkpoint.list_checkpoints(tmp_path / "run")[-1].name == "000000012"  # nothing was saved on the way out
    assert train(small(pairs), runs=tmp_path, name="run").finished
    assert same(whole, tmp_path / "run")


def test_signals_are_the_callers_again_after_a_run(pairs: Path, tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(small(pairs, epochs=1 / 12), runs=tmp_path, name="run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_resume_keeps_what_was_chosen_though_the_machine_would_choose_otherwise(
    pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    recipe = small(pairs, precision="auto", compile="auto")

    def machine(patch: Patch, precision: str, compiles: bool) -> None:
        patch.setattr(launch, "choose_precision", lambda *_: Choice(precision, "this machine is like that"))
        patch.setattr(launch, "choose_compile", lambda *_: Choice(compiles, "this machine is like that"))

    for run, later in (("whole", ("fp32", False)), ("moved", ("bf16", True))):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            machine(patch, "fp32", False)
            kill_at(patch, 8)
            train(recipe, runs=tmp_path, name=run)
        with monkeypatch.context() as patch:
            machine(patch, *later)
            train(recipe, runs=tmp_path, name=run)
    assert same(tmp_path / "whole", tmp_path / "moved")
    recorded = json.loads((tmp_path / "moved" / "environment.json").read_text())["choices"]
    assert recorded["precision"] == {"value": "fp32", "reason": "this machine is like that"}
    assert recorded["compile"]["value"] == "False"


def test_a_run_says_on_which_hardware_it_was_trained(pairs: Path, tmp_path: Path) -> None:
    run = train(small(pairs, epochs=0.5), runs=tmp_path, name="run").path
    environment = json.loads((run / "environment.json").read_text())
    threads, instructions = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    told = f"{processor()}, {threads} threads, {instructions}"
    assert (environment["device"], environment["hardware"]) == ("cpu", told)


def test_a_resume_in_another_precision_is_written_down(pairs: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(launch, "choose_precision", lambda *_: Choice("fp32", "this machine is like that"))
    run = train(small(pairs, precision="auto", epochs=0.5), runs=tmp_path, name="run").path
    environment = json.loads((run / "environment.json").read_text())
    environment["choices"]["precision"]["value"] = "tf32"  # which no processor has
    (run / "environment.json").write_text(json.dumps(environment))
    resume(run, epochs=1)
    now = json.loads((run / "environment.json").read_text())
    assert now["choices"]["precision"]["value"] == "fp32"
    assert now["choices"]["precision"]["reason"].startswith("the run began in tf32, which cpu has not: ")
    assert {name: value for name, value in now.items() if name != "choices"} == {
        name: value for name, value in environment.items() if name != "choices"
    }
    (note,) = records(run, "note")
    assert note["text"].startswith("precision: fp32 (the run began in tf32, ")


def test_resume_command_with_more_epochs(whole: Path, pairs: Path, tmp_path: Path) -> None:
    run = train(small(pairs, epochs=0.5), runs=tmp_path, name="run").path
    assert main(["resume", str(run), "-e", "1"]) == 0
    assert checkpoint.list_checkpoints(run)[-1].name == "000000024"
    assert read_recipe(run) == read_recipe(whole)


def test_resume_of_the_current_folder(pairs: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    run = train(small(pairs, epochs=0.25), runs=tmp_path, name="run").path
    monkeypatch.chdir(run)
    assert resume(Path(), epochs=0.5).path == run
    assert checkpoint.list_checkpoints(run)[-1].name == "000000012"


def test_a_run_that_another_process_trains_is_not_lengthened(pairs: Path, tmp_path: Path) -> None:
    run = train(small(pairs, epochs=0.25), runs=tmp_path, name="run").path
    lock = lock_run(run)
    with pytest.raises(UsageError, match="another process"):
        resume(run, epochs=9)
    lock.release()
    assert read_recipe(run).epochs == 0.25


@pytest.mark.parametrize("step", [1, 8])
def test_each_point_is_logged_scored_and_drawn_once(
    step: int, whole: Path, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Killed before the first checkpoint, where the run starts again, and after it, where it resumes."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, step)
        train(small(pairs), runs=tmp_path, name="run")
    train(small(pairs), runs=tmp_path, name="run")
    for kind in ("loss", "metric", "sheet", "checkpoint"):
        points = [record["images"] for record in records(tmp_path / "run", kind)]
        assert points == [record["images"] for record in records(whole, kind)]
        assert max(Counter(points).values()) == 1
    values = [[r["losses"] for r in records(run, "loss")] for run in (whole, tmp_path / "run")]
    assert values[0] == values[1]
    assert [r["scores"] for r in records(whole, "metric")] == [r["scores"] for r in records(tmp_path / "run", "metric")]


def test_a_resume_where_a_point_was_scored_and_saved_does_not_score_it_again(
    pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        before(patch, Pix2Pix, "train_step", 5, signalled)
        train(small(pairs), runs=tmp_path, name="run")  # stops at 12 images, where scores and sheet are due
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines if line["images"] == 12 and line["kind"] in ("metric", "sheet")]
    train(small(pairs), runs=tmp_path, name="run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert Counter(line["kind"] for line in lines if line["images"] == 12 and line["kind"] in ("metric", "sheet")) == {
        "metric": 1,
        "sheet": 1,
    }


def test_tensorboard_shows_each_point_once_and_keeps_the_one_at_the_resume(
    pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = small(pairs, tracking=Tracking(log_every=2, sheet_every=0, sheet_images=1, trackers=("tensorboard",)))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 8)
        train(recipe, runs=tmp_path, name="run")  # logged up to 16 images, saved at 12
    train(recipe, runs=tmp_path, name="run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/G_L1")] == list(range(2, 25, 2))


@pytest.mark.parametrize("place", ["fsync", "log", "sheet", "report"])
def test_a_disk_that_fills_up_ends_in_one_line_and_the_run_goes_on_to_the_same_weights(
    place: str, whole: Path, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    where: dict[str, tuple[Any, str, BaseException]] = {
        "fsync": (os, "fsync", full),
        "log": (Narrator, "losses", DiskError("log.jsonl: cannot write the log")),
        "sheet": (loop, "write_sheet", full),
        "report": (loop, "write_report", DiskError("index.html cannot be written")),
    }
    with monkeypatch.context() as patch, pytest.raises((DiskError, OSError)) as caught:
        before(patch, *where[place][:2], {"fsync": 13, "log": 8, "sheet": 0, "report": 1}[place], where[place][2])
        train(small(pairs), runs=tmp_path, name="run")
    assert "\n" not in str(caught.value)
    # The same process goes on: nothing of the failed attempt, such as its lock, is still held by its traceback.
    assert train(small(pairs), runs=tmp_path, name="run").finished
    assert same(whole, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").rglob(".*.tmp")] == []


def test_a_kill_between_save_and_mark_keeps_the_best(
    whole: Path, pairs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        before(patch, checkpoint, "mark_best", 1, Killed())  # the second score, at the end, is the best
        train(small(pairs), runs=tmp_path, name="run")
    assert (tmp_path / "run" / "checkpoints" / "best").read_text() == "000000012\n"
    train(small(pairs), runs=tmp_path, name="run")
    best = [(run / "checkpoints" / "best").read_text() for run in (whole, tmp_path / "run")]
    assert best == ["000000024\n"] * 2
    names = [[path.name for path in checkpoint.list_checkpoints(run)] for run in (whole, tmp_path / "run")]
    assert names[0] == names[1]


def test_a_damaged_environment_does_not_stop_a_resume(whole: Path, pairs: Path, tmp_path: Path) -> None:
    train(small(pairs, epochs=0.5), runs=tmp_path, name="run")
    (tmp_path / "run" / "environment.json").write_text('{"choices": {"dev')
    run = resume(tmp_path / "run", epochs=1).path
    assert weights(run).keys() == weights(whole).keys()
    assert dataclasses.asdict(read_recipe(run)) == dataclasses.asdict(read_recipe(whole))
