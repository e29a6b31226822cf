"""Scores of images against the one right answer, as pure functions.

Images are N×C×H×W float in [-1, 1]; every score is per image, (N,), so that a mean over images does not depend
on how they were batched. L1 is in units of the full range (0 equal, 1 black against white).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

SMALLEST_SSIM = 11
"""Side in pixels of SSIM's Gaussian window, below which it is not defined."""


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference over channels and pixels, in [0, 1]."""
    return (images - targets).abs().mean((1, 2, 3)) / 2


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, the mean squared error taken over channels and pixels; at most 100."""
    error = (images - targets).square().mean((1, 2, 3)) / 4
    return -10 * error.clamp(min=1e-10).log10()


def ssim(images: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004): per channel, K 0.01 and 0.03.

    Over an 11-pixel Gaussian window of σ 1.5 around every pixel, the border mirrored.
    """
    assert min(images.shape[2:]) >= SMALLEST_SSIM
    score = structural_similarity_index_measure(images, targets, data_range=(-1.0, 1.0), reduction="none")
    assert isinstance(score, Tensor)
    return score.reshape(len(images))


@dataclass(frozen=True)
class Metric:
    """A score and which way is better."""

    compute: Callable[[Tensor, Tensor], Tensor]
    higher_is_better: bool


PAIRED: dict[str, Metric] = {
    "L1": Metric(l1, higher_is_better=False),
    "PSNR": Metric(psnr, higher_is_better=True),
    "SSIM": Metric(ssim, higher_is_better=True),
}


def as_channels(images: Tensor, channels: int) -> Tensor:
    """`images` with `channels` channels, for networks that want three and the baseline that copies the input.

    1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Grey is the mean of RGB; alpha is never mixed into colour: it
    is kept, left out, or opaque where there was none.
    """
    have = images.shape[1]
    if have == channels:
        return images
    colour, alpha = (images[:, :-1], images[:, -1:]) if have in (2, 4) else (images, None)
    wanted = channels - (channels in (2, 4))
    if colour.shape[1] != wanted:
        colour = colour.mean(1, keepdim=True).expand(-1, wanted, -1, -1)
    if wanted == channels:
        return colour
    return torch.cat([colour, torch.ones_like(colour[:, :1]) if alpha is None else alpha], 1)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`images` at H×W `size`, bilinear with antialiasing; unchanged where they have it."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True)
