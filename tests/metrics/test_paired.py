"""Scores against independent computations."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from gesso.metrics.paired import as_channels, l1, psnr, resized, ssim


def images(seed: int, shape: tuple[int, ...] = (2, 3, 24, 30)) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_l1_is_the_share_of_the_full_range() -> None:
    black, white = torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 4, 4), 1.0)
    assert l1(black, white).tolist() == [1.0]
    assert l1(black, black).tolist() == [0.0]


def test_scores_are_per_image() -> None:
    a, b = images(0), images(1)
    for score in (l1, psnr, ssim):
        both = score(a, b)
        assert both.shape == (2,)
        assert torch.allclose(both[1:], score(a[1:], b[1:]), atol=1e-5)


def test_psnr_is_that_of_8_bit_values() -> None:
    a, b = images(0), images(1)
    error = np.mean(((a[0].numpy() - b[0].numpy()) * 127.5) ** 2)
    assert psnr(a, b)[0].item() == pytest.approx(10 * math.log10(255**2 / error), abs=1e-4)


def test_psnr_of_equal_images_is_finite() -> None:
    assert psnr(images(0), images(0)).tolist() == [100.0, 100.0]


def test_ssim_is_that_of_the_paper() -> None:
    a, b = images(0).double(), (images(0) * 0.7 + images(1) * 0.3).double()
    expected = np.mean([_ssim(a[0, c].numpy(), b[0, c].numpy()) for c in range(3)])
    assert ssim(a, b)[0].item() == pytest.approx(expected, abs=2e-3)


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, over a window around every pixel, the border mirrored."""

    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def mean(z: np.ndarray) -> np.ndarray:
        z = np.pad(z, 5, mode="reflect")
        for axis in (0, 1):
            z = np.apply_along_axis(np.convolve, axis, z, kernel, mode="valid")
        return z

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return float(np.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        ("L", "LA", "l1"), ("L", "RGB", "lll"), ("L", "RGBA", "lll1"),
        ("LA", "L", "l"), ("LA", "RGB", "lll"), ("LA", "RGBA", "llla"),
        ("RGB", "L", "m"), ("RGB", "LA", "m1"), ("RGB", "RGBA", "rgb1"),
        ("RGBA", "L", "m"), ("RGBA", "LA", "ma"), ("RGBA", "RGB", "rgb"),
    ],
)  # fmt: skip
def test_copied_input_takes_the_channels_of_the_target(have: str, want: str, expected: str) -> None:
    """l: the luma of a grey image, m: the mean of red, green and blue, a: alpha as it is, 1: opaque."""
    given = images(0, (2, len(have), 4, 5))
    planes = dict(zip(have.lower(), given.unbind(1), strict=True)) | {"1": torch.ones(2, 4, 5)}
    if "r" in planes:
        planes["m"] = (planes["r"] + planes["g"] + planes["b"]) / 3
    wanted = torch.stack([planes[name] for name in expected], 1)
    assert torch.allclose(as_channels(given, len(want)), wanted)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_copied_input_of_the_same_channels_is_untouched(channels: int) -> None:
    given = images(0, (2, channels, 4, 5))
    assert as_channels(given, channels) is given


def test_resized_leaves_the_right_size_alone() -> None:
    a = images(0)
    assert resized(a, (24, 30)) is a


@pytest.mark.parametrize(("height", "width"), [(12, 15), (9, 41), (50, 60)])
def test_resized_is_pillows_bilinear_which_averages_when_it_shrinks(height: int, width: int) -> None:
    a = images(0)
    plane = Image.fromarray(a[0, 0].numpy()).resize((width, height), Image.Resampling.BILINEAR)
    assert np.abs(resized(a, (height, width))[0, 0].numpy() - np.asarray(plane)).max() < 1e-5
