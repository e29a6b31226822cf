"""`gesso evaluate`: score a run again, on another split, checkpoint or data set."""

import dataclasses
from pathlib import Path

from gesso.engine.finish import score, table, write_metrics
from gesso.engine.launch import ready_model
from gesso.engine.report import write_report
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, run_of
from gesso.engine.track import say
from gesso.recipe import Precision


def score_run(
    run: Path,
    checkpoint: str = "best",
    split: str = "auto",
    data_root: str = "",
    batch_size: int = 8,
    device: str = "auto",
    precision: Precision = "auto",
) -> list[str]:
    """The table of a run as lines of text; its own split and data set also go to metrics.json and the report."""
    found = find_checkpoint(run, checkpoint)
    folder = run_of(run)
    recipe = read_recipe(folder)
    if data_root:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root=data_root))
    model, choices = ready_model(recipe, device, precision)
    metrics = score(model, found, choices.device.value, say, split, batch_size)
    if not data_root:
        write_metrics(folder, metrics)
        write_report(folder)
    return table(metrics)
