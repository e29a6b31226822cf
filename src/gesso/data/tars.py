"""What the readers of strangers' archives share beside the standard library: what an archive is, and tar headers that
fill no memory.

There are three readers, since they want three things of a tar: `unpack` its files on the disk, `prepare/tree` any file
at any time, and `shards_index` where each file's bytes are.
"""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from typing import IO, Any, Final

LONGEST_PART: Final = 255
"""Bytes of the name of a file or folder: what the usual disks take."""
ZIP: Final = (b"PK\3\4", b"PK\5\6")
"""The first bytes of a zip, and of one that holds nothing."""
COMPRESSED: Final[dict[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""By its first bytes, what opens a compressed file, given as path or as open file."""


class Headers(io.RawIOBase):
    """An open tar for tarfile to list. No more than `most` bytes are read at once; `last` has those read last.

    An extended header says its own size, and tarfile reads as much at once: a few kB of gzip could ask for all memory.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= self._most:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._file.read(size)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
