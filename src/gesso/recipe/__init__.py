"""The typed configuration of a run, and its life as JSON.

To add a model's recipe, write its file here and its line in the table.
"""

import json
import typing

from gesso.errors import CheckpointError
from gesso.recipe.common import (
    BUILTIN_STREETS,
    Checkpoints,
    Data,
    Evaluation,
    GANMode,
    Precision,
    Recipe,
    Schedule,
    Switch,
    Tracking,
    as_flag,
    as_value,
    differences,
)
from gesso.recipe.dcgan import (
    MOST_OF_TRAINING,
    DCGANLoss,
    DCGANNetworks,
    DCGANRecipe,
    GANOptimizer,
    GenerationEvaluation,
    ImageData,
)
from gesso.recipe.densenet import (
    ClassData,
    ClassificationLoss,
    DenseNetRecipe,
    DenseNetwork,
    Dumping,
    Optimizer,
)
from gesso.recipe.translation import (
    Adam,
    CycleGANLoss,
    CycleGANRecipe,
    Direction,
    Discriminator,
    Generator,
    Pix2PixLoss,
    Pix2PixRecipe,
    TranslationData,
    TranslationEvaluation,
    TranslationRecipe,
)
from gesso.restoring import restore

__all__ = [
    "BUILTIN_STREETS", "MOST_OF_TRAINING", "RECIPE_TYPES", "Adam", "Checkpoints", "ClassData", "ClassificationLoss",
    "CycleGANLoss", "CycleGANRecipe", "DCGANLoss", "DCGANNetworks", "DCGANRecipe", "Data", "DenseNetRecipe",
    "DenseNetwork", "Direction", "Discriminator", "Dumping", "Evaluation", "GANMode", "GANOptimizer",
    "GenerationEvaluation", "Generator", "ImageData", "Optimizer", "Pix2PixLoss", "Pix2PixRecipe", "Precision",
    "Recipe", "Schedule", "Switch", "Tracking", "TranslationData", "TranslationEvaluation", "TranslationRecipe",
    "as_flag", "as_value", "differences", "from_json",
]  # fmt: skip

RECIPE_TYPES: dict[str, type[Recipe]] = {
    "cyclegan": CycleGANRecipe,
    "dcgan": DCGANRecipe,
    "densenet": DenseNetRecipe,
    "pix2pix": Pix2PixRecipe,
}


def from_json(text: str) -> Recipe:
    """The recipe that `Recipe.to_json` wrote. CheckpointError where the text is not one."""
    try:
        values = json.loads(text)
        model = values.pop("model") if isinstance(values, dict) else None
        if model not in RECIPE_TYPES:
            raise ValueError(f"its model is {model!r}, not one of {', '.join(RECIPE_TYPES)}")
        return typing.cast(Recipe, restore(RECIPE_TYPES[model], values))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"not a recipe that this gesso can read: {error}") from None
