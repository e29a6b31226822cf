"""The DCGAN of pytorch/examples: netG_epoch_24.pth, and netD_epoch_24.pth if it is to be trained on.

One flat Sequential, main, in each. The generator normalises behind its first convolution, the discriminator does not:
that tells which is which, whatever the files are called.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from gesso.errors import CheckpointError, UsageError
from gesso.importing.given import given, no_use, read_state, unique
from gesso.importing.imported import Imported, Options, Part
from gesso.networks.dcgan import IMAGE_SIZES, TOP
from gesso.recipes.dcgan import dcgan

NETWORKS = ("G", "D")


@dataclass(frozen=True)
class _Found:
    """A network: side and channels of its images, filters of the layer next to them, what goes in at the other end."""

    part: Part
    size: int
    channels: int
    filters: int
    latent: int


def import_dcgan(files: tuple[str, ...], options: Options) -> Imported:
    """The generator, and the discriminator if given, as a dcgan run."""
    no_use("dcgan-example", options, "direction", "dropout", "padding", "blocks", "classes")
    named = given(files, NETWORKS, by_name=None)
    states = {path: read_state(path) for _, path in named}
    is_in = {path: "G" if "main.1.weight" in state else "D" for path, state in states.items()}
    if wrong := next(((network, path) for network, path in named if network and network != is_in[path]), None):
        raise UsageError(f"{wrong[0]}={wrong[1]}: holds the example's {is_in[wrong[1]]}; give it as that")
    paths = unique([(is_in[path], path) for _, path in named])
    found = {name: _found(path, states[path], name) for name, path in paths.items()}
    if "G" not in found:
        raise UsageError(f"{files[0]}: a discriminator alone; give its generator too")
    G, D = found["G"], found.get("D")
    if D and (D.size, D.channels) != (G.size, G.channels):
        raise CheckpointError(
            f"{D.part.path}: for images of {D.size} px and {D.channels} channels; {G.part.path} makes {G.size} px and "
            f"{G.channels}"
        )
    base = dcgan()
    recipe = replace(
        base,
        data=replace(base.data, image_size=G.size, channels=G.channels),
        networks=replace(base.networks, latent=G.latent, ngf=G.filters, ndf=D.filters if D else G.filters),
    )
    told = [f"G: DCGAN of {G.size} px, channels {G.channels}, latent {G.latent}, ngf {G.filters}"]
    told.append(f"D: ndf {D.filters}" if D else "D: in no file, so new; only training needs it")
    return Imported(recipe, {name: each.part for name, each in found.items()}, tuple(told))


def _found(path: Path, weights: dict[str, Tensor], name: str) -> _Found:
    by_place = {
        int(match[1]): tensor
        for key, tensor in weights.items()
        if tensor.dim() == 4 and (match := re.fullmatch(r"main\.(\d{1,4})\.weight", key))
    }
    layers = [by_place[place] for place in sorted(by_place)]  # a file need not have them in order
    size = TOP * 2 ** (len(layers) - 1) if 0 < len(layers) < 9 else 0
    if size not in IMAGE_SIZES:
        sizes = ", ".join(map(str, IMAGE_SIZES))
        raise CheckpointError(
            f"{path}: not the example's DCGAN for {sizes} px, it has {len(layers)} convolutions named main.N.weight"
        )
    image, other = (layers[-1], layers[0]) if name == "G" else (layers[0], layers[-1])
    filters, channels = image.shape[:2]  # a transposed convolution's weight has its inputs first
    if not 1 <= channels <= 4:
        raise CheckpointError(f"{path}: images of {channels} channels; gesso's have 1 to 4")
    return _Found(Part(path, weights), size, channels, filters, other.shape[0])
