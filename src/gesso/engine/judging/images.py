"""The images of a split as batches that judges can score, read ahead by threads while the device works."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gesso.data.ahead import ahead
from gesso.data.batches import normalize, stack
from gesso.data.store import Store
from gesso.recipe import Recipe

MOST, PIXELS = 64, 2**20
"""Images and pixels that go through a network at once: 64 images of 128 pixels, 16 of 256, 1 of 1024 and more."""


@dataclass(frozen=True)
class Room:
    """How many images go through a network at once: at most `images`, and `pixels` in all, but always one."""

    images: int = MOST
    pixels: int = PIXELS

    def of(self, height: int, width: int) -> int:
        """Images of height×width."""
        return max(1, min(self.images, self.pixels // (height * width)))


def room(batch_size: int, recipe: Recipe, side: int) -> Room:
    """Room for `batch_size` images of any size; where it is 0, for as many pixels as a training step of `recipe` has in
    images of `side` pixels, because a training step needs more memory than a pass does."""
    if batch_size:
        return Room(batch_size, sys.maxsize)
    return Room(pixels=max(PIXELS, recipe.batch_size * side * side))


@dataclass(frozen=True)
class Images:
    """Images of a split, of one size in each role: their indices, and N×C×H×W uint8 or int32 samples on the host."""

    indices: list[int]
    samples: dict[str, Tensor]

    def on(self, device: torch.device, role: str) -> Tensor:
        """N×C×H×W float32 in [-1, 1]."""
        return normalize(self.samples[role].to(device))


def read_images(
    store: Store, roles: tuple[str, ...], indices: Iterable[int], room: Room | None = None, workers: int = 0
) -> Iterator[Images]:
    """The images at `indices`, in order, in runs that there is `room` for and whose images are of one size.

    The same indices in every role; `room` counts the pixels of the first role. `workers` threads (0: one a core) read
    the images of the next run while the caller works on one.
    """
    room, workers = room or Room(), workers or os.cpu_count() or 1

    def read(index: int) -> list[np.ndarray]:
        # Copied, because a mapped image is read from the disk only when it is touched.
        return [np.array(store.get((role, index))) for role in roles]

    def together(run: list[int], images: list[list[np.ndarray]]) -> Images:
        return Images(run, {role: stack([each[place] for each in images]) for place, role in enumerate(roles)})

    chosen = list(indices)
    if not chosen:
        return
    fitting = room.of(*_size(store.get((roles[0], chosen[0]))))
    run: list[int] = []
    images: list[list[np.ndarray]] = []
    for index, found in zip(chosen, ahead(read, chosen, workers, fitting + workers), strict=True):
        most = room.of(*_size(found[0]))
        if run and (len(run) >= most or [image.shape for image in found] != [image.shape for image in images[0]]):
            yield together(run, images)
            run, images = [], []
        run.append(index)
        images.append(found)
    yield together(run, images)


def images_of(store: Store, role: str, indices: range | list[int], device: torch.device) -> Tensor:
    """A few images of one role as N×C×H×W in [-1, 1]; they must be of one size."""
    return normalize(stack([store.get((role, i)) for i in indices]).to(device))


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1], image.shape[2]
