"""Where a run's data set is: fetched if asked for, its place written out, moved if it was."""

import dataclasses
from pathlib import Path

from gesso.data.fetch import fetch, hint
from gesso.data.shards import is_shards
from gesso.data.shards_bytes import is_url
from gesso.data.single import class_names
from gesso.data.sources import root_of
from gesso.errors import DataError, UsageError
from gesso.progress import Bar
from gesso.recipe import BUILTIN_STREETS, ClassData, Data, Recipe


def located(recipe: Recipe) -> Recipe:
    """`recipe` with what the data set says: its place, written out from the root of the file system so that a resume
    may start from any folder, and its classes. DataError where there is no such data set."""
    data = recipe.data
    _fetch_missing(data)
    if isinstance(data, ClassData):
        data = dataclasses.replace(data, names=class_names(data))
        recipe = dataclasses.replace(recipe, data=data)
        if data.synthetic:
            return recipe
    if data.root == BUILTIN_STREETS or is_url(data.root):
        return recipe
    # Names of shards, such as train-{000..146}.tar, are no folder.
    named = isinstance(data, ClassData) and is_shards(data.root)
    root = Path(data.root).expanduser() if named else root_of(data)
    return dataclasses.replace(recipe, data=dataclasses.replace(data, root=str(root.resolve())))


def _fetch_missing(data: Data) -> None:
    """A public data set whose folder is missing: downloaded if `data.fetch`, else DataError says how."""
    root = Path(data.root).expanduser()
    advice = hint(root)
    if advice is None:
        return
    if not data.fetch:
        raise DataError(f"{advice}, and so does --data.fetch")
    with Bar(f"fetching {root.name}", unit="MB") as bar:
        fetch(root.name, root.parent, existing="keep", progress=bar.update, say=bar.say)


def moved(recipe: Recipe, root: str) -> Recipe:
    """`recipe` with its data set at `root`, to be `located` there. UsageError where its data set has no place."""
    if recipe.data.root == BUILTIN_STREETS:
        raise UsageError(f"--data.root {root}: this run's data are {BUILTIN_STREETS}, which cannot have moved")
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root=root))
