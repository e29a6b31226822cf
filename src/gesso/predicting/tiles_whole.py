"""A generator that treats the windows of a large picture as parts of one picture.

Three things in a generator depend on more than what it sees around a pixel, and would differ from window to window:

- Instance norm, and batch norm by the batch's own statistics (the test mode of pix2pix), take mean and variance over
  the whole picture. Those of a window would give each its own brightness and contrast: a piece of plain sky would come
  out as full of contrast as a street. Here they are taken once, from small crops all over the picture that go through
  the network in one batch, layer by layer; then every window is normalised by them.
- Dropout draws a mask anew at each call. Here it is a function of layer, channel and place in the picture.
- A window's border is no border of the picture: that is what windows overlap for (`tiles_layout.py`).

Thumbnail statistics (Chen et al., AAAI 2022) are as constant over the picture and as cheap, but they are of another
picture: shrinking takes the detail away whose variance they are to measure. Statistics of a window's neighbours (Ho
et al., ECCV 2022) make steps smaller and keep them. Exact statistics would take the first k layers of the whole
picture anew for each norm k, some ten times the work. docs/shipping.md has these compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gesso.networks.normalize import InstanceNorm2d

MARGIN = 8
"""Of a crop's sides, one part in so many is left out of statistics at either end: there the crop's own border shows."""


class WholeNorm(nn.Module):
    """Instance norm, or batch norm in train mode, by the statistics of a whole picture.

    `moments` are its mean and biased variance, each (C, 1, 1). While they are None, the next batch is the picture, or
    all `crops` of it that count, and leaves its own; crops without their margins.
    """

    def __init__(self, norm: nn.InstanceNorm2d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = norm.weight
        self.bias: nn.Parameter | None = norm.bias
        self.eps = norm.eps
        self.moments: tuple[Tensor, Tensor] | None = None
        self.crops = False

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W of any float type to the same."""
        if self.moments is None:
            self.moments = _moments(input, self.crops)
        mean, variance = self.moments
        scale = (variance + self.eps).rsqrt()
        if self.weight is None or self.bias is None:
            return ((input - mean) * scale).to(input.dtype)
        scale = scale * self.weight[:, None, None]
        return torch.addcmul(self.bias[:, None, None], input - mean, scale).to(input.dtype)


def _moments(input: Tensor, crops: bool) -> tuple[Tensor, Tensor]:
    height, width = input.shape[2:]
    down, across = (height // MARGIN, width // MARGIN) if crops else (0, 0)
    inner = input[:, :, down : height - down, across : width - across].float()
    variance, mean = torch.var_mean(inner, (0, 2, 3), correction=0)
    return mean[:, None, None], variance[:, None, None]


@dataclass
class Batch:
    """The images in the network: (top, left) of each in the picture, and the height of all, in pixels of its input."""

    places: Sequence[tuple[int, int]] = ()
    height: int = 0


class PlacedDropout(nn.Module):
    """Dropout in train mode, whose mask is a function of `number`, channel and place in the picture.

    `batch` says where the images in the network lie; all layers share it.
    """

    def __init__(self, p: float, number: int, batch: Batch) -> None:
        super().__init__()
        self.p, self.batch = p, batch
        self._seed = number * 0x9E3779B1 & 0x7FFFFFFF

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W to the same."""
        channels, height, width = input.shape[1:]
        stride = self.batch.height // height

        def indices(count: int, first: int = 0) -> Tensor:
            return torch.arange(first, first + count, device=input.device)

        masks = []
        for top, left in self.batch.places:
            rows = _mixed(self._seed ^ indices(height, top // stride))
            pixels = _mixed(rows[:, None] ^ indices(width, left // stride))
            masks.append(_mixed(pixels ^ (indices(channels)[:, None, None] << 20)) >= self.p * 2**32)
        return input * torch.stack(masks) / (1 - self.p)


def _mixed(value: Tensor) -> Tensor:
    """32 bits, held in int64, each of which depends on all those of `value`: T. Mueller's hash of integers."""
    for _ in range(2):
        value = ((value >> 16) ^ value) * 0x45D9F3B & 0xFFFFFFFF
    return (value >> 16) ^ value


class WholePicture:
    """`network`, whose layers are replaced for good by those above: the norms that use the batch's statistics in
    `mode`, and in train mode dropout."""

    def __init__(self, network: nn.Module, mode: str) -> None:
        self._network, self._batch = network, Batch()
        self._norms: list[WholeNorm] = []
        dropouts = 0
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                new: Any = None
                if isinstance(child, InstanceNorm2d) or (isinstance(child, nn.BatchNorm2d) and mode == "train"):
                    new = WholeNorm(child)
                    self._norms.append(new)
                elif isinstance(child, nn.Dropout) and mode == "train":
                    new = PlacedDropout(child.p, dropouts, self._batch)
                    dropouts += 1
                if new is not None:
                    setattr(parent, name, new)

    @property
    def has_statistics(self) -> bool:
        """Whether results depend on statistics of the picture."""
        return bool(self._norms)

    def begin(self, crops: bool = False) -> None:
        """Another picture: the next batch is it, or all the `crops` of it whose statistics count."""
        for norm in self._norms:
            norm.moments, norm.crops = None, crops

    def __call__(self, images: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
        """N×C_in×H×W, of which each lies at its (top, left) in the picture, to N×C_out×H×W in [-1, 1]."""
        self._batch.places, self._batch.height = places, images.shape[2]
        made: Tensor = self._network(images)
        return made
