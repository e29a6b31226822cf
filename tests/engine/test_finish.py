"""Which images a finished run is scored on, how often, and that what its scores need is asked for in time."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import toy
from gesso.engine.judging.translation import TranslationJudge
from gesso.engine.runlog import read_log
from gesso.engine.score import score_run
from gesso.engine.train import train
from gesso.errors import DataError, UsageError
from gesso.recipe import Checkpoints
from gesso.recipes import RECIPES


@pytest.fixture
def both(pairs: Path, tmp_path: Path) -> Path:
    """A set for both kinds of models, as `data prepare cityscapes` makes it: pairs in train/ and val/, and testA/ and
    testB/ without pairs."""
    root = tmp_path / "both"
    for split in ("train", "val"):
        shutil.copytree(pairs / split, root / split)
    for role in "AB":
        (root / f"test{role}").mkdir()
        for i in range(3):
            Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)).save(root / f"test{role}" / f"{role}{i}.png")
    return root


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that are scored from now on, one after the other."""
    splits, plain = [], TranslationJudge.rows

    def rows(self: TranslationJudge, *given: object, **named: object) -> object:
        splits.append(self.split)
        return plain(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TranslationJudge, "rows", rows)
    return splits


def metrics_of(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "metrics.json").read_text())
    return found


def test_a_model_of_pairs_is_not_scored_on_a_split_without_them(both: Path, tmp_path: Path) -> None:
    run = train(toy("pix2pix", both, epochs=0.25), runs=tmp_path, name="run").path
    assert metrics_of(run)["split"] == "val"


@pytest.mark.parametrize(("layout", "split"), [("auto", "test"), ("pairs", "val"), ("unpaired", "test")])
def test_a_layout_that_is_asked_for_says_which_splits_there_are(
    layout: str, split: str, both: Path, tmp_path: Path
) -> None:
    for role in "AB":
        shutil.copytree(both / f"test{role}", both / f"train{role}")
    recipe = toy("cyclegan", both, epochs=1)
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, layout=layout))
    assert metrics_of(train(recipe, runs=tmp_path, name="run").path)["split"] == split


def test_what_the_last_scores_need_is_asked_for_before_the_first_step(both: Path, tmp_path: Path) -> None:
    recipe = toy("cyclegan", both)
    evaluation = dataclasses.replace(recipe.evaluation, metrics=("paired", "cityscapes"))
    with pytest.raises((DataError, UsageError), match="cityscapes"):
        train(dataclasses.replace(recipe, evaluation=evaluation), runs=tmp_path, name="run")
    assert not (tmp_path / "run").exists()


def test_images_that_chose_the_last_checkpoint_are_not_scored_again(
    both: Path, scored: list[str], tmp_path: Path
) -> None:
    recipe = toy("pix2pix", both, epochs=2, checkpoints=Checkpoints(best="none"))
    run = train(recipe, runs=tmp_path, name="run").path
    assert scored == ["val", "val"]  # once an epoch
    known = metrics_of(run)
    score_run(run, device="cpu")
    assert scored == ["val", "val", "val"]
    assert metrics_of(run) == known


def test_a_best_checkpoint_from_before_the_last_score_is_reported_with_its_own(both: Path, tmp_path: Path) -> None:
    run = train(toy("pix2pix", both, epochs=2), runs=tmp_path, name="run").path
    known = metrics_of(run)
    score_run(run, device="cpu")
    assert metrics_of(run) == known


def test_a_run_that_is_not_to_be_scored_is_not(both: Path, scored: list[str], tmp_path: Path) -> None:
    recipe = toy("pix2pix", both, epochs=0.5)
    recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, split="none"))
    run = train(recipe, runs=tmp_path, name="run")
    assert (run.finished, run.rows, scored) == (True, [], [])
    assert not (run.path / "metrics.json").exists()
    assert "metric" not in {record["kind"] for record in read_log(run.path / "log.jsonl")}
    assert list((run.path / "samples" / "slider").iterdir())
    assert score_run(run.path, device="cpu")["split"] == "val"


def test_a_run_that_is_not_to_be_scored_does_not_look_at_what_it_would_report_on(both: Path, tmp_path: Path) -> None:
    for role in "AB":
        (both / f"test{role}" / f"{role}0.png").write_bytes(b"no picture")
    recipe = toy("cyclegan", both, epochs=0.1)
    recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, split="none"))
    assert train(recipe, runs=tmp_path, name="run").finished


def test_a_student_that_is_not_scored_is_not_compared(both: Path) -> None:
    recipe = RECIPES["pix2pix-distill"]()
    unscored = dataclasses.replace(recipe.evaluation, split="none")
    with pytest.raises(UsageError, match=r"--compare runs/x: with --evaluation.split none there is no table"):
        dataclasses.replace(recipe, compare="runs/x", evaluation=unscored).checked()


def test_a_score_that_chooses_the_best_needs_a_split(both: Path, tmp_path: Path) -> None:
    recipe = toy("pix2pix", both, checkpoints=Checkpoints(best="AtoB/L1"))
    recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, split="none"))
    with pytest.raises(UsageError, match=r"--checkpoints.best AtoB/L1: with --evaluation.split none nothing is scored"):
        train(recipe, runs=tmp_path, name="run")
