"""The recipe of DenseNet: the class of an image."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from gesso.errors import UsageError
from gesso.recipe.classification import ClassificationRecipe
from gesso.recipe.common import not_negative, positive, share

LEAST_ALPHA = 1e-3
"""Of mixup and CutMix: their Beta(α, α) cannot be drawn in floating point much below, nor above its inverse."""


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


# Dense layers of each block and k; millions of parameters and GMACs of convolutions and classifier at 224×224 with
# 1000 classes. Tables that say 2.87, 3.40, 4.34 and 7.79 add two operations for each number normalised.
IMAGENET: dict[int, tuple[tuple[int, ...], int]] = {
    121: ((6, 12, 24, 16), 32),  # 7.979 M, 2.83
    169: ((6, 12, 32, 32), 32),  # 14.149 M, 3.36
    201: ((6, 12, 48, 32), 32),  # 20.014 M, 4.29
    161: ((6, 12, 36, 24), 48),  # 28.681 M, 7.73
}


def imagenet_network(depth: Literal[121, 161, 169, 201]) -> DenseNetwork:
    """Table 1's networks for ImageNet, L layers deep."""
    blocks, growth = IMAGENET[depth]
    return DenseNetwork(blocks=blocks, growth=growth, initial=2 * growth)


def cifar_network(depth: int, growth: int, bottleneck: bool = True) -> DenseNetwork:
    """The CIFAR family for 32×32: three equal blocks, DenseNet-BC (bottleneck, compression ½) or the basic one.

    depth: L, all convolutions and the classifier: 3 blocks of layers with two convolutions (BC) or one, and 4
        besides. UsageError where that does not divide.
    growth: k.

    With 10 classes, BC: L 100 k 12 0.77 M, L 250 k 24 15.3 M, L 190 k 40 25.6 M; basic: L 40 k 12 1.0 M,
    L 100 k 12 7.0 M parameters (table 2).
    """
    per_layer = 6 if bottleneck else 3
    layers, rest = divmod(depth - 4, per_layer)
    if rest or layers < 1:
        lower = max(layers, 1) * per_layer + 4
        name = "DenseNet-BC" if bottleneck else "DenseNet"
        raise UsageError(
            f"depth {depth}: a {name} for CIFAR is {per_layer}·n + 4 deep, such as {lower} or {lower + per_layer}"
        )
    return DenseNetwork(
        blocks=(layers,) * 3,
        growth=growth,
        initial=2 * growth if bottleneck else 16,
        bottleneck=4 if bottleneck else 0,
        compression=0.5 if bottleneck else 1.0,
        stem="cifar",
    )


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


@dataclass(frozen=True, kw_only=True)
class DenseNetRecipe(ClassificationRecipe):
    """The class of an image."""

    model: ClassVar[str] = "densenet"
    smaller: ClassVar[str] = "--batch-size or --data.image-size, or --network.memory-efficient"

    network: DenseNetwork = field(default_factory=DenseNetwork)
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: ClassificationLoss = field(default_factory=ClassificationLoss)

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
            }
        )
        for flag, alpha in {"--loss.mixup": loss.mixup, "--loss.cutmix": loss.cutmix}.items():
            if not (alpha == 0 or LEAST_ALPHA <= alpha <= 1 / LEAST_ALPHA):
                raise UsageError(
                    f"{flag} {alpha:g}: must be 0, which is off, or lie in [{LEAST_ALPHA:g}, {1 / LEAST_ALPHA:g}]"
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
        width = network.initial
        for layers in network.blocks[:-1]:
            before = width + layers * network.growth
            width = int(before * network.compression)
            if not width:
                raise UsageError(
                    f"--network.compression {network.compression:g}: a transition keeps none of {before} feature maps; "
                    "raise it or --network.growth"
                )
        return super().checked()
