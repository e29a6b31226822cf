"""The typed configuration of a run, and its life as JSON.

A model's recipe is a file here, on top of its kind's (translation, generation or classification), and a line in the
table.
"""

import json
import typing

from gesso.errors import CheckpointError
from gesso.recipe.classification import ClassData, ClassificationRecipe, Dumping
from gesso.recipe.common import (
    BUILTIN_STREETS,
    Checkpoints,
    Data,
    Evaluation,
    GANMode,
    Guard,
    Kind,
    Precision,
    Recipe,
    Schedule,
    Switch,
    Tracking,
    as_flag,
    as_value,
    differences,
)
from gesso.recipe.cyclegan import CycleGANLoss, CycleGANRecipe
from gesso.recipe.dcgan import DCGANLoss, DCGANNetworks, DCGANRecipe, GANOptimizer
from gesso.recipe.densenet import (
    ClassificationLoss,
    DenseNetRecipe,
    DenseNetwork,
    Optimizer,
    cifar_network,
    imagenet_network,
)
from gesso.recipe.distill import (
    CycleGANDistillRecipe,
    Distillation,
    DistillRecipe,
    Pix2PixDistillRecipe,
    Taught,
)
from gesso.recipe.generation import MOST_OF_TRAINING, GenerationEvaluation, GenerationRecipe, ImageData
from gesso.recipe.pix2pix import Pix2PixLoss, Pix2PixRecipe
from gesso.recipe.translation import (
    Adam,
    Direction,
    Discriminator,
    Generator,
    TranslationData,
    TranslationEvaluation,
    TranslationRecipe,
)
from gesso.restoring import restore

__all__ = [
    "BUILTIN_STREETS", "MOST_OF_TRAINING", "RECIPE_TYPES", "Adam", "Checkpoints", "ClassData", "ClassificationLoss",
    "ClassificationRecipe", "CycleGANDistillRecipe", "CycleGANLoss", "CycleGANRecipe", "DCGANLoss", "DCGANNetworks",
    "DCGANRecipe", "Data", "DenseNetRecipe", "DenseNetwork", "Direction", "Discriminator", "DistillRecipe",
    "Distillation", "Dumping", "Evaluation", "GANMode", "GANOptimizer", "GenerationEvaluation", "GenerationRecipe",
    "Generator", "Guard", "ImageData", "Kind", "Optimizer", "Pix2PixDistillRecipe", "Pix2PixLoss", "Pix2PixRecipe",
    "Precision", "Recipe", "Schedule", "Switch", "Taught", "Tracking", "TranslationData", "TranslationEvaluation",
    "TranslationRecipe", "as_flag", "as_value", "cifar_network", "differences", "from_json", "imagenet_network",
]  # fmt: skip

RECIPE_TYPES: dict[str, type[Recipe]] = {
    "cyclegan": CycleGANRecipe,
    "cyclegan-distill": CycleGANDistillRecipe,
    "dcgan": DCGANRecipe,
    "densenet": DenseNetRecipe,
    "pix2pix": Pix2PixRecipe,
    "pix2pix-distill": Pix2PixDistillRecipe,
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
