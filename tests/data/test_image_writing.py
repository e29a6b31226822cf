"""write_image, of which nobody sees half a file, and the resizing that comes before the crop."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gesso.data.batches import normalize
from gesso.data.images import fit, quantized, read_image, resize, write_image
from gesso.errors import DiskError, UsageError

RNG = np.random.default_rng(0)


def noise(channels: int, dtype: type = np.uint8, height: int = 13, width: int = 10) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def pillow(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array.squeeze())


@pytest.mark.parametrize(
    ("name", "array"),
    [("x.jpg", noise(4)), ("x.jpg", noise(3, np.uint16)), ("x.bmp", noise(2)), ("x.gif", noise(3)), ("x", noise(3))],
)
def test_a_format_that_cannot_hold_the_array_is_a_usage_error(tmp_path: Path, name: str, array: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"choose \.png"):
        write_image(tmp_path / name, array)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_image(path, noise(3))
    before = path.read_bytes()
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DiskError, match=r"x\.png cannot be written: no file may be so large here"):
            write_image(path, noise(3, height=100, width=100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written: no such folder"):
        write_image(tmp_path / "nowhere" / "x.png", noise(3))


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path, stop = tmp_path / "x.bmp", threading.Event()
    first, second = noise(3, height=200, width=200), noise(3, height=200, width=200)
    write_image(path, first)

    def write() -> None:
        while not stop.is_set():
            write_image(path, second)
            write_image(path, first)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(50):
            read = read_image(path)
            assert np.array_equal(read, first) or np.array_equal(read, second)
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_quantized_is_the_inverse_of_normalize(dtype: type) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1)
    as_floats = normalize(torch.from_numpy(values.astype(np.uint8 if dtype is np.uint8 else np.int32)))
    assert np.array_equal(quantized(as_floats.numpy(), dtype), values)


def test_quantized_rounds_to_the_nearest_and_clips() -> None:
    step = 2 / 255
    given = np.array([-1.5, -1 + 0.4 * step, -1 + 0.6 * step, 1 - 0.4 * step, 7.0, np.nan], np.float32)
    assert quantized(given, np.uint8).tolist() == [0, 0, 1, 255, 255, 0]
    assert quantized(given[[0, 4]], np.uint16).tolist() == [0, 65535]


def test_resize_is_pillows_bicubic() -> None:
    for channels in (1, 3):
        array = noise(channels, height=30, width=40)
        expected = np.asarray(pillow(array).resize((16, 20), Image.Resampling.BICUBIC)).reshape(20, 16, channels)
        assert np.array_equal(resize(array, 16, 20), expected)


def test_resize_treats_alpha_as_a_channel() -> None:
    array = noise(4)
    array[..., 3] = 0
    assert np.array_equal(resize(array, 7, 5)[..., :3], resize(np.ascontiguousarray(array[..., :3]), 7, 5))


def test_resize_keeps_sixteen_bits() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, 64, 1).repeat(64, axis=0).repeat(3, axis=2)
    small = resize(ramp, 32, 32)
    assert small.dtype == np.uint16
    means = ramp.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.astype(float) - means)[:, 2:-2].max() < 3  # eight bits would be off by up to 128
    edge = np.where(np.arange(64) < 32, 0, 65535).astype(np.uint16).reshape(1, 64, 1).repeat(64, axis=0)
    assert resize(edge, 100, 100)[50, 0] == 0 and resize(edge, 100, 100)[50, 99] == 65535  # clipped, not wrapped


def test_resized_arrays_can_be_written_to() -> None:
    assert all(resize(noise(c), 5, 5).flags.writeable for c in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("preprocess", "shape", "expected"),
    [
        ("resize_and_crop", (100, 60), (30, 30)),
        ("scale_width", (100, 60), (50, 30)),
        ("scale_width", (60, 100), (20, 30)),  # 18 high would be less than the crop
        ("scale_width_and_crop", (60, 60), (30, 30)),
        ("crop", (100, 60), (100, 60)),
        ("crop", (10, 15), (20, 30)),
        ("none", (33, 17), (33, 17)),
    ],
)
def test_fit_gives_the_sizes_of_the_reference(
    preprocess: str, shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fit(noise(3, height=shape[0], width=shape[1]), preprocess, 30, 20).shape == (*expected, 3)
