"""DCGANs as pytorch/examples reads them: netG.pth and netD.pth, bare state_dicts."""

from pathlib import Path

from gesso.exporting.source import Options, Source
from gesso.exporting.states import SUFFIX, judges, recipe_for, write_networks
from gesso.recipe import DCGANRecipe

SIZE = 64
"""Of the pictures that its code draws."""


def export_dcgan(source: Source, out: Path, options: Options) -> list[Path]:
    """netG.pth, and netD.pth where it can be read there."""
    recipe = recipe_for("dcgan-example", source, options, DCGANRecipe, "dcgan")
    states = {f"netG{SUFFIX}": source.model.networks["G"].state_dict()}
    if not recipe.networks.spectral_norm and out.suffix != SUFFIX:
        states |= {f"net{name}{SUFFIX}": weights for name, weights in judges(source).items()}
    config, size = recipe.networks, recipe.data.image_size
    told = f"there: --nz {config.latent} --ngf {config.ngf} --ndf {config.ndf}, nc {recipe.data.channels}"
    if size != SIZE:
        told += f"; its code draws {SIZE} px, these draw {size}, with another number of layers in main"
    return write_networks(source, out, options, states, 1, told)
