"""The files that a recipe names, written out from the root of the file system, as `located` does with its data set: so
that a run may be resumed from any folder. And the way back, for a recipe that leaves this machine."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gesso.errors import UsageError
from gesso.hub import is_hub
from gesso.recipe import BUILTIN_STREETS, DistillRecipe, Recipe

NETWORKS = ("inception", "lpips", "segmenter")
"""Fields of an evaluation that name a file; not every model's has each."""
RUNS = ("teacher", "compare")
"""Fields of a student's recipe that name a run."""


def anchored(recipe: Recipe) -> Recipe:
    """`recipe` with absolute paths in place of relative ones: of the networks that score, of given weights,
    and of the runs that a student is taught by and compared with."""
    return _elsewhere(recipe, _absolute)


def named_alone(recipe: Recipe) -> Recipe:
    """`recipe` with nothing of where things lie on this machine: of every path, the data set's too, its last name."""
    data = dataclasses.replace(recipe.data, root=last_name(recipe.data.root), cache_dir="")
    return _elsewhere(dataclasses.replace(recipe, data=data), last_name)


def refuse_inside(run: Path, recipe: Recipe) -> None:
    """UsageError where `recipe`, an anchored one, names something in the run at `run`, which is to be moved aside."""

    def look(path: str) -> str:
        if not is_hub(path) and Path(path).is_relative_to(run.resolve()):
            raise UsageError(
                f"--overwrite would move {run} aside, and {path} is wanted for the new run; give that another --name"
            )
        return path

    _elsewhere(recipe, look)


def last_name(place: str) -> str:
    """The last name in a path or a URL; a name of gesso's own or of the hub's is one already."""
    if place == BUILTIN_STREETS or is_hub(place):
        return place
    if "://" in place:  # what follows may be a key to it
        place = re.split("[?#]", place)[0]
    return re.split(r"[/\\]", place.rstrip("/\\"))[-1]


def _elsewhere(recipe: Recipe, moved: Callable[[str], str]) -> Recipe:
    """`recipe` with `moved` applied to every path but those of its data set."""
    given = {name: path for name, path in vars(recipe.evaluation).items() if name in NETWORKS and path}
    named: dict[str, Any] = {name: moved(path) for name, path in given.items()}
    evaluation = dataclasses.replace(recipe.evaluation, **named)
    if isinstance(recipe, DistillRecipe):
        runs: dict[str, Any] = {name: moved(path) for name, path in vars(recipe).items() if name in RUNS and path}
        recipe = dataclasses.replace(recipe, **runs)
    weights = tuple(_weights(entry, moved) for entry in recipe.start_from)
    return dataclasses.replace(recipe, evaluation=evaluation, start_from=weights)


def _weights(entry: str, moved: Callable[[str], str]) -> str:
    """An entry of start_from: a run, a checkpoint, or NETWORK=FILE."""
    network, equals, file = entry.partition("=")
    return f"{network}={moved(file)}" if equals and file else moved(entry)


def _absolute(path: str) -> str:
    return path if is_hub(path) else str(Path(path).expanduser().resolve())
