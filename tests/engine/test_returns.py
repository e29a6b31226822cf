"""What a return to a good checkpoint leaves for people to see, and what they are advised to do after too many."""

import dataclasses
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import toy
from gesso.engine.guard import Fault, Guard
from gesso.engine.runlog import read_log
from gesso.engine.train import train
from gesso.errors import DivergenceError, UsageError
from gesso.recipe import Guard as Limits
from gesso.recipe import Tracking


def faults(monkeypatch: pytest.MonkeyPatch, *looks: int) -> None:
    """The guard finds a fault at these of its looks, and at no other."""
    count = iter(range(1000))
    monkeypatch.setattr(Guard, "look", lambda self: Fault("a fault") if next(count) in looks else None)


def test_tensorboard_has_no_points_of_what_the_run_went_back_over(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults(monkeypatch, 10)  # at 22 images: back to 12, from which the lines are at other images
    tracking = Tracking(log_every=10, sheet_every=0, trackers=("tensorboard",))
    run = train(toy("pix2pix", pairs, tracking=tracking), runs=tmp_path, name="run").path
    kinds = [record["kind"] for record in read_log(run / "log.jsonl")]
    assert kinds.count("resume") == 1
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/G_L1")] == [10, 20, 24, 30, 40, 48]


def test_the_advice_for_a_run_that_diverges_can_be_followed(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults(monkeypatch, 8)
    recipe = toy("pix2pix", pairs, guard=Limits(returns=0), epochs=1)
    with pytest.raises(DivergenceError, match=r"under another --name or with --overwrite, .* another --seed") as caught:
        train(recipe, runs=tmp_path, name="run")
    assert "its last checkpoint is kept" in str(caught.value)
    mended = dataclasses.replace(recipe, seed=1)
    with pytest.raises(UsageError):
        train(mended, runs=tmp_path, name="run")
    assert train(mended, runs=tmp_path, name="another").finished
    assert train(mended, runs=tmp_path, name="run", overwrite=True).finished
