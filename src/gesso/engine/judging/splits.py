"""Which split of a data set a judge scores."""

from collections.abc import Sequence

from gesso.errors import DataError
from gesso.progress import Say
from gesso.recipe import Recipe

WATCH, REPORT = "auto", "held out"
"""What a judge may be asked for besides a split by its name: the one to watch while training, and the one to report at
the end, which had better be another so that a checkpoint is not reported on what chose it."""


def split_to_score(
    asked: str,
    recipe: Recipe,
    there: Sequence[str],
    say: Say,
    *,
    watch: Sequence[str] = ("val", "test"),
    report: Sequence[str] = ("test", "val"),
    training: str = "train",
    required: bool = False,
) -> str:
    """The split to score of those that are `there`.

    asked     a name, WATCH (what the recipe's evaluation names, else the first of `watch` that is there) or REPORT (the
              first of `report`)
    training  takes their place where neither is there; `say` hears it, once a run
    required  refuse that; a recipe that wants another split than usual can be told which

    DataError where a split that was asked for by its name is not there, or nothing else than `training` is wanted.
    """
    named = recipe.evaluation.split if asked == WATCH else asked
    if named == "none":  # samples are drawn of it all the same
        named = WATCH
    wanted = {WATCH: watch, REPORT: report}.get(named, (named,))
    if found := next((name for name in wanted if name in there), None):
        return found
    missing = f"{recipe.data.root}: no {' or '.join(dict.fromkeys(wanted))} split here"
    # A set without any split is refused when it is opened, with what is wrong with the folder.
    if required or named not in (WATCH, REPORT) or (there and training not in there):
        other = "; --data.evaluate-split names another" if required else ""
        raise DataError(f"{missing}; there is {', '.join(there) or 'none'}{other}")
    if asked == WATCH:
        say(f"{missing}, so the training images take its place")
    return training


def told(split: str, training: str = "train") -> str:
    """`split` for a protocol."""
    return f"split {split}" + (", which it was trained on" if split == training else "")
