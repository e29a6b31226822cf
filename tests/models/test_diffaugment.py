"""Differentiable augmentation: the paper's ranges, a gradient that is right, and the same for the same seed."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.models.diffaugment import AUGMENTATIONS, Augmentation, augment, color, cutout, translation

ALL: tuple[Augmentation, ...] = ("color", "translation", "cutout")


def seeded(seed: int = 0) -> None:
    torch.manual_seed(seed)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ALL)
def test_shape_and_type_stay(name: Augmentation, dtype: torch.dtype) -> None:
    out = AUGMENTATIONS[name](noise(3, 2, 17, 24).to(dtype))
    assert out.shape == (3, 2, 17, 24)
    assert out.dtype == dtype


def test_no_policy_changes_nothing() -> None:
    images = noise(2, 3, 8, 8)
    assert augment(images, ()) is images


def test_the_policy_is_applied_in_its_order() -> None:
    images = noise(4, 3, 16, 16)
    seeded()
    expected = color(cutout(images))
    seeded()
    assert torch.equal(augment(images, ("cutout", "color")), expected)


@pytest.mark.parametrize("name", ALL)
def test_the_global_seed_decides_and_the_input_stays(name: Augmentation) -> None:
    images = noise(8, 3, 16, 16)
    before = images.clone()
    seeded(3)
    first = AUGMENTATIONS[name](images)
    second = AUGMENTATIONS[name](images)
    seeded(3)
    assert torch.equal(AUGMENTATIONS[name](images), first)
    assert not torch.equal(first, second)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_that_of_finite_differences(name: Augmentation) -> None:
    def same_draw(images: Tensor) -> Tensor:
        seeded(5)
        return AUGMENTATIONS[name](images)

    images = noise(2, 3, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(same_draw, (images,), fast_mode=True)


def test_color_is_three_affine_maps_within_the_papers_ranges() -> None:
    images = noise(500, 3, 4, 4).double()
    seeded()
    out = color(images)
    # Each image's own numbers, worked back from what came out.
    brightness = (out.mean((1, 2, 3)) - images.mean((1, 2, 3))).numpy()
    assert -0.5 <= brightness.min() < -0.48 and 0.48 < brightness.max() <= 0.5
    grey_in, grey_out = images.mean(1), out.mean(1)
    centred = grey_in - grey_in.mean((1, 2), keepdim=True)
    contrast = ((grey_out - grey_out.mean((1, 2), keepdim=True)) / centred)[:, 0, 0]
    assert 0.5 <= contrast.min() < 0.52 and 1.48 < contrast.max() <= 1.5
    chroma = ((out - grey_out[:, None]) / (images - grey_in[:, None]))[:, 0, 0, 0] / contrast
    assert -1e-9 <= chroma.min() < 0.03 and 1.97 < chroma.max() <= 2 + 1e-9
    again = (
        images.mean((1, 2, 3), keepdim=True)
        + torch.tensor(brightness)[:, None, None, None]
        + contrast[:, None, None, None] * (centred[:, None] + chroma[:, None, None, None] * (images - grey_in[:, None]))
    )
    assert torch.allclose(again, out)


def test_translation_moves_whole_images_by_up_to_an_eighth() -> None:
    images = noise(200, 2, 16, 24)
    seeded()
    out = translation(images)
    seen = set()
    for image, result in zip(images, out, strict=True):
        found = [(dy, dx) for dy in range(-2, 3) for dx in range(-3, 4) if torch.equal(moved(image, dy, dx), result)]
        assert len(found) == 1
        seen.update(found)
    assert {dy for dy, _ in seen} == set(range(-2, 3))
    assert {dx for _, dx in seen} == set(range(-3, 4))


def moved(image: Tensor, dy: int, dx: int) -> Tensor:
    """Cut from the image with a border of zeros."""
    _, height, width = image.shape
    padded = F.pad(image, (3, 3, 2, 2))
    return padded[:, 2 - dy : 2 - dy + height, 3 - dx : 3 - dx + width]


def test_cutout_takes_a_square_of_half_the_side_or_what_of_it_is_inside() -> None:
    seeded()
    out = cutout(torch.ones(400, 3, 16, 20))
    sizes = set()
    for image in out:
        rows, columns = torch.nonzero(image[0] == 0, as_tuple=True)
        height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
        assert len(rows) == height * width  # a full rectangle
        assert torch.equal(image[0], image[1])
        assert 4 <= height <= 8 and 5 <= width <= 10
        sizes.add((height, width))
    assert {height for height, _ in sizes} == set(range(4, 9))
    taken = float((out[:, 0] == 0).float().mean())
    assert math.isclose(taken, 0.1914, abs_tol=0.01)  # of ¼, by the mean over all centres: (7/16)·(7/16)


@pytest.mark.parametrize("name", ALL)
def test_every_image_of_a_batch_draws_its_own(name: Augmentation) -> None:
    out = AUGMENTATIONS[name](noise(1, 3, 32, 32).expand(6, -1, -1, -1))
    assert len({image.numpy().tobytes() for image in out}) > 3
