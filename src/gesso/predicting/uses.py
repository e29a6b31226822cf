"""Which command uses which kind of model."""

from pathlib import Path

from gesso.recipe import RECIPE_TYPES, Kind, Recipe

USES: dict[Kind, str] = {"translator": "translate", "generator": "sample", "classifier": "classify"}
"""The command that uses each kind of model."""


def other_use(run: Path, recipe: Recipe, wanted: Kind) -> str:
    """What to say where `run` is not of the kind that the command for `wanted` is for."""
    models = " or a ".join(name for name, recipe_type in RECIPE_TYPES.items() if recipe_type.kind == wanted)
    return f"{run}: a {recipe.model}, which is used with `gesso {USES[recipe.kind]}`; {USES[wanted]} wants a {models}"
