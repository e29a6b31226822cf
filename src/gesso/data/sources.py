"""Where images come from: folders, or the built-in streets.

A source is a list of units. A unit is the smallest thing that is decoded at once: a file with both halves of a
pair in it is one unit that gives two images, so that no file is decoded twice.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from gesso.data.folders import Picture, Split, checked_root, find_split, halve, splits
from gesso.data.images import read_image, to_channels
from gesso.data.streets import RENDERER
from gesso.data.synth import FIRST, street_pair
from gesso.errors import UsageError, flag
from gesso.recipe import BUILTIN_STREETS, Data, TranslationData

ROLE = "image"
"""The role of single images; those of two domains have "A" and "B"."""

Slot = tuple[str, int]
"""An image's place: its role and its index there."""


@dataclass(frozen=True)
class Unit:
    """One thing to decode: what it is called, the slots it fills, and what changes when its content does."""

    name: str
    slots: tuple[Slot, ...]
    fingerprint: str


class Source(Protocol):
    """A split of a data set.

    name      of the data set
    split     train, val or test
    units     what is decoded, in an order that stays
    counts    number of images of each role: of domains A and B, or of ROLE
    paired    whether A and B of one index belong together
    checked   whether every image is known to be readable
    settings  what `decode` depends on besides the files
    """

    name: str
    split: str
    paired: bool
    checked: bool
    units: Sequence[Unit]
    counts: dict[str, int]
    settings: tuple[object, ...]

    def unit_of(self, slot: Slot) -> Unit:
        """What is decoded to fill `slot`."""

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        """The images of `unit`, H×W×C uint8 or uint16. BadImage names the file and the reason."""

    def label(self, slot: Slot) -> str:
        """A name for the image, unique in its domain and the same however many others there are."""

    def without(self, bad: Iterable[str]) -> "Source":
        """This source without the units of those names; a pair goes as a whole."""


class FolderSource:
    """A split of a folder, as `find_split` saw it."""

    checked = False

    def __init__(self, split: Split, root: Path, data: TranslationData) -> None:
        self.name, self.split, self.paired = root.resolve().name, split.name, split.paired
        self._split, self._root, self._data = split, root, data
        self._channels = {"A": data.channels_a, "B": data.channels_b}
        self.settings: tuple[object, ...] = (data.channels_a, data.channels_b, data.max_pixels)
        self.counts = {role: len(pictures) for role, pictures in split.images.items()}
        slots: dict[Path, list[Slot]] = {}
        for role, pictures in split.images.items():
            for i, picture in enumerate(pictures):
                slots.setdefault(picture.path, []).append((role, i))
        self.units: Sequence[Unit] = tuple(
            Unit(str(path), tuple(where), file_fingerprint(path)) for path, where in slots.items()
        )
        self._units = {slot: unit for unit in self.units for slot in unit.slots}

    def unit_of(self, slot: Slot) -> Unit:
        return self._units[slot]

    def picture(self, slot: Slot) -> Picture:
        return self._split.images[slot[0]][slot[1]]

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        whole = read_image(unit.name, max_pixels=self._data.max_pixels)
        return {slot: to_channels(halve(whole, self.picture(slot)), self._channels[slot[0]]) for slot in unit.slots}

    def label(self, slot: Slot) -> str:
        return self.picture(slot).path.relative_to(self._root).as_posix()

    def without(self, bad: Iterable[str]) -> "FolderSource":
        gone = set(bad)
        lost = {slot for unit in self.units if unit.name in gone for slot in unit.slots}
        if self.paired:
            lost = {(role, i) for role in self.counts for _, i in lost}
        images = {
            role: tuple(p for i, p in enumerate(pictures) if (role, i) not in lost)
            for role, pictures in self._split.images.items()
        }
        return FolderSource(dataclasses.replace(self._split, images=images), self._root, self._data)


class StreetsSource:
    """The built-in streets. Unpaired domains show different streets, paired ones the same."""

    checked = True
    COUNTS: ClassVar = {"train": 1000, "val": 100, "test": 100}
    SEED = 2026

    def __init__(self, split: str, data: TranslationData, unpaired: bool) -> None:
        self.name, self.split = "streets", split
        self.paired = not (unpaired and split == "train")
        self._channels = {"A": data.channels_a, "B": data.channels_b}
        self.settings: tuple[object, ...] = (data.channels_a, data.channels_b)
        self._size = data.load_size if data.preprocess != "none" else data.crop_size
        limit = data.train_subset if split == "train" else data.evaluate_subset
        count = min(self.COUNTS[split], limit or self.COUNTS[split])
        self.counts = {"A": count, "B": count}
        first = FIRST[split]
        self._first = {"A": first, "B": first if self.paired else FIRST["train B"]}
        version = f"streets {RENDERER} {self.SEED} {self._size}"
        self.units: Sequence[Unit]
        if self.paired:
            self.units = tuple(Unit(f"street {first + i}", (("A", i), ("B", i)), version) for i in range(count))
        else:
            self.units = tuple(
                Unit(f"street {self._first[role] + i}", ((role, i),), version)
                for role in ("A", "B")
                for i in range(count)
            )

    def unit_of(self, slot: Slot) -> Unit:
        role, i = slot
        return self.units[i if self.paired or role == "A" else self.counts["A"] + i]

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        role, i = unit.slots[0]
        photo, labels = street_pair(self.SEED, self._first[role] + i, self._size)
        both = {"A": to_channels(photo, self._channels["A"]), "B": to_channels(labels, self._channels["B"])}
        return {slot: both[slot[0]] for slot in unit.slots}

    def label(self, slot: Slot) -> str:
        return f"{self._first[slot[0]] + slot[1]:08d}"

    def without(self, bad: Iterable[str]) -> "StreetsSource":
        assert not list(bad), "a rendered street cannot be unreadable"
        return self


def open_source(data: TranslationData, split: str, unpaired: bool) -> Source:
    """The `split` (train, val or test) of `data.root`. DataError where there is none.

    unpaired: the model wants two unpaired domains, so a paired set's halves become them.
    """
    if data.root == BUILTIN_STREETS:
        return StreetsSource(split, data, unpaired)
    root = root_of(data)
    found = find_split(root, split, data.layout, unpaired)
    limit = data.train_subset if split == "train" else data.evaluate_subset
    if limit:
        first = {role: pictures[:limit] for role, pictures in found.images.items()}
        found = dataclasses.replace(found, images=first)
    return FolderSource(found, root, data)


def existing_splits(data: TranslationData, unpaired: bool) -> tuple[str, ...]:
    """Which of train, val and test there are for a model that needs no pairs, `unpaired`, or for one that does."""
    if data.root == BUILTIN_STREETS:
        return ("train", "val", "test")
    return splits(root_of(data), data.layout, unpaired)


def root_of(data: Data) -> Path:
    """The data set's folder. UsageError where none is named, DataError where it is not there."""
    if not data.root:
        raise UsageError(
            f"--data.root is missing: name the folder of your images, or {BUILTIN_STREETS} to try the built-in ones"
        )
    root = Path(data.root).expanduser()
    checked_root(root, flag("data.root"))
    return root


def file_fingerprint(path: Path) -> str:
    """What changes when the file does: its size and time."""
    try:
        status = path.stat()
    except OSError:
        return "missing"  # decoding will say so, and why
    return f"{status.st_size} {status.st_mtime_ns}"


def fingerprint(source: Source, *settings: object) -> str:
    """A digest that changes when any file's name, size or time does, or any of `settings`."""
    digest = hashlib.sha256(repr((settings, source.settings)).encode())
    for unit in source.units:
        digest.update(repr((unit.name, unit.slots, unit.fingerprint)).encode())
    return digest.hexdigest()[:32]
