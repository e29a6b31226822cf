"""The images of a split as batches: as many as there is room for, of one size, read ahead by threads."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from gesso.engine.judging.images import Room, read_images, room
from gesso.recipe import DCGANRecipe, DenseNetRecipe, Pix2PixRecipe

CPU = torch.device("cpu")


class Sized:
    """Images of the given heights, 8 wide, of one grey each; it notes which thread asked for which."""

    source: Any = None

    def __init__(self, heights: list[int]) -> None:
        self.heights = heights
        self.asked: list[tuple[int, str]] = []

    def get(self, slot: tuple[str, int]) -> np.ndarray:
        self.asked.append((slot[1], threading.current_thread().name))
        return np.full((3, self.heights[slot[1]], 8), slot[1], np.uint8)


def runs(store: Sized, indices: Any, **options: Any) -> list[list[int]]:
    return [images.indices for images in read_images(store, ("image",), indices, **options)]


def test_runs_are_as_long_as_there_is_room_and_end_where_sizes_change() -> None:
    store = Sized([8] * 5 + [16] * 4)
    assert runs(store, range(9), room=Room(images=3)) == [[0, 1, 2], [3, 4], [5, 6, 7], [8]]
    assert runs(store, range(9), room=Room(pixels=256)) == [[0, 1, 2, 3], [4], [5, 6], [7, 8]]
    assert runs(store, range(9), room=Room(pixels=1)) == [[i] for i in range(9)]
    assert runs(store, [1, 3, 4]) == [[1, 3, 4]] and runs(store, []) == []


def test_images_are_those_asked_for() -> None:
    (images,) = read_images(Sized([8] * 9), ("image",), range(2, 5))
    found = images.on(CPU, "image")
    assert found.shape == (3, 3, 8, 8)
    assert found[:, 0, 0, 0].tolist() == pytest.approx([i / 127.5 - 1 for i in (2, 3, 4)])


def test_images_of_the_next_run_are_read_while_the_caller_has_one() -> None:
    store = Sized([8] * 100)
    batches = read_images(store, ("image",), range(100), Room(images=4), workers=2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # waits for what was under way
    ahead = {i for i, thread in store.asked if thread.startswith("gesso-ahead")}
    assert set(range(5)) <= ahead and max(ahead) < 12


@pytest.mark.parametrize(
    ("recipe", "side", "size", "expected"),
    [
        (Pix2PixRecipe(recipe="", batch_size=1), 256, (256, 256), 16),
        (Pix2PixRecipe(recipe="", batch_size=1), 256, (1024, 2048), 1),
        (DenseNetRecipe(recipe="", batch_size=256), 224, (224, 224), 64),
        (DenseNetRecipe(recipe="", batch_size=8), 224, (224, 224), 20),
        (DCGANRecipe(recipe="", batch_size=128), 64, (64, 64), 64),
    ],
)
def test_how_many_images_go_at_once_follows_their_size_and_the_recipe(
    recipe: Any, side: int, size: tuple[int, int], expected: int
) -> None:
    assert room(0, recipe, side).of(*size) == expected
    assert room(5, recipe, side).of(*size) == 5
