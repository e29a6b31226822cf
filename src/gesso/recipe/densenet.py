"""The recipe of DenseNet: the class of an image."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import tyro

from gesso.errors import UsageError, flag
from gesso.recipe.common import Data, Recipe, channels, not_negative, positive, share


@dataclass(frozen=True)
class ClassData(Data):
    """A folder a class or tar shards, and how their images become a batch."""

    train_split: str = "train"
    """Name of the split to train on: a folder of class folders, or of shards."""
    evaluate_split: str = "val"
    """Name of the split that is scored."""
    synthetic: bool = False
    """Random images and classes instead of files, to measure speed alone."""
    classes: int = 0
    """Classes of synthetic images; elsewhere the data set says how many there are."""
    names: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Names of the classes, in the order of the network's outputs; a run writes them down."""
    image_size: int = 224
    """Side in pixels of what the network sees."""
    channels: int = 3
    """Channels of an image, 1 to 4."""
    preprocess: Literal["area_crop", "pad_crop"] = "area_crop"
    """area_crop: a random part of the image, resized; pad_crop: a random square of the image with a border of 0."""
    area: tuple[float, float] = (0.6, 1.0)
    """area_crop: least and largest share of the image's area."""
    aspect: tuple[float, float] = (0.75, 1.33)
    """area_crop: least and largest width over height."""
    pad: int = 4
    """pad_crop: border in pixels."""
    resize: int = 224
    """Scoring: the shorter side is resized to this before the centre is cropped; 256 is common too."""
    flip: bool = True
    """Mirror images at random, left to right."""
    normalization: Literal["half", "imagenet", "cifar"] = "imagenet"
    """What the network sees: imagenet, cifar: less that set's mean, over its deviation; half: values in [-1, 1]."""

    def checked(self) -> None:
        super().checked()
        channels({"--data.channels": self.channels})
        positive({"--data.image-size": self.image_size, flag("data.resize"): self.resize})
        not_negative({"--data.pad": self.pad, "--data.classes": self.classes})
        if self.resize < self.image_size:
            raise UsageError(f"{flag('data.resize')} {self.resize}: smaller than --data.image-size {self.image_size}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UsageError(f"--data.area {self.area[0]:g} {self.area[1]:g}: must rise and lie in (0, 1]")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise UsageError(f"--data.aspect {self.aspect[0]:g} {self.aspect[1]:g}: must rise and be more than 0")
        if self.synthetic and self.classes < 2:
            raise UsageError("--data.synthetic: say how many classes with --data.classes")
        if self.normalization != "half" and self.channels != 3:
            raise UsageError(
                f"--data.channels {self.channels}: the mean of {self.normalization} has 3; use --data.normalization half"
            )


@dataclass(frozen=True)
class DenseNetwork:
    """Huang et al. 2017, table 1 and section 3."""

    blocks: tuple[int, ...] = (6, 12, 24, 16)
    """Dense layers of each block."""
    growth: int = 32
    """Feature maps that a dense layer adds, k."""
    initial: int = 64
    """Filters of the first convolution."""
    bottleneck: int = 4
    """1×1 convolutions to so many times k before each 3×3 one; 0 has none."""
    compression: float = 0.5
    """Share of the feature maps that a transition keeps, θ."""
    dropout: float = 0.0
    """Probability of dropout after each dense layer."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """imagenet: a strided 7×7 convolution and a pooling; cifar: one 3×3 convolution."""
    norm_eps: float = 1e-5
    """What batch norm adds to the variance; the Gaudi Keras origin adds 1.1e-5."""
    memory_efficient: bool = False
    """Compute concatenations again in the backward pass instead of keeping them (Pleiss et al. 2017)."""


@dataclass(frozen=True)
class Optimizer:
    """The optimizer and its numbers."""

    kind: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    """sgd: with momentum; adam, adamw, rmsprop."""
    lr: float = 0.1
    """Learning rate, before the schedule."""
    momentum: float = 0.9
    """sgd and rmsprop."""
    nesterov: bool = True
    """sgd: Nesterov's momentum."""
    beta1: float = 0.9
    """adam and adamw: decay of the first moment."""
    beta2: float = 0.999
    """adam and adamw: decay of the second moment."""
    weight_decay: float = 1e-4
    """L2 penalty (adamw: decoupled decay). Keras' l2(λ) is 2λ here."""
    decay_all: bool = True
    """Decay norms and biases too, as the paper and the origin do."""
    clip_norm: float = 0.0
    """Clip the gradient's norm to this; 0 does not clip."""


@dataclass(frozen=True)
class ClassificationLoss:
    """Cross-entropy and its softer forms."""

    label_smoothing: float = 0.0
    """Share of the target spread over all classes (Szegedy et al. 2016)."""
    mixup: float = 0.0
    """α of mixup (Zhang et al. 2018); 0 is off."""
    cutmix: float = 0.0
    """α of CutMix (Yun et al. 2019); 0 is off. With mixup too, each batch gets one of them."""


@dataclass(frozen=True)
class Dumping:
    """Tensors written for comparing two machines with `gesso compare-dumps`."""

    steps: tuple[int, ...] = ()
    """Steps, counted from 0, in which named layers' outputs, gradients and weights are written down."""
    layers: tuple[str, ...] = ()
    """Modules by name, such as features.conv0; empty: every layer that has weights of its own."""


@dataclass(frozen=True, kw_only=True)
class DenseNetRecipe(Recipe):
    """The class of an image."""

    model: ClassVar[str] = "densenet"

    data: ClassData = field(default_factory=ClassData)
    network: DenseNetwork = field(default_factory=DenseNetwork)
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: ClassificationLoss = field(default_factory=ClassificationLoss)
    dump: Dumping = field(default_factory=Dumping)

    def checked(self) -> Self:
        network, optimizer, loss = self.network, self.optimizer, self.loss
        positive(
            {
                "--network.growth": network.growth,
                "--network.initial": network.initial,
                "--network.compression": network.compression,
                "--network.norm-eps": network.norm_eps,
                "--optimizer.lr": optimizer.lr,
            }
        )
        not_negative(
            {
                "--network.bottleneck": network.bottleneck,
                "--optimizer.weight-decay": optimizer.weight_decay,
                "--optimizer.clip-norm": optimizer.clip_norm,
                "--loss.mixup": loss.mixup,
                "--loss.cutmix": loss.cutmix,
            }
        )
        share(
            {
                "--network.dropout": network.dropout,
                "--optimizer.momentum": optimizer.momentum,
                "--optimizer.beta1": optimizer.beta1,
                "--optimizer.beta2": optimizer.beta2,
                "--loss.label-smoothing": loss.label_smoothing,
            }
        )
        if not network.blocks or min(network.blocks) < 1:
            raise UsageError("--network.blocks: name at least one dense layer for each block")
        if network.compression > 1:
            raise UsageError(f"--network.compression {network.compression:g}: must be at most 1")
        if any(step < 0 for step in self.dump.steps):
            raise UsageError("--dump.steps: steps are counted from 0")
        return super().checked()
