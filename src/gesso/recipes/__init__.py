"""Every recipe by name. To compare two, read them side by side; to add one, write a function and a line here."""

from collections.abc import Callable

from gesso.recipe import Recipe
from gesso.recipes.cyclegan import cyclegan, cyclegan_demo, cyclegan_gaudi, cyclegan_mindspore
from gesso.recipes.dcgan import dcgan, dcgan_demo, dcgan_msls
from gesso.recipes.densenet import (
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    densenet_bc_cifar,
    densenet_demo,
)
from gesso.recipes.distill import cyclegan_distill, cyclegan_distill_mindspore, pix2pix_distill
from gesso.recipes.pix2pix import pix2pix, pix2pix_demo, pix2pix_resnet9

RECIPES: dict[str, Callable[[], Recipe]] = {
    "pix2pix": pix2pix,
    "pix2pix-resnet9": pix2pix_resnet9,
    "pix2pix-demo": pix2pix_demo,
    "pix2pix-distill": pix2pix_distill,
    "cyclegan": cyclegan,
    "cyclegan-gaudi": cyclegan_gaudi,
    "cyclegan-mindspore": cyclegan_mindspore,
    "cyclegan-demo": cyclegan_demo,
    "cyclegan-distill": cyclegan_distill,
    "cyclegan-distill-mindspore": cyclegan_distill_mindspore,
    "dcgan": dcgan,
    "dcgan-msls": dcgan_msls,
    "dcgan-demo": dcgan_demo,
    "densenet121": densenet121,
    "densenet161": densenet161,
    "densenet169": densenet169,
    "densenet201": densenet201,
    "densenet-bc-cifar": densenet_bc_cifar,
    "densenet-demo": densenet_demo,
}
