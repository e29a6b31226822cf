"""Pictures that are too large for the memory: read and written some rows at a time.

`images` holds whole pictures; here, at most the rows that were asked for last are held. TIFF (strips, tiles, BigTIFF)
and PNG are read so; the other formats cannot be taken up in the middle, and are decoded whole where that fits. What
comes out is what `images.read_image` gives, to the bit, because each piece of a file is wrapped into a small file of
its own that goes through the reader of whole pictures (`streamed_tiff.py`, `streamed_png.py`). So there is no second
reader of colour spaces, depths and palettes to keep in step, and no other library: libvips, which streams too, would
bring conversions of its own, and imagecodecs, which tifffile wants for LZW and JPEG, nothing that Pillow lacks.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from PIL.ExifTags import Base as Tag

from gesso.data.decoding import Array, Header, RefusedError, checked_size, opened, orientation, read_header
from gesso.data.images import SUFFIXES, blaming, read_image
from gesso.data.streamed_png import PngRows, write_png
from gesso.data.streamed_rows import NOT_STREAMED, Rows, Shown
from gesso.data.streamed_tiff import TiffRows, write_tiff
from gesso.files import atomic_file

__all__ = ["WRITERS", "Rows", "Shown", "open_rows", "write_rows"]

READERS: dict[str, type[TiffRows] | type[PngRows]] = {"TIFF": TiffRows, "PNG": PngRows}
WRITERS: dict[str, Callable[..., None]] = {"TIFF": write_tiff, "PNG": write_png}
"""What writes each format that can be written by rows."""


class WholeRows(Rows):
    """A picture of a format that is decoded whole."""

    def __init__(self, path: Path, channels: int, max_pixels: int, size: tuple[int, int], shown: Shown) -> None:
        width, height = size
        needed, free = 8 * width * height, psutil.virtual_memory().available  # while it is decoded there are two
        if needed > free:
            raise RefusedError(
                f"{width} x {height} pixels need about {needed / 1e9:.0f} GB to be decoded and {free / 1e9:.0f} GB are "
                f"free; {NOT_STREAMED}"
            )
        self._picture = read_image(path, channels, max_pixels)
        super().__init__(path, height, width, self._picture.dtype, shown)

    def read(self, top: int, bottom: int) -> Array:
        """A view of rows top … bottom − 1, not to be written to."""
        return self._decode(top, bottom)

    def _decode(self, top: int, bottom: int) -> Array:
        return self._picture[top:bottom]


@contextlib.contextmanager
def open_rows(path: Path, channels: int, max_pixels: int) -> Iterator[Rows]:
    """The picture in `path`, converted to C = `channels` as `read_image` says. Raises BadImage, also while it is read.

    A TIFF or PNG is refused that cannot be read by rows: to be turned by its orientation tag, interlaced, or in giant
    strips that are compressed.
    """
    with contextlib.ExitStack() as open_files:
        with blaming(path):
            file, kind = open_files.enter_context(opened(path, max_pixels))
            header = read_header(file, kind)
            size, shown = checked_size(header, max_pixels), _shown(header)
            rows: Rows
            if kind not in READERS:
                rows = WholeRows(path, channels, max_pixels, size, shown)
            elif orientation(header) != 1:
                raise RefusedError(f"{kind} that is to be turned by its orientation tag: save it upright")
            else:
                rows = READERS[kind](file, path, channels, shown)
        yield rows


def _shown(header: Header) -> Shown:
    """Profile and resolution, as far as the header tells."""
    if isinstance(header, tifffile.TiffPage):  # of the layouts that Pillow does not know
        found, resolution = header.tags.valueof(Tag.InterColorProfile, b""), header.get_resolution(unit=2)
        return Shown(bytes(found), _positive(resolution))
    return Shown(header.info.get("icc_profile") or b"", _positive(header.info.get("dpi")))


def _positive(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = map(float, dpi)
    except (TypeError, ValueError, ZeroDivisionError):  # none, or damaged: no reason to refuse the pixels
        return None
    return (x, y) if 0 < x < np.inf and 0 < y < np.inf else None


def write_rows(
    path: Path, rows: Iterable[Array], shape: tuple[int, int, int], dtype: type[np.uint8 | np.uint16], shown: Shown
) -> None:
    """Writes `rows`, pieces of a picture of `shape` (H, W, C) from top to bottom, in the format that the suffix of
    `path` says, one of WRITERS. The file appears whole or not at all, whatever `rows` raises. DiskError where the
    disk refuses.
    """
    with atomic_file(path) as file:
        WRITERS[SUFFIXES[path.suffix.lower()]](file, rows, shape, dtype, shown.with_channels(shape[2]))
