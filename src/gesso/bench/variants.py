"""What sets a measured recipe apart from the recipe of its name, beyond what a configuration says anyway.

A variant is told by its flags, and against the recipe as it was in the gesso that measured, which therefore writes it
down (`VARIANT`). So the same command stays the same configuration where a later commit changes a default, and what has
changed is told beside the comparison. Results from before it was written down are held against the recipe as it is now.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

from gesso.files import shown
from gesso.recipe import as_flag, as_value
from gesso.recipe.common import HARMLESS
from gesso.recipes import RECIPES
from gesso.restoring import flat

VARIANT = "variant"
"""Its name in a result's environment."""
OUTSIDE = (
    *("model", "recipe", "batch_size", "devices", "precision", "compile", "device", "data.", "seed", "start_from"),
    *("epochs", "steps_per_epoch", "schedule.", "checkpoints.", "evaluation.", "teacher", *HARMLESS),
)
"""Beginnings of a recipe's fields that make no variant: fields of a configuration themselves, or without a part in what
a step does; a change of the images' size is in the work of a sample."""


def variant_of(recipe: str, recipe_json: str) -> str:
    """The flags by which a recipe is not the one of its name, such as "--accumulate 2 --ema 500"; '' where there are
    none, or no recipe of that name. Fields that only one of the two has do not count.

    Args:
        recipe: Its name.
        recipe_json: What `Recipe.to_json` wrote, of this gesso or an older one.
    """
    named = _named(recipe)
    return " ".join(as_flag(name, value) for name, value in _differing(named, _fields(recipe_json)).items())


def variant_in(environment: Mapping[str, Any], recipe: str, recipe_json: str) -> str:
    """As a result's `environment` has it, or of its recipe where it was measured before that was kept."""
    kept = environment.get(VARIANT)
    return shown(kept if isinstance(kept, str) else variant_of(recipe, recipe_json))


def changes(base_json: str, head_json: str) -> list[str]:
    """The flags whose values differ from one recipe to another of the same variant, as "--ema 500 (was 0)": those whose
    default changed between two states of the code. A field that only one of them has is new, and does not count."""
    base, head = _fields(base_json), _fields(head_json)
    differing = _differing(base, head)
    return [shown(f"{as_flag(name, value)} (was {as_value(base[name])})") for name, value in differing.items()]


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of both that differ, with their values in `theirs`."""
    return {name: theirs[name] for name, value in ours.items() if name in theirs and theirs[name] != value}


@functools.lru_cache(maxsize=1024)
def _fields(recipe_json: str) -> dict[str, Any]:
    """By the names of flags; without what makes no variant."""
    held = json.loads(recipe_json)
    fields = flat(held) if isinstance(held, dict) else {}
    return {name: value for name, value in fields.items() if not name.startswith(OUTSIDE)}


@functools.cache
def _named(recipe: str) -> dict[str, Any]:
    """The fields of the recipe of that name; none where there is none."""
    return _fields(RECIPES[recipe]().to_json()) if recipe in RECIPES else {}
