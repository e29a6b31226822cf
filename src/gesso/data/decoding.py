"""From an open image file to its pixels: the part of `images` that knows file formats.

Pillow's readers are called by name and not through `Image.open`. So the choice by content is ours (no
Ghostscript, no obscure formats), and the limit of size is the recipe's and not a global of the process. Two
things that Pillow lacks are added: colour with 16 bits a sample (`_both_bytes`), and the TIFF layouts that
tifffile reads instead (`_tiff_pixels`). Sizes are checked from the header, before a pixel is decoded, because a
few hundred bytes can declare a picture that fills the memory.

On garbage the readers raise nearly any exception; `images` turns them all into BadImage.
"""

import contextlib
import logging
import math
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gesso.errors import flag

if TYPE_CHECKING:  # exported models are used where it is not installed
    import tifffile

Array = npt.NDArray[Any]
Header: TypeAlias = "ImageFile | tifffile.TiffPage"

JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
READERS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "PPM": PpmImageFile,
}
# What each of Pillow's modes becomes. Ink (CMYK) is converted without its colour profile.
NATIVE_MODES = (
    dict.fromkeys(["1", "L"], "L")
    | dict.fromkeys(["LA", "La"], "LA")
    | dict.fromkeys(["P", "RGB", "RGBX", "CMYK", "YCbCr"], "RGB")
    | dict.fromkeys(["PA", "RGBA", "RGBa"], "RGBA")
)
NO_WHITE = "samples have no agreed black and white: save it with 8 or 16 bits a sample"
FAX = (2, 3, 4)  # TIFF's compressions for black and white
LIMIT = "data.max_pixels"
MAX_PIXELS, UNNAMED_LIMIT = {LIMIT: "max_pixels"}, {LIMIT: ""}
"""For `errors.spelling`: of commands whose own flag is --max-pixels, and of those that have none."""
_ROWS = 2**22  # pixels copied at once out of Pillow
for _name in ("tifffile", "PIL.TiffImagePlugin"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)  # what they find wrong becomes a BadImage


class RefusedError(Exception):
    """The reason, in the user's words, why a file cannot be used."""


@contextlib.contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[tuple[BinaryIO, str]]:
    """The open file and its format by content. Only regular files: a pipe or a device could hang or never end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise RefusedError("no such file") from None
    if stat.S_ISDIR(status.st_mode):
        raise RefusedError("a folder, not an image")
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError("a pipe or device, not an image")
    with path.open("rb") as file:
        yield file, recognised(file, max_pixels)


def recognised(file: BinaryIO, max_pixels: int) -> str:
    """The format of an open file, or of bytes in memory, by content."""
    size = _size(file)
    if size == 0:
        raise RefusedError("empty file")
    kind = _format_of(file.read(16))
    if kind is None:
        raise RefusedError(f"not an image that gesso reads ({', '.join(READERS)})")
    if kind != "TIFF" and size > 8 * max_pixels + 2**20:  # these readers keep metadata in memory
        raise RefusedError(f"{size} bytes are more than {flag(LIMIT)} {max_pixels} pixels can fill")
    file.seek(0)
    return kind


def _size(file: BinaryIO) -> int:
    """Bytes of a file; it is left where it stood."""
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size


def _format_of(start: bytes) -> str | None:
    if start.startswith(JPEG_SIGNATURE):
        return "JPEG"
    if start.startswith(PNG_SIGNATURE):
        return "PNG"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WebP"
    if start.startswith(b"BM"):
        return "BMP"
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    return "PPM" if start.startswith((b"P5", b"P6")) else None


def read_header(file: BinaryIO, kind: str) -> Header:
    """Pillow's image, nothing decoded; or tifffile's page, where Pillow does not know the layout or misreads it."""
    if kind != "TIFF":
        picture = READERS[kind](file)
        size = _size(file)
        # A JPEG spends a bit or more on each 8×8 block. What is missing, its decoder would fill with grey.
        if kind == "JPEG" and math.prod(picture.size) > 1000 * size:
            raise RefusedError(f"damaged: {size} bytes cannot hold {picture.width} x {picture.height} pixels")
        return picture
    try:
        image = TiffImageFile(file)
    except Exception:  # for a layout that it does not know, Pillow raises what comes to hand
        return _tiff_page(file)
    formats, bits = image.tag_v2.get(Tag.SampleFormat, (1,)), image.tag_v2.get(Tag.BitsPerSample, (1,))
    if set(formats) != {1}:
        raise RefusedError(f"TIFF whose signed or floating-point {NO_WHITE}")
    if not set(bits) <= {1, 2, 4, 8, 16}:
        raise RefusedError(f"TIFF whose {bits[0]}-bit {NO_WHITE}")
    size = _size(file)
    if image.tag_v2.get(Tag.Compression) in FAX and image.height > 8 * size:  # a row takes a bit; libtiff adds white
        raise RefusedError(f"damaged: {size} bytes cannot hold {image.width} x {image.height} pixels")
    if 16 in bits and (image.tag_v2.get(Tag.PlanarConfiguration) == 2 or _raw_mode(image).startswith("RGBa")):
        return _tiff_page(file)  # Pillow takes such planes for bytes, and divides such colours by alpha in 8 bits
    image.info.pop("xmp", None)  # Pillow would turn the picture by it, but does not tell so in the size
    return image


def _tiff_page(file: BinaryIO) -> "tifffile.TiffPage":
    try:
        import tifffile
    except ModuleNotFoundError:
        raise RefusedError("a TIFF of a rare layout, which needs tifffile: pip install tifffile") from None
    file.seek(0)
    return tifffile.TiffFile(file).pages.first


def checked_size(header: Header, max_pixels: int) -> tuple[int, int]:
    """(width, height) of the picture after it is turned upright, from the header. RefusedError if too large."""
    if not isinstance(header, ImageFile):
        width, height = header.imagewidth, header.imagelength
    else:
        width, height = header.size
    if width < 1 or height < 1:
        raise RefusedError(f"no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise RefusedError(f"{width} x {height} pixels are more than {flag(LIMIT)} {max_pixels}")
    return (height, width) if orientation(header) >= 5 else (width, height)


def is_deep(header: Header) -> bool:
    """Whether `decode` gives uint16. Only PNG and TIFF do; BMP's 16 bits are those of a whole pixel."""
    if not isinstance(header, ImageFile):
        return bool(header.dtype == np.uint16)
    return isinstance(header, PngImageFile | TiffImageFile) and ";16" in header.mode + _raw_mode(header)


def orientation(header: Header) -> int:
    """The orientation tag, 1 … 8, as far as the header tells. Pillow itself turns a TIFF, so there it is 1."""
    if isinstance(header, TiffImageFile):
        return 1
    try:
        if not isinstance(header, ImageFile):
            value = int(header.tags.valueof(Tag.Orientation, 1))
        else:  # The base class's: PNG's own would decode the picture, to look for a tag behind the pixels.
            value = int(Image.Image.getexif(header).get(Tag.Orientation, 1))
    except Exception:  # damaged metadata are no reason to refuse the pixels
        return 1
    return value if 1 <= value <= 8 else 1


def decode(file: BinaryIO, kind: str, header: Header) -> Array:
    """The picture, upright, H×W×C uint8 or uint16."""
    turns = orientation(header)
    array = _tiff_pixels(header) if not isinstance(header, ImageFile) else _pixels(file, kind, header)
    # EXIF 2.3, tag 0x0112: 5 to 8 are transposed; then, like 2 to 4, mirrored in one axis or both.
    if turns >= 5:
        array = array.swapaxes(0, 1)
    if turns in (3, 4, 7, 8):
        array = array[::-1]
    if turns in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _pixels(file: BinaryIO, kind: str, image: ImageFile) -> Array:
    if is_deep(image) and not image.mode.startswith("I"):
        return _both_bytes(file, kind, image)
    if image.mode in ("I", "F") or (kind == "PPM" and image.tile[0].codec_name == "ppm"):
        raise RefusedError(f"{kind} whose {NO_WHITE}")
    if image.mode.startswith("I;16"):
        grey = _copied(image)
        white_is_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(Tag.PhotometricInterpretation) == 0
        return ~grey if white_is_zero else grey
    if image.mode not in NATIVE_MODES:
        raise RefusedError(f"{kind} in the colour space {image.mode}: save it as RGB")
    mode = NATIVE_MODES[image.mode]
    image.load()
    if image.has_transparency_data and not mode.endswith("A"):
        mode += "A"
    return _copied(image if image.mode == mode else image.convert(mode))


def _raw_mode(image: ImageFile) -> str:
    """Pillow's name for how the file lays out its samples; empty where the reader does not say."""
    args = image.tile[0].args if image.tile else None
    return str(args[0] if isinstance(args, tuple) and args else args)


def _with_raw_mode(image: ImageFile, raw_mode: str) -> ImageFile:
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]
    return image


def _both_bytes(file: BinaryIO, kind: str, image: ImageFile) -> npt.NDArray[np.uint16]:
    """Colour with 16 bits a sample. Pillow has no mode for it and keeps the high bytes.

    Told the other byte order, it takes the low bytes for the high ones; so a second decoding gives the rest.
    """
    raw_mode = _raw_mode(image)
    if raw_mode == "LA;16B":  # PNG's grey with alpha has no other order, but its four bytes pass for four channels
        return _copied(_with_raw_mode(image, "RGBA")).view(">u2").astype(np.uint16)
    pixels = _copied(image).astype(np.uint16)
    pixels <<= 8
    order = raw_mode[-1].replace("N", "L" if sys.byteorder == "little" else "B")
    Image.Image.close(image)  # frees the pixels; the reader's own would close the file too
    file.seek(0)
    again = READERS[kind](file)
    again.info.pop("xmp", None)
    pixels |= _copied(_with_raw_mode(again, raw_mode[:-1] + {"L": "B", "B": "L"}[order]))
    if image.mode != "CMYK":
        return pixels
    light = 65535 - pixels.astype(np.uint32)  # what each ink lets through, times what black lets through
    return (light[..., :3] * light[..., 3:] // 65535).astype(np.uint16)


def _copied(image: Image.Image) -> Array:
    """H×W×C out of Pillow, some rows at a time: in one go it would make three copies."""
    width, height = image.size
    rows = max(1, _ROWS // width)
    dtype = np.uint16 if image.mode.startswith("I;16") else np.uint8
    whole = np.empty((height, width, len(image.getbands())), dtype)
    for top in range(0, height, rows):
        band = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        whole[top : top + rows] = band.reshape(-1, *whole.shape[1:])
    return whole


def _tiff_pixels(page: "tifffile.TiffPage") -> Array:
    """H×W×C from layouts that Pillow lacks: planes, grey with alpha and premultiplied alpha in 16 bits."""
    if page.dtype not in (np.uint8, np.uint16) or page.bitspersample not in (8, 16):
        raise RefusedError(f"TIFF whose {page.bitspersample}-bit {page.dtype or 'unknown'} {NO_WHITE}")
    if page.imagedepth != 1 or not 1 <= page.samplesperpixel <= 4 or page.photometric not in (0, 1, 2):
        raise RefusedError(f"TIFF with {page.samplesperpixel} channels other than grey, RGB and alpha")
    if page.compression not in (1, 8, 32946):
        raise RefusedError("TIFF with a rare layout and compression: save it uncompressed or with deflate")
    _check_segments(page)
    pixels = np.asarray(page.asarray(maxworkers=1))
    if page.axes.startswith("S"):
        pixels = pixels.transpose(1, 2, 0)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    largest = np.iinfo(pixels.dtype).max
    if page.photometric == 0:  # white is zero
        pixels[..., 0] = largest - pixels[..., 0]
    if 1 in page.extrasamples:  # colours are stored multiplied by alpha
        alpha = np.maximum(pixels[..., -1:], 1).astype(np.uint32)
        pixels[..., :-1] = np.minimum(pixels[..., :-1] * np.uint32(largest) // alpha, largest)
    return pixels


def _check_segments(page: "tifffile.TiffPage") -> None:
    """Refuses missing strips or tiles and those that inflate beyond their size, which tifffile would let pass."""
    size = math.prod(page.chunks) * page.dtype.itemsize
    if size > 4 * page.nbytes + 2**20:
        raise RefusedError("TIFF with tiles much larger than its picture")
    file = page.parent.filehandle
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(segments) < math.prod(page.chunked):
        raise RefusedError("truncated: strips of the picture are missing")
    for offset, count in segments:
        if count < 1 or offset + count > file.size:
            raise RefusedError("truncated: strips of the picture lie beyond the end of the file")
        if page.compression != 1:
            file.seek(offset)
            if len(zlib.decompressobj().decompress(file.read(count), size + 1)) > size:
                raise RefusedError("damaged: a strip inflates to more than its size")
