"""DenseNet: every layer of a block reads the features of all layers before it.

Huang et al. 2017 (arXiv 1608.06993), for ImageNet (table 1) and for CIFAR (section 3, "implementation details").
The modules have the names of torchvision's: `features.denseblock1.denselayer1.norm1`,
`features.transition1.conv`, `classifier`. The last norm is `norm5` there, however many blocks there are.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gesso.errors import UsageError

Stem = Literal["imagenet", "cifar"]


OLDER_NAME = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)")


def with_newer_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` under the names of today, where they have those of the files that torchvision releases.

    Those files are older than the rule that a module's name has no dot: denselayer1.norm.1 is denselayer1.norm1 now.
    """
    return {OLDER_NAME.sub(r"\1\2", name): tensor for name, tensor in weights.items()}


@contextlib.contextmanager
def _statistics_kept(norm: nn.BatchNorm2d) -> Iterator[None]:
    """Inside, `norm` moves copies of its running statistics.

    Backpropagation through a checkpoint computes the forward pass once more, and batch norm would count the
    same batch twice. Leaving the statistics out would save other tensors than the first pass did, which the
    checkpoint refuses.
    """
    kept = dict(norm.named_buffers(recurse=False))
    for name, buffer in kept.items():
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for name, buffer in kept.items():
            setattr(norm, name, buffer)


class DenseLayer(nn.Module):
    """H_l of eq. 2: BN, ReLU, 1×1 convolution to bottleneck·growth, BN, ReLU, 3×3 convolution to growth; without
    a bottleneck BN, ReLU, 3×3 alone. N×channels×H×W, in pieces, to N×growth×H×W.
    """

    def __init__(
        self, channels: int, growth: int, bottleneck: int, dropout: float, norm_eps: float, memory_efficient: bool
    ) -> None:
        super().__init__()
        self.dropout, self.memory_efficient = dropout, memory_efficient
        self.bottleneck = bottleneck > 0
        self.norm1 = nn.BatchNorm2d(channels, eps=norm_eps)
        if self.bottleneck:
            width = bottleneck * growth
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(width, eps=norm_eps)
            self.conv2 = nn.Conv2d(width, growth, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Pieces of N×c×H×W, channels together, to N×growth×H×W."""
        first = self._recomputed if self.memory_efficient and torch.is_grad_enabled() else self._first
        x = F.dropout(first(*features), self.dropout, self.training)
        if self.bottleneck:
            x = self.conv2(F.relu(self.norm2(x), inplace=True))
            x = F.dropout(x, self.dropout, self.training)
        return x

    def _first(self, *features: Tensor) -> Tensor:
        x = torch.cat(features, 1) if len(features) > 1 else features[0]
        x = F.relu(self.norm1(x), inplace=True)
        joined: Tensor = self.conv1(x)
        return joined

    def _recomputed(self, *features: Tensor) -> Tensor:
        """`_first`, of which backpropagation remembers the inputs alone. Nothing in it is random."""
        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        if not torch.compiler.is_compiling():  # compiled code repeats arithmetic alone, and traces no such context
            options["context_fn"] = lambda: (contextlib.nullcontext(), _statistics_kept(self.norm1))
        x: Tensor = checkpoint(self._first, *features, **options)
        return x


class DenseBlock(nn.Module):
    """`layers` dense layers: N×channels×H×W to N×(channels + layers·growth)×H×W, the input first."""

    def __init__(
        self,
        layers: int,
        channels: int,
        growth: int,
        bottleneck: int,
        dropout: float,
        norm_eps: float,
        memory_efficient: bool,
    ) -> None:
        super().__init__()
        for place in range(layers):
            width = channels + place * growth
            layer = DenseLayer(width, growth, bottleneck, dropout, norm_eps, memory_efficient)
            self.add_module(f"denselayer{place + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×(C + layers·growth)×H×W."""
        features = [x]
        for layer in self.children():
            features.append(layer(features))
        return torch.cat(features, 1)


class Transition(nn.Sequential):
    """Between two blocks: BN, ReLU, 1×1 convolution, mean over 2×2. N×C×H×W to N×outputs×⌊H/2⌋×⌊W/2⌋."""

    def __init__(self, channels: int, outputs: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=norm_eps)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, outputs, 1, bias=False)
        self.drop = nn.Dropout(dropout)
        self.pool = nn.AvgPool2d(2)


class DenseNet(nn.Module):
    """Images to classes: N×channels×H×W to N×classes logits, for H and W of at least `minimum` pixels.

    blocks: dense layers of each block; a transition stands between two blocks.
    growth: k, the channels that each layer adds.
    initial: channels of the stem.
    bottleneck: the 1×1 convolution of a layer has bottleneck·growth channels; 0 leaves it out.
    compression: θ in (0, 1]; a transition keeps ⌊θ·C⌋ channels.
    dropout: probability, after every convolution but the stem's, as in the paper (torchvision drops after the
        3×3 ones alone; without dropout there is no difference).
    stem: "imagenet", a 7×7 convolution and a max pool that quarter the image, or "cifar", one 3×3 convolution.
    norm_eps: of every batch norm.
    memory_efficient: backpropagation computes concatenation, first norm and first convolution of each layer
        again instead of remembering them (Pleiss et al. 2017, arXiv 1707.06990): memory grows linearly with
        depth and no longer with its square, for about a third more time. Results are the same.

    UsageError for numbers that nothing can be built of.
    """

    def __init__(
        self,
        blocks: tuple[int, ...] = (6, 12, 24, 16),
        growth: int = 32,
        initial: int = 64,
        bottleneck: int = 4,
        compression: float = 0.5,
        dropout: float = 0.0,
        classes: int = 1000,
        channels: int = 3,
        stem: Stem = "imagenet",
        norm_eps: float = 1e-5,
        memory_efficient: bool = False,
    ) -> None:
        if not blocks or min(*blocks, growth, initial, classes, channels) < 1 or bottleneck < 0:
            raise UsageError(
                f"DenseNet of blocks {blocks}, growth {growth}, {initial} initial channels, bottleneck {bottleneck}, "
                f"{classes} classes, {channels} channels: all must be at least 1 (bottleneck 0)"
            )
        if not 0 < compression <= 1:
            raise UsageError(f"compression {compression:g}: a DenseNet's must lie in (0, 1]")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout {dropout:g}: must lie in [0, 1)")
        super().__init__()
        self.channels, self._stem, self._halvings = channels, stem, len(blocks) - 1

        features = nn.Sequential()
        if stem == "imagenet":
            features.add_module("conv0", nn.Conv2d(channels, initial, 7, 2, padding=3, bias=False))
            features.add_module("norm0", nn.BatchNorm2d(initial, eps=norm_eps))
            features.add_module("relu0", nn.ReLU(inplace=True))
            features.add_module("pool0", nn.MaxPool2d(3, 2, padding=1))
        else:
            features.add_module("conv0", nn.Conv2d(channels, initial, 3, padding=1, bias=False))
        width = initial
        for place, layers in enumerate(blocks, start=1):
            block = DenseBlock(layers, width, growth, bottleneck, dropout, norm_eps, memory_efficient)
            features.add_module(f"denseblock{place}", block)
            width += layers * growth
            if place < len(blocks):
                kept = int(width * compression)
                features.add_module(f"transition{place}", Transition(width, kept, dropout, norm_eps))
                width = kept
        features.add_module("norm5", nn.BatchNorm2d(width, eps=norm_eps))
        self.features = features
        self.classifier = nn.Linear(width, classes)

    @property
    def minimum(self) -> int:
        """Smallest height and width in pixels: one pixel is left for the last block. 29 for the ImageNet four."""
        return self.least(1)

    def least(self, left: int) -> int:
        """Smallest side of an image, in pixels, of which `left` are left for the last block."""
        last = int(left * 2**self._halvings)
        return 4 * last - 3 if self._stem == "imagenet" else last  # both halvings of that stem round up

    def forward(self, images: Tensor) -> Tensor:
        """N×C×H×W to N×classes logits; ValueError where the images are smaller than `minimum`, and in train mode
        for one image of which one pixel is left, which has no variance."""
        height, width = images.shape[-2:]
        if min(height, width) < self.minimum:
            raise ValueError(f"DenseNet: {height}×{width} is too small; the sides need {self.minimum} pixels")
        x = F.relu(self.features(images), inplace=True)
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))  # N×C×1×1 to N×C
        return logits
