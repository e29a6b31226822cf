"""How deep a picture is, told from its header alone."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from gesso.data.images import is_sixteen_bit, read_image, write_image
from gesso.errors import BadImage


def picture(channels: int, dtype: type, height: int = 9, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_depth_of_what_gesso_writes(ending: str, channels: int, dtype: type, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    write_image(path, picture(channels, dtype))
    assert read_image(path).dtype == dtype
    assert is_sixteen_bit(path) == (dtype is np.uint16)


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_of_tiff_layouts(layout: str, dtype: type, tmp_path: Path) -> None:
    array = picture(3, dtype)
    kept = array.transpose(2, 0, 1) if layout == "separate" else array
    for order in "<>":
        tifffile.imwrite(tmp_path / "x.tif", kept, photometric="rgb", planarconfig=layout, byteorder=order)
        assert read_image(tmp_path / "x.tif").dtype == dtype
        assert is_sixteen_bit(tmp_path / "x.tif") == (dtype is np.uint16)


@pytest.mark.parametrize("name", ["x.jpg", "x.webp", "x.bmp", "x.ppm", "palette.png", "bits.png", "bits.tif"])
def test_other_formats_are_not_deep(name: str, tmp_path: Path) -> None:
    image = Image.fromarray(picture(3, np.uint8))
    modes = {"palette": "P", "bits": "1"}
    image.convert(modes.get(Path(name).stem, "RGB")).save(tmp_path / name)
    assert read_image(tmp_path / name).dtype == np.uint8
    assert not is_sixteen_bit(tmp_path / name)


def test_sixteen_bits_of_a_whole_pixel_are_not_deep(tmp_path: Path) -> None:
    """BMP with 5, 6 and 5 bits of red, green and blue."""
    rows = [[[255, 0, 0], [0, 0, 255]]]
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    body = struct.pack("<HH", 0xF800, 0x001F)
    start = struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(body), 0, 0, 14 + len(header))
    (tmp_path / "x.bmp").write_bytes(start + header + body)
    assert not is_sixteen_bit(tmp_path / "x.bmp")
    assert read_image(tmp_path / "x.bmp").tolist() == rows


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"not a picture")
    with pytest.raises(BadImage, match=r"x\.png: not an image"):
        is_sixteen_bit(tmp_path / "x.png")


def test_no_pixel_is_decoded(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", picture(3, np.uint16, 200, 200))
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:100])
    assert is_sixteen_bit(tmp_path / "x.png")
    with pytest.raises(BadImage):
        read_image(tmp_path / "x.png")
