"""Archives that others made, unpacked so that they can do no harm.

What a zip or a tar holds is somebody else's word. Here nothing is written outside the folder that was asked for, no
link or device is made, no file replaces another, and neither memory nor disk is filled by a small file that claims to
be a large one. Such an archive is refused whole rather than in part, as is a damaged one: files go into a folder
beside the target, which gets its name when all are there.
"""

import contextlib
import io
import os
import re
import shutil
import stat
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from gesso.data.tars import COMPRESSED, LONGEST_PART, ZIP, Headers
from gesso.errors import DataError, UsageError
from gesso.files import disk_errors, hidden
from gesso.progress import Progress, silent

MAX_BYTES = 2**38
"""Unpacked, by default: ImageNet takes about half of it."""
MAX_FILES = 5_000_000
WINDOWS = sys.platform == "win32"

T = TypeVar("T")

_CHUNK = 2**18
_LONGEST_HEADER = 2**20
_LONGEST_NAME = 1000
_GLOBAL_HEADERS = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Member:
    """What an archive says of one of its files or folders. `refusal`: why it may not be taken, empty where it may."""

    name: str
    size: int
    folder: bool
    refusal: str
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    out: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    progress: Progress = silent,
) -> int:
    """Unpack a zip, or a tar that is plain or compressed by gzip, bzip2 or xz, into the new folder `out`.

    The first bytes decide what it is, not the name. Gives the number of files. `progress` is told bytes of the
    archive. Permissions, owners and times are not taken over. On Windows, characters and names that it has no
    place for get an underscore; an archive in which two names would then be one is refused everywhere.

    Raises UsageError where `out` is there already; DataError where the archive is damaged, unsafe, or larger than
    `max_bytes` unpacked or `max_files` files and folders; DiskError. Then nothing is left of what was unpacked; after
    a kill, a hidden folder `.*.tmp` beside it.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already and is not overwritten; remove it or name another folder")
    beside = hidden(out)
    try:
        # Whatever reading raises is a DataError already, so an OSError is one of writing.
        with _opened(archive) as file, disk_errors(out):
            beside.mkdir(parents=True)
            files = _write_members(archive, file, beside, max_bytes, max_files, progress)
            beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return files


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[io.BufferedReader]:
    try:
        file = archive.open("rb")
    except OSError as error:
        raise DataError(f"{archive}: cannot be read: {error.strerror or error}") from None
    with file:
        yield file


def _write_members(
    archive: Path, file: io.BufferedReader, folder: Path, max_bytes: int, max_files: int, progress: Progress
) -> int:
    packed, total, files = archive.stat().st_size, 0, 0
    names = _Names()
    for count, member in enumerate(_blaming(archive, _members(file)), 1):
        if refusal := member.refusal or names.claim(member.name, member.folder):
            raise DataError(f"{archive}: refused, since {member.name[:200]!r} is {refusal}")
        if count > max_files:
            raise DataError(f"{archive}: refused, since it holds more than {max_files} files and folders")
        total += member.size
        if total > max_bytes:
            raise DataError(f"{archive}: refused, since it holds more than {max_bytes / 1e9:g} GB")
        path = folder.joinpath(*_parts(member.name))
        if member.folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x": whatever stands there, a link say, is never written through.
        with path.open("xb") as target:
            for chunk in _blaming(archive, _content(member)):
                target.write(chunk)
        files += 1
        progress(min(file.tell(), packed), packed)
    progress(packed, packed)
    return files


def _content(member: Member) -> Iterator[bytes]:
    """The bytes of a file, which must be as many as the archive says."""
    done = 0
    with member.open() as source:
        while chunk := source.read(_CHUNK):
            done += len(chunk)
            if done > member.size:
                break
            yield chunk
    if done != member.size:
        raise ValueError(f"{member.name!r} is not {member.size} bytes long, as the archive says")


def _blaming(archive: Path, items: Iterator[T]) -> Iterator[T]:
    """Turns whatever reading raises into a DataError that names the archive: on garbage, readers raise nearly anything.

    What is raised between two items, where they are used, does not pass through here.
    """
    try:
        yield from items
    except Exception as error:
        reason = "".join(letter if letter.isprintable() else "?" for letter in str(error)[:160])
        raise DataError(
            f"{archive}: damaged, or no zip or tar archive ({reason or type(error).__name__}); get it again"
        ) from None


def _members(file: io.BufferedReader) -> Iterator[Member]:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(ZIP):
        yield from _zip_members(file)
    else:
        opener = next((opener for start, opener in COMPRESSED.items() if magic.startswith(start)), None)
        yield from _tar_members(opener(file) if opener else file)


def _zip_members(file: io.BufferedReader) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            refusal = ""
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                refusal = "a link or a device"
            elif info.flag_bits & 1:
                refusal = "encrypted"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Others are decompressed in steps of any size, so a small one could fill the memory.
                refusal = "compressed in another way than deflate"
            yield Member(info.filename, info.file_size, info.is_dir(), refusal, _ZipFile(archive, info))


@dataclass(frozen=True)
class _ZipFile:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def __call__(self) -> IO[bytes]:
        return self.archive.open(self.info)


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    headers = Headers(file, _LONGEST_HEADER)
    with tarfile.open(fileobj=headers, mode="r:") as archive:
        while info := archive.next():
            refusal = ""
            if info.size < 0:
                refusal = "of a negative size"
            elif info.issym() or info.islnk():
                refusal = f"a link to {info.linkname!r}"
            elif info.issparse():
                refusal = "a sparse file, which may claim any size"
            elif not (info.isreg() or info.isdir()):
                refusal = "a device or of an unknown kind"
            yield Member(info.name, 0 if info.isdir() else info.size, info.isdir(), refusal, _TarFile(archive, info))
            archive.members = []  # type: ignore[attr-defined]  # else it remembers every header
            if len(archive.pax_headers) > _GLOBAL_HEADERS:
                raise ValueError("too many global headers")
        # To tarfile, a header that it cannot read is the end like any other.
        if headers.last != bytes(tarfile.BLOCKSIZE):
            raise ValueError("the end mark is missing")
    while file.read(_CHUNK):  # the checksum of a compressed tar stands at its end
        pass


@dataclass(frozen=True)
class _TarFile:
    archive: tarfile.TarFile
    info: tarfile.TarInfo

    def __call__(self) -> IO[bytes]:
        file = self.archive.extractfile(self.info)
        assert file is not None, "only regular files are opened"
        return file


class _Names:
    """The names that an archive has used, to see that no two of them are one on any system."""

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}  # files and folders, by what they are on the least able system
        self._files: set[str] = set()

    def claim(self, name: str, folder: bool) -> str:
        """Why `name` may not be used; empty where it may, and then it is taken."""
        if "\\" in name:
            return "a name with a backslash, which leads elsewhere on Windows"
        if _CONTROL.search(name):
            return "a name with a control character"
        if name.startswith("/") or re.match("[A-Za-z]:/", name):
            return "an absolute path"
        parts = _split(name)
        if ".." in parts:
            return "a path that leads out of the folder"
        if len(name) > _LONGEST_NAME or any(len(os.fsencode(part)) > LONGEST_PART for part in parts):
            return "too long a name"
        if not parts:
            return "" if folder else "a file without a name"
        key = path = ""
        for part in parts:
            if key in self._files:
                return f"inside a file, {path[1:]!r}"
            key, path = f"{key}/{_key(part)}", f"{path}/{part}"
            there = key in self._spelled
            if self._spelled.setdefault(key, path) != path:
                return f"the same name as {self._spelled[key][1:]!r} on some systems"
        if key in self._files or (there and not folder):
            return "there twice"
        if not folder:
            self._files.add(key)
        return ""


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _parts(name: str) -> list[str]:
    """The folders and the file of a name that `_Names` let through, as this system can have them."""
    return [_windows_name(part) if WINDOWS else part for part in _split(name)]


def _key(part: str) -> str:
    """Equal for two names that are one on Windows, or on a Mac."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", _windows_name(part)).casefold())


def _windows_name(part: str) -> str:
    """`part` as Windows can have it: without forbidden characters, dots or spaces at the end, or a device's name."""
    allowed = _FORBIDDEN.sub("_", part).rstrip(". ") or "_"
    return f"_{allowed}" if _DEVICES.match(allowed) else allowed
