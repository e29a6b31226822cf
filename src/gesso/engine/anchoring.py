"""The files that a recipe names, written out from the root of the file system, as `located` does with its data set: so
that a run may be resumed from any folder."""

import dataclasses
from pathlib import Path
from typing import Any

from gesso.recipe import DistillRecipe, Recipe

NETWORKS = ("inception", "lpips", "segmenter")
"""Fields of an evaluation that name a file; not every model's has each."""
RUNS = ("teacher", "compare")
"""Fields of a student's recipe that name a run."""


def anchored(recipe: Recipe) -> Recipe:
    """`recipe` with absolute paths in place of relative ones: of the networks that score, of given weights,
    and of the runs that a student is taught by and compared with."""
    given = {name: path for name, path in vars(recipe.evaluation).items() if name in NETWORKS and path}
    named: dict[str, Any] = {name: _absolute(path) for name, path in given.items()}
    evaluation = dataclasses.replace(recipe.evaluation, **named)
    if isinstance(recipe, DistillRecipe):
        runs: dict[str, Any] = {name: _absolute(path) for name, path in vars(recipe).items() if name in RUNS and path}
        recipe = dataclasses.replace(recipe, **runs)
    return dataclasses.replace(recipe, evaluation=evaluation, start_from=tuple(map(_weights, recipe.start_from)))


def _weights(entry: str) -> str:
    """An entry of start_from: a run, a checkpoint, or NETWORK=FILE."""
    network, equals, file = entry.partition("=")
    return f"{network}={_absolute(file)}" if equals and file else _absolute(entry)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
