"""DenseNets as torchvision reads them: the state_dict of one network, under the names that both have."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.source import Options, Source
from gesso.exporting.states import SUFFIX, recipe_for, write_networks
from gesso.recipe import DenseNetRecipe
from gesso.recipe.densenet import IMAGENET

NORM_EPS = 1e-5


def export_torchvision(source: Source, out: Path, options: Options) -> list[Path]:
    """NAME.pth. UsageError for a network that torchvision's class cannot be."""
    recipe = recipe_for("torchvision", source, options, DenseNetRecipe, "densenet")
    network = recipe.network
    others = {
        f"--network.stem {network.stem}": network.stem != "imagenet",
        f"--network.bottleneck {network.bottleneck}": network.bottleneck == 0,
        f"--network.compression {network.compression:g}": network.compression != 0.5,
        f"--data.channels {recipe.data.channels}": recipe.data.channels != 3,
    }
    for flag, there in others.items():
        if there:
            raise UsageError(f"--format torchvision: {source.run} was trained with {flag}, which torchvision has not")
    classes = len(recipe.data.class_names)
    variant = {each: depth for depth, each in IMAGENET.items()}.get((network.blocks, network.growth))
    if variant and network.initial == 2 * network.growth and network.bottleneck == 4:
        told = f"there: densenet{variant}(num_classes={classes})"
    else:
        sizes = f"{network.growth}, {network.blocks}, {network.initial}, {network.bottleneck}"
        told = f"there: DenseNet({sizes}, num_classes={classes})"
    if network.norm_eps != NORM_EPS:
        told += f", whose norms have eps {NORM_EPS:g}; these were trained with {network.norm_eps:g}"
    state = {f"{source.name}{SUFFIX}": source.model.networks["net"].state_dict()}
    return write_networks(source, out, options, state, 1, told)
