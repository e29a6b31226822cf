"""Two images in one, and both of their labels: mixup and CutMix, against overfitting in classification.

The labels become N×K probabilities. `F.cross_entropy` takes them as they are and is linear in them, so the loss
is the papers' λ·loss(a) + (1 − λ)·loss(b) for any `label_smoothing`, which it still applies exactly once.

λ and CutMix's box are one for a batch, as in the papers' code. They are numbers of the host, from torch's global
generator there, and the partners from that of the images' device, so nothing waits for the device and the loop's
seeding makes both reproducible.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mixup(images: Tensor, labels: Tensor, classes: int, alpha: float) -> tuple[Tensor, Tensor]:
    """λ·x_i + (1 − λ)·x_j, and the labels alike, with λ ~ Beta(α, α) and random partners j (Zhang et al. 2018, arXiv
    1710.09412, section 2). The paper takes α in 0.1 … 0.4 on ImageNet and 1 on CIFAR.

    images N×C×H×W float, labels N in 0 … classes − 1, alpha above 0. Gives images like these and N×classes
    probabilities.
    """
    weight, partner = _weight(alpha), _partners(images)
    mixed = weight * images + (1 - weight) * images[partner]
    return mixed, _mixed_labels(labels, partner, classes, weight)


def cutmix(images: Tensor, labels: Tensor, classes: int, alpha: float) -> tuple[Tensor, Tensor]:
    """A box of 1 − λ of the area, with the image's aspect, from a random partner (Yun et al. 2019, arXiv 1905.04899,
    section 3.1), which takes α = 1. The box is cut at the border, and λ is the share of the image that is left.

    Arguments and result as in `mixup`.
    """
    height, width = images.shape[2:]
    partner = _partners(images)
    side = math.sqrt(1 - _weight(alpha))
    top, bottom = _span(height, side)
    left, right = _span(width, side)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    weight = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, _mixed_labels(labels, partner, classes, weight)


def _weight(alpha: float) -> float:
    """λ ~ Beta(α, α)."""
    assert alpha > 0
    return float(torch.distributions.Beta(alpha, alpha).sample())


def _partners(images: Tensor) -> Tensor:
    return torch.randperm(images.shape[0], device=images.device)


def _span(length: int, share: float) -> tuple[int, int]:
    """`share` of a side about a random pixel, as far as it lies within."""
    cut = int(length * share)
    start = int(torch.randint(length, ())) - cut // 2
    return max(0, start), min(length, start + cut)


def _mixed_labels(labels: Tensor, partner: Tensor, classes: int, weight: float) -> Tensor:
    """N labels to N×classes float32."""
    hard = F.one_hot(labels, classes).float()
    return weight * hard + (1 - weight) * hard[partner]
