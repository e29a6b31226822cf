"""Differentiable augmentation against a discriminator that learns a small data set by heart.

Zhao, Liu, Lin, Zhu & Han 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738. Every
image that the discriminator judges is augmented, real or fake, in both phases, so that the generator is not taught the
augmentations; for that the gradient has to pass through them to the fakes (section 3.3).

The random numbers come from torch's global generator of the images' device, so that nothing waits for the device and
the loop's seeding makes them reproducible. Every image of a batch draws its own.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Augmentation = Literal["color", "translation", "cutout"]

SHIFT = 1 / 8
"""Of the height and width, the most that `translation` moves an image."""
HOLE = 1 / 2
"""Of the height and width, the side of the square that `cutout` takes."""


def augment(images: Tensor, policy: Sequence[Augmentation]) -> Tensor:
    """N×C×H×W in [-1, 1] through each of `policy` in turn; an empty policy changes nothing.

    Colours may leave [-1, 1], as in the paper, where nothing is clipped either. What an image is moved away from or
    cut out of becomes 0, grey.
    """
    for name in policy:
        images = AUGMENTATIONS[name](images)
    return images


def color(images: Tensor) -> Tensor:
    """Brightness in ±½ is added; then saturation × 0 … 2, contrast × ½ … 1½, about the means of pixel and image."""
    x = images + (_uniform(images) - 0.5)
    grey = x.mean(dim=1, keepdim=True)  # N×1×H×W
    x = grey + (x - grey) * (2 * _uniform(images))
    mean = x.mean(dim=(1, 2, 3), keepdim=True)  # N×1×1×1
    return (mean + (x - mean) * (0.5 + _uniform(images))).to(images.dtype)


def translation(images: Tensor) -> Tensor:
    """Moved by whole pixels, each way by up to an eighth of the side."""
    for dim in (2, 3):
        length = images.shape[dim]
        most = round(length * SHIFT)
        shift = torch.floor(_uniform(images) * (2 * most + 1)).long() - most
        came_from = _places(images, dim) - shift
        inside = (came_from >= 0) & (came_from < length)
        images = images.gather(dim, came_from.clamp(0, length - 1).expand_as(images)) * inside.to(images.dtype)
    return images


def cutout(images: Tensor) -> Tensor:
    """A square of half the side is cut out; its centre is any pixel, so at the border less of it shows."""
    hole = torch.ones((), dtype=torch.bool, device=images.device)
    for dim in (2, 3):
        length = images.shape[dim]
        side = round(length * HOLE)
        start = torch.floor(_uniform(images) * length).long() - side // 2
        place = _places(images, dim)
        hole = hole & (place >= start) & (place < start + side)  # N×1×H×W after both
    return images.masked_fill(hole, 0)


AUGMENTATIONS: dict[Augmentation, Callable[[Tensor], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


def _uniform(images: Tensor) -> Tensor:
    """N×1×1×1 in [0, 1): float32 whatever the images are, since half precision has too few numbers to place with."""
    drawn = torch.rand(images.shape[0], 1, 1, 1, device=images.device)
    return drawn.to(torch.promote_types(images.dtype, torch.float32))


def _places(images: Tensor, dim: int) -> Tensor:
    """The pixels' places along `dim`, in the shape 1×1×H×1 or 1×1×1×W."""
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    return torch.arange(images.shape[dim], device=images.device).view(shape)
