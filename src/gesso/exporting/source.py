"""What a format gets: a trained model with the weights that are used, and how it is to be exported."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from gesso.engine.checkpoint import MANIFEST
from gesso.engine.pulling import at_hand, name_of
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, load_for_use
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.models.base import Model
from gesso.recipe import Direction, Recipe

ExportPrecision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Source:
    """A trained model, on the CPU and in float32.

    run         the folder that was named: a run, or one of its checkpoints
    name        the run's, for names of files
    model       its used networks alone, with the averaged weights where the checkpoint has them
    checkpoint  the folder's name, the number of images seen
    averaged    whether the weights are averaged ones
    digest      SHA-256 of the checkpoint's manifest, which holds those of all its files; hexadecimal
    """

    run: Path
    name: str
    recipe: Recipe
    model: Model
    checkpoint: str
    averaged: bool
    digest: str

    def refuse_direction(self, direction: Direction | None) -> None:
        """UsageError where a direction is asked of a model that has none."""
        if direction is not None:
            raise UsageError(f"--direction {direction}: a {self.recipe.model} has no directions; leave it out")


@dataclass(frozen=True)
class Options:
    """How a model is exported. A format refuses what it has not, by a UsageError that names the flag.

    direction  of a translator; None for every one that it has
    uint8      images go in and come out as bytes, 0 … 255, instead of numbers in [-1, 1]
    precision  arithmetic of the exported network
    tolerance  largest difference to torch, in units of [-1, 1], that passes; see `checking.ALLOWED`
    licence    of the weights, an SPDX name or a text, for the metadata
    existing   what to do where a file is there already; it is known before anything long is done
    """

    direction: Direction | None = None
    uint8: bool = False
    precision: ExportPrecision = "fp32"
    tolerance: float = 1e-3
    licence: str = ""
    existing: Literal["refuse", "replace"] = "refuse"


Format: TypeAlias = Callable[[Source, Path, Options], list[Path]]
"""Takes where to write: a file, or a folder for several or where the user named one; Path() for the format's own name
in the working folder. Gives the files written. Either all of them appear, whole, or none."""


def load_source(run: Path, checkpoint: str = "best") -> Source:
    """The model at `run`, a run or a checkpoint. CheckpointError where there is none, or a damaged one."""
    name, run = name_of(run), at_hand(run)
    found = find_checkpoint(run, checkpoint)
    recipe = read_recipe(run)
    model = build_model(recipe)
    model.networks = {name: model.networks[name] for name in model.used}
    averaged = load_for_use(model, found)
    for network in model.networks.values():
        network.eval().requires_grad_(False)
    digest = hashlib.sha256((found.path / MANIFEST).read_bytes()).hexdigest()
    return Source(run, name, recipe, model, found.path.name, averaged, digest)
