"""Which network a state_dict is of, by the names and shapes in it.

The names are those of github.com/junyanz/pytorch-CycleGAN-and-pix2pix, which gesso's networks have too: indices in an
nn.Sequential, so a layer without weights that is there or not (a border, dropout) shows in the numbers after it. What
is found here is a supposition; that every tensor fits is checked when the network is built.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from gesso.errors import CheckpointError
from gesso.importing.imported import Options, Part
from gesso.networks.unet import MAX_DEPTH, MIN_DEPTH
from gesso.recipe import Discriminator, Generator

Weights = dict[str, Tensor]
STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
BLOCKS = {(1, 5): (True, False), (1, 6): (True, True), (0, 3): (False, False), (0, 4): (False, True)}
"""By the places of a residual block's convolutions: whether it has a border of its own, and dropout."""
DROPOUT = 0.5
"""The reference's, where it is on."""


@dataclass(frozen=True)
class FoundGenerator:
    """A generator: how it is built, channels in and out, its weights, and what it is in words."""

    config: Generator
    inputs: int
    outputs: int
    part: Part
    told: str


@dataclass(frozen=True)
class FoundDiscriminator:
    """A discriminator: how it is built, channels of all that it sees, its weights, and what it is in words."""

    config: Discriminator
    inputs: int
    part: Part
    told: str


def is_discriminator(weights: Weights) -> bool:
    """Whether `weights` begin as a PatchGAN's or a pixel discriminator's do, and not as a generator's."""
    return "model.0.weight" in weights or "net.0.weight" in weights


def find_generator(path: Path, weights: Weights, options: Options) -> FoundGenerator:
    """The generator that `weights` are of. CheckpointError names what it lacks."""
    if any(name.startswith("model.model.") for name in weights):
        return _unet(path, weights, options)
    return _resnet(path, weights, options)


def find_discriminator(path: Path, weights: Weights) -> FoundDiscriminator:
    """The discriminator that `weights` are of. CheckpointError names what it lacks."""
    if "net.0.weight" in weights:
        first = _convolution(path, weights, "net.0")
        norm = _norm(weights, "net.2", "net.3")
        config = Discriminator(kind="pixel", ndf=first.shape[0], norm=norm.kind, norm_affine=norm.affine)
        return FoundDiscriminator(
            config, first.shape[1], norm.part(path, weights), f"pixel discriminator, ndf {config.ndf}, {norm.told}"
        )
    first = _convolution(path, weights, "model.0")
    layers = sum(tensor.dim() == 4 for tensor in weights.values()) - 2
    if layers < 1:
        raise CheckpointError(f"{path}: not a PatchGAN, it has {layers + 2} convolutions")
    norm = _norm(weights, "model.2", "model.3")
    config = Discriminator(ndf=first.shape[0], layers=layers, norm=norm.kind, norm_affine=norm.affine)
    told = f"PatchGAN of {layers} layers, ndf {config.ndf}, {norm.told}"
    return FoundDiscriminator(config, first.shape[1], norm.part(path, weights), told)


def _resnet(path: Path, weights: Weights, options: Options) -> FoundGenerator:
    first = _convolution(path, weights, "model.1", 7)
    ngf = first.shape[0]
    places = {int(match[1]) for name in weights if (match := re.match(r"model\.(\d{1,6})\.conv_block\.", name))}
    blocks = len(places)
    if places != set(range(10, 10 + blocks)):
        raise CheckpointError(f"{path}: not a ResNet, its residual blocks are not those from model.10 on")
    bordered, dropout = True, False
    if blocks:
        inside = re.compile(r"model\.10\.conv_block\.(\d{1,2})\.weight")
        convolutions = tuple(
            sorted(int(match[1]) for name, t in weights.items() if t.dim() == 4 and (match := inside.fullmatch(name)))
        )
        if convolutions not in BLOCKS:
            raise CheckpointError(f"{path}: not a ResNet, model.10 has its convolutions at {list(convolutions)}")
        bordered, dropout = BLOCKS[convolutions]
    up = _convolution(path, weights, f"model.{10 + blocks}", 3)
    last = _convolution(path, weights, f"model.{10 + blocks + 7}", 7)
    norm = _norm(weights, "model.1", "model.2")
    upsample: Literal["transpose", "resize"] = "resize" if up.shape[:2] == (2 * ngf, 4 * ngf) else "transpose"
    config = Generator(
        kind="resnet",
        ngf=ngf,
        blocks=blocks,
        norm=norm.kind,
        norm_affine=norm.affine,
        padding=(options.padding or "reflect") if bordered else "zero",
        dropout=DROPOUT if dropout else 0.0,
        upsample=upsample,
    )
    told = f"ResNet of {blocks} blocks, ngf {ngf}, {norm.told}, {config.padding} padding"
    return FoundGenerator(config, first.shape[1], last.shape[0], norm.part(path, weights), told)


def _unet(path: Path, weights: Weights, options: Options) -> FoundGenerator:
    first = _convolution(path, weights, "model.model.0", 4)
    ngf, depth, level = first.shape[0], 1, "model.model.1"
    while depth <= MAX_DEPTH and any(name.startswith(f"{level}.model.") for name in weights):
        depth, level = depth + 1, f"{level}.model.3"
    if not MIN_DEPTH <= depth <= MAX_DEPTH:
        raise CheckpointError(f"{path}: a U-Net of {depth} levels; gesso's have {MIN_DEPTH} to {MAX_DEPTH}")
    up = _convolution(path, weights, "model.model.3")
    resized = up.shape[2] == 3
    norm = _norm(weights, "model.model.1.model.1", "model.model.1.model.2")
    config = Generator(
        kind="unet",
        ngf=ngf,
        depth=depth,
        norm=norm.kind,
        norm_affine=norm.affine,
        dropout=options.dropout or 0.0,
        upsample="resize" if resized else "transpose",
    )
    told = f"U-Net of {depth} levels ({2**depth} px), ngf {ngf}, {norm.told}"
    outputs = up.shape[0] if resized else up.shape[1]
    return FoundGenerator(config, first.shape[1], outputs, norm.part(path, weights), told)


@dataclass(frozen=True)
class _Norm:
    """What stands behind a convolution."""

    kind: Literal["instance", "batch", "none"]
    affine: Literal["auto", "on", "off"]
    statistics: bool

    @property
    def told(self) -> str:
        learned = {"auto": "", "on": " with scale and shift", "off": " without scale and shift"}[self.affine]
        stale = " (its running statistics, from before PyTorch 0.4, are left out)" if self.stale else ""
        return "no norm" if self.kind == "none" else f"{self.kind} norm{learned}{stale}"

    @property
    def stale(self) -> bool:
        """Instance norm that has running statistics, which nothing reads."""
        return self.kind == "instance" and self.statistics

    def part(self, path: Path, weights: Weights) -> Part:
        """`weights` without stale statistics. Where there is no norm, the reference's convolutions have no bias."""
        kept = {n: t for n, t in weights.items() if not n.endswith(STATISTICS)} if self.stale else weights
        return Part(path, kept, zero_biases=self.kind == "none")


def _norm(weights: Weights, convolution: str, norm: str) -> _Norm:
    """The norm at `norm`, behind the convolution at `convolution`."""
    learned, statistics = f"{norm}.weight" in weights, f"{norm}.running_mean" in weights
    biased = f"{convolution}.bias" in weights
    if learned:
        return _Norm("batch", "auto", statistics) if statistics else _Norm("instance", "on", statistics)
    if statistics and not biased:
        return _Norm("batch", "off", statistics)
    return _Norm("instance" if biased else "none", "auto", statistics)


def _convolution(path: Path, weights: Weights, name: str, side: int = 0) -> Tensor:
    """The weight of the convolution `name`. CheckpointError where there is none, or none of `side`×`side`."""
    weight = weights.get(f"{name}.weight")
    if weight is None:
        there = next(iter(weights))
        raise CheckpointError(f"{path}: not a network that gesso knows, it lacks {name}.weight; it begins with {there}")
    if weight.dim() != 4 or (side and weight.shape[2] != side):
        raise CheckpointError(
            f"{path}: not a network that gesso knows, {name}.weight is {'×'.join(map(str, weight.shape))}"
        )
    return weight
