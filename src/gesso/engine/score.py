"""`gesso evaluate`: score a run again, on another split, checkpoint or data set."""

import dataclasses
from pathlib import Path

from gesso.engine.finish import held_out, score, table, write_metrics
from gesso.engine.launch import ready_model
from gesso.engine.report import write_report
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, run_of
from gesso.engine.track import say
from gesso.errors import UsageError
from gesso.recipe import Precision


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
    folder = run_of(run)
    recipe = read_recipe(folder)
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: must be 1 or more")
    own = (checkpoint, split, data_root) == ("best", "auto", "") and mode in ("recipe", recipe.generator.test_mode)
    if mode != "recipe":
        recipe = dataclasses.replace(recipe, generator=dataclasses.replace(recipe.generator, test_mode=mode))  # type: ignore[arg-type]
    if data_root:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root=data_root))
    model, choices = ready_model(recipe, device, precision)
    metrics = score(model, found, choices, held_out(model, say, split), batch_size)
    if own:
        write_metrics(folder, metrics)
        write_report(folder)
    return table(metrics)
