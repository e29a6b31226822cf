"""Pictures by rows: what comes is what the reader of whole pictures gives, what goes is what Pillow reads."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from gesso.data import streamed_png, streamed_tiff
from gesso.data.decoding import PNG_SIGNATURE
from gesso.data.images import png_chunk, read_image
from gesso.data.streamed import Shown, open_rows, write_rows
from gesso.errors import BadImage

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def picture(height: int, width: int, channels: int = 3, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """Noise over a slope, so that an encoder has reasons for each of its filters."""
    rng = np.random.default_rng([seed, height, width, channels])
    largest = np.iinfo(dtype).max
    slope = np.add.outer(np.arange(height), np.arange(width))[..., None] * (largest // 100)
    return ((slope + rng.integers(0, largest // 8, (height, width, channels))) % (largest + 1)).astype(dtype)


def pieces(array: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """`array` in runs of rows of any length."""
    rng, at = np.random.default_rng(seed), 0
    while at < len(array):
        count = int(rng.integers(1, 9))
        yield array[at : at + count]
        at += count


def by_rows(path: Path, channels: int, step: int = 7, overlap: int = 2) -> np.ndarray:
    """The picture in `path`, read in bands of `step` rows that overlap."""
    with open_rows(path, channels, 10**6) as rows:
        whole = np.zeros((rows.height, rows.width, channels), rows.dtype)
        for top in range(0, rows.height, step - overlap):
            bottom = min(top + step, rows.height)
            whole[top:bottom] = rows.read(top, bottom)
        return whole


def same(path: Path) -> None:
    for channels in (1, 2, 3, 4):
        expected = read_image(path, channels)
        made = by_rows(path, channels)
        assert made.dtype == expected.dtype and (made == expected).all(), (path, channels)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.sampled_from([1, 2, 3, 4]), st.sampled_from([np.uint8, np.uint16]), st.sampled_from(["png", "tif"]))
def test_what_is_written_by_rows_is_what_was_given(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], channels: int, dtype: Any, ending: str
) -> None:
    path = tmp_path_factory.mktemp("written") / f"a.{ending}"
    array = picture(*size, channels, dtype)
    write_rows(path, pieces(array, 1), array.shape, dtype, Shown())
    assert (read_image(path) == array).all()
    assert (by_rows(path, channels) == array).all()
    if dtype == np.uint8:  # as another program sees it
        with Image.open(path) as image:
            assert (np.asarray(image).reshape(array.shape) == array).all()


def save_pngs(folder: Path, height: int, width: int) -> None:
    for mode, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)):
        array = picture(height, width, channels)
        Image.fromarray(array if channels > 1 else array[..., 0]).save(folder / f"{mode}.png")
    colours = Image.fromarray(picture(height, width))
    colours.quantize(200).save(folder / "palette.png", transparency=3)
    colours.quantize(13).save(folder / "palette4.png", bits=4)
    colours.convert("1").save(folder / "one.png")
    colours.save(folder / "key.png", transparency=(0, 0, 0))
    Image.fromarray(picture(height, width, 1, np.uint16)[..., 0]).save(folder / "deep.png")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (37, 1), (23, 41)])
def test_png_of_every_kind_is_as_when_read_whole(height: int, width: int, tmp_path: Path) -> None:
    save_pngs(tmp_path, height, width)
    for path in sorted(tmp_path.iterdir()):
        same(path)


def filtered_png(array: np.ndarray, kind: int) -> bytes:
    """`array` as a PNG whose rows take all five filters in turn, computed pixel by pixel as the standard says."""
    wide = array.astype(">u2").view(np.uint8) if array.dtype == np.uint16 else array
    step = wide.shape[2]
    rows = wide.reshape(len(wide), -1).astype(int)
    stream = b""
    for y, row in enumerate(rows):
        above = rows[y - 1] if y else np.zeros_like(row)
        left, corner = (np.concatenate([np.zeros(step, int), line[:-step]]) for line in (row, above))
        distance = np.abs(np.stack([left, above, corner]) - (left + above - corner))
        paeth = np.where(
            (distance[0] <= distance[1]) & (distance[0] <= distance[2]),
            left,
            np.where(distance[1] <= distance[2], above, corner),
        )
        guess = [0 * row, left, above, (left + above) // 2, paeth][y % 5]
        stream += bytes([y % 5]) + ((row - guess) % 256).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", array.shape[1], len(array), 8 * array.itemsize, kind, 0, 0, 0)
    packed = zlib.compress(stream)
    split = [packed[at : at + 50] for at in range(0, len(packed), 50)]
    return (
        PNG_SIGNATURE
        + png_chunk(b"IHDR", header)
        + b"".join(png_chunk(b"IDAT", part) for part in split)
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("channels", "kind"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_every_filter_of_png_is_undone(
    channels: int, kind: int, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_png, "PIECE", 60)  # so that pieces begin with every filter
    array = picture(23, 17, channels, dtype)
    (tmp_path / "a.png").write_bytes(filtered_png(array, kind))
    made = by_rows(tmp_path / "a.png", channels)
    assert made.dtype == dtype and (made == array).all()


TIFFS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (16, 32), "compression": "zlib"},
    "tiles with prediction": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "BigTIFF": {"tile": (16, 16), "bigtiff": True},
    "big-endian": {"rowsperstrip": 5, "byteorder": ">"},
    "strips": {"rowsperstrip": 5, "compression": "zlib"},
    "one strip": {},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", TIFFS)
def test_tiff_of_every_layout_is_as_when_read_whole(
    layout: str, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_tiff, "PIECE", 100)
    options = dict(TIFFS[layout])
    small = {key: options.pop(key) for key in ("byteorder", "bigtiff") if key in options}
    for height, width in ((1, 1), (23, 41), (40, 3)):
        for channels in (1, 3, 4):
            path = tmp_path / f"{height}_{channels}.tif"
            colour = "rgb" if channels > 2 else "minisblack"
            planar = None if channels == 1 else "contig"
            extra = ["unassalpha"] if channels == 4 else None
            array = picture(height, width, channels, dtype)
            with tifffile.TiffWriter(path, **small) as writer:
                writer.write(
                    array if channels > 1 else array[..., 0],
                    photometric=colour,
                    planarconfig=planar,
                    extrasamples=extra,
                    **options,
                )
            same(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16), "compression": "zlib"}, {"rowsperstrip": 4}])
def test_tiff_of_planes(options: Any, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_tiff, "PIECE", 100)
    planes = picture(23, 37, 3, dtype).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", **options)
    same(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "group4"])
def test_tiff_that_pillow_writes(mode: str, compression: str, tmp_path: Path) -> None:
    if (compression == "group4") != (mode == "1") or (compression == "jpeg" and mode in ("P", "RGBA")):
        pytest.skip("no such TIFF")
    image = Image.fromarray(picture(45, 64)).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 16})  # rows in a strip
    same(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp", "ppm"])
def test_other_formats_are_decoded_whole(ending: str, tmp_path: Path) -> None:
    Image.fromarray(picture(30, 20)).save(tmp_path / f"a.{ending}")
    same(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_no_more_rows_are_alive_than_were_asked_for(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = picture(200, 31)
    write_rows(tmp_path / f"a.{ending}", [array], array.shape, np.uint8, Shown())
    decoded = []
    with open_rows(tmp_path / f"a.{ending}", 3, 10**6) as rows:
        original = rows._decode
        monkeypatch.setattr(rows, "_decode", lambda a, b: decoded.append((a, b)) or original(a, b))
        for top in (0, 10, 20, 100, 103, 50):
            assert (rows.read(top, top + 16) == array[top : top + 16]).all()
            assert len(rows._kept) == 16
    assert decoded == [(0, 16), (16, 26), (26, 36), (100, 116), (116, 119), (50, 66)]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_writing_asks_for_rows_as_it_goes(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)  # so the file has a name while it grows
    array, path = picture(2000, 300), tmp_path / f"a.{ending}"
    sizes = []

    def rows() -> Iterator[np.ndarray]:
        for top in range(0, len(array), 100):
            (beside,) = tmp_path.glob(".*.tmp")
            sizes.append(beside.stat().st_size)
            yield array[top : top + 100]

    write_rows(path, rows(), array.shape, np.uint8, Shown())
    assert sizes[-1] > path.stat().st_size // 2


@pytest.mark.parametrize("before", ["png", "tif", "jpg"])
@pytest.mark.parametrize("after", ["png", "tif"])
def test_profile_and_resolution_are_kept(before: str, after: str, tmp_path: Path) -> None:
    array = picture(20, 20)
    Image.fromarray(array).save(tmp_path / f"a.{before}", icc_profile=PROFILE, dpi=(300, 150))
    with open_rows(tmp_path / f"a.{before}", 3, 10**6) as rows:
        write_rows(tmp_path / f"b.{after}", [array], array.shape, np.uint8, rows.shown)
    with Image.open(tmp_path / f"b.{after}") as made:
        assert made.info["icc_profile"] == PROFILE
        assert made.info["dpi"] == pytest.approx((300, 150), abs=0.02)


def test_profile_of_another_colour_space_is_not_kept() -> None:
    inks = PROFILE[:16] + b"CMYK" + PROFILE[20:]
    assert Shown(inks, (1, 2)).with_channels(3) == Shown(b"", (1, 2))
    assert Shown(PROFILE).with_channels(1) == Shown()
    assert Shown(PROFILE).with_channels(4) == Shown(PROFILE)


def interlaced() -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    data = png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + data


def saved(array: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def with_wrong_sum() -> bytes:
    data = bytearray(saved(picture(30, 30), "PNG"))
    data[data.index(b"IDAT") + 500] ^= 1
    return bytes(data)


TURNED = PngImagePlugin.Image.Exif()
TURNED[274] = 6
REFUSED = {
    "interlaced": (interlaced, "interlaced: save it without, or save it as a TIFF with tiles"),
    "turned.png": (lambda: saved(picture(9, 9), "PNG", exif=TURNED), "turned by its orientation tag"),
    "turned.tif": (lambda: saved(picture(9, 9), "TIFF", exif=TURNED), "turned by its orientation tag"),
    "short.png": (lambda: saved(picture(90, 90), "PNG")[:3000], "truncated"),
    "short.tif": (lambda: saved(picture(90, 90), "TIFF")[:3000], "truncated|damaged"),
    "empty": (lambda: b"", "empty file"),
    "sum": (with_wrong_sum, "damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_by_rows_is_a_bad_image(case: str, tmp_path: Path) -> None:
    make, message = REFUSED[case]
    (tmp_path / case).write_bytes(make())
    with pytest.raises(BadImage, match=message) as caught:
        by_rows(tmp_path / case, 3)
    assert caught.value.path == tmp_path / case


def test_giant_strips_that_are_compressed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_tiff, "LARGEST_SEGMENT", 800)
    tifffile.imwrite(tmp_path / "a.tif", picture(30, 30), compression="zlib", rowsperstrip=30)
    with pytest.raises(BadImage, match="TIFF in strips or tiles of 30 x 30 pixels: save it as a TIFF with tiles"):
        by_rows(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_what_ends_half_way_leaves_nothing(ending: str, tmp_path: Path) -> None:
    def rows() -> Iterator[np.ndarray]:
        yield picture(300, 8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / f"a.{ending}", rows(), (900, 8, 3), np.uint8, Shown())
    assert list(tmp_path.iterdir()) == []
