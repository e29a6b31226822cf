"""Files that a recipe names stay found from another folder."""

import dataclasses
from pathlib import Path

import pytest

from conftest import toy
from gesso.engine.anchoring import anchored


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_networks_that_score_are_named_from_the_root(here: Path) -> None:
    recipe = toy("pix2pix", here)
    asked = dataclasses.replace(recipe.evaluation, inception="nets/i.pt", lpips="~/l.pt", segmenter="/s.onnx")
    evaluation = anchored(dataclasses.replace(recipe, evaluation=asked)).evaluation
    found = (evaluation.inception, evaluation.lpips, evaluation.segmenter)  # type: ignore[attr-defined]
    assert found == (str(here / "nets/i.pt"), str(here / "home/l.pt"), "/s.onnx")


def test_given_weights_are_named_from_the_root(here: Path) -> None:
    recipe = toy("pix2pix", here, start_from=("runs/first", "G=weights/g.pth", "/elsewhere"))
    assert anchored(recipe).start_from == (str(here / "runs/first"), f"G={here / 'weights/g.pth'}", "/elsewhere")


@pytest.mark.parametrize("name", ["pix2pix", "dcgan", "densenet121"])
def test_a_recipe_that_names_no_files_stays_as_it_is(name: str, here: Path) -> None:
    recipe = toy(name, here)
    assert anchored(recipe) == recipe
    assert anchored(anchored(recipe)) == anchored(recipe)
