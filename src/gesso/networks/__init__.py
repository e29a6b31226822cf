"""Generators and discriminators: pure modules on one device, with the reference's mathematics and names.

The reference is github.com/junyanz/pytorch-CycleGAN-and-pix2pix: its files load into these networks
unchanged. To add a network, write its file here and one line in the table that fits.
"""

from collections.abc import Callable

from torch import nn

from gesso import recipe
from gesso.networks.initialize import initialize
from gesso.networks.macs import macs
from gesso.networks.patchgan import PatchGAN, PixelGAN
from gesso.networks.resnet import ResNetGenerator
from gesso.networks.translator import Translator
from gesso.networks.unet import UNetGenerator

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "PatchGAN",
    "PixelGAN",
    "ResNetGenerator",
    "Translator",
    "UNetGenerator",
    "build_discriminator",
    "build_generator",
    "initialize",
    "macs",
]


def _resnet(config: recipe.Generator, in_channels: int, out_channels: int) -> Translator:
    return ResNetGenerator(
        in_channels,
        out_channels,
        ngf=config.ngf,
        blocks=config.blocks,
        norm=config.norm,
        norm_affine=config.norm_affine,
        padding=config.padding,
        dropout=config.dropout,
        upsample=config.upsample,
        ends=config.ends,
        slope=config.slope,
        separable=config.separable,
    )


def _unet(config: recipe.Generator, in_channels: int, out_channels: int) -> Translator:
    return UNetGenerator(
        in_channels,
        out_channels,
        ngf=config.ngf,
        depth=config.depth,
        norm=config.norm,
        norm_affine=config.norm_affine,
        dropout=config.dropout,
        upsample=config.upsample,
    )


def _patch(config: recipe.Discriminator, in_channels: int) -> nn.Module:
    return PatchGAN(in_channels, config.ndf, config.layers, config.norm, config.norm_affine, config.slope)


def _pixel(config: recipe.Discriminator, in_channels: int) -> nn.Module:
    return PixelGAN(in_channels, config.ndf, config.norm, config.norm_affine, config.slope)


GENERATORS: dict[str, Callable[[recipe.Generator, int, int], Translator]] = {"resnet": _resnet, "unet": _unet}
DISCRIMINATORS: dict[str, Callable[[recipe.Discriminator, int], nn.Module]] = {
    "patch": _patch,
    "pixel": _pixel,
}


def build_generator(config: recipe.Generator, in_channels: int, out_channels: int) -> Translator:
    """A generator of images with `in_channels` to images with `out_channels`; weights are torch's defaults
    until `initialize`. ValueError where the configuration's numbers cannot be built."""
    return GENERATORS[config.kind](config, in_channels, out_channels)


def build_discriminator(config: recipe.Discriminator, in_channels: int) -> nn.Module:
    """A discriminator of images with `in_channels` (source and target together, if conditional); weights are
    torch's defaults until `initialize`. ValueError where the configuration's numbers cannot be built."""
    return DISCRIMINATORS[config.kind](config, in_channels)
