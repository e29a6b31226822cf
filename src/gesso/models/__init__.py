"""One file a model: its losses in the order of the paper, its training step from top to bottom, its predict."""

from typing import Any

from gesso.models.base import Model
from gesso.models.cyclegan import CycleGAN
from gesso.models.dcgan import DCGAN
from gesso.models.densenet import DenseNet
from gesso.models.distill import CycleGANDistill, Pix2PixDistill
from gesso.models.pix2pix import Pix2Pix
from gesso.recipe import Recipe

MODELS: dict[str, type[Any]] = {
    "cyclegan": CycleGAN,
    "cyclegan-distill": CycleGANDistill,
    "dcgan": DCGAN,
    "densenet": DenseNet,
    "pix2pix": Pix2Pix,
    "pix2pix-distill": Pix2PixDistill,
}


def build_model(recipe: Recipe) -> Model:
    """The model that `recipe` describes, its networks not yet initialised and on the CPU."""
    model: Model = MODELS[recipe.model](recipe)
    return model
