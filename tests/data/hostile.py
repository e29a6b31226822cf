"""Damaged image files of every format that gesso reads, from a seed: what a user's folder may hold at its worst."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import tifffile
from PIL import Image

from gesso.data.images import read_image
from gesso.errors import BadImage

Name = TypeVar("Name")
GIANT = ((65535, 65535), (16383, 16383), (30000, 40000), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (0, 7), (9990, 9990))


def with_tiff_tags(data: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """A little-endian TIFF whose first directory is written anew with `tags`, as LONG or SHORT, put in."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = {}
    for i in range(count):
        entry = data[at + 2 + 12 * i : at + 14 + 12 * i]
        entries[struct.unpack_from("<H", entry)[0]] = entry
    out = bytearray(data)
    for tag, values in tags.items():
        kind, code = (4, "I") if max(values) > 65535 or len(values) == 1 else (3, "H")
        packed = struct.pack(f"<{len(values)}{code}", *values)
        if len(packed) > 4:
            where, packed = struct.pack("<I", len(out)), packed
            out += packed
        else:
            where = packed.ljust(4, b"\0")
        entries[tag] = struct.pack("<HHI", tag, kind, len(values)) + where
    out += b"\0" * (len(out) % 2)
    out[4:8] = struct.pack("<I", len(out))
    out += struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return bytes(out)


def sound_files(rng: np.random.Generator) -> dict[str, bytes]:
    """One small sound file of each kind, by a name that ends in the right suffix."""
    ramp = np.linspace(0, 255, 48 * 32).reshape(32, 48, 1)
    colour = (ramp * [1, 0.5, 0.2] + rng.integers(0, 30, (32, 48, 3))).clip(0, 255).astype(np.uint8)
    deep = colour.astype(np.uint16) * 257 + rng.integers(0, 200, (32, 48, 3), dtype=np.uint16)
    rgb, alpha = Image.fromarray(colour), Image.fromarray(np.dstack([colour, colour[..., :1]]))

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    def tiff(array: np.ndarray, **options: object) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)
        return buffer.getvalue()

    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "rgb.jpg": saved(rgb, "JPEG"),
        "progressive.jpeg": saved(rgb, "JPEG", progressive=True, exif=exif),
        "ink.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "rgb.png": saved(rgb, "PNG"),
        "alpha.png": saved(alpha, "PNG"),
        "palette.png": saved(rgb.quantize(17), "PNG", transparency=3),
        "grey16.png": saved(Image.fromarray(deep[..., 0]), "PNG"),
        "lossy.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(alpha, "WEBP", lossless=True),
        "rgb.bmp": saved(rgb, "BMP"),
        "palette.bmp": saved(rgb.quantize(17), "BMP"),
        "plain.tif": saved(rgb, "TIFF"),
        "lzw.tif": saved(rgb, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": saved(rgb, "TIFF", compression="jpeg"),
        "fax.tif": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "deep.tif": tiff(deep, photometric="rgb"),
        "planes.tiff": tiff(deep.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression="zlib"),
        "tiles.tif": tiff(deep, photometric="rgb", tile=(16, 16), compression="zlib"),
        "float.tif": tiff(colour[..., 0].astype(np.float32)),
        "rgb.ppm": saved(rgb, "PPM"),
    }


def _flipped(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for at in rng.integers(0, len(out), rng.integers(1, 30)):
        out[at] ^= int(rng.integers(1, 256))
    return bytes(out)


def _header_flipped(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return _flipped(data[:128], name, rng) + data[128:]


def _tail_flipped(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return data[:-250] + _flipped(data[-250:], name, rng)  # where tifffile and Pillow put a TIFF's directory


def _truncated(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(1, len(data))]


def _emptied(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return b""


def _zeroed(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    start, stop = sorted(rng.integers(0, len(data), 2))
    return data[:start] + bytes(stop - start) + data[stop:]


def _appended(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 5000)))


def _swapped(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    a, b, c, d = sorted(rng.integers(0, len(data), 4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _noise(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(0, 20)] + rng.bytes(int(rng.integers(1, 3000)))


def _whole(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    return data


def _giant(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    """The file with another size in its header."""
    width, height = GIANT[rng.integers(len(GIANT))]
    out = bytearray(data)
    if data.startswith(b"\x89PNG"):
        out[16:24] = struct.pack(">II", width, height)
        out[29:33] = struct.pack(">I", zlib.crc32(out[12:29]))
    elif data.startswith(b"\xff\xd8"):
        at = max(data.find(b"\xff\xc0\0"), data.find(b"\xff\xc2\0"))
        out[at + 5 : at + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif data.startswith(b"BM"):
        out[18:26] = struct.pack("<II", width, height)
    elif data[12:16] == b"VP8 ":
        out[26:30] = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
    elif data[12:16] == b"VP8L":
        out[21:25] = struct.pack("<I", (width & 0x3FFF) | (height & 0x3FFF) << 14)
    elif data.startswith(b"II"):
        return with_tiff_tags(data, {256: (width,), 257: (height,), 278: (height,)})
    else:
        return data.replace(b"48 32", f"{width} {height}".encode(), 1)
    return bytes(out)


MUTATIONS: dict[str, Callable[[bytes, str, np.random.Generator], bytes]] = {
    "flipped": _flipped,
    "header": _header_flipped,
    "tail": _tail_flipped,
    "truncated": _truncated,
    "empty": _emptied,
    "zeroed": _zeroed,
    "appended": _appended,
    "swapped": _swapped,
    "noise": _noise,
    "giant": _giant,
    "suffix": _whole,
}


def write_hostile_files(folder: Path, count: int, seed: int) -> list[Path]:
    """Writes `count` damaged files into `folder`, every format and mutation in turn; the same for the same seed.

    The names say what they are, and end in a suffix that counts as an image. Not every one is unreadable: a flipped
    byte may do no harm, and a wrong suffix does not.
    """
    rng = np.random.default_rng(seed)
    sound = sound_files(rng)
    names, kinds = list(sound), list(MUTATIONS)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        name, kind = names[i % len(names)], kinds[(i + i // len(names)) % len(kinds)]
        stem, suffix = name.rsplit(".", 1)
        if kind == "suffix":
            suffix = names[rng.integers(len(names))].rsplit(".", 1)[1]
        path = folder / f"{i:04d}-{kind}-{stem}.{suffix}"
        path.write_bytes(MUTATIONS[kind](sound[name], name, rng))
        paths.append(path)
    return paths


def refused_and_taken(paths: Iterable[Path]) -> tuple[dict[Path, str], list[Path]]:
    """Which of `paths` `read_image` refuses, and why, and which it takes; each in their order."""
    bad, good = {}, []
    for path in paths:
        try:
            read_image(path)
            good.append(path)
        except BadImage as error:
            bad[path] = error.reason
    return bad, good


def by_own_flag(bad: Mapping[Name, str]) -> dict[Name, str]:
    """The reasons as commands tell them whose limit is not a recipe's."""
    return {name: reason.replace("--data.max-pixels", "--max-pixels") for name, reason in bad.items()}
