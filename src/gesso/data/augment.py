"""Augmentation on the host, one image at a time, for models whose crops differ in size from image to image.

The crops of a translator have one size and are cut batched on the device (`batches.py`). Those of a classifier and
of DCGAN on street photos are cut from images of any size and resized, which is cheapest before they are stacked: each
`View` makes a C×S×S sample of a C×H×W image, and what it draws is a function of (seed, stream, position) alone.
Nearly all of the time goes into Pillow's resize, which leaves the interpreter free, so threads are enough.

Images are uint8. Those of 16 bits a sample are reduced to 8, 65535 to 255, since these recipes have no use for more.
Resizing is bilinear and averages when it shrinks (antialiased). What lies outside an image is black.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from gesso.data.order import AUGMENT, random
from gesso.errors import UsageError

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, as Pillow has them."""

TRIES = 10


class View(Protocol):
    """Makes a sample of an image: C×H×W uint8 (or uint16) to a new C×size×size uint8, never a view of the image.

    The same (seed, stream, position) gives the same sample; see `order.random`.
    """

    @property
    def size(self) -> int:
        """Side of a sample in pixels."""

    def __call__(self, image: np.ndarray, seed: int, stream: int, position: int) -> np.ndarray: ...


@dataclass(frozen=True)
class AreaCrop:
    """A crop of random area and aspect, resized to `size`, and mirrored with probability ½ (Szegedy et al. 2015,
    arXiv 1409.4842, section 6, with the narrower range of areas of DenseNet's recipe).

    The crop's share of the image's area is uniform in `area`, its aspect (width / height) uniform in `aspect`, as in
    TensorFlow's distorted bounding boxes, from which the recipe comes; its place is uniform. Torchvision draws
    the logarithm of the aspect, which between 3/4 and 4/3 moves the mean from 1.04 to 1.01. A crop that does not fit
    is drawn again, ten times at most; after that the largest centred one of an allowed aspect is taken.
    """

    size: int
    area: tuple[float, float] = (0.6, 1.0)
    aspect: tuple[float, float] = (0.75, 1.333)
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UsageError(f"crop area {self.area}: must be a range within 0 … 1, the smaller first")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise UsageError(f"crop aspect {self.aspect}: must be a range above 0, the smaller first")

    def __call__(self, image: np.ndarray, seed: int, stream: int, position: int) -> np.ndarray:
        rng = random(seed, AUGMENT, stream, position)
        top, left, height, width = self.window(image.shape[1], image.shape[2], rng)
        mirror = self.flip and rng.random() < 0.5
        return _mirrored(_resized(image[:, top : top + height, left : left + width], self.size), mirror)

    def window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width in pixels of the crop that `rng` draws of an image of this size."""
        for _ in range(TRIES):
            area, aspect = height * width * rng.uniform(*self.area), rng.uniform(*self.aspect)
            high, wide = round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)
            if 0 < high <= height and 0 < wide <= width:
                return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide
        aspect = min(max(width / height, self.aspect[0]), self.aspect[1])
        high, wide = min(height, max(1, round(width / aspect))), min(width, max(1, round(height * aspect)))
        return (height - high) // 2, (width - wide) // 2, high, wide


@dataclass(frozen=True)
class PadCrop:
    """CIFAR's augmentation (He et al. 2016, arXiv 1512.03385, section 4.2): `pad` black pixels on every side, a random
    crop of `size`, mirrored with probability ½. Nothing is resized: an image less than `size` stays in black."""

    size: int
    pad: int = 4
    flip: bool = True

    def __call__(self, image: np.ndarray, seed: int, stream: int, position: int) -> np.ndarray:
        across, down, mirror = random(seed, AUGMENT, stream, position).random(3)
        height, width = image.shape[1:]
        top = self.pad - _anywhere(down, height + 2 * self.pad - self.size)
        left = self.pad - _anywhere(across, width + 2 * self.pad - self.size)
        return _mirrored(_on_black(_eight_bits(image), top, left, self.size), self.flip and mirror < 0.5)


@dataclass(frozen=True)
class ShiftCrop:
    """DCGAN's view of street photos: shifted sideways by up to ±`shift` of the width, the middle `crop` pixels, resized
    to `size`.

    The shift is a whole number of pixels and black comes in behind it. An image smaller than the crop is padded with
    black, after the shift, so that what was shifted out does not come back.
    """

    size: int
    crop: int
    shift: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.shift < 1:
            raise UsageError(f"shift {self.shift:g}: must lie in 0 … 1, a share of the width")

    def __call__(self, image: np.ndarray, seed: int, stream: int, position: int) -> np.ndarray:
        height, width = image.shape[1:]
        most = self.shift * width
        shift = round(random(seed, AUGMENT, stream, position).uniform(-most, most))
        visible = image[:, :, max(0, -shift) : width - max(0, shift)]
        left = max(0, shift) - _middle(width, self.crop)
        return _resized(_on_black(_eight_bits(visible), -_middle(height, self.crop), left, self.crop), self.size)


@dataclass(frozen=True)
class CenterView:
    """For evaluation, the same for every position: the shorter side to `resize`, then the middle `size` pixels.

    The field's top-1 and top-5 of ImageNet are given for 256 → 224; 224 → 224 keeps more of the image. Equal to
    resizing the whole image and cropping then, of which only the crop is computed.
    """

    resize: int
    size: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.resize:
            raise UsageError(f"centre crop {self.size}: must lie in 1 … {self.resize}, the size resized to")

    def __call__(self, image: np.ndarray, seed: int = 0, stream: int = 0, position: int = 0) -> np.ndarray:
        height, width = image.shape[1:]
        shorter = min(height, width)
        high, wide = self.resize * height // shorter, self.resize * width // shorter
        top, left = _middle(high, self.size), _middle(wide, self.size)
        x, y = width / wide, height / high
        # Rounding must not carry the box past the image's edge.
        right, bottom = min((left + self.size) * x, width), min((top + self.size) * y, height)
        return _resized(image, self.size, (left * x, top * y, right, bottom))


def _middle(length: int, crop: int) -> int:
    """Where a centred crop begins; negative where it is the longer. Halves go as in the field's centre crop: to the
    even neighbour when cropping, and the odd black pixel to the far side when padding."""
    return round((length - crop) / 2) if length >= crop else -((crop - length) // 2)


def _anywhere(fraction: float, room: int) -> int:
    """A whole number from 0 to `room`, which may be negative; each as likely for a fraction drawn from [0, 1)."""
    return int(fraction * (abs(room) + 1)) * (1 if room >= 0 else -1)


def _on_black(image: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """C×H×W laid on a black C×size×size with its corner at (top, left), which may be negative."""
    canvas = np.zeros((image.shape[0], size, size), image.dtype)
    shown = image[:, max(0, -top) : max(0, size - top), max(0, -left) : max(0, size - left)]
    top, left = max(0, top), max(0, left)
    canvas[:, top : top + shown.shape[1], left : left + shown.shape[2]] = shown
    return canvas


def _resized(image: np.ndarray, size: int, box: Box | None = None) -> np.ndarray:
    """`box` of a C×H×W image, or all of it, as C×size×size uint8.

    Pillow reads planes without copying them, and resizes three as fast as two when they are merged. Others go one by
    one, since Pillow would multiply colour by alpha.
    """
    image = np.ascontiguousarray(_eight_bits(image))
    planes = [Image.fromarray(plane) for plane in image]
    if len(planes) == 3:
        merged = Image.merge("RGB", planes).resize((size, size), Image.Resampling.BILINEAR, box)
        return np.ascontiguousarray(np.asarray(merged).transpose(2, 0, 1))
    return np.stack([np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR, box)) for plane in planes])


def _eight_bits(image: np.ndarray) -> np.ndarray:
    assert image.dtype in (np.uint8, np.uint16), image.dtype
    return image if image.dtype == np.uint8 else ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _mirrored(image: np.ndarray, mirror: bool) -> np.ndarray:
    return np.ascontiguousarray(image[:, :, ::-1]) if mirror else image
