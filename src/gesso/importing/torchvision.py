"""torchvision's DenseNets: the state_dict of densenet121 to densenet201, under today's names or the released files'."""

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from gesso.errors import CheckpointError, UsageError
from gesso.importing.given import given, no_use, read_state
from gesso.importing.imported import Imported, Options, Part
from gesso.networks.densenet import with_newer_names
from gesso.recipe import ClassData, DenseNetwork
from gesso.recipe.densenet import IMAGENET
from gesso.recipes.densenet import densenet121

NETWORKS = ("net",)
NORM_EPS = 1e-5
LAYER = re.compile(r"features\.denseblock(\d{1,3})\.denselayer(\d{1,4})\.norm1\.weight")


def import_torchvision(files: tuple[str, ...], options: Options) -> Imported:
    """The classifier as a densenet run."""
    no_use("torchvision", options, "direction", "dropout", "padding", "blocks")
    if len(files) > 1:
        raise UsageError(f"{files[1]}: a classifier is one network in one file")
    ((_, path),) = given(files, NETWORKS, by_name=None)
    weights = with_newer_names(read_state(path))
    network = _network(path, weights)
    classes = _of(path, weights, "classifier.weight", 2).shape[0]
    channels = _of(path, weights, "features.conv0.weight", 4).shape[1]
    if not 1 <= channels <= 4 or classes < 2:
        raise CheckpointError(f"{path}: {channels} channels to {classes} classes; gesso's have 1 to 4, and 2 or more")
    names = _names(options.classes, classes)
    small = network.stem == "cifar"
    data = ClassData(
        names=names or tuple(map(str, range(classes))),
        image_size=32 if small else 224,
        resize=32 if small else 256,
        preprocess="pad_crop" if small else "area_crop",
        channels=channels,
        normalization="half" if channels != 3 else "cifar" if small else "imagenet",
    )
    recipe = replace(densenet121(), data=data, network=network)
    depth = {each: depth for depth, each in IMAGENET.items()}.get((network.blocks, network.growth))
    variant = f"-{depth}" if depth else ""
    found = [
        f"net: DenseNet{variant}, blocks {', '.join(map(str, network.blocks))}, k {network.growth}, channels "
        f"{channels}, {classes} classes; images are normalised by {data.normalization} (supposed)"
    ]
    if not names:
        found.append("classes: numbered; to score it, import it with --classes, a file with a name a line or a folder")
    return Imported(recipe, {"net": Part(path, weights)}, tuple(found))


def _network(path: Path, weights: dict[str, Tensor]) -> DenseNetwork:
    """What the numbers of `weights` are those of. CheckpointError names what is missing."""
    layers: dict[int, int] = {}
    for name in weights:
        if match := LAYER.fullmatch(name):
            layers[int(match[1])] = layers.get(int(match[1]), 0) + 1
    blocks = tuple(layers.get(i + 1, 0) for i in range(len(layers)))
    if not blocks or 0 in blocks:
        raise CheckpointError(f"{path}: not a DenseNet, it lacks features.denseblock1.denselayer1.norm1.weight")
    first = "features.denseblock1.denselayer1"
    initial = _of(path, weights, "features.conv0.weight", 4).shape[0]
    width = _of(path, weights, f"{first}.conv1.weight", 4).shape[0]
    bottleneck = f"{first}.conv2.weight" in weights
    growth = _of(path, weights, f"{first}.conv2.weight", 4).shape[0] if bottleneck else width
    compression = 0.5
    if len(blocks) > 1:
        outputs, inputs = _of(path, weights, "features.transition1.conv.weight", 4).shape[:2]
        compression = next((c for c in (0.5, 1.0) if int(inputs * c) == outputs), outputs / inputs)
    return DenseNetwork(
        blocks=blocks,
        growth=growth,
        initial=initial,
        bottleneck=width // growth if bottleneck else 0,
        compression=compression,
        stem="imagenet" if "features.norm0.weight" in weights else "cifar",
        norm_eps=NORM_EPS,
    )


def _of(path: Path, weights: dict[str, Tensor], name: str, dims: int) -> Tensor:
    """The tensor called `name`. CheckpointError where there is none of so many dimensions."""
    if name not in weights or weights[name].dim() != dims:
        raise CheckpointError(f"{path}: not a DenseNet, it lacks {name}")
    return weights[name]


def _names(source: Path | None, classes: int) -> tuple[str, ...]:
    """The names of the classes from a file or from the names of a folder's folders; none where `source` is None."""
    if source is None:
        return ()
    source = source.expanduser()
    try:
        if source.is_dir():
            names = tuple(sorted(path.name for path in source.iterdir() if path.is_dir() and path.name[0] != "."))
        elif not source.is_file():  # a pipe may never end
            raise FileNotFoundError
        else:
            names = tuple(line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"--classes {source}: neither a text file nor a folder that can be read") from None
    if len(names) != classes or len(set(names)) != classes:
        raise UsageError(f"--classes {source}: {len(set(names))} names, and the network has {classes} classes")
    return names
