"""read_image against Pillow and known arrays, in every format; and against damaged files."""

import io
import os
import resource
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hostile import sound_files, with_tiff_tags, write_hostile_files
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from gesso.data.images import image_format, image_size, read_image, to_channels, write_image
from gesso.errors import BadImage

RNG = np.random.default_rng(0)
HERE = Path(__file__).parent


def noise(channels: int, dtype: type = np.uint8, height: int = 13, width: int = 10) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def pillow(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array.squeeze())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".ppm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_without_loss_is_read_back(tmp_path: Path, suffix: str, channels: int) -> None:
    array = noise(channels)
    write_image(tmp_path / f"x{suffix}", array)
    assert np.array_equal(read_image(tmp_path / f"x{suffix}"), array)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_and_alpha_survive_writing_and_reading(tmp_path: Path, suffix: str, channels: int) -> None:
    for dtype in (np.uint8, np.uint16):
        array = noise(channels, dtype)
        write_image(tmp_path / f"x{suffix}", array)
        read = read_image(tmp_path / f"x{suffix}")
        assert read.dtype == dtype and np.array_equal(read, array)


def test_sixteen_bit_png_is_the_one_that_pillow_understands(tmp_path: Path) -> None:
    grey, colour = noise(1, np.uint16), noise(3, np.uint16)
    write_image(tmp_path / "grey.png", grey)
    write_image(tmp_path / "colour.png", colour)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "grey.png")), grey[..., 0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "colour.png")), colour >> 8)  # all that Pillow keeps


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_back_close(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64, 1).repeat(3, axis=2).astype(np.uint8)
    write_image(tmp_path / f"x{suffix}", ramp)
    assert np.abs(read_image(tmp_path / f"x{suffix}").astype(int) - ramp).max() < 8


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": 2},
        {"byteorder": ">"},
        {"tile": (16, 16), "compression": "zlib"},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": "zlib", "rowsperstrip": 3},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_every_layout_of_a_sixteen_bit_tiff_gives_the_same_pixels(tmp_path: Path, options: dict[str, object]) -> None:
    array = noise(3, np.uint16, 37, 20)
    stored = array.transpose(2, 0, 1) if "planarconfig" in options else array
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", **options)
    assert np.array_equal(read_image(tmp_path / "x.tif"), array)


def test_sixteen_bit_colour_compressed_by_lzw_is_read(tmp_path: Path) -> None:
    array = noise(3, np.uint16, 8, 10)
    buffer = io.BytesIO()
    Image.fromarray(array.reshape(8, 30)).save(buffer, "TIFF", compression="tiff_lzw")
    data = with_tiff_tags(buffer.getvalue(), {256: (10,), 258: (16, 16, 16), 262: (2,), 277: (3,)})
    (tmp_path / "x.tif").write_bytes(data)
    assert np.array_equal(read_image(tmp_path / "x.tif"), array)


def test_white_is_zero_is_inverted(tmp_path: Path) -> None:
    for dtype, largest in ((np.uint8, 255), (np.uint16, 65535)):
        array = noise(1, dtype)
        tifffile.imwrite(tmp_path / "x.tif", array[..., 0], photometric="miniswhite")
        assert np.array_equal(read_image(tmp_path / "x.tif"), largest - array)


def test_alpha_that_colours_were_multiplied_by_is_divided_out(tmp_path: Path) -> None:
    array = np.full((4, 4, 4), (20000, 10000, 0, 40000), np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=["assocalpha"])
    assert read_image(tmp_path / "x.tif")[0, 0].tolist() == [20000 * 65535 // 40000, 10000 * 65535 // 40000, 0, 40000]


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32])
def test_samples_without_an_agreed_white_are_refused(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.ones((4, 4), dtype))
    with pytest.raises(BadImage, match="no agreed black and white"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_as_pillow_does(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"x{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow(noise(3, height=16, width=32)).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("stored", ["contig", "separate"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_a_sixteen_bit_tiff_is_applied(tmp_path: Path, stored: str, orientation: int) -> None:
    array = noise(3, np.uint16)
    kept = array.transpose(2, 0, 1) if stored == "separate" else array
    options = {"extratags": [(274, 3, 1, orientation, True)]}
    tifffile.imwrite(tmp_path / "x.tif", kept, photometric="rgb", planarconfig=stored, **options)
    expected = array[::-1, ::-1] if orientation == 3 else np.rot90(array, -1)
    assert np.array_equal(read_image(tmp_path / "x.tif"), expected)
    assert image_size(tmp_path / "x.tif") == (expected.shape[1], expected.shape[0])


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    pillow(noise(3)).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40))
    assert read_image(tmp_path / "x.jpg").shape == (13, 10, 3)


def test_palette_and_its_transparency_become_colour_and_alpha(tmp_path: Path) -> None:
    image = pillow(noise(3)).quantize(5)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=2)
    assert np.array_equal(read_image(tmp_path / "plain.png"), np.asarray(image.convert("RGB")))
    clear = read_image(tmp_path / "clear.png")
    assert np.array_equal(clear[..., 3] == 0, np.asarray(image) == 2)


def test_ink_becomes_colour_the_right_way_round(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    for name in ("x.jpg", "x.tif"):
        pillow(red).convert("CMYK").save(tmp_path / name)
        assert np.abs(read_image(tmp_path / name).astype(int) - red).max() < 12
    ink = np.full((4, 4, 4), (0, 65535, 32768, 0), np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", ink, photometric="separated")
    assert read_image(tmp_path / "deep.tif")[0, 0].tolist() == [65535, 0, 32767]


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    image = pillow(noise(1)).convert("1")
    image.save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png")[..., 0], np.asarray(image) * np.uint8(255))


def test_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [pillow(np.full((8, 8, 3), value, np.uint8)) for value in (10, 200)]
    for name in ("x.png", "x.webp", "x.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert abs(int(read_image(tmp_path / name)[0, 0, 0]) - 10) < 4


def test_luma_is_pillows() -> None:
    array = noise(3)
    assert np.array_equal(to_channels(array, 1)[..., 0], np.asarray(pillow(array).convert("L")))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("have", [1, 2, 3, 4])
@pytest.mark.parametrize("want", [1, 2, 3, 4])
def test_channels_are_converted(have: int, want: int, dtype: type) -> None:
    array = noise(have, dtype)
    out = to_channels(array, want)
    assert out.shape == (13, 10, want) and out.dtype == dtype
    if have == want:
        assert np.array_equal(out, array)
    if want in (2, 4):
        expected = array[..., -1] if have in (2, 4) else np.full((13, 10), np.iinfo(dtype).max)
        assert np.array_equal(out[..., -1], expected)
    if have <= 2 and want >= 3:
        assert np.array_equal(out[..., :3], array[..., :1].repeat(3, axis=2))


def test_white_stays_white_in_sixteen_bits() -> None:
    assert to_channels(np.full((1, 1, 3), 65535, np.uint16), 1).item() == 65535


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: os.mkfifo(path), "a pipe or device"),
        (lambda path: path.touch(), "empty file"),
        (lambda path: path.write_text("hello"), "not an image"),
        (lambda path: path.write_bytes(sound_files(RNG)["rgb.jpg"][:300]), "truncated"),
        (lambda path: path.write_bytes(sound_files(RNG)["rgb.png"][:300]), "truncated"),
        (lambda path: path.write_bytes(sound_files(RNG)["planes.tiff"][:-8]), "truncated"),
    ],
)
def test_what_is_no_image_is_named_with_its_reason(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "x.png"
    make(path)  # type: ignore[operator]
    with pytest.raises(BadImage, match=reason) as caught:
        read_image(path)
    assert caught.value.path == path and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.bmp", "x.tif", "x.ppm"])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, name: str) -> None:
    pillow(noise(3)).save(tmp_path / name)
    assert read_image(tmp_path / name, max_pixels=130).shape == (13, 10, 3)
    for read in (read_image, image_size):
        with pytest.raises(BadImage, match=r"10 x 13 pixels are more than --data.max-pixels 129"):
            read(tmp_path / name, max_pixels=129)


def test_a_strip_that_inflates_beyond_its_size_is_refused(tmp_path: Path) -> None:
    planes = np.zeros((3, 400, 400), np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", planes, photometric="rgb", planarconfig="separate", compression="zlib")
    data = with_tiff_tags((tmp_path / "x.tif").read_bytes(), {256: (20,), 257: (20,), 278: (20,)})
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(BadImage, match="inflates"):
        read_image(tmp_path / "x.tif")


def test_odd_metadata_neither_warn_nor_print(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = with_tiff_tags(sound_files(RNG)["plain.tif"], {34665: (99999,), 700: (1, 2), 282: (0,)})
    (tmp_path / "x.tif").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "x.tif").shape == (32, 48, 3)
    assert capfd.readouterr() == ("", "")


def test_threads_read_what_one_thread_reads(tmp_path: Path) -> None:
    paths = []
    for name, data in sound_files(RNG).items():
        if name != "float.tif":
            paths.append(tmp_path / name)
            paths[-1].write_bytes(data)
    alone = [read_image(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_image, paths * 8))
    assert all(np.array_equal(array, alone[i % len(paths)]) for i, array in enumerate(together))


def test_format_is_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(sound_files(RNG)["rgb.png"])
    assert image_format(tmp_path / "x.jpg") == "PNG"
    assert read_image(tmp_path / "x.jpg").shape == (32, 48, 3)


@given(
    name=st.sampled_from(sorted(sound_files(RNG))), edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=9)))
)
@settings(max_examples=150, deadline=None)
def test_any_edit_of_a_file_gives_an_image_or_bad_image(
    tmp_path_factory: pytest.TempPathFactory, name: str, edits: list[tuple[float, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    data = sound_files(np.random.default_rng(0))[name]
    for where, replacement in edits:
        at = int(where * len(data))
        data = data[:at] + replacement + data[at + max(1, len(replacement) - 1) :]
    path.write_bytes(data)
    try:
        array = read_image(path)
    except BadImage as error:
        assert error.path == path
    else:
        assert array.ndim == 3 and array.size and array.dtype in (np.uint8, np.uint16)


HOSTILE_RUN = """
import resource, sys, time
from pathlib import Path
import numpy as np
from hostile import write_hostile_files
from gesso.data.images import image_size, read_image
from gesso.errors import BadImage
bad = 0
for path in write_hostile_files(Path(sys.argv[1]), 300, seed=int(sys.argv[2])):
    start = time.monotonic()
    try:
        array = read_image(path)
        assert array.ndim == 3 and array.dtype in (np.uint8, np.uint16) and array.size, path
        assert image_size(path) == (array.shape[1], array.shape[0]), path
    except BadImage as error:
        assert error.path == path and str(path) in str(error) and len(str(error).splitlines()) == 1
        bad += 1
    assert time.monotonic() - start < 10, path
print(bad, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_300_damaged_files_are_images_or_bad_images_in_little_memory(tmp_path: Path, seed: int) -> None:
    paths = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", HOSTILE_RUN, str(tmp_path), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)),
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr and "Warning" not in run.stderr
    bad, peak_mb = map(int, run.stdout.split())
    assert 150 < bad < 280
    assert peak_mb < 1000


def test_damaged_files_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, second = (write_hostile_files(tmp_path / name, 40, seed=3) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
