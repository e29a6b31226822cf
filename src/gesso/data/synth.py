"""The built-in streets as data sets on disk, in the layouts of the field; and without files, for the demo.

All but the classes are rendered under FAIR light, a clear day: light and weather cannot be seen in a label map, so
a translator could not learn them. Splits show different streets: each takes its scenes from its own range.
"""

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gesso.data.order import checked_seed
from gesso.data.prepare.target import Prepared, filling
from gesso.data.streets import HOURS, RENDERER, SMALLEST, WEATHERS, Street, render
from gesso.errors import UsageError
from gesso.files import disk_errors, write_atomically
from gesso.progress import Progress, silent
from gesso.recipe.sides import LARGEST_STREET

FAIR: Final = {"weather": "clear", "hour": "day"}
FIRST: Final = {"train": 0, "train B": 5_000_000, "val": 10_000_000, "test": 20_000_000}
"""Index of the first scene of each split. `train B` is the other domain of an unpaired set."""


class Writer(Protocol):
    """Renders a data set of `count` training images and a tenth as many of each other split into `out`.

    size: height in pixels. UsageError where a number makes no sense or `out` is not empty, DiskError where the disk
    refuses. `out` is there when the last file is written; a try that was ended goes on with the same arguments.
    """

    def __call__(
        self, out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress = silent
    ) -> Prepared: ...


def street_pair(seed: int, index: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photo and colour labels of a scene on a clear day, both (size, size, 3) uint8. A pure function."""
    street = render(seed, index, size, size, **FAIR)
    return street.photo, street.colour


def held_out(count: int) -> int:
    """Images of a validation or test split beside `count` training images."""
    return max(1, count // 10)


def write_pairs(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress = silent
) -> Prepared:
    """`train val test`, each file with the photo (A) on the left and the colour labels (B) on the right."""
    splits = {"train": count, "val": held_out(count), "test": held_out(count)}
    with _filled(out, "pairs", count, size, seed, sum(splits.values()), progress) as folder:
        for split, many in splits.items():
            for i in range(many):
                if folder.lacks(name := f"{split}/{i:08d}.png"):
                    pair = street_pair(seed, FIRST[split] + i, size)
                    folder.save(name, np.concatenate(pair, axis=1))
                folder.step()
    return Prepared(splits)


def write_unpaired(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress = silent
) -> Prepared:
    """`trainA` photos and `trainB` colour labels of different streets; `testA` and `testB` show the same streets under
    the same names, so that a translation can be measured."""
    test = held_out(count)
    with _filled(out, "unpaired", count, size, seed, 2 * count + test, progress) as folder:
        for domain, (side, first) in enumerate((("trainA", "train"), ("trainB", "train B"))):
            for i in range(count):
                if folder.lacks(name := f"{side}/{i:08d}.png"):
                    folder.save(name, street_pair(seed, FIRST[first] + i, size)[domain])
                folder.step()
        for i in range(test):
            a, b = f"testA/{i:08d}.png", f"testB/{i:08d}.png"
            if folder.lacks(a) or folder.lacks(b):
                photo, labels = street_pair(seed, FIRST["test"] + i, size)
                folder.save(a, photo)
                folder.save(b, labels)
            folder.step()
    return Prepared({"trainA": count, "trainB": count, "testA": test, "testB": test})


def write_classes(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress = silent
) -> Prepared:
    """`train/CLASS` and `val/CLASS`, photos by weather and time of day (`clear-day`, `rain-night` …), as many of each
    class as the count allows; every class has one for validation at least."""
    lights = list(itertools.product(WEATHERS, HOURS))
    if 0 < count < len(lights):
        raise UsageError(f"--count {count}: there are {len(lights)} classes; ask for at least one image of each")
    splits = {"train": count, "val": max(held_out(count), len(lights))}
    with _filled(out, "classes", count, size, seed, sum(splits.values()), progress) as folder:
        for split, many in splits.items():
            for i in range(many):
                weather, hour = lights[i % len(lights)]
                if folder.lacks(name := f"{split}/{weather}-{hour}/{i:08d}.png"):
                    street = render(seed, FIRST[split] + i, size, size, weather=weather, hour=hour)
                    folder.save(name, street.photo)
                folder.step()
    return Prepared(splits)


def write_cityscapes_raw(
    out: Path, *, count: int = 400, size: int = 256, seed: int = 0, progress: Progress = silent
) -> Prepared:
    """Cityscapes' own layout, pictures twice as wide as high (Cityscapes itself has size 1024):
    leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_000019_leftImg8bit.png and, under gtFine/, its _gtFine_labelIds.png (8 bits),
    _gtFine_instanceIds.png (16 bits) and _gtFine_color.png. The cities are gessoburg (train) and gessoheim (val)."""
    splits = {"train": count, "val": held_out(count)}
    with _filled(out, "cityscapes", count, size, seed, sum(splits.values()), progress) as folder:
        for (split, many), city in zip(splits.items(), ("gessoburg", "gessoheim"), strict=True):
            for i in range(many):
                stem = f"{split}/{city}/{city}_{i:06d}_000019"
                if folder.lacks(f"gtFine/{stem}_gtFine_color.png"):  # the last that is saved
                    _save_cityscapes(folder, render(seed, FIRST[split] + i, 2 * size, size, **FAIR), stem)
                folder.step()
    return Prepared(splits)


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


@contextlib.contextmanager
def _filled(
    out: Path, kind: str, count: int, size: int, seed: int, total: int, progress: Progress
) -> Iterator["_Folder"]:
    """The folder to write `total` scenes into, which becomes `out` when the block ends without an error. Flags and
    target are checked before the first street is rendered."""
    if not 1 <= count <= FIRST["train B"]:
        raise UsageError(f"--count {count}: must lie in 1 … {FIRST['train B']}")
    if not SMALLEST <= size <= LARGEST_STREET:
        raise UsageError(f"--size {size}: must lie in {SMALLEST} … {LARGEST_STREET} pixels")
    checked_seed(seed)
    settings = {"synth": kind, "count": count, "size": size, "seed": seed, "renderer": RENDERER}
    with filling(Path(out), settings) as folder:
        yield _Folder(folder, total, progress)


class _Folder:
    """The folder that is being filled."""

    def __init__(self, path: Path, total: int, progress: Progress) -> None:
        self._path, self._total, self._progress, self._done = path, total, progress, 0
        self._made: set[Path] = set()

    def lacks(self, name: str) -> bool:
        """Whether no earlier try has saved this image."""
        return not (self._path / name).exists()

    def save(self, name: str, image: NDArray[Any]) -> None:
        """Write an image as PNG under this name, whole or not at all."""
        path = self._path / name
        if path.parent not in self._made:
            with disk_errors(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=3)
        write_atomically(path, buffer.getvalue(), sync=False)

    def step(self) -> None:
        """One scene more is done."""
        self._done += 1
        self._progress(self._done, self._total)
