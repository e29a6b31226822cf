"""Mixup and CutMix: what is mixed of what, how much, and the losses that come of it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.models.mixing import cutmix, mixup

Mix = Callable[[Tensor, Tensor, int, float], tuple[Tensor, Tensor]]
CLASSES = 8
LABELS = torch.arange(CLASSES)


def constant_images(height: int = 12, width: int = 16) -> Tensor:
    """Image i is i + 1 all over, and its label is i, so both tell what was mixed."""
    return (LABELS + 1.0).view(-1, 1, 1, 1).expand(-1, 3, height, width).clone()


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_labels_and_images_hold_the_same_shares(mix: Mix) -> None:
    for seed in range(30):
        torch.manual_seed(seed)
        images, labels = mix(constant_images(), LABELS, CLASSES, 1.0)
        assert images.shape == (CLASSES, 3, 12, 16) and labels.shape == (CLASSES, CLASSES)
        assert torch.allclose(labels.sum(1), torch.ones(CLASSES))
        assert torch.allclose(images.mean((1, 2, 3)), labels @ (LABELS + 1.0), atol=1e-5)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_global_seed_decides_and_the_inputs_stay(mix: Mix) -> None:
    images, labels = constant_images(), LABELS.clone()
    torch.manual_seed(4)
    first = mix(images, labels, CLASSES, 1.0)
    second = mix(images, labels, CLASSES, 1.0)
    torch.manual_seed(4)
    again = mix(images, labels, CLASSES, 1.0)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], second[0])
    assert torch.equal(images, constant_images()) and torch.equal(labels, LABELS)


def test_mixup_blends_every_pixel_alike() -> None:
    torch.manual_seed(0)
    images, _ = mixup(constant_images(), LABELS, CLASSES, 1.0)
    assert torch.equal(images.amin((1, 2, 3)), images.amax((1, 2, 3)))


def test_cutmix_pastes_one_box_at_one_place_for_all() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        images, _ = cutmix(constant_images(), LABELS, CLASSES, 1.0)
        own = (LABELS + 1.0).view(-1, 1, 1, 1)
        foreign = (images != own).any(1)
        boxes = [torch.nonzero(mask) for mask in foreign if mask.any()]
        for box in boxes:
            spans = box.amax(0) - box.amin(0) + 1
            assert len(box) == int(spans.prod())
            assert torch.equal(box, boxes[0])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixups_weight_is_beta_distributed(alpha: float) -> None:
    torch.manual_seed(0)
    # A batch of two whose partner is the other tells λ; where it is itself, the label stays hard.
    drawn = [float(mixup(torch.zeros(2, 1, 1, 1), LABELS[:2], 2, alpha)[1][0, 0]) for _ in range(1500)]
    mixed = np.array([weight for weight in drawn if 0 < weight < 1])
    reference = np.random.default_rng(0).beta(alpha, alpha, 20000)
    for limit in (0.05, 0.2, 0.5, 0.8, 0.95):
        assert abs((mixed < limit).mean() - (reference < limit).mean()) < 0.06


def test_cutmix_cuts_boxes_of_the_images_aspect_anywhere() -> None:
    torch.manual_seed(1)
    places = torch.zeros(32, 64)
    for _ in range(600):
        images, _ = cutmix(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 32, 64), LABELS[:2], 2, 1.0)
        places += images[0, 0]
    counts = places / 600
    assert counts.min() > 0.05  # borders too
    assert abs(float(counts.mean()) - 0.5 * 0.375) < 0.05  # half the partners are others


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_loss_is_the_weighted_sum_of_the_two_smoothed_losses(mix: Mix, smoothing: float) -> None:
    torch.manual_seed(7)
    logits = torch.randn(CLASSES, CLASSES)
    _, soft = mix(constant_images(), LABELS, CLASSES, 1.0)
    expected = torch.zeros(())
    for row, probabilities in zip(logits, soft, strict=True):
        for label in torch.nonzero(probabilities).flatten():
            one = F.cross_entropy(row[None], label[None], label_smoothing=smoothing)
            expected = expected + probabilities[label] * one / CLASSES
    assert torch.allclose(F.cross_entropy(logits, soft, label_smoothing=smoothing), expected, atol=1e-6)
