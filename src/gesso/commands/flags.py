"""The flags that several commands have."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from gesso.recipe import DistillRecipe, Precision, Recipe
from gesso.recipes import RECIPES

Flag = tyro.conf.arg
Run = Annotated[tyro.conf.Positional[Path], Flag(metavar="RUN")]
Runs = Annotated[
    tyro.conf.Positional[tuple[Path, ...]], Flag(metavar="RUN RUN [RUN …]", help_behavior_hint="(required)")
]
Folder = Annotated[tyro.conf.Positional[Path], Flag(metavar="FOLDER")]
Inputs = Annotated[tyro.conf.Positional[Path], Flag(metavar="INPUTS")]
Sources = Annotated[tyro.conf.Positional[tuple[Path, ...]], Flag(metavar="SOURCES", help_behavior_hint="(required)")]
Out = Annotated[Path, Flag(aliases=("-o",))]
BatchSize = Annotated[int, Flag(aliases=("-b",))]
Arithmetic = Annotated[Precision, Flag(aliases=("-d",))]
DataRoot = Annotated[str, Flag(aliases=("--data.root",))]
"""Under the name that it has in `gesso train`."""
Database = Annotated[
    str,
    Flag(help="postgresql://user@host/name or an SQLite file; without, bench.sqlite3 in the user's data folder."),
]


def defaults_of(name: str, flags: Sequence[str]) -> Recipe:
    """Recipe `name`, over which `flags` of `gesso train` are to be read.

    A student's has the values of the teacher that they name. So what a flag says is told from what it leaves open, and
    help shows what would be done.
    """
    recipe = RECIPES[name]()
    if not isinstance(recipe, DistillRecipe):
        return recipe
    teacher = ""
    for word, following in zip(flags, [*flags[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        if flag == "--teacher":
            teacher = value if equals else following
    if not teacher:
        return recipe
    from gesso.engine.teaching import adopted

    return adopted(dataclasses.replace(recipe, teacher=teacher))
