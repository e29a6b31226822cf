"""Where a RUN that a user names lies on this machine: a folder as it is, a model on the hub once it is pulled."""

import dataclasses
from pathlib import Path

from gesso import hub
from gesso.engine.anchoring import named_alone
from gesso.engine.checkpoint import MANIFEST
from gesso.engine.runs import read_recipe
from gesso.errors import CheckpointError
from gesso.recipe import as_flag
from gesso.restoring import flat


def at_hand(run: Path) -> Path:
    """`run`, a folder, or the folder into which the model hub:OWNER/NAME[@REVISION] was pulled.

    A GessoError where it cannot be. Its weights are verified when they are read, as those of any checkpoint are.
    """
    if not hub.is_hub(run):
        return run
    name = hub.parse_name(run)
    path = hub.pull(name)
    try:
        recipe = read_recipe(path)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from None
    # A recipe from elsewhere must not choose which of this machine's files are opened.
    theirs, alone = (flat(dataclasses.asdict(each)) for each in (recipe, named_alone(recipe)))
    if strange := next((field for field in theirs if theirs[field] != alone[field]), None):
        raise CheckpointError(
            f"{name}: not as gesso publishes, its recipe names a place on another machine: "
            f"{as_flag(strange, theirs[strange])}"
        )
    return path


def name_of(run: Path) -> str:
    """What `run` is called: a run by its folder, a checkpoint by its run's, a model on the hub as it is there."""
    if hub.is_hub(run):
        return hub.parse_name(run).repo.rpartition("/")[2]
    owner = run.resolve()
    inside = (run / MANIFEST).exists() and owner.parent.name == "checkpoints"
    return owner.parent.parent.name if inside else owner.name
