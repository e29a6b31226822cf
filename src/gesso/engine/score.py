"""`gesso evaluate`: score a run again, on another split, checkpoint or data set."""

import dataclasses
from pathlib import Path
from typing import Any

from gesso.engine.finish import score, table, write_metrics
from gesso.engine.judging import open_judge
from gesso.engine.launch import ready_model
from gesso.engine.report import write_report
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint
from gesso.engine.track import say
from gesso.errors import UsageError
from gesso.recipe import Precision, Recipe, TranslationRecipe


def score_run(
    run: Path,
    checkpoint: str = "best",
    split: str = "auto",
    data_root: str = "",
    mode: str = "recipe",
    batch_size: int = 8,
    device: str = "auto",
    precision: Precision = "auto",
) -> list[str]:
    """The table of a run as lines of text.

    The run's own score (best checkpoint, held-out split, the recipe's data and mode) also goes to metrics.json and
    the report; any other is only shown.
    """
    found = find_checkpoint(run, checkpoint)
    recipe = read_recipe(run)
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: must be 1 or more")
    asked = in_mode(recipe, mode)
    whole_run = found.path.parents[1].resolve() == run.resolve()
    own = whole_run and (checkpoint, split, data_root) == ("best", "auto", "") and asked == recipe
    if data_root:
        asked = dataclasses.replace(asked, data=dataclasses.replace(asked.data, root=data_root))
    model, choices = ready_model(asked, device, precision)
    judge = open_judge(model, "held out" if split == "auto" else split, say)
    metrics = score(found, judge, choices, batch_size)
    if own:
        write_metrics(run, metrics)
        write_report(run)
    return table(metrics)


def in_mode(recipe: Recipe, mode: str) -> Recipe:
    """`recipe` with its generator's test mode set to `mode`, "recipe" leaving it; UsageError where it has none."""
    if mode == "recipe":
        return recipe
    if not isinstance(recipe, TranslationRecipe):
        raise UsageError(f"--mode {mode}: only translators have a choice; a {recipe.model} is always used in eval mode")
    generator: Any = dataclasses.replace(recipe.generator, test_mode=mode)  # type: ignore[arg-type]
    return dataclasses.replace(recipe, generator=generator)
