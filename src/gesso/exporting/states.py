"""Bare state_dicts as other programs read them: what their formats share."""

import io
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from gesso.engine.state import find_checkpoint
from gesso.errors import UsageError
from gesso.exporting.placing import check_places, write_exported
from gesso.exporting.source import Options, Source
from gesso.progress import say
from gesso.recipe import Recipe, TranslationRecipe

SUFFIX = ".pth"
R = TypeVar("R", bound=Recipe)


def recipe_for(format_: str, source: Source, options: Options, kind: type[R], models: str) -> R:
    """The recipe of `source`, which must be a `kind`, that of `models` in words.

    UsageError where it is of another model, or `options` has what a file of weights alone cannot carry or what such a
    model has not.
    """
    given = {
        "--uint8": options.uint8,
        f"--precision {options.precision}": options.precision != "fp32",
        "--licence": bool(options.licence),
        f"--tolerance {options.tolerance:g}": options.tolerance != Options().tolerance,
    }
    for flag, there in given.items():
        if there:
            raise UsageError(f"{flag}: --format {format_} holds float32 weights and nothing else; leave it out")
    if not isinstance(source.recipe, kind):
        raise UsageError(f"--format {format_}: {source.run} is a {source.recipe.model}; it is for {models}")
    if not isinstance(source.recipe, TranslationRecipe):
        source.refuse_direction(options.direction)
    return source.recipe


def judges(source: Source) -> dict[str, dict[str, Tensor]]:
    """The weights of the networks that only training needs, without those that an import had to make up."""
    found = find_checkpoint(source.run, source.checkpoint)
    known = found.progress.get("networks", list(found.weights))
    return {name: weights for name, weights in found.weights.items() if name.startswith("D") and name in known}


def write_states(folder: Path, states: dict[str, dict[str, Tensor]], options: Options) -> list[Path]:
    """Write each state_dict under its name into `folder`: all of the files appear, whole, or none of them.

    UsageError where one is there already and `options` does not say to replace it.
    """
    check_places([folder / name for name in states], options)

    def content(weights: dict[str, Tensor]) -> memoryview:
        buffer = io.BytesIO()
        torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}, buffer)
        return buffer.getbuffer()

    return write_exported(((folder / name, content(weights)) for name, weights in states.items()), options)


def write_networks(
    source: Source, out: Path, options: Options, states: dict[str, dict[str, Tensor]], used: int, told: str
) -> list[Path]:
    """Write `states` where the user wants them, and tell how the other program reads them; gives the files.

    out   a folder, or Path() for one called after the run; or a file called .pth, which then is the only network
    used  how many of `states`, the first ones, are networks that are used. UsageError where one file is for several
    told  the line that is told
    """
    if out.suffix == SUFFIX:
        if used != 1:
            raise UsageError(
                f"-o {out}: {used} networks are {used} files; name a folder, or choose one with --direction"
            )
        paths = write_states(out.parent, {out.name: next(iter(states.values()))}, options)
    else:
        paths = write_states(out if out != Path() else Path(source.name), states, options)
    say(told)
    return paths
