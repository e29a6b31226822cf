"""One image file to one array and back; and the resizing that comes before the random crop.

The rest of gesso sees only H×W×C arrays of uint8, or of uint16 where the file has 16 bits a sample. Whatever
is wrong with a file ends here, as a `BadImage` that names it.
"""

import contextlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from gesso.data.decoding import (
    PNG_SIGNATURE,
    Array,
    RefusedError,
    checked_size,
    decode,
    is_deep,
    opened,
    read_header,
    recognised,
)
from gesso.errors import BadImage, UsageError
from gesso.files import write_atomically

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
"""The suffixes (in any case) of files that count as images, and the format that each promises."""

# Channels that each format can hold, by bytes a sample.
WRITABLE: dict[str, dict[int, tuple[int, ...]]] = {
    "JPEG": {1: (1, 3)},
    "PNG": {1: (1, 2, 3, 4), 2: (1, 2, 3, 4)},
    "WebP": {1: (1, 2, 3, 4)},
    "BMP": {1: (1, 3, 4)},
    "TIFF": {1: (1, 2, 3, 4), 2: (1, 2, 3, 4)},
    "PPM": {1: (1, 3)},
}
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
LARGEST_FITTED = 10**8
"""Pixels that an image may have after `fit`, where it had fewer before."""
_GIANT = 2**24  # pixels; larger images are decoded one at a time, so that threads do not add up their memory
_one_giant = threading.Lock()
_QUIET = r"(PIL|tifffile)\."


def read_image(path: Path | str, channels: int | None = None, max_pixels: int = 100_000_000) -> Array:
    """The picture in a file as H×W×C: uint8 in 0 … 255, or uint16 in 0 … 65535 where the file has 16 bits.

    C is the file's own (palette, ink and YCbCr count as RGB; transparency counts as alpha), or `channels`:
    1 luma (ITU-R 601), 2 luma and alpha, 3 RGB, 4 RGB and alpha. Alpha that is not asked for is dropped and not
    composited, as in the reference; alpha that the file lacks is opaque. Orientation tags are applied. Of an
    animation or a stack of pages, the first is read. Raises BadImage, and nothing else, whatever the file is.
    """
    with blaming(path), opened(Path(path), max_pixels) as (file, kind):
        return _read(file, kind, channels, max_pixels)


def read_image_bytes(name: str, data: bytes, channels: int | None = None, max_pixels: int = 100_000_000) -> Array:
    """`read_image` of a file that is in memory, such as a member of an archive; BadImage names it `name`."""
    with blaming(name), io.BytesIO(data) as file:
        return _read(file, recognised(file, max_pixels), channels, max_pixels)


def _read(file: BinaryIO, kind: str, channels: int | None, max_pixels: int) -> Array:
    header = read_header(file, kind)
    width, height = checked_size(header, max_pixels)
    with _one_giant if width * height > _GIANT else contextlib.nullcontext():
        return np.ascontiguousarray(to_channels(decode(file, kind, header), channels))


def image_size(path: Path | str, max_pixels: int = 100_000_000) -> tuple[int, int]:
    """(width, height) that `read_image` would give, from the header alone. Raises BadImage."""
    with blaming(path), opened(Path(path), max_pixels) as (file, kind):
        return checked_size(read_header(file, kind), max_pixels)


def is_sixteen_bit(path: Path | str, max_pixels: int = 100_000_000) -> bool:
    """Whether `read_image` would give uint16, from the header alone. Raises BadImage."""
    with blaming(path), opened(Path(path), max_pixels) as (file, kind):
        return is_deep(read_header(file, kind))


def image_format(path: Path | str) -> str:
    """The format by the file's first bytes, one of the values of `SUFFIXES`. Raises BadImage where it is none."""
    with blaming(path), opened(Path(path), 2**62) as (_, kind):
        return kind


@contextlib.contextmanager
def blaming(path: Path | str) -> Iterator[None]:
    """Turns whatever is raised inside into a BadImage of `path`: on garbage, readers raise nearly anything."""
    _hush()
    try:
        yield
    except RefusedError as error:
        raise BadImage(path, str(error)) from None
    except BadImage:
        raise
    except MemoryError:
        raise BadImage(path, "does not fit into memory") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadImage(path, f"more than {limit} pixels, the most that Pillow takes in WebP and TIFF") from None
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise BadImage(path, f"cannot be read: {error.strerror.lower()}") from None
        told = " " in str(error) and not isinstance(error, TypeError | AttributeError)  # else for programmers
        raise BadImage(path, f"damaged or truncated ({str(error)[:120] if told else type(error).__name__})") from None


def _hush() -> None:
    """Puts a filter for the readers' own warnings in front, if it is not there.

    Odd metadata are no reason to warn, still less to fail where warnings are errors. `catch_warnings` swaps a
    global list and so is not for threads.
    """
    if not warnings.filters or getattr(warnings.filters[0][3], "pattern", None) != _QUIET:
        warnings.filterwarnings("ignore", module=_QUIET)


def to_channels(array: Array, channels: int | None) -> Array:
    """H×W×C with C converted to `channels` as `read_image` says; None leaves it."""
    have = array.shape[2]
    if channels is None or channels == have:
        return array
    colour = array[..., : 3 if have >= 3 else 1]
    if channels <= 2 and have >= 3:
        # Pillow's weights of R, G and B in 1/65536, so that uint8 gives what convert("L") gives.
        luma = np.full(array.shape[:2], 0x8000, np.uint32)
        for index, weight in enumerate((19595, 38470, 7471)):
            luma += colour[..., index].astype(np.uint32) * np.uint32(weight)
        colour = (luma >> np.uint32(16)).astype(array.dtype)[..., None]
    elif channels >= 3 and have <= 2:
        colour = np.repeat(colour, 3, axis=2)
    if channels in (1, 3):
        return colour
    opaque = np.full_like(array[..., :1], np.iinfo(array.dtype).max)
    return np.concatenate([colour, array[..., -1:] if have in (2, 4) else opaque], axis=2)


def resize(array: Array, width: int, height: int) -> Array:
    """H×W×C to height×width×C by Pillow's bicubic filter, which averages when it shrinks.

    Each channel by itself: alpha is a channel like another and nothing is multiplied by it. uint16 is resized
    in float32 and rounded once, so it keeps its precision.
    """
    if array.shape[:2] == (height, width):
        return array
    if array.dtype == np.uint8 and array.shape[2] == 3:
        return np.array(Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC))
    planes = []
    for index in range(array.shape[2]):
        plane = array[..., index] if array.dtype == np.uint8 else array[..., index].astype(np.float32)
        planes.append(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
    resized = np.stack([np.asarray(plane) for plane in planes], axis=2)
    return resized if array.dtype == np.uint8 else resized.round().clip(0, 65535).astype(np.uint16)


def nearest_pixels(array: Array, height: int, width: int) -> Array:
    """H×W or H×W×C to height×width: of each new pixel's centre the pixel it lies in, the further one on an edge. For
    labels, which must not be mixed. Pillow's nearest filter adds up its steps, and so errs on edges to either side."""
    rows, columns = (
        (2 * np.arange(many) + 1) * have // (2 * many)
        for have, many in zip(array.shape[:2], (height, width), strict=True)
    )
    picked: Array = array[rows[:, None], columns]
    return picked


def quantized(values: npt.NDArray[np.floating[Any]], dtype: type[np.uint8 | np.uint16]) -> Array:
    """Values in [-1, 1], of any shape, as the nearest samples of `dtype`; what lies beyond is clipped, NaN is black.

    The inverse of `batches.normalize`.
    """
    shares = (np.nan_to_num(values, nan=-1.0).clip(-1, 1) + 1) * (np.iinfo(dtype).max / 2)
    samples: Array = shares.round().astype(dtype)
    return samples


def fit(array: Array, preprocess: str, load_size: int, crop_size: int) -> Array:
    """What the reference does to an image before the random crop; the crop itself is drawn on the device.

    resize_and_crop: to load_size×load_size. scale_width and scale_width_and_crop: to the width load_size, aspect
    kept, but at least crop_size high. crop: unchanged, or enlarged so that the shorter side is crop_size. none:
    unchanged. (These are the choices of `recipe.Data.preprocess`.) RefusedError where an enlarged image would fill the
    memory, as that of a thin line does.
    """
    height, width = array.shape[:2]
    match preprocess:
        case "resize_and_crop":
            wide, high = load_size, load_size
        case "scale_width" | "scale_width_and_crop":
            wide, high = load_size, max(load_size * height // width, crop_size)
        case "crop":
            scale = max(1.0, crop_size / min(height, width))
            wide, high = max(round(width * scale), crop_size), max(round(height * scale), crop_size)
        case _:
            assert preprocess == "none", preprocess
            return array
    if wide * high > max(width * height, LARGEST_FITTED):
        raise RefusedError(
            f"{width} x {height} pixels would become {wide} x {high}, which --data.preprocess {preprocess} is not for"
        )
    return resize(array, wide, high)


def write_image(path: Path | str, array: Array) -> None:
    """Writes H×W×C (uint8, or uint16 for PNG and TIFF; C = 1 … 4) in the format that the suffix of `path` says.

    The file appears whole or not at all: it is written beside under a hidden name, then renamed. JPEG and WebP
    are written at quality 95. Raises UsageError where the format cannot hold the array and DiskError where the
    disk does not take it.
    """
    path = Path(path)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{path}: {path.suffix or 'no suffix'} is no format to write; choose .png, .jpg or .tif")
    assert array.ndim == 3 and array.dtype in (np.uint8, np.uint16), (array.shape, array.dtype)
    if array.shape[2] not in WRITABLE[kind].get(array.itemsize, ()):
        samples = f"{array.shape[2]} channels of {8 * array.itemsize} bits"
        raise UsageError(f"{path}: {kind} cannot hold {samples}; choose .png or .tif")
    write_atomically(path, _encoded(kind, array), sync=False)


def _encoded(kind: str, array: Array) -> bytes:
    if kind == "PNG" and array.dtype == np.uint16:
        return _png_16(array)
    buffer = io.BytesIO()
    if kind == "TIFF":
        try:
            import tifffile
        except ModuleNotFoundError:  # exported models are used where it is not installed
            raise UsageError("TIFF is written by tifffile: pip install tifffile, or choose .png") from None
        samples = array if array.shape[2] > 1 else array[..., 0]
        tifffile.imwrite(buffer, samples, **tiff_layout(array.shape[2]), compression="zlib", metadata=None)
    else:
        options = {"quality": 95} if kind in ("JPEG", "WebP") else {}
        Image.fromarray(array if array.shape[2] > 1 else array[..., 0]).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_layout(channels: int) -> dict[str, Any]:
    """What tifffile is told of C = 1 … 4 channels, as `read_image` counts them. Colours are not multiplied by alpha."""
    return {
        "photometric": "rgb" if channels >= 3 else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
    }


def _png_16(array: Array) -> bytes:
    """PNG with 16 bits a sample, which Pillow writes for grey only. Rows are differences to the one above."""
    height, width, channels = array.shape
    rows = array.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)  # filter type 2: up
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]

    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    pixels = zlib.compress(filtered.tobytes(), 6)
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its length and its sum (ISO/IEC 15948, section 5.3)."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
