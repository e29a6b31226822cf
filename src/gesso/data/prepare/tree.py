"""The files below a folder, or in zip and tar archives, read alike and without unpacking.

Data sets that need an account come as archives of many gigabytes, and their users have them packed, unpacked, or one
of each. A tree is all of it as one list of names. Archives are from strangers: names that lead out of the folder and
links are refused when the archive is opened, encrypted and oversized members when they are read, and whatever else is
wrong with one ends in one line that names it. A folder is the user's own: its links are followed, as everywhere.
"""

import io
import lzma
import os
import re
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, Self

from gesso.data.decoding import UNNAMED_LIMIT, Array
from gesso.data.folders import JUNK, list_files
from gesso.data.images import read_image_bytes
from gesso.data.tars import COMPRESSED, LONGEST_PART, ZIP, Headers
from gesso.errors import DataError, DiskError, spelling

LARGEST = 2**30
"""Bytes of one member, unless the caller allows more: a member of a zip is read into memory."""
_HEADER = 2**24  # bytes that a tar may spend on describing one member; without a limit, it could fill the memory
_SMALL = 2**26  # bytes of a tar that may come from however few
_CHUNK = 2**20
_AGAIN = "damaged or truncated; download or copy it again"
_PACKED = "packed by a method that gesso does not know; unpack it and name the folder instead"


class _Part(Protocol):
    """One folder or archive. `sizes`: names in its own order, bytes of each (-1 where only the disk knows). `version`:
    what changes when the content of a file does, as far as that can be told without reading it."""

    path: Path
    sizes: dict[str, int]

    def version(self, name: str) -> str: ...

    def open(self, name: str) -> BinaryIO: ...

    def close(self) -> None: ...


class Tree:
    """Files by name: paths with / below the folder or archive. A context manager; reading is safe from many threads.

    Where several parts have the same name, the part given first has it.
    """

    def __init__(self, parts: Sequence[_Part], largest: int = LARGEST) -> None:
        self._parts, self._largest = tuple(parts), largest
        self._home = {name: part for part in reversed(self._parts) for name in part.sizes}

    def names(self) -> tuple[str, ...]:
        """All names: those of a folder in natural order, those of an archive in its own."""
        return tuple(name for part in self._parts for name in part.sizes if self._home[name] is part)

    def size(self, name: str) -> int:
        """Bytes of a file, as the archive declares them."""
        declared = self._home[name].sizes[name]
        return declared if declared >= 0 else file_size(self._home[name].path / name)

    def version(self, name: str) -> str:
        """What changes when the content of a file does: its size, and its time or checksum as disk or archive tell."""
        return self._home[name].version(name)

    def open(self, name: str) -> BinaryIO:
        """The file, to be read. DataError where it is damaged, encrypted or larger than the limit."""
        if (size := self.size(name)) > self._largest:
            raise DataError(f"{self.where(name)}: {size} bytes are more than the {self._largest} that one may have")
        return self._home[name].open(name)

    def read(self, name: str) -> bytes:
        """All of a file."""
        with self.open(name) as file:
            return file.read()

    @spelling(UNNAMED_LIMIT)
    def image(self, name: str, channels: int | None = None) -> Array:
        """The picture in a file, as `read_image` gives it. BadImage names archive and member."""
        return read_image_bytes(self.where(name), self.read(name), channels)

    def where(self, name: str) -> str:
        """The file for people: its path, or the archive's path and its name there."""
        return _named(self._home[name].path, name)

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_tree(*paths: Path, largest: int = LARGEST) -> Tree:
    """The files below `paths`, each a folder, a zip, or a tar (plain, gz, bz2 or xz).

    A compressed tar cannot be entered in the middle, so it is decompressed once into a temporary file without a name.
    largest: bytes that one member may have. Hidden names and the litter of desktops are left out. DataError where a
    path is none of these, is damaged, or holds links or names that lead out of it.
    """
    parts: list[_Part] = []
    try:
        for path in paths:
            parts.append(_part(path.expanduser()))
    except BaseException:
        for part in parts:
            part.close()
        raise
    return Tree(parts, largest)


def _part(path: Path) -> _Part:
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    try:
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if start.startswith(ZIP):
        return _Zip(path)
    for magic, reader in COMPRESSED.items():
        if start.startswith(magic):
            return _Tar(path, _inflated(path, reader))
    if start[257:262] == b"ustar" or path.suffix.lower() == ".tar":
        return _Tar(path, path.open("rb", buffering=0))
    raise DataError(f"{path}: neither a folder nor a zip or tar archive")


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes = {file.relative_to(path).as_posix(): -1 for file in list_files(path)}

    def version(self, name: str) -> str:
        return file_version(self.path / name)

    def open(self, name: str) -> BinaryIO:
        try:
            return (self.path / name).open("rb")
        except OSError as error:
            raise DataError(f"{self.path / name}: cannot be read ({error.strerror})") from None

    def close(self) -> None:
        pass


def file_size(path: Path) -> int:
    """Bytes of a file on the disk. DataError where it cannot be read or is none."""
    return _status(path).st_size


def file_version(path: Path) -> str:
    """Size and time of the last change of a file on the disk. DataError as for `file_size`."""
    status = _status(path)
    return f"{status.st_size} {status.st_mtime_ns}"


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: a pipe or device, not a file")  # reading it could hang or never end
    return status


class _Zip:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # on garbage it raises nearly anything
            raise _damaged(path, error) from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            for info in self._zip.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise DataError(f"{_named(path, info.filename)}: a link, which gesso does not follow in archives")
                name = _checked(path, info.filename)
                if name and not info.is_dir():
                    _refuse_twice(path, name, self._members)
                    self._members[name] = info
        except DataError:
            self.close()
            raise
        self.sizes = {name: info.file_size for name, info in self._members.items()}

    def version(self, name: str) -> str:
        info = self._members[name]
        return f"{info.file_size} {info.CRC}"

    def open(self, name: str) -> BinaryIO:
        info = self._members[name]
        if info.flag_bits & 1:
            raise DataError(f"{_named(self.path, name)}: encrypted; unpack the archive and name the folder instead")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{_named(self.path, name)}: {_PACKED}")  # zipfile does not bound what others inflate to
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size + 1)  # asked for all, it would inflate all, whatever was declared
        except Exception as error:
            raise _damaged(self.path, error, name) from None
        if len(data) != info.file_size:
            raise DataError(f"{_named(self.path, name)}: {_AGAIN}")
        return io.BytesIO(data)

    def close(self) -> None:
        self._zip.close()


class _Tar:
    """A plain tar in an open file. Its members are windows on this file."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self._file, self._lock = path, file, threading.Lock()
        self._start: dict[str, int] = {}
        self._times: dict[str, float] = {}
        self._own = file_version(path)
        self.sizes: dict[str, int] = {}
        try:
            self._index()
        except DataError:
            self.close()
            raise
        except Exception as error:  # on garbage it raises nearly anything
            self.close()
            raise _damaged(path, error) from None

    def _index(self) -> None:
        headers = Headers(self._file, _HEADER)
        with tarfile.open(fileobj=headers, mode="r:", encoding="utf-8", errors="replace") as tar:
            for member in tar:
                if member.issym() or member.islnk():
                    raise DataError(
                        f"{_named(self.path, member.name)}: a link, which gesso does not follow in archives"
                    )
                name = _checked(self.path, member.name)
                if member.size < 0 or not (member.isdir() or (member.isreg() and not member.issparse())):
                    raise DataError(f"{_named(self.path, name)}: a device, a sparse file or damaged")
                if name and member.isreg():
                    _refuse_twice(self.path, name, self.sizes)
                    self._start[name], self.sizes[name] = member.offset_data, member.size
                    self._times[name] = member.mtime
            end = tar.offset
        # tarfile takes a damaged header for the end; a tar that is whole says where it ends.
        self._file.seek(end)
        if self._file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise DataError(f"{self.path}: {_AGAIN}")

    def version(self, name: str) -> str:
        # A tar has no checksums, and one that is to come out the same each time it is made has no times either.
        return f"{self.sizes[name]} {self._times[name]} {self._own}"

    def open(self, name: str) -> BinaryIO:
        window = _Window(self._file, self._lock, self._start[name], self.sizes[name], _named(self.path, name))
        return io.BufferedReader(window, _CHUNK)

    def close(self) -> None:
        self._file.close()


class _Window(io.RawIOBase):
    """`size` bytes of a file from `start` on, with a place of its own, so that many may read at once."""

    def __init__(self, file: IO[bytes], lock: threading.Lock, start: int, size: int, what: str) -> None:
        self._file, self._lock, self._start, self._size, self._what = file, lock, start, size, what
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        try:
            with self._lock:
                self._file.seek(self._start + self._at)
                data = self._file.read(wanted)
        except OSError as error:
            raise DataError(f"{self._what}: cannot be read ({error.strerror})") from None
        if wanted and not data:
            raise DataError(f"{self._what}: {_AGAIN}")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _inflated(path: Path, reader: Callable[[Path], IO[bytes]]) -> IO[bytes]:
    """The tar in a compressed file, in a temporary file that vanishes when it is closed."""
    # Images hardly shrink, and the padding of tiny ones shrinks a few dozen times; a bomb does a thousand times.
    most = 100 * path.stat().st_size + _SMALL
    # Unbuffered, as its members are; closed by the tree, or below.
    out: IO[bytes] = tempfile.TemporaryFile(prefix="gesso-", buffering=0)  # noqa: SIM115
    try:
        with reader(path) as packed:
            while data := _chunk(path, packed):
                if (most := most - len(data)) < 0:
                    raise DataError(f"{path}: inflates more than a hundredfold, as no images do; unpack it yourself")
                _write(out, data)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def _chunk(path: Path, packed: IO[bytes]) -> bytes:
    try:
        return packed.read(_CHUNK)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(path, error) from None


def _write(out: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[out.write(left) :]
    except OSError as error:
        place = tempfile.gettempdir()
        raise DiskError(f"{place}: cannot be written ({error.strerror}); free some space or set TMPDIR") from error


def _checked(path: Path, name: str) -> str:
    """A member's name as a plain relative path; empty for litter. DataError where it leads out of the archive, or is
    longer than on any disk."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or re.match("[A-Za-z]:", plain) or "\0" in plain:
        raise DataError(
            f"{_named(path, name)}: a name that leads out of the archive; this archive is not to be trusted"
        )
    if any(part.startswith(".") or part.lower() in JUNK for part in parts):
        return ""
    if any(len(os.fsencode(part)) > LONGEST_PART for part in parts):
        raise DataError(f"{path}: refused, since {name[:200]!r} is too long a name")
    return "/".join(parts)


def _refuse_twice(path: Path, name: str, there: Container[str]) -> None:
    """DataError, in the words of `unpack`, where an archive has two files of one name: which is meant?"""
    if name in there:
        raise DataError(f"{path}: refused, since {name[:200]!r} is there twice")


def _named(path: Path, name: str) -> str:
    return str(path / name) if path.is_dir() else f"{path}: {name}"


def _damaged(path: Path, error: Exception, name: str = "") -> DataError:
    where = _named(path, name) if name else str(path)
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"{where}: cannot be read ({error.strerror})")
    if isinstance(error, NotImplementedError):
        return DataError(f"{where}: {_PACKED}")
    return DataError(f"{where}: {_AGAIN}")
