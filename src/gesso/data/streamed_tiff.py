"""TIFF by rows: strips and tiles of any compression that Pillow knows, also in BigTIFF; written in tiles.

A strip or tile, its bytes as they are, becomes a TIFF of its own with the same tags, and that goes through the reader
of whole pictures. tifffile reads the tags and writes; it would need imagecodecs, a large library, to decode LZW and
JPEG.
"""

import bisect
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL.ExifTags import Base as Tag
from PIL.TiffTags import ASCII, BYTE, LONG, RATIONAL, SHORT, UNDEFINED

from gesso.data.decoding import Array, RefusedError
from gesso.data.images import read_image_bytes, tiff_layout
from gesso.data.streamed_rows import NOT_STREAMED, PIECE, Rows, Shown

TILE = 256
"""Sides of the tiles that are written."""
LARGEST_SEGMENT = 2**26
"""Pixels of a strip or tile that is decoded in one go."""
BIG = 2**32 - 2**25
"""Bytes of samples above which a file is a BigTIFF: 4 GiB less room for what compression may add, and the tags."""
LAYOUT = (
    Tag.BitsPerSample,
    Tag.Compression,
    Tag.PhotometricInterpretation,
    Tag.FillOrder,
    Tag.SamplesPerPixel,
    Tag.PlanarConfiguration,
    Tag.T4Options,
    Tag.T6Options,
    Tag.Predictor,
    Tag.ColorMap,
    Tag.ExtraSamples,
    Tag.SampleFormat,
    Tag.JPEGTables,
    Tag.YCbCrSubSampling,
)
"""The tags that say how the samples of a segment are laid out (TIFF 6.0, and its supplement for JPEG)."""
SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}  # bytes of a value by its type in the file


class TiffRows(Rows):
    """The first picture of a TIFF."""

    def __init__(self, file: BinaryIO, path: Path, channels: int, shown: Shown) -> None:
        self._file, self._channels = file, channels
        file.seek(0)
        page = tifffile.TiffFile(file).pages.first
        if page.tags.valueof(Tag.Orientation, 1) not in (0, 1):
            raise RefusedError("TIFF that is to be turned by its orientation tag: save it upright")
        self._order = page.parent.byteorder
        self._tags = {code: self._tag(page, code) for code in LAYOUT if code in page.tags}
        self._layout(page)
        first = self._segment(0, 0, path)
        super().__init__(path, page.imagelength, page.imagewidth, first.dtype, shown)
        self._band, self._band_index = first[:0], -1

    def _tag(self, page: tifffile.TiffPage, code: int) -> tuple[int, int, bytes]:
        """(type, count, bytes) of a tag, as in the file."""
        tag = page.tags[code]
        self._file.seek(tag.valueoffset)
        return int(tag.dtype), tag.count, self._file.read(tag.count * SIZES[int(tag.dtype)])

    def _layout(self, page: tifffile.TiffPage) -> None:
        """Where the segments lie: `_tops` of the rows of segments, and for each its segments' (offset, bytes), which
        are `_wide` × `_heights` pixels."""
        height, width = page.imagelength, page.imagewidth
        high = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
        self._wide = page.tilewidth if page.is_tiled else width
        self._across = -(-width // self._wide)
        self._planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
        down = -(-height // high)
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if len(segments) < down * self._across * self._planes:
            raise RefusedError("truncated: strips of the picture are missing")
        if any(count < 1 for _, count in segments):
            raise RefusedError("truncated: strips of the picture are empty")
        rows = [
            [
                [segments[(plane * down + j) * self._across + i] for plane in range(self._planes)]
                for i in range(self._across)
            ]
            for j in range(down)
        ]
        self._tops = [j * high for j in range(down)]
        self._heights = [high if page.is_tiled else min(high, height - top) for top in self._tops]
        self._segments = rows
        plain = page.compression == tifffile.COMPRESSION.NONE and page.photometric != tifffile.PHOTOMETRIC.YCBCR
        if plain and not page.is_tiled and high * self._wide > PIECE:
            self._split(page.samplesperpixel // self._planes * page.bitspersample)
        if max(self._heights) * self._wide > LARGEST_SEGMENT:
            raise RefusedError(f"TIFF in strips or tiles of {self._wide} x {max(self._heights)} pixels: {NOT_STREAMED}")

    def _split(self, bits: int) -> None:
        """Makes several strips of each, which one of samples that are not compressed may be cut into. `bits` a
        pixel."""
        in_row = -(-self._wide * bits // 8)
        most = max(1, PIECE // self._wide)
        tops, heights, segments = [], [], []
        for top, height, ((*planes,),) in zip(self._tops, self._heights, self._segments, strict=True):
            if any(count < height * in_row for _, count in planes):
                raise RefusedError("truncated: strips of the picture are too short")
            for at in range(0, height, most):
                high = min(most, height - at)
                tops.append(top + at)
                heights.append(high)
                segments.append([[(offset + at * in_row, high * in_row) for offset, _ in planes]])
        self._tops, self._heights, self._segments = tops, heights, segments

    def _segment(self, j: int, i: int, path: Path) -> Array:
        """Segment i of row j, H×W×C."""
        parts = []
        for offset, count in self._segments[j][i]:
            self._file.seek(offset)
            parts.append(self._file.read(count))
            if len(parts[-1]) < count:
                raise RefusedError("truncated: strips of the picture lie beyond the end of the file")
        small = self._wrapped(self._heights[j], parts)
        return read_image_bytes(str(path), small, self._channels, LARGEST_SEGMENT)

    def _wrapped(self, height: int, parts: list[bytes]) -> bytes:
        """A TIFF of one strip (a plane), `_wide` × `height` pixels. TIFF 6.0, section 2."""
        order = self._order
        starts = [8]
        for part in parts[:-1]:
            starts.append(starts[-1] + len(part))
        data = b"".join(parts)
        data += b"\0" * (len(data) % 2)

        def longs(*values: int) -> tuple[int, int, bytes]:
            return LONG, len(values), struct.pack(f"{order}{len(values)}I", *values)

        tags = self._tags | {
            Tag.ImageWidth: longs(self._wide),
            Tag.ImageLength: longs(height),
            Tag.RowsPerStrip: longs(height),
            Tag.StripOffsets: longs(*starts),
            Tag.StripByteCounts: longs(*map(len, parts)),
        }
        directory = 8 + len(data)
        beyond = directory + 2 + 12 * len(tags) + 4
        entries, values = [], b""
        for code, (kind, count, value) in sorted(tags.items()):
            if len(value) > 4:
                where = struct.pack(f"{order}I", beyond + len(values))
                values += value + b"\0" * (len(value) % 2)
            else:
                where = value.ljust(4, b"\0")
            entries.append(struct.pack(f"{order}HHI", code, kind, count) + where)
        header = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, directory)
        listed = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
        return header + data + listed + values

    def _decode(self, top: int, bottom: int) -> Array:
        parts = []
        j = bisect.bisect_right(self._tops, top) - 1
        while j < len(self._tops) and self._tops[j] < bottom:
            if j != self._band_index:
                whole = [self._segment(j, i, self.path) for i in range(self._across)]
                band = np.concatenate(whole, axis=1) if len(whole) > 1 else whole[0]
                self._band, self._band_index = band[:, : self.width], j
            parts.append(self._band[max(0, top - self._tops[j]) : bottom - self._tops[j]])
            j += 1
        return np.concatenate(parts)


def write_tiff(
    file: BinaryIO, rows: Iterable[Array], shape: tuple[int, int, int], dtype: type[np.uint8 | np.uint16], shown: Shown
) -> None:
    """A TIFF of tiles, deflated, of `rows` (each some rows as H×W×C, from top to bottom) that make up `shape`."""
    with tifffile.TiffWriter(file, bigtiff=int(np.prod(shape)) * np.dtype(dtype).itemsize > BIG) as writer:
        writer.write(
            _tiles(rows, shape[1]),
            shape=shape if shape[2] > 1 else shape[:2],
            dtype=dtype,
            tile=(TILE, TILE),
            **tiff_layout(shape[2]),
            compression="zlib",
            predictor=True,
            iccprofile=shown.profile or None,
            resolution=shown.dpi,
            resolutionunit="INCH" if shown.dpi else None,
            metadata=None,
            maxworkers=1,  # more would draw rows ahead from other threads
        )


def _tiles(rows: Iterable[Array], width: int) -> Iterator[Array]:
    """Tiles from left to right and from top to bottom, each whole; those beyond the edges repeat them."""
    for band in banded(rows, TILE):
        band = np.pad(band, ((0, TILE - len(band)), (0, -width % TILE), (0, 0)), "edge")
        for left in range(0, width, TILE):
            tile = band[:, left : left + TILE]
            yield np.ascontiguousarray(tile if tile.shape[2] > 1 else tile[..., 0])


def banded(rows: Iterable[Array], height: int) -> Iterator[Array]:
    """`rows` in pieces of `height` rows each, the last of what is left."""
    waiting: list[Array] = []
    there = 0
    for some in rows:
        while len(some):
            waiting.append(some[: height - there])
            some = some[height - there :]
            there += len(waiting[-1])
            if there == height:
                yield np.concatenate(waiting)
                waiting, there = [], 0
    if waiting:
        yield np.concatenate(waiting)
