"""What is done to single images once, before the cache: the deterministic part of their preparation."""

from dataclasses import dataclass

import numpy as np

from gesso.data.augment import AreaCrop, CenterView, PadCrop, ShiftCrop, View
from gesso.data.store import Fit
from gesso.recipe import ClassData, ImageData


@dataclass(frozen=True)
class Whole:
    """The image as it is."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image.transpose(2, 0, 1))


@dataclass(frozen=True)
class Middle:
    """The middle rows, at most `rows` of them: all that a sideways shift and a centre crop can reach."""

    rows: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        top = max(0, round((image.shape[0] - self.rows) / 2))
        return np.ascontiguousarray(image[top : top + self.rows].transpose(2, 0, 1))


@dataclass(frozen=True)
class Centred:
    """The shorter side to `resize` pixels, then the middle square of `size`."""

    resize: int
    size: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return CenterView(self.resize, self.size)(np.ascontiguousarray(image.transpose(2, 0, 1)))


@dataclass(frozen=True)
class CentreCrop:
    """The middle square of `crop` pixels, on black where the image is smaller, resized to `size`."""

    crop: int
    size: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return ShiftCrop(self.size, self.crop, shift=0)(np.ascontiguousarray(image.transpose(2, 0, 1)), 0, 0, 0)


def image_fit(data: ImageData) -> tuple[Fit, View]:
    """How images for a generator are kept, and what is then done to one for a batch."""
    if data.preprocess == "shift_and_crop":
        return Middle(data.crop), ShiftCrop(data.image_size, data.crop, data.shift)
    return Centred(data.image_size, data.image_size), PadCrop(data.image_size, pad=0, flip=data.flip)


def real_fit(data: ImageData) -> Fit:
    """How real images are prepared that generated ones are compared with: as for training, without what is random."""
    if data.preprocess == "shift_and_crop":
        return CentreCrop(data.crop, data.image_size)
    return Centred(data.image_size, data.image_size)


def class_fit(data: ClassData) -> tuple[Fit, View]:
    """How images for a classifier are kept, and what is then done to one for a training batch."""
    if data.preprocess == "pad_crop":
        return Centred(data.image_size, data.image_size), PadCrop(data.image_size, data.pad, data.flip)
    return Whole(), AreaCrop(data.image_size, data.area, data.aspect, data.flip)


def scored_fit(data: ClassData) -> Fit:
    """How images for a classifier are scored: shorter side to `resize`, centre crop (top-1 and top-5's protocol)."""
    return Centred(data.resize, data.image_size)
