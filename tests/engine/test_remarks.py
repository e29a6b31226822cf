"""What is said before the first step: of a run that is finished, and of a warm-up that is longer than the run."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from conftest import toy
from gesso.engine.remarks import opening_remarks
from gesso.engine.train import train
from gesso.recipe import Schedule

RUN = Path("runs/my run")


def said(images: int = 0, epochs: float = 2, **schedule: Any) -> list[str]:
    recipe = dataclasses.replace(toy("pix2pix", Path("nowhere"), epochs=epochs), schedule=Schedule(**schedule))
    return list(opening_remarks(recipe, RUN, images, 48))


def test_nothing_is_said_of_an_ordinary_run() -> None:
    assert said() == said(images=24) == said(warmup="linear", warmup_epochs=1) == []


def test_a_finished_run_is_said_to_be_so() -> None:
    (line,) = said(images=48)
    assert line == f"{RUN}: already finished; go on with: gesso resume 'runs/my run' -e N, where N is more than 2"


def test_a_warm_up_as_long_as_the_only_epoch_is_told_in_the_singular() -> None:
    (line,) = said(epochs=1, warmup="linear", warmup_epochs=1)
    assert "within its warm-up, after 1 epoch, so" in line


@pytest.mark.parametrize("length", [2, 5])
def test_a_warm_up_that_outlasts_the_run_is_told(length: int) -> None:
    (line,) = said(warmup="linear", warmup_epochs=length)
    assert line.startswith(f"--schedule.warmup-epochs {length}: the run ends within its warm-up, after 2 epochs")
    assert said(warmup="none", warmup_epochs=length) == []


def test_training_a_finished_run_again_says_so(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.25)
    train(recipe, runs=tmp_path, name="run")
    assert "already finished" not in capsys.readouterr().out
    train(recipe, runs=tmp_path, name="run")
    assert f"{tmp_path / 'run'}: already finished; go on with" in capsys.readouterr().out
