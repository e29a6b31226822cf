"""Sets of single images, with or without classes, as sources whose one role is "image".

root/**                      a folder of images, all of them for training
root/{train,val,test}/**     the same with splits; each image whole, or one half of a pair
root/{train,val}/CLASS/**    a folder a class
root/*.tar, https://…        tar shards with classes, see shards.py
"""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from gesso.data.folders import SPLITS, Half, Picture, halve, some_images, wanted
from gesso.data.images import read_image, to_channels
from gesso.data.order import random
from gesso.data.shards import ShardSource, is_shards, open_shards, shard_splits
from gesso.data.sources import ROLE, Slot, Source, StreetsSource, Unit, file_fingerprint, root_of
from gesso.data.store import cache_root
from gesso.data.streets import HOURS, RENDERER, WEATHERS, render
from gesso.data.synth import FAIR, FIRST
from gesso.errors import DataError
from gesso.progress import Progress, Say, silent
from gesso.recipe import BUILTIN_STREETS, ClassData, ImageData

SYNTHETIC = 1024


class ClassSource(Source, Protocol):
    """A source whose images have classes."""

    classes: tuple[str, ...]

    def class_of(self, i: int) -> int:
        """The class of image i, an index of `classes`."""


class ImageFolder:
    """Images of a folder, in natural order of their paths."""

    paired = False
    checked = False

    def __init__(
        self,
        root: Path,
        split: str,
        paths: Sequence[Path],
        *,
        channels: int,
        max_pixels: int,
        half: Half = "",
        classes: tuple[str, ...] = (),
        labels: Sequence[int] = (),
    ) -> None:
        self.name, self.split, self.classes = root.resolve().name, split, classes
        self._root, self._paths, self._half, self._labels = root, tuple(paths), half, tuple(labels)
        self._channels, self._max_pixels = channels, max_pixels
        self.settings: tuple[object, ...] = (channels, max_pixels, half)
        self.counts = {ROLE: len(self._paths)}
        self.units: Sequence[Unit] = tuple(
            Unit(str(path), ((ROLE, i),), file_fingerprint(path)) for i, path in enumerate(self._paths)
        )

    def unit_of(self, slot: Slot) -> Unit:
        return self.units[slot[1]]

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        whole = read_image(unit.name, max_pixels=self._max_pixels)
        part = halve(whole, Picture(Path(unit.name), self._half))
        return {unit.slots[0]: to_channels(part, self._channels)}

    def label(self, slot: Slot) -> str:
        return self._paths[slot[1]].relative_to(self._root).as_posix()

    def class_of(self, i: int) -> int:
        return self._labels[i]

    def without(self, bad: Iterable[str]) -> "ImageFolder":
        gone = set(bad)
        return self._with([i for i, path in enumerate(self._paths) if str(path) not in gone])

    def first(self, limit: int) -> "ImageFolder":
        """At most `limit` images: of classes in turn, so that few images still show every class."""
        if not self._labels:
            return self._with(range(min(limit, len(self._paths))))
        nth: dict[int, int] = {}
        turns = []
        for label in self._labels:
            turns.append(nth.get(label, 0))
            nth[label] = turns[-1] + 1
        chosen = sorted(range(len(turns)), key=lambda i: (turns[i], i))[:limit]
        return self._with(sorted(chosen))

    def _with(self, keep: Iterable[int]) -> "ImageFolder":
        kept = list(keep)
        return ImageFolder(
            self._root,
            self.split,
            [self._paths[i] for i in kept],
            channels=self._channels,
            max_pixels=self._max_pixels,
            half=self._half,
            classes=self.classes,
            labels=[self._labels[i] for i in kept] if self._labels else (),
        )


class Picked:
    """The images of a source at the indices `chosen`, as a source whose other images are never read."""

    paired = False

    def __init__(self, source: Source, chosen: Sequence[int]) -> None:
        self.name, self.split, self.checked, self.settings = source.name, source.split, source.checked, source.settings
        self.counts = {ROLE: len(chosen)}
        self._source, self._chosen = source, tuple(chosen)
        self.units: Sequence[Unit] = tuple(
            dataclasses.replace(source.unit_of((ROLE, i)), slots=((ROLE, place),)) for place, i in enumerate(chosen)
        )

    def unit_of(self, slot: Slot) -> Unit:
        return self.units[slot[1]]

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        (slot,) = unit.slots
        there = self._there(slot)
        return {slot: self._source.decode(self._source.unit_of(there))[there]}

    def label(self, slot: Slot) -> str:
        return self._source.label(self._there(slot))

    def without(self, bad: Iterable[str]) -> "Picked":
        gone = set(bad)
        return Picked(self._source, [i for i in self._chosen if self._source.unit_of((ROLE, i)).name not in gone])

    def _there(self, slot: Slot) -> Slot:
        return slot[0], self._chosen[slot[1]]


class RenderedSource:
    """Images that are computed: the built-in streets by weather and time of day, or plain noise."""

    paired = False
    checked = True
    COUNTS: ClassVar = {"train": 2000, "val": 400, "test": 400}

    def __init__(self, split: str, count: int, size: int, channels: int, classes: tuple[str, ...], noise: bool) -> None:
        self.name, self.split = "noise" if noise else "streets", split
        self.classes, self.counts = classes, {ROLE: count}
        self._size, self._channels, self._noise = size, channels, noise
        self.settings: tuple[object, ...] = (size, channels, len(classes), noise)
        version = f"{self.name} {RENDERER} {StreetsSource.SEED} {split}"
        self.units: Sequence[Unit] = tuple(Unit(f"{self.name} {i}", ((ROLE, i),), version) for i in range(count))

    def unit_of(self, slot: Slot) -> Unit:
        return self.units[slot[1]]

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        (slot,) = unit.slots
        seed, index = StreetsSource.SEED, FIRST[self.split] + slot[1]
        if self._noise:
            rng = random(seed, 0, index)
            return {slot: rng.integers(0, 256, (self._size, self._size, self._channels), np.uint8)}
        light = FAIR
        if self.classes:
            weather, hour = LIGHTS[slot[1] % len(LIGHTS)]
            light = {"weather": weather, "hour": hour}
        return {slot: to_channels(render(seed, index, self._size, self._size, **light).photo, self._channels)}

    def label(self, slot: Slot) -> str:
        return f"{slot[1]:08d}"

    def class_of(self, i: int) -> int:
        return i % len(self.classes)

    def without(self, bad: Iterable[str]) -> "RenderedSource":
        assert not list(bad), "what is computed cannot be unreadable"
        return self


LIGHTS = tuple(product(WEATHERS, HOURS))
"""What the classes of the built-in streets differ in."""


def open_images(data: ImageData, split: str) -> Source:
    """The `split` (train, val or test) of a set of images. DataError where there is none."""
    limit = data.train_subset if split == "train" else data.evaluate_subset
    if data.root == BUILTIN_STREETS:
        count = RenderedSource.COUNTS[split]
        size = data.image_size if data.preprocess == "resize_and_crop" else data.crop
        return RenderedSource(split, min(count, limit or count), size, data.channels, (), noise=False)
    root = root_of(data)
    folder = root / split if (root / split).is_dir() else root
    paths = some_images(folder)
    half: Half = "" if data.half == "whole" else data.half
    source = ImageFolder(root, split, paths, channels=data.channels, max_pixels=data.max_pixels, half=half)
    return source.first(limit) if limit else source


def image_splits(data: ImageData) -> tuple[str, ...]:
    """Which of train, val and test there are; a folder without any is one for training."""
    if data.root == BUILTIN_STREETS:
        return SPLITS
    root = root_of(data)
    return tuple(split for split in SPLITS if (root / split).is_dir()) or ("train",)


def class_names(data: ClassData) -> tuple[str, ...]:
    """The classes of the training split: its folders sorted by name, as torchvision does, or as `open_classes` says of
    shards. DataError: fewer than two."""
    if data.synthetic:
        return tuple(f"{i:04d}" for i in range(data.classes))
    if data.root == BUILTIN_STREETS:
        return tuple(f"{weather}-{hour}" for weather, hour in LIGHTS)
    if is_shards(data.root):
        where, names = data.root, open_classes(data, data.train_split).classes
    else:
        folder = root_of(data) / data.train_split
        folders = [path for path in folder.iterdir() if path.is_dir() and wanted(path.name)] if folder.is_dir() else []
        where, names = str(folder), tuple(sorted(path.name for path in folders))
    if not names:
        wanted_too = f"{data.train_split}/CLASS/IMAGE and {data.evaluate_split}/CLASS/IMAGE"
        raise DataError(f"{where}: no folders of classes here; gesso wants {wanted_too}")
    if len(names) == 1:
        raise DataError(f"{where}: one class alone, {names[0]}; a classifier needs two or more to tell apart")
    return names


def open_classes(data: ClassData, split: str, say: Say = lambda line: None, progress: Progress = silent) -> ClassSource:
    """The `split` of a set of images with classes. DataError where there is none.

    Classes are those of the training split (`data.names` where the run has written them down); those of shards are what
    their classes.json names, or numbers; each of them must have one. `progress` counts shards that are indexed.
    """
    train = split == data.train_split
    limit = data.train_subset if train else data.evaluate_subset
    if data.synthetic or data.root == BUILTIN_STREETS:
        which = "train" if train else "test" if split == "test" else "val"
        count = SYNTHETIC if data.synthetic else RenderedSource.COUNTS[which]
        names = data.names or class_names(data)
        size = data.image_size if data.synthetic else data.resize
        return RenderedSource(which, min(count, limit or count), size, data.channels, names, noise=data.synthetic)
    if is_shards(data.root):
        shards = _shards(data, split, limit, say, progress)
        shards.check_classes(training=train)
        return shards
    source = _class_folders(data, split)
    return source.first(limit) if limit else source


def has_classes(data: ClassData, split: str, say: Say = lambda line: None, progress: Progress = silent) -> bool:
    """Whether any image of a `split` that is there has a class: those of a contest's test set have none. `progress`
    counts shards that are indexed."""
    if data.synthetic or data.root == BUILTIN_STREETS:
        return True
    if is_shards(data.root):
        return bool(_shards(data, split, 0, say, progress).class_counts().keys() - {""})
    return any(path.is_dir() and wanted(path.name) for path in (root_of(data) / split).iterdir())


def _shards(data: ClassData, split: str, limit: int, say: Say, progress: Progress) -> ShardSource:
    return open_shards(
        data.root,
        split,
        cache_root(data.cache_dir),
        cache_limit_gb=data.cache_limit_gb,
        channels=data.channels,
        max_pixels=data.max_pixels,
        limit=limit,
        say=say,
        progress=progress,
    )


def _class_folders(data: ClassData, split: str) -> ImageFolder:
    """All images of a split that has a folder a class. DataError for one that training does not have."""
    root = root_of(data)
    names = data.names or class_names(data)
    known = {name: i for i, name in enumerate(names)}
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the split with --data.train-split or --data.evaluate-split")
    paths, labels = [], []
    for path in some_images(folder):
        if path.parent == folder:
            raise DataError(f"{path}: stands beside the class folders; put it into the folder of its class")
        name = path.relative_to(folder).parts[0]
        if name not in known:
            raise DataError(f"{path}: class {name} is not among those of {data.train_split}")
        paths.append(path)
        labels.append(known[name])
    return ImageFolder(
        root, split, paths, channels=data.channels, max_pixels=data.max_pixels, classes=names, labels=labels
    )


def class_splits(data: ClassData) -> tuple[str, ...]:
    """The splits that there are, of those that the recipe names and the usual three."""
    if data.synthetic:
        return tuple(dict.fromkeys((data.train_split, data.evaluate_split)))
    named = tuple(dict.fromkeys((data.train_split, data.evaluate_split, *SPLITS)))
    if data.root == BUILTIN_STREETS:
        return named
    if is_shards(data.root):
        there = shard_splits(data.root)
        return tuple(split for split in named if split in there)
    return tuple(split for split in named if (root_of(data) / split).is_dir())
