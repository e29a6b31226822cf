"""Where each sample of a set of tar shards lies, so that shards can be read at random.

The index is a file of JSON lines beside the shards: one line for each shard, and at the end one with their number and
the digest of the lines before, so that half an index is never taken for a whole one. `prepare` writes it. Shards from
elsewhere are indexed by one pass over the tar headers, which seeks over the pictures. In memory an index is a few
arrays: 1.28 million samples take some 50 MB.
"""

import hashlib
import io
import json
import re
import tarfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from gesso.data.images import SUFFIXES
from gesso.data.tars import Headers
from gesso.errors import DataError

INDEX = "index.jsonl"
NO_CLASS = -1
MOST_CLASSES = 2**20
"""A damaged label must not make a network or a list of names of two thousand million."""
_LARGEST_HEADER = 2**20  # bytes of a long name or other extension of a tar header
_LARGEST_LABEL = 2**16
_COLUMNS = ("keys", "classes", "offsets", "sizes")
_LONGEST_NAME = 1024
_BAD_LETTERS = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


@dataclass
class ShardIndex:
    """The samples of one shard, in its order: each one's key, class (-1: none), and the range of its image's bytes."""

    name: str
    bytes: int
    sha256: str = ""
    keys: list[str] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def add(self, key: str, class_: int, offset: int, size: int) -> None:
        """One more sample, behind the others."""
        self.keys.append(key)
        self.classes.append(class_)
        self.offsets.append(offset)
        self.sizes.append(size)

    def line(self) -> str:
        """The shard as one line of the index file, with its line break."""
        return json.dumps(self.__dict__, ensure_ascii=False, separators=(",", ":")) + "\n"


@dataclass(frozen=True)
class Member:
    """A regular file inside a tar: `offset` and `size` of its bytes."""

    name: str
    offset: int
    size: int


class Table:
    """The samples of many shards as columns. Row r is a sample; a shard's rows stand together."""

    def __init__(self, shards: Iterable[ShardIndex]) -> None:
        told: list[tuple[str, int, str]] = []
        self._starts = [0]
        keys: list[bytes] = []
        columns: list[list[NDArray[Any]]] = [[np.zeros(0, kind)] for kind in (np.int64, np.uint32, np.int32, np.uint32)]
        for shard in shards:  # one at a time: as Python's numbers they are five times as large
            told.append((shard.name, shard.bytes, shard.sha256))
            self._starts.append(self._starts[-1] + len(shard.keys))
            keys.append("".join(shard.keys).encode())
            lengths = [len(key.encode()) for key in shard.keys]
            for column, part in zip(columns, (shard.offsets, shard.sizes, shard.classes, lengths), strict=True):
                column.append(np.array(part, column[0].dtype))
        self.shards, self._keys = tuple(told), b"".join(keys)
        self._offsets, self._sizes, self.classes, lengths_ = map(np.concatenate, columns)
        self._key_ends = np.cumsum(lengths_, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def shard(self, row: int) -> int:
        """The place in `shards` of the one that holds this sample."""
        return bisect_right(self._starts, row) - 1

    def key(self, row: int) -> str:
        """The sample's name, unique in its shard."""
        start = int(self._key_ends[row - 1]) if row else 0
        return self._keys[start : int(self._key_ends[row])].decode()

    def span(self, row: int) -> tuple[int, int]:
        """(offset, size) in the shard."""
        return int(self._offsets[row]), int(self._sizes[row])


def write_index(lines: Sequence[str]) -> bytes:
    """The index file of shards whose `ShardIndex.line` are given."""
    body = "".join(lines).encode()
    end = {"shards": len(lines), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def parse_index(data: bytes, where: str, wanted: Callable[[str], bool]) -> Iterator[ShardIndex]:
    """The shards whose names are `wanted`. DataError names `where`, on anything that is not a whole index."""
    body, _, last = data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n" * bool(body)
    try:
        end = json.loads(last)
        whole = end["sha256"] == hashlib.sha256(body).hexdigest() and end["shards"] == body.count(b"\n")
    except (ValueError, TypeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{where}: damaged or cut off; copy it again, or remove it to have the shards indexed anew")
    names: set[str] = set()
    for line in io.BytesIO(body):
        shard = _parsed(line, where)
        if shard.name in names:
            raise DataError(f"{where}: names {shard.name} twice; remove it to have the shards indexed anew")
        names.add(shard.name)
        if wanted(shard.name):
            yield shard


def _parsed(line: bytes, where: str) -> ShardIndex:
    try:
        shard = ShardIndex(**json.loads(line))
        columns = [getattr(shard, name) for name in _COLUMNS]
        right = all(type(column) is list and len(column) == len(shard.keys) for column in columns)
        right = right and set(map(type, [shard.name, shard.sha256, *shard.keys])) == {str}
        numbers = (shard.bytes, *shard.classes, *shard.offsets, *shard.sizes)
        right = right and set(map(type, numbers)) == {int}
    except (ValueError, TypeError, RecursionError):
        right = False
    if not right:
        raise DataError(f"{where}: no index of shards that gesso knows; remove it to have the shards indexed anew")
    _check(shard, where)
    return shard


def _check(shard: ShardIndex, where: str) -> None:
    """DataError where names could lead out of a folder, or numbers out of the shard."""
    if problem := _unsafe(shard.name):
        raise DataError(f"{where}: the shard name {shard.name[:100]!r} {problem}")
    if twice := next((key for key, times in Counter(shard.keys).items() if times > 1), ""):
        raise DataError(f"{where}: {shard.name}:{twice} stands there twice; give each sample its own key")
    for key in shard.keys:
        if problem := _unsafe(key):
            raise DataError(f"{where}: {shard.name}: the key {key[:100]!r} {problem}")
    for i in _outside(shard):
        raise DataError(f"{where}: {shard.name}:{shard.keys[i]} is empty, beyond the end of its shard, or of no class")


def _outside(shard: ShardIndex) -> list[int]:
    """The samples whose numbers cannot be."""
    columns = (shard.classes, shard.offsets, shard.sizes, [shard.bytes] * len(shard.keys))
    if any(
        not -1 <= number < 2**62 for column in columns for number in (min(column, default=0), max(column, default=0))
    ):
        return [i for i, row in enumerate(zip(*columns, strict=True)) if not all(-1 <= n < 2**62 for n in row)]
    classes, offsets, sizes, ends = (np.array(column, np.int64) for column in columns)
    right = (classes < MOST_CLASSES) & (offsets >= 0) & (sizes > 0) & (sizes < 2**32) & (offsets + sizes <= ends)
    return [int(i) for i in np.flatnonzero(~right)]


def _unsafe(name: str) -> str:
    """What is wrong with a name from a stranger's file; empty where nothing is."""
    if not name or len(name) > _LONGEST_NAME or _BAD_LETTERS.search(name):
        return "is empty, too long or has control characters or backslashes"
    if name.startswith("/") or "://" in name or (".." in name and ".." in name.split("/")):
        return "leads out of its folder"
    return ""


def members(file: BinaryIO, where: str) -> Iterator[Member]:
    """The regular files of an uncompressed tar that begins where `file` stands, from headers alone.

    DataError where it is damaged, cut off, compressed, or holds links: tarfile by itself takes a bad header in the
    middle for the end.
    """
    try:
        with tarfile.open(fileobj=Headers(file, _LARGEST_HEADER), mode="r:", errors="strict") as tar:
            headers = cast(Any, tar)  # its list of headers, which would add up to gigabytes, has no type
            while (info := tar.next()) is not None:
                headers.members.clear()
                if info.isreg() and not info.issparse():
                    yield Member(info.name, info.offset_data, info.size)
                elif not info.isdir():
                    raise DataError(f"{where}: {info.name[:200]!r} is a link or device; shards hold plain files")
            file.seek(tar.offset)
            end = file.read(tarfile.BLOCKSIZE)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, IndexError, MemoryError) as error:
        raise DataError(f"{where}: not a tar that gesso reads, or damaged ({str(error)[:120]})") from None
    if end != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{where}: damaged or cut off at byte {tar.offset}; copy it again")


def index_shard(file: BinaryIO, name: str, size: int, where: str) -> ShardIndex:
    """The index of a shard from elsewhere, by its headers. `where` names it in errors.

    A sample is the members that share a key: the name up to the first dot of its last part. Its class is the whole
    number in .cls, or `label`, `cls` or `class` of .json; a sample without an image is passed over.
    """
    shard = ShardIndex(name, size)
    images: dict[str, Member] = {}
    labels: dict[str, tuple[str, Member]] = {}
    for member in members(file, where):
        folder, slash, base = member.name.removeprefix("./").rpartition("/")
        stem, _, suffix = base.partition(".")
        key, suffix = f"{folder}{slash}{stem}", suffix.lower()
        if f".{suffix}" in SUFFIXES and stem:
            if key in images:
                raise DataError(f"{where}:{key} has two images; gesso reads one a sample")
            images[key] = member
        elif suffix == "cls" or (suffix == "json" and key not in labels):
            labels[key] = suffix, member
    for key, image in images.items():
        class_ = _class(file, *labels[key], f"{where}:{key}") if key in labels else NO_CLASS
        shard.add(key, class_, image.offset, image.size)
    _check(shard, where)
    return shard


def _class(file: BinaryIO, suffix: str, member: Member, what: str) -> int:
    if member.size > _LARGEST_LABEL:
        raise DataError(f"{what}.{suffix}: {member.size} bytes are no label")
    file.seek(member.offset)
    data = file.read(member.size)
    try:
        if suffix == "cls":
            return int(data.decode())
        told = json.loads(data)
        number = next((told[name] for name in ("label", "cls", "class") if name in told), NO_CLASS)
        if type(number) is int:
            return number
    except (ValueError, TypeError, RecursionError):
        pass
    raise DataError(f"{what}.{suffix}: a class is a whole number, counted from 0")
