"""What is said of a run before its first step, where it will not do what its command seems to ask for."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from gesso.recipe import Recipe, as_value


def opening_remarks(recipe: Recipe, run: Path, images: int, total: int) -> Iterator[str]:
    """Lines for people about the run in folder `run`, which has seen `images` of `total` images."""
    epochs = as_value(recipe.epochs)
    if images >= total:
        resume = f"gesso resume {shlex.quote(str(run))} -e N"
        yield f"{run}: already finished; go on with: {resume}, where N is more than {epochs}"
        return
    schedule = recipe.schedule
    if schedule.warmup != "none" and schedule.warmup_epochs >= recipe.epochs:
        yield (
            f"--schedule.warmup-epochs {as_value(schedule.warmup_epochs)}: the run ends within its warm-up, after "
            f"{epochs} epoch{'s' * (recipe.epochs != 1)}, so the learning rate never reaches its full height"
        )
