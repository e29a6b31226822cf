"""PNG by rows (ISO/IEC 15948).

The stream of filtered rows is inflated some rows at a time. To undo the filters pixel by pixel would take Python
hours, so Pillow does it: the rows, behind the last one before them, become a small PNG of plain samples with as many
bytes a pixel. What the samples mean (palette, depth, transparency) is left to a second small PNG, with the file's own
header.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gesso.data.decoding import PNG_SIGNATURE, Array, RefusedError
from gesso.data.images import PNG_COLOUR_TYPES, png_chunk, read_image_bytes
from gesso.data.streamed_rows import NOT_STREAMED, PIECE, Rows, Shown

UP = 2
"""The filter that leaves the difference to the row above."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type; the one of a palette is its index."""
PLAIN = {1: (8, 1), 2: (8, 2), 3: (8, 3), 4: (8, 4), 6: (16, 3), 8: (16, 4)}
"""Bits a sample and channels by bytes a pixel, which is all that a filter sees of a picture."""
READ_AT_ONCE = 2**16
LARGEST_CHUNK = 2**26
"""Bytes of a chunk that is read whole; palettes and profiles have thousands."""

Bytes = npt.NDArray[np.uint8]


class PngRows(Rows):
    """A PNG that is not interlaced. Whoever goes back decodes all from the top again."""

    def __init__(self, file: BinaryIO, path: Path, channels: int, shown: Shown) -> None:
        self._file, self._channels = file, channels
        self._explained = b""  # the chunks that say what samples mean
        header = bytes(13)
        file.seek(len(PNG_SIGNATURE))
        while (begun := self._begin_chunk())[1] != b"IDAT":
            length, name = begun
            if length > LARGEST_CHUNK:
                raise RefusedError(f"damaged: {length} bytes before its pixels")
            data = self._exactly(length + 4)[:-4]  # Pillow has checked the sums of these chunks
            if name == b"IHDR":
                header = data
            elif name in (b"PLTE", b"tRNS"):
                self._explained += png_chunk(name, data)
        self._pixels_at = file.tell() - 8
        width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        if interlaced:
            raise RefusedError(f"PNG whose rows are interlaced: save it without, or {NOT_STREAMED}")
        self._row_bytes = -(-width * bits * CHANNELS[colours] // 8)
        self._pixel_bytes = max(1, bits * CHANNELS[colours] // 8)
        self._kind = header[8:]
        super().__init__(path, height, width, np.dtype(np.uint16 if bits == 16 else np.uint8), shown)
        self._rewind()

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise RefusedError("truncated: the end of the file is missing")
        return data

    def _begin_chunk(self) -> tuple[int, bytes]:
        """(length, name) of the chunk that begins here."""
        length, name = struct.unpack(">I4s", self._exactly(8))
        return length, name

    def _rewind(self) -> None:
        self._file.seek(self._pixels_at)
        self._compressed = self._pieces()
        self._inflater = zlib.decompressobj()
        self._above = np.zeros((1, self._row_bytes), np.uint8)
        self._at = 0  # the row that comes next

    def _pieces(self) -> Iterator[bytes]:
        """The compressed stream. Each chunk's sum is checked when the chunk is through."""
        length, name = self._begin_chunk()
        while name == b"IDAT":
            checked = zlib.crc32(name)
            while length:
                data = self._exactly(min(length, READ_AT_ONCE))
                checked, length = zlib.crc32(data, checked), length - len(data)
                yield data
            if self._exactly(4) != struct.pack(">I", checked):
                raise RefusedError("damaged: a checksum is wrong")
            length, name = self._begin_chunk()

    def _inflated(self, count: int) -> bytes:
        """The next `count` bytes of filtered rows."""
        parts = []
        while count:
            data = self._inflater.unconsumed_tail or next(self._compressed, b"")
            parts.append(self._inflater.decompress(data, count))
            if not data and not parts[-1]:
                raise RefusedError("truncated: rows of the picture are missing")
            count -= len(parts[-1])
        return b"".join(parts)

    def _decode(self, top: int, bottom: int) -> Array:
        if top < self._at:
            self._rewind()
        parts = []
        while self._at < bottom:
            wanted = self._at >= top
            count = min(max(1, PIECE // self.width), (bottom if wanted else top) - self._at)
            samples = self._samples(count)
            if wanted:
                parts.append(self._meant(samples))
            self._at += count
        return np.concatenate(parts)

    def _samples(self, count: int) -> Bytes:
        """The next rows with their filters undone, `count` × bytes of a row."""
        filtered = np.frombuffer(self._inflated(count * (1 + self._row_bytes)), np.uint8).reshape(count, -1)
        bits, channels = PLAIN[self._pixel_bytes]
        kind = struct.pack(">BBBBB", bits, PNG_COLOUR_TYPES[channels], 0, 0, 0)
        rows = np.concatenate([_unfiltered(self._above), filtered])
        pixels = self._read(self._row_bytes // self._pixel_bytes, kind, b"", rows, None)
        samples = pixels.astype(">u2").view(np.uint8) if bits == 16 else pixels
        samples = samples.reshape(count + 1, self._row_bytes)
        self._above = samples[-1:].copy()
        return samples[1:]

    def _meant(self, samples: Bytes) -> Array:
        """`samples` as pixels, H×W×C."""
        return self._read(self.width, self._kind, self._explained, _unfiltered(samples), self._channels)

    def _read(self, width: int, kind: bytes, explained: bytes, rows: Bytes, channels: int | None) -> Array:
        small = b"".join(
            [
                PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">II", width, len(rows)) + kind) + explained,
                png_chunk(b"IDAT", zlib.compress(rows.data, 0)) + png_chunk(b"IEND", b""),
            ]
        )
        return read_image_bytes(str(self.path), small, channels, 8 * rows.size)


def _unfiltered(samples: Bytes) -> Bytes:
    """Rows of samples that say that they are not filtered."""
    return np.pad(samples, ((0, 0), (1, 0)))


def write_png(
    file: BinaryIO, rows: Iterable[Array], shape: tuple[int, int, int], dtype: type[np.uint8 | np.uint16], shown: Shown
) -> None:
    """A PNG of `rows` (each some rows as H×W×C, from top to bottom) that make up `shape`."""
    height, width, channels = shape
    samples = np.dtype(dtype)
    kind = struct.pack(">BBBBB", 8 * samples.itemsize, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    file.write(PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">II", width, height) + kind))
    if shown.profile:
        file.write(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(shown.profile)))
    if shown.dpi:
        x, y = (round(dpi / 0.0254) for dpi in shown.dpi)
        file.write(png_chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))  # pixels a metre
    deflater = zlib.compressobj()
    above = np.zeros((1, width * channels * samples.itemsize), np.uint8)
    for some in rows:
        plain = np.ascontiguousarray(some, samples.newbyteorder(">")).view(np.uint8).reshape(len(some), -1)
        filtered = np.full((len(plain), 1 + plain.shape[1]), UP, np.uint8)
        filtered[:, 1:] = plain - np.concatenate([above, plain[:-1]])
        above = plain[-1:]
        if data := deflater.compress(filtered.data):
            file.write(png_chunk(b"IDAT", data))
    file.write(png_chunk(b"IDAT", deflater.flush()) + png_chunk(b"IEND", b""))
