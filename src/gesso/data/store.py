"""Images of one split, decoded and fitted, ready to be cut into batches.

Decoding a JPEG costs more than a whole training step of a small network can spare, so images are decoded once,
brought to the size from which crops are taken, and laid down as raw C×H×W samples in one memory-mapped file
that the operating system shares between processes. The file's name is a digest of everything it depends on
(names, sizes and times of the files, and the fitting), so a stale cache is never read: it is simply not found.
It is written beside and renamed, so two processes may build it at once and a killed one leaves nothing that
could be taken for whole. Where it would not fit, images are decoded as they are needed.
"""

import contextlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import filelock
import numpy as np
import platformdirs

from gesso.data.ahead import ahead
from gesso.data.decoding import RefusedError
from gesso.data.images import fit
from gesso.data.shards_bytes import is_url
from gesso.data.sources import Slot, Source, Unit, fingerprint
from gesso.errors import BadImage, DataError, DiskError
from gesso.files import write_atomically
from gesso.progress import Progress, Say, silent
from gesso.recipe import Data, TranslationData

FORMAT = 1
KEPT_DAYS = 30
"""A cache that no run has opened for so long is deleted when another one is built."""
SAMPLES, INDEX = "samples.bin", "index.json"


def cache_root(cache_dir: str = "") -> Path:
    """The folder of all caches: `cache_dir`, as a recipe or a flag names it, or the user's own where that is empty."""
    return Path(cache_dir).expanduser() if cache_dir else platformdirs.user_cache_path("gesso")


class _NoRoomError(Exception):
    """The cache would be larger than it may be."""


class Fit(Protocol):
    """The deterministic part of preprocessing, before anything random. Its repr says all that it depends on."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """H×W×C to C×H'×W'."""
        ...


@dataclass(frozen=True)
class TranslationFit:
    """What the reference does to an image of either domain."""

    preprocess: str
    load_size: int
    crop_size: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        fitted = fit(image, self.preprocess, self.load_size, self.crop_size)
        return np.ascontiguousarray(fitted.transpose(2, 0, 1))


def training_fit(data: TranslationData) -> Fit:
    """As the reference trains: fitted to load_size, from which crops are taken."""
    return TranslationFit(data.preprocess, data.load_size, data.crop_size)


def evaluation_fit(data: TranslationData) -> Fit:
    """As the reference tests: fitted to crop_size itself, so that nothing is cropped away."""
    return TranslationFit(data.preprocess, data.crop_size, data.crop_size)


class Store(Protocol):
    """`get` gives one image, C×H×W uint8 or uint16, which must not be written to."""

    source: Source

    def get(self, slot: Slot) -> np.ndarray: ...


class PlainStore:
    """Decodes an image each time it is asked for."""

    def __init__(self, source: Source, fit: Fit) -> None:
        self.source, self._fit = source, fit

    def get(self, slot: Slot) -> np.ndarray:
        return self._fit(self.source.decode(self.source.unit_of(slot))[slot])


class MappedStore:
    """Reads images from a cache folder that `_build` wrote."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        index = _read_index(folder)
        self._where: dict[str, tuple[int, list[int], str]] = index["images"]
        self._bytes = np.memmap(folder / SAMPLES, np.uint8, "r")

    def get(self, slot: Slot) -> np.ndarray:
        offset, shape, dtype = self._where[_key(self.source, slot)]
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self._bytes[offset : offset + size].view(dtype).reshape(shape)


def open_store(source: Source, fit: Fit, data: Data, say: Say, progress: Progress = silent) -> Store:
    """Every image of `source` decoded once and found good: into the cache if it fits, else only to look.

    DataError names the first unreadable file, unless `data.skip_bad`: then those are left out and counted.
    `say` receives one line for each automatic choice; `progress` (done, total) units.
    """
    root = cache_root(data.cache_dir)
    folder = root / "images" / fingerprint(source, FORMAT, fit)
    reason = "asked for" if data.cache == "off" else ""
    bad: dict[str, str] = {}
    if not reason:
        try:
            bad = _build(folder, source, fit, data, progress)
        except _NoRoomError as error:
            reason = str(error)
        except OSError as error:
            reason = f"no cache in {root}: {error.strerror or error}"
        if reason and data.cache == "on":
            raise DataError(f"--data.cache on: {reason}; raise --data.cache-limit-gb or name another --data.cache-dir")
    if reason:
        if data.cache != "off":
            say(f"{source.split}: images are decoded as they are needed: {reason}")
        bad = {} if source.checked else _verify(folder, source, fit, data, progress)
    if bad:
        source = _without(source, bad, data, say)
    return PlainStore(source, fit) if reason else MappedStore(source, folder)


def _build(folder: Path, source: Source, fit: Fit, data: Data, progress: Progress) -> dict[str, str]:
    """Make the cache `folder` unless it is there. Gives the unreadable units and why."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = dict(_read_index(folder)["bad"])
            os.utime(folder)
            return found
        _delete_unused(folder.parent)
        shutil.rmtree(folder, ignore_errors=True)
        for left in folder.parent.glob(f"{folder.name}.*.tmp"):  # of a build that was killed: we hold its lock
            shutil.rmtree(left, ignore_errors=True)
        expected = _expected_bytes(source, fit)
        limit = int(data.cache_limit_gb * 1e9)
        if expected > limit:
            raise _NoRoomError(f"about {expected / 1e9:.1f} GB are more than --data.cache-limit-gb {limit / 1e9:g}")
        free = shutil.disk_usage(folder.parent).free
        if expected > free * 0.9:
            raise _NoRoomError(f"about {expected / 1e9:.1f} GB do not fit on the disk ({free / 1e9:.1f} GB free)")
        beside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.parent))
        try:
            index = _write_samples(beside, source, fit, data, limit, progress)
            (beside / INDEX).write_text(json.dumps(index))
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return dict(index["bad"])


def _delete_unused(caches: Path) -> None:
    """Delete caches that were last opened long ago, unless another process holds their lock."""
    for folder in caches.iterdir():
        with contextlib.suppress(OSError, filelock.Timeout):
            if folder.is_dir() and time.time() - folder.stat().st_mtime > KEPT_DAYS * 24 * 3600:
                with filelock.FileLock(folder.with_suffix(".lock"), timeout=0):
                    shutil.rmtree(folder)


def _write_samples(
    folder: Path, source: Source, fit: Fit, data: Data, limit: int, progress: Progress
) -> dict[str, Any]:
    where: dict[str, tuple[int, tuple[int, ...], str]] = {}
    bad: dict[str, str] = {}
    with (folder / SAMPLES).open("wb") as file:
        for unit, images in _decode_all(source, fit, data, progress):
            if isinstance(images, BadImage):
                bad[unit.name] = images.reason
                continue
            for slot, image in images.items():
                where[_key(source, slot)] = (file.tell(), image.shape, image.dtype.str)
                file.write(image.tobytes())
                # Samples of two bytes must stay aligned behind an odd number of one-byte samples.
                file.write(b"\0" * (-file.tell() % 8))
            if file.tell() > limit:
                raise _NoRoomError(f"more than --data.cache-limit-gb {limit / 1e9:g}")
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    return {"format": FORMAT, "bytes": size, "images": where, "bad": bad}


def _read_index(folder: Path) -> dict[str, Any]:
    """The index of a whole cache; OSError or ValueError where it is missing or damaged."""
    index: dict[str, Any] = json.loads((folder / INDEX).read_text())
    size = (folder / SAMPLES).stat().st_size
    if size != index["bytes"]:
        raise OSError(f"{folder / SAMPLES} has {size} bytes, not {index['bytes']}")
    return index


def _verify(folder: Path, source: Source, fit: Fit, data: Data, progress: Progress) -> dict[str, str]:
    """Decode every unit once to find the unreadable ones, and remember the answer where that can be written."""
    memory = folder.with_suffix(".verified.json")
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(memory.read_text()))
    results = _decode_all(source, fit, data, progress)
    bad = {unit.name: result.reason for unit, result in results if isinstance(result, BadImage)}
    with contextlib.suppress(OSError, DiskError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(bad), sync=False)
    return bad


def _decode_all(
    source: Source, fit: Fit, data: Data, progress: Progress
) -> Iterator[tuple[Unit, dict[Slot, np.ndarray] | BadImage]]:
    """Every unit's fitted images or what is wrong with it, in order, a few decoded ahead by threads.

    Where bad files are not to be skipped, the first one ends it.
    """

    def decode(unit: Unit) -> dict[Slot, np.ndarray] | BadImage:
        try:
            return {slot: fit(image) for slot, image in source.decode(unit).items()}
        except BadImage as error:
            return error
        except RefusedError as error:
            return BadImage(unit.name, str(error))

    decoded = ahead(decode, source.units, data.workers)
    for done, (unit, images) in enumerate(zip(source.units, decoded, strict=True), 1):
        if isinstance(images, BadImage) and not data.skip_bad:
            raise _unreadable(images, data)
        yield unit, images
        progress(done, len(source.units))


def _unreadable(error: BadImage, data: Data) -> DataError:
    # `data check` reads disks only.
    listed = "" if is_url(data.root) else f"`gesso data check {data.root}` lists all such files, "
    return DataError(f"{error}; {listed}--data.skip-bad trains without them")


def _without(source: Source, bad: dict[str, str], data: Data, say: Say) -> Source:
    name, reason = next(iter(bad.items()))
    if not data.skip_bad:
        raise _unreadable(BadImage(name, reason), data)
    say(f"--data.skip-bad: left out {len(bad)} of {len(source.units)} files, the first {name}: {reason}")
    left = source.without(bad)
    if not all(left.counts.values()):
        raise DataError(f"{data.root}: no readable image is left in the {source.split} split")
    return left


def _expected_bytes(source: Source, fit: Fit) -> int:
    """Size of the cache, judged from a few units spread over the source."""
    sizes = []
    for unit in source.units[:: max(1, len(source.units) // 8)]:
        with contextlib.suppress(BadImage, RefusedError):
            sizes.append(sum(fit(image).nbytes for image in source.decode(unit).values()))
    return len(source.units) * sum(sizes) // max(1, len(sizes))


def _key(source: Source, slot: Slot) -> str:
    return f"{slot[0]}:{source.label(slot)}"
