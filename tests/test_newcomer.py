"""Another model costs what CONTRIBUTING.md says: its file, its recipe, and a line in each of three tables."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch.nn.functional as F
from torch import Tensor

from conftest import SHRUNK, toy
from gesso.data.layouts import readers
from gesso.engine.feeding import FEEDS
from gesso.engine.finish import table
from gesso.engine.judging import JUDGES
from gesso.engine.score import score_run
from gesso.engine.track import LINES
from gesso.engine.train import train
from gesso.models import MODELS
from gesso.models.base import Batch, Loss, Networks
from gesso.models.translation import Translation, Translator, adam
from gesso.networks import build_generator
from gesso.predicting.folder import translate_folder
from gesso.predicting.uses import USES
from gesso.recipe import RECIPE_TYPES, TranslationRecipe
from gesso.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class RegressionRecipe(TranslationRecipe):
    """B from A by least squares."""

    model: ClassVar[str] = "regression"


def regression_recipe() -> RegressionRecipe:
    """Least squares.

    command  gesso train regression --data.root datasets/facades
    """
    return RegressionRecipe(recipe="regression")


class Regression(Translator):
    """One generator, no discriminator."""

    used = ("G",)
    translations = {"AtoB": Translation("A", "B", "G")}  # noqa: RUF012

    def __init__(self, recipe: RegressionRecipe) -> None:
        super().__init__(
            recipe, {"G": build_generator(recipe.generator, recipe.data.channels_a, recipe.data.channels_b)}
        )

    def make_optimizers(self, fused: bool) -> None:
        config = self.recipe.optimizer
        self.optimizers = {"G": adam([self.networks["G"]], config, config.generator_lr, fused)}

    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.descend("G", map(self._loss, self.pieces(batch)))

    def _loss(self, piece: Batch) -> Loss:
        loss = F.mse_loss(self.networks["G"](piece["A"]), piece["B"])
        return Loss(loss, {"L2": loss})

    def predict(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        return {"fake_B": (networks or self.networks)["G"](batch["A"])}

    def forward_passes(self) -> dict[str, float]:
        return {"G": 3}


@pytest.fixture
def regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines in the tables."""
    monkeypatch.setitem(RECIPE_TYPES, "regression", RegressionRecipe)
    monkeypatch.setitem(RECIPES, "regression", regression_recipe)
    monkeypatch.setitem(MODELS, "regression", Regression)
    monkeypatch.setitem(SHRUNK, "regression", SHRUNK["pix2pix"])


@pytest.mark.usefixtures("regression")
def test_a_new_translator_trains_scores_and_translates(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("regression", pairs)
    run = train(dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, generator_lr=0.01)),
                runs=tmp_path, name="run")  # fmt: skip
    ours = next(row for row in run.rows if row["method"] == "gesso")
    copied = next(row for row in run.rows if row["method"] == "input copied")
    assert ours["L1"] < copied["L1"]
    assert any(line.startswith("AtoB") for line in table(score_run(run.path, device="cpu", precision="fp32")))
    done = translate_folder(
        run=run.path, inputs=pairs / "test", out=tmp_path / "out", device="cpu", precision="fp32", direction="AtoB"
    )
    assert done.written == 4


@pytest.mark.usefixtures("regression")
def test_a_new_model_trains_from_the_command_line(gesso: Any, pairs: Path, tmp_path: Path) -> None:
    words = ["--data.root", pairs, "--data.load-size", 36, "--data.crop-size", 32, "--generator.ngf", 4, "-e", 0.1]
    assert gesso("train", "regression", *words, "--runs", tmp_path, "--name", "run", "--compile", "off").code == 0
    assert (tmp_path / "run" / "index.html").exists()


@pytest.mark.usefixtures("regression")
def test_a_new_model_is_named_by_data_check() -> None:
    assert "translators (cyclegan, cyclegan-distill, pix2pix, pix2pix-distill, regression)" in readers("pairs")


@pytest.mark.parametrize("table", [FEEDS, JUDGES, LINES, USES], ids=["FEEDS", "JUDGES", "LINES", "USES"])
def test_the_other_tables_go_by_kind_and_have_them_all(table: dict[Any, Any]) -> None:
    assert set(table) == {recipe_type.kind for recipe_type in RECIPE_TYPES.values()}


def test_every_model_is_in_each_of_the_three_tables() -> None:
    assert MODELS.keys() == RECIPE_TYPES.keys() == {make().model for make in RECIPES.values()}


def test_a_model_that_needs_no_pairs_is_named_for_sets_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RegressionRecipe, "aligned", False, raising=False)
    monkeypatch.setitem(RECIPE_TYPES, "regression", RegressionRecipe)
    assert "regression" in readers("unpaired") and "pix2pix" not in readers("unpaired")
