"""Images to tar shards, in several processes, to be gone on with after a kill.

A shard is a pure function of its items and the encoding: names, bytes and order, with no time or owner in it. It gets
its name when it is whole and on the disk, and only then does a file in `.parts` tell its index; what has such a file is
not done again. Every image is decoded once on the way, so that none is met for the first time in a training. The
processes end with the one that started them, however it ends, so that none writes into the folder of the next try.
"""

import hashlib
import io
import json
import math
import multiprocessing
import os
import signal
import tarfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from gesso.data.decoding import JPEG_SIGNATURE, MAX_PIXELS, PNG_SIGNATURE
from gesso.data.images import read_image_bytes, resize, to_channels
from gesso.data.order import ORDER, random
from gesso.data.shards_bytes import LocalPlace
from gesso.data.shards_index import ShardIndex
from gesso.errors import BadImage, UsageError, spelling
from gesso.files import atomic_file, disk_errors, sync_folder, write_atomically
from gesso.progress import Progress

PARTS = ".parts"
_MAGIC = {JPEG_SIGNATURE: "jpg", PNG_SIGNATURE: "png"}  # ImageNet has a PNG that is called JPEG


class Item(NamedTuple):
    """One image: its key and class in the shard, where its bytes lie, and when their file was last changed, in ns."""

    key: str
    class_: int
    suffix: str
    path: str
    offset: int
    size: int
    changed: int


@dataclass(frozen=True)
class Encoding:
    """shorter_side: larger images are shrunk to it and encoded as JPEG of this quality; 0 keeps the files' bytes."""

    shorter_side: int = 0
    quality: int = 90
    max_pixels: int = 100_000_000


@dataclass(frozen=True)
class Packed:
    """A finished shard: its line in the index, or none where bad images were met and not to be left out."""

    line: str
    images: int
    bad: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Shard:
    """A shard to be written: of which split, where, and the images that go into it in this order."""

    split: str
    path: Path
    items: Sequence[Item]


def plan(folder: Path, split: str, items: Sequence[Item], per_shard: int, shard_mb: int, seed: int) -> list[Shard]:
    """The shards of a split: at most `per_shard` images and about `shard_mb` MB each, shuffled over them by `seed`."""
    count = max(math.ceil(len(items) / per_shard), math.ceil(sum(item.size for item in items) / (shard_mb * 1e6)))
    order = random(seed, ORDER, zlib.crc32(split.encode())).permutation(len(items))
    return [
        Shard(split, folder / f"{split}-{i:06d}.tar", [items[j] for j in part])
        for i, part in enumerate(np.array_split(order, min(count, len(items))))
    ]


def pack(
    shards: Sequence[Shard], encoding: Encoding, *, processes: int, skip_bad: bool, progress: Progress
) -> list[Packed]:
    """Write all `shards` that are not there yet. One result each, in order. processes: 0 means one a core."""
    total = sum(len(shard.items) for shard in shards)
    results: dict[int, Packed] = {}
    done = 0
    for i, packed in _all(shards, encoding, processes or os.cpu_count() or 1, skip_bad):
        results[i] = packed
        done += len(shards[i].items)
        progress(done, total)
    return [results[i] for i in range(len(shards))]


def _all(shards: Sequence[Shard], encoding: Encoding, processes: int, skip_bad: bool) -> Iterator[tuple[int, Packed]]:
    if processes == 1 or len(shards) == 1:
        for i, shard in enumerate(shards):
            yield i, write_shard(shard, encoding, skip_bad)
        return
    # Spawned, since a fork of a process with threads can hang.
    pool = ProcessPoolExecutor(min(processes, len(shards)), multiprocessing.get_context("spawn"), _end_with_parent)
    try:
        futures: dict[Future[Packed], int] = {
            pool.submit(write_shard, shard, encoding, skip_bad): i for i, shard in enumerate(shards)
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise UsageError(
            "a process that packs shards was killed, perhaps for want of memory; give the same command again, with "
            "fewer --processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """In a process that packs: ends it on an interrupt, and where its parent is gone. By itself it would wait for more
    work without end, since it holds both ends of the queue."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at once and without a traceback; the parent tells of it
    parent = multiprocessing.parent_process()
    assert parent is not None, "started by the pool"

    def watch() -> None:
        parent.join()  # on a pipe, or on Windows a handle, that the system closes whatever ends the parent
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


class _NotWholeError(Exception):
    """Bad images were met that are not to be left out, so the shard gets no name."""


def write_shard(shard: Shard, encoding: Encoding, skip_bad: bool) -> Packed:
    """The tar of `shard` and its part of the index, unless they are there."""
    part = shard.path.parent / PARTS / f"{shard.path.stem}.json"
    if part.is_file() and shard.path.is_file():
        told = json.loads(part.read_text(encoding="utf-8"))
        return Packed(told["line"], told["images"], tuple((name, reason) for name, reason in told["bad"]))
    with disk_errors(part):
        part.parent.mkdir(exist_ok=True)
    bad: list[tuple[str, str]] = []
    try:
        with atomic_file(shard.path) as file:
            index = _write_tar(file, shard, encoding, bad)
            if bad and not skip_bad:
                raise _NotWholeError
            file.seek(0)
            index.sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # BinaryIO lacks readinto
            index.bytes = file.tell()
    except _NotWholeError:
        return Packed("", 0, tuple(bad))
    sync_folder(shard.path.parent)
    packed = Packed(index.line(), len(index.keys), tuple(bad))
    write_atomically(part, json.dumps(packed.__dict__))
    return packed


def _write_tar(file: BinaryIO, shard: Shard, encoding: Encoding, bad: list[tuple[str, str]]) -> ShardIndex:
    """Writes the images and classes of `shard`, all but the bad ones, which are appended to `bad` with the reason."""
    index = ShardIndex(shard.path.name, 0)
    with tarfile.open(fileobj=file, mode="w") as tar:
        for item in shard.items:
            what = f"{item.path}:{item.key}"
            try:
                suffix, data = _encoded(item, what, encoding)
            except BadImage as error:
                bad.append((what, error.reason))
                continue
            offset = _add(tar, f"{item.key}.{suffix}", data)
            _add(tar, f"{item.key}.cls", str(item.class_).encode())
            index.add(item.key, item.class_, offset, len(data))
    return index


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Where the data begin. A fresh TarInfo has no time and no owner."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    return tar.offset - math.ceil(len(data) / tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


@spelling(MAX_PIXELS)
def _encoded(item: Item, what: str, encoding: Encoding) -> tuple[str, bytes]:
    """(suffix, bytes) of the image, which is sound. BadImage names it."""
    if not item.size:
        raise BadImage(what, "empty file")
    data = LocalPlace(Path(item.path)).read(item.offset, item.size, what)
    array = read_image_bytes(what, data, None, encoding.max_pixels)
    height, width, channels = array.shape
    shorter = min(height, width)
    if not 0 < encoding.shorter_side < shorter:
        return next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), item.suffix), data
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    array = to_channels(array, 3 if channels >= 3 else 1)
    scale = encoding.shorter_side / shorter
    array = resize(array, max(1, round(width * scale)), max(1, round(height * scale)))
    buffer = io.BytesIO()
    Image.fromarray(array if array.shape[2] == 3 else array[..., 0]).save(buffer, "JPEG", quality=encoding.quality)
    return "jpg", buffer.getvalue()
