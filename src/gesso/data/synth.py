"""The built-in streets as data sets on disk, in the layouts of the field; and without files, for the demo.

All but the classes are rendered under FAIR light, a clear day: light and weather cannot be seen in a label map, so
a translator could not learn them. Splits show different streets: each takes its scenes from its own range.
"""

import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gesso.data.streets import HOURS, SMALLEST, WEATHERS, Street, render
from gesso.errors import UsageError
from gesso.files import disk_errors, write_atomically
from gesso.progress import Progress

FAIR: Final = {"weather": "clear", "hour": "day"}
FIRST: Final = {"train": 0, "train B": 5_000_000, "val": 10_000_000, "test": 20_000_000}
"""Index of the first scene of each split. `train B` is the other domain of an unpaired set."""
LARGEST: Final = 4096


@dataclass(frozen=True)
class Written:
    """How many images went into each folder."""

    counts: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in self.counts.items())


class Writer(Protocol):
    """Renders a data set of `count` training images and a tenth as many of each other split into `out`.

    size: height in pixels. UsageError where a number makes no sense or `out` is not empty, DiskError where the disk
    refuses. Files are written whole or not at all.
    """

    def __call__(
        self, out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress | None = None
    ) -> Written: ...


def street_pair(seed: int, index: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photo and colour labels of a scene on a clear day, both (size, size, 3) uint8. A pure function."""
    street = render(seed, index, size, size, **FAIR)
    return street.photo, street.colour


def held_out(count: int) -> int:
    """Images of a validation or test split beside `count` training images."""
    return max(1, count // 10)


def write_pairs(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress | None = None
) -> Written:
    """`train val test`, each file with the photo (A) on the left and the colour labels (B) on the right."""
    splits = {"train": count, "val": held_out(count), "test": held_out(count)}
    folder = _Folder(out, count, size, seed, sum(splits.values()), progress)
    for split, many in splits.items():
        for i in range(many):
            pair = street_pair(seed, FIRST[split] + i, size)
            folder.save(f"{split}/{i:08d}.png", np.concatenate(pair, axis=1))
            folder.step()
    return Written(splits)


def write_unpaired(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress | None = None
) -> Written:
    """`trainA` photos and `trainB` colour labels of different streets; `testA` and `testB` show the same streets under
    the same names, so that a translation can be measured."""
    test = held_out(count)
    folder = _Folder(out, count, size, seed, 2 * count + test, progress)
    for i in range(count):
        folder.save(f"trainA/{i:08d}.png", street_pair(seed, FIRST["train"] + i, size)[0])
        folder.step()
    for i in range(count):
        folder.save(f"trainB/{i:08d}.png", street_pair(seed, FIRST["train B"] + i, size)[1])
        folder.step()
    for i in range(test):
        photo, labels = street_pair(seed, FIRST["test"] + i, size)
        folder.save(f"testA/{i:08d}.png", photo)
        folder.save(f"testB/{i:08d}.png", labels)
        folder.step()
    return Written({"trainA": count, "trainB": count, "testA": test, "testB": test})


def write_classes(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress | None = None
) -> Written:
    """`train/CLASS` and `val/CLASS`, photos by weather and time of day (`clear-day`, `rain-night` …), as many of each
    class as the count allows; every class has one for validation at least."""
    lights = list(itertools.product(WEATHERS, HOURS))
    if 0 < count < len(lights):
        raise UsageError(f"--count {count}: there are {len(lights)} classes; ask for at least one image of each")
    splits = {"train": count, "val": max(held_out(count), len(lights))}
    folder = _Folder(out, count, size, seed, sum(splits.values()), progress)
    for split, many in splits.items():
        for i in range(many):
            weather, hour = lights[i % len(lights)]
            street = render(seed, FIRST[split] + i, size, size, weather=weather, hour=hour)
            folder.save(f"{split}/{weather}-{hour}/{i:08d}.png", street.photo)
            folder.step()
    return Written(splits)


def write_cityscapes_raw(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress | None = None
) -> Written:
    """Cityscapes' own layout, pictures twice as wide as high (Cityscapes itself has size 1024):
    leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_000019_leftImg8bit.png and, under gtFine/, its _gtFine_labelIds.png (8 bits),
    _gtFine_instanceIds.png (16 bits) and _gtFine_color.png. The cities are gessoburg (train) and gessoheim (val)."""
    splits = {"train": count, "val": held_out(count)}
    folder = _Folder(out, count, size, seed, sum(splits.values()), progress)
    for (split, many), city in zip(splits.items(), ("gessoburg", "gessoheim"), strict=True):
        for i in range(many):
            street = render(seed, FIRST[split] + i, 2 * size, size, **FAIR)
            _save_cityscapes(folder, street, f"{split}/{city}/{city}_{i:06d}_000019")
            folder.step()
    return Written(splits)


def _save_cityscapes(folder: "_Folder", street: Street, stem: str) -> None:
    folder.save(f"leftImg8bit/{stem}_leftImg8bit.png", street.photo)
    folder.save(f"gtFine/{stem}_gtFine_labelIds.png", street.labels)
    folder.save(f"gtFine/{stem}_gtFine_instanceIds.png", street.instances.astype(np.uint16))
    folder.save(f"gtFine/{stem}_gtFine_color.png", street.colour)


KINDS: Final[dict[str, Writer]] = {
    "pairs": write_pairs,
    "unpaired": write_unpaired,
    "classes": write_classes,
    "cityscapes": write_cityscapes_raw,
}
"""What `gesso data synth` can write."""


class _Folder:
    """The folder that is being filled. Checked, and made, before the first street is rendered."""

    def __init__(self, out: Path, count: int, size: int, seed: int, total: int, progress: Progress | None) -> None:
        if not 1 <= count <= FIRST["train B"]:
            raise UsageError(f"--count {count}: must lie in 1 … {FIRST['train B']}")
        if not SMALLEST <= size <= LARGEST:
            raise UsageError(f"--size {size}: must lie in {SMALLEST} … {LARGEST} pixels")
        if not 0 <= seed < 2**64:
            raise UsageError(f"--seed {seed}: must lie in 0 … 2**64 - 1")
        self._out, self._total, self._progress, self._done = Path(out), total, progress, 0
        self._made: set[Path] = set()
        if self._out.exists() and not self._out.is_dir():
            raise UsageError(f"{out} is a file; name a folder that does not exist yet")
        self._make(self._out)
        with disk_errors(self._out):
            empty = next(self._out.iterdir(), None) is None
        if not empty:
            raise UsageError(f"{out} is not empty; name a folder that does not exist yet, or empty this one")

    def save(self, name: str, image: NDArray[Any]) -> None:
        """Write an image as PNG under this name, whole or not at all."""
        path = self._out / name
        self._make(path.parent)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=3)
        write_atomically(path, buffer.getvalue(), sync=False)

    def step(self) -> None:
        """One scene more is done."""
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)

    def _make(self, folder: Path) -> None:
        if folder in self._made:
            return
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._made.add(folder)
