"""Images in tar shards (WebDataset's layout) as a source that is read at random, like a folder.

Shards are usually read as streams: shuffled through a buffer, split between processes by whole shards, and hard to
enter in the middle. Here an index says where each sample lies, so a sample is a byte range, and the order of an
epoch is the same pure permutation as everywhere (`order.indices`): no sample is lost or repeated whatever the number
of processes, the shuffle is perfect, and a resume in the middle of an epoch has nothing to restore.

Each sample is one image and at most one class: `000012.jpg` with `000012.cls` or `000012.json` beside it.
`shards_names.py` has where shards may lie and what tells their split.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from gesso.data.images import read_image_bytes
from gesso.data.shards_bytes import (
    AbsentError,
    Copies,
    LocalPlace,
    ShardBytes,
    fetch_text,
    is_url,
    place,
)
from gesso.data.shards_index import INDEX, NO_CLASS, ShardIndex, Table, index_shard, parse_index, write_index
from gesso.data.shards_names import SPLIT_WORDS, belongs, found_shards, local_tars
from gesso.data.sources import ROLE, Slot, Unit
from gesso.errors import DataError, DiskError
from gesso.files import write_atomically
from gesso.progress import Progress, Say, silent

CLASSES = "classes.json"
UNLABELLED = "no class; each sample needs KEY.cls or KEY.json with its number"
_NO_INDEX = "shards without an index are read from a copy"


class ShardSource:
    """One split of a set of shards. `open_shards` makes it."""

    paired = False

    def __init__(
        self,
        name: str,
        split: str,
        table: Table,
        shards: Sequence[ShardBytes],
        fingerprints: Sequence[str],
        classes: tuple[str, ...],
        *,
        listed: bool,
        rows: np.ndarray,
        channels: int | None,
        max_pixels: int,
        checked: bool,
    ) -> None:
        """listed: `classes` are those of a list; else they are numbers, up to the largest there is."""
        self.name, self.split, self.classes, self._listed = name, split, classes, listed
        self._table, self._shards, self._fingerprints = table, shards, fingerprints
        self._rows, self._channels, self._max_pixels = rows, channels, max_pixels
        self.checked = checked
        self.settings: tuple[object, ...] = (channels, max_pixels)
        self.counts = {ROLE: len(rows)}
        self.units: Sequence[Unit] = _Units(self)

    def unit_of(self, slot: Slot) -> Unit:
        row = int(self._rows[slot[1]])
        return Unit(self._place(row), ((ROLE, slot[1]),), self._fingerprints[self._table.shard(row)])

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        """The image of `unit`, H×W×C uint8, or uint16 where the file has 16 bits a sample.

        BadImage names SHARD:KEY where it is damaged; DataError where the shard cannot be read.
        """
        (slot,) = unit.slots
        row = int(self._rows[slot[1]])
        data = self._shards[self._table.shard(row)].read(*self._table.span(row), unit.name)
        return {slot: read_image_bytes(unit.name, data, self._channels, self._max_pixels)}

    def label(self, slot: Slot) -> str:
        """SHARD/KEY: a key alone is unique only in its shard."""
        row = int(self._rows[slot[1]])
        name = self._table.shards[self._table.shard(row)][0]
        return f"{name.removesuffix('.tar')}/{self._table.key(row)}"

    def class_of(self, i: int) -> int:
        """The class of image i, an index of `classes`. For sources that `check_classes` was asked of."""
        class_ = int(self._table.classes[self._rows[i]])
        assert class_ != NO_CLASS, "check_classes refuses images without a class"
        return class_

    def check_classes(self, training: bool) -> None:
        """DataError names the first image without a class, if there is one: a run must not stop where its order comes
        to it. With `training` it also names an image whose class cannot be meant, as no list has so many and there
        are fewer images: the network would be made for all of them.
        """
        if len(rows := self._without_class()):
            more = f" and {len(rows) - 1} more have" if len(rows) > 1 else " has"
            raise DataError(f"{self._place(int(rows[0]))}{more} {UNLABELLED}")
        if training and not self._listed and self._table.classes.max() >= len(self._table):
            row = int(self._table.classes.argmax())
            raise DataError(
                f"{self._place(row)}: class {self._table.classes[row]}, but there are only {len(self._table)} samples; "
                f'mend its label, or name all classes in a {CLASSES} beside the shards: {{"classes": ["n01440764", …]}}'
            )

    def unlabelled(self) -> Iterator[str]:
        """The names of the units whose images have no class."""
        return (self._place(int(row)) for row in self._without_class())

    def _without_class(self) -> np.ndarray:
        rows: np.ndarray = self._rows[self._table.classes[self._rows] == NO_CLASS]
        return rows

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self._shards)

    def digests(self) -> dict[str, str]:
        """The SHA-256 that the index tells of each shard, by the place of the shard; empty without an index."""
        told = zip(self._shards, self._table.shards, strict=True)
        return {shard.location: sha256 for shard, (_, _, sha256) in told if sha256}

    def class_counts(self) -> dict[str, int]:
        """Images of each class that has any; those without a class are under an empty name."""
        found, counts = np.unique(self._table.classes[self._rows], return_counts=True)
        names = ["" if class_ == NO_CLASS else self.classes[class_] for class_ in found.tolist()]
        return dict(zip(names, counts.tolist(), strict=True))

    def without(self, bad: Iterable[str]) -> "ShardSource":
        gone = set(bad)
        keep = [self._place(int(row)) not in gone for row in self._rows]
        return self._with(self._rows[np.array(keep, bool)])

    def first(self, limit: int) -> "ShardSource":
        """The first `limit` samples. Shards that `prepare` wrote hold a mix of classes."""
        return self._with(self._rows[:limit])

    def _with(self, rows: np.ndarray) -> "ShardSource":
        return ShardSource(
            self.name,
            self.split,
            self._table,
            self._shards,
            self._fingerprints,
            self.classes,
            listed=self._listed,
            rows=rows,
            channels=self._channels,
            max_pixels=self._max_pixels,
            checked=self.checked,
        )

    def _place(self, row: int) -> str:
        return f"{self._shards[self._table.shard(row)].location}:{self._table.key(row)}"


class _Units(Sequence[Unit]):
    """Units made when they are asked for: a million of them would fill a gigabyte."""

    def __init__(self, source: ShardSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return self._source.counts[ROLE]

    @overload
    def __getitem__(self, i: int) -> Unit: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Unit]: ...
    def __getitem__(self, i: int | slice) -> Unit | Sequence[Unit]:
        places = range(len(self))[i]
        if isinstance(places, int):
            return self._source.unit_of((ROLE, places))
        return [self._source.unit_of((ROLE, place)) for place in places]

    def __iter__(self) -> Iterator[Unit]:
        return (self._source.unit_of((ROLE, i)) for i in range(len(self)))


def is_shards(root: str) -> bool:
    """Whether `root` names shards: a URL, names of .tar files, an index, or a folder with either. Opens nothing."""
    if is_url(root) or root.endswith((".tar", INDEX)):
        return True
    folder = Path(root).expanduser()
    return (folder / INDEX).is_file() or any(path.is_file() for path in local_tars(folder))


def shard_splits(root: str) -> tuple[str, ...]:
    """Which of train, val and test there are."""
    base, names, index = found_shards(root)
    if index is not None:
        names = [shard.name for shard in parse_index(index, f"{base}{INDEX}", lambda _: True)]
    return tuple(split for split in SPLIT_WORDS if any(belongs(name, split) for name in names))


def open_shards(
    root: str,
    split: str,
    cache: Path,
    *,
    cache_limit_gb: float = 16.0,
    channels: int | None = 3,
    max_pixels: int = 100_000_000,
    limit: int = 0,
    say: Say,
    progress: Progress = silent,
) -> ShardSource:
    """The `split` of the shards at `root`: a folder, a URL of one, or a name or URL with {000..146} in it.

    cache: folder for copies of remote shards that need one (at most `cache_limit_gb`) and for indexes of shards that
    have none. limit: only the first samples; 0 takes all. `progress` counts shards that are indexed. DataError where
    there are no such shards or they are damaged, UsageError where a copy does not fit.
    """
    base, names, index = found_shards(root)
    copies = Copies(cache / "shards" / hashlib.sha256(base.encode()).hexdigest()[:24], int(cache_limit_gb * 1e9))

    def shard(name: str) -> ShardBytes:
        return ShardBytes(place(base + name), copies)

    if index is not None:
        asked = set(names)
        table, shards, fingerprints = _by_index(
            index, f"{base}{INDEX}", lambda name: belongs(name, split) and (not asked or name in asked), shard
        )
    else:
        names = [name for name in names if belongs(name, split)]
        if names:
            say(f"{root}: no {INDEX}, so the headers of {len(names)} shards are read once")
        table, shards, fingerprints = _by_headers(names, shard, cache / "shards", progress)
    if not len(table):
        raise DataError(f"{root}: no {split} shards with images here; a split is a folder {split}/ or {split}-*.tar")
    # Who writes an index has decoded each sample; without one nobody has.
    rows = np.arange(len(table), dtype=np.int32)
    largest = int(table.classes.max())
    listed = _listed_classes(base, largest)
    source = ShardSource(
        base.rstrip("/").rpartition("/")[2] or base,
        split,
        table,
        shards,
        fingerprints,
        tuple(map(str, range(largest + 1))) if listed is None else listed,
        listed=listed is not None,
        rows=rows,
        channels=channels,
        max_pixels=max_pixels,
        checked=index is not None,
    )
    return source.first(limit) if limit else source


def _by_index(
    index: bytes, where: str, wanted: Callable[[str], bool], shard: Callable[[str], ShardBytes]
) -> tuple[Table, list[ShardBytes], list[str]]:
    """The samples of the `wanted` shards of an index, the shards, and their fingerprints."""
    table = Table(parse_index(index, where, wanted))
    shards = [shard(name) for name, _, _ in table.shards]
    return table, shards, [_checked(at, size, sha) for at, (_, size, sha) in zip(shards, table.shards, strict=True)]


def _by_headers(
    names: Sequence[str], shard: Callable[[str], ShardBytes], cache: Path, progress: Progress
) -> tuple[Table, list[ShardBytes], list[str]]:
    """As `_by_index`, of shards that have no index."""
    shards = [shard(name) for name in names]
    fingerprints: list[str] = []

    def scanned() -> Iterator[ShardIndex]:
        for name, at in zip(names, shards, strict=True):
            found, fingerprint = _indexed(name, at, cache)
            fingerprints.append(fingerprint)
            yield found
            progress(len(fingerprints), len(names))

    return Table(scanned()), shards, fingerprints


def _checked(shard: ShardBytes, size: int, sha256: str) -> str:
    """The fingerprint of a shard that has an index. Local ones are held against it."""
    if is_url(shard.location):
        return f"{size} {sha256}"
    state = shard.state()
    if state.size != size:
        raise DataError(f"{shard.location}: has {state.size} bytes, {size} by its {INDEX}; copy or prepare it again")
    return state.version


def _indexed(name: str, shard: ShardBytes, cache: Path) -> tuple[ShardIndex, str]:
    """The index of a shard that has none, remembered in the cache; and its fingerprint."""
    local = shard.copy(_NO_INDEX)
    state = local.state()
    known = cache / "indexes" / f"{hashlib.sha256(f'{shard.location} {state.version}'.encode()).hexdigest()[:32]}.jsonl"
    try:
        (found,) = parse_index(fetch_text(str(known)), str(known), lambda _: True)
    except (DataError, ValueError):  # not there, or damaged: made anew
        found = _scanned(name, shard, local)
        _remember(known, write_index([found.line()]))
    return found, state.version


def _scanned(name: str, shard: ShardBytes, local: LocalPlace) -> ShardIndex:
    try:
        with local.path.open("rb") as file:
            return index_shard(file, name, local.state().size, shard.location)
    except OSError as error:
        raise DataError(f"{shard.location}: cannot be read ({error.strerror or error})") from None


def _remember(path: Path, data: bytes) -> None:
    """Kept where the cache can be written; else it is made again the next time."""
    with contextlib.suppress(OSError, DiskError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data, sync=False)


def _listed_classes(base: str, largest: int) -> tuple[str, ...] | None:
    """The names of the classes by classes.json; None where there is none. DataError where they cannot be told apart,
    or are too few for the class `largest`."""
    where = f"{base}{CLASSES}"
    try:
        told: Any = json.loads(fetch_text(where))
    except AbsentError:
        return None
    except (ValueError, RecursionError):
        told = None
    names = told.get("classes") if isinstance(told, dict) else told
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f'{where}: not a list of classes; it should be {{"classes": ["n01440764", …]}}')
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise DataError(f"{where}: names the class {twice!r} twice; give each class a name of its own")
    if largest >= len(names):
        raise DataError(f"{where}: names {len(names)} classes, but a sample is of class {largest} counted from 0")
    return tuple(names)
