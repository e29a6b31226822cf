"""A/ and B/ to files side by side."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.folders import find_split
from gesso.data.images import read_image, write_image
from gesso.data.prepare.pairs import prepare_pairs, side_by_side
from gesso.errors import BadImage, DataError, UsageError


def image(
    path: Path, value: int = 0, size: tuple[int, int] = (6, 4), channels: int = 3, dtype: type = np.uint8
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((size[1], size[0], channels), value, dtype))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def filled(root: Path, count: int = 40) -> tuple[Path, Path]:
    for i in range(count):
        image(root / f"A/{i}.png", i)
        image(root / f"B/{i}.jpg" if i % 2 else root / f"B/{i}.bmp", 100 + i)
    return root / "A", root / "B"


def test_pairs_stand_side_by_side_in_three_splits(tmp_path: Path) -> None:
    a, b = filled(tmp_path)
    done = prepare_pairs(a, b, tmp_path / "out", val=0.2, test=0.2, workers=2)
    assert sum(done.counts.values()) == 40 and set(done.counts) == {"train", "val", "test"}
    for split, count in done.counts.items():
        assert len(names(tmp_path / "out" / split)) == count
        assert find_split(tmp_path / "out", split, "auto", unpaired=False).layout == "pairs"
    (path,) = (tmp_path / "out").glob("*/7.png")
    pixels = read_image(path)
    assert pixels.shape == (4, 12, 3) and (pixels[:, :6] == 7).all()
    assert (abs(pixels[:, 6:].astype(int) - 107) <= 2).all()


def test_folders_that_are_divided_stay_so(tmp_path: Path) -> None:
    for side in "AB":
        image(tmp_path / side / "train" / "deep" / "1.png")
        image(tmp_path / side / "val" / "1.png")
    done = prepare_pairs(tmp_path / "A", tmp_path / "B", tmp_path / "out")
    assert done.counts == {"train": 1, "val": 1} and names(tmp_path / "out") == ["train/deep/1.png", "val/1.png"]


def test_folders_divided_differently_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "A/train/1.png")
    image(tmp_path / "B/1.png")
    with pytest.raises(DataError, match=r"B/train: no such folder"):
        prepare_pairs(tmp_path / "A", tmp_path / "B", tmp_path / "out")


def test_files_without_a_partner_are_refused_or_left_out(tmp_path: Path) -> None:
    a, b = filled(tmp_path, 3)
    image(a / "extra.png")
    with pytest.raises(DataError, match=r"extra\.png: no image of this name.*1 of A and 0 of B.*--alone skip"):
        prepare_pairs(a, b, tmp_path / "out", val=0, test=0)
    done = prepare_pairs(a, b, tmp_path / "out", val=0, test=0, alone="skip")
    assert done.counts == {"train": 3} and done.left_out == 1


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    a, b = filled(tmp_path, 3)
    image(a / "1.jpg")
    with pytest.raises(DataError, match="two images of one name"):
        prepare_pairs(a, b, tmp_path / "out")


def test_no_pair_at_all_is_said(tmp_path: Path) -> None:
    image(tmp_path / "A/1.png")
    image(tmp_path / "B/2.png")
    with pytest.raises(DataError, match="no two images of the same name"):
        prepare_pairs(tmp_path / "A", tmp_path / "B", tmp_path / "out", alone="skip")


def test_sizes_that_differ_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    a, b = filled(tmp_path, 3)
    image(b / "2.bmp", size=(12, 8))
    with pytest.raises(BadImage, match=r"2\.bmp: 12 x 8 pixels, but .*2\.png has 6 x 4; --sizes smooth"):
        prepare_pairs(a, b, tmp_path / "out", val=0, test=0)
    assert not list(tmp_path.glob(".out*")) and not (tmp_path / "out").exists()


def test_b_is_resized_to_a_smoothly_or_by_the_nearest_pixel() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    b = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    smooth, nearest = side_by_side(a, b, "smooth"), side_by_side(a, b, "nearest")
    assert smooth.shape == nearest.shape == (4, 8, 3)
    picture = Image.fromarray(b)
    np.testing.assert_array_equal(smooth[:, 4:], np.asarray(picture.resize((4, 4), Image.Resampling.BICUBIC)))
    np.testing.assert_array_equal(nearest[:, 4:], np.asarray(picture.resize((4, 4), Image.Resampling.NEAREST)))


def test_the_nearest_pixel_of_a_centre_on_an_edge_is_the_further_one() -> None:
    """Of 30 rows for 11, the sixth has its centre at (5 + 0.5) · 30 / 11 = 15, in doubles a little less."""
    rows = np.arange(30, dtype=np.uint8)[:, None, None]
    assert side_by_side(np.zeros((11, 1, 1), np.uint8), rows, "nearest")[5, 1, 0] == 15


def test_grey_beside_colour_becomes_colour_and_grey_beside_grey_stays() -> None:
    grey, colour = np.full((2, 2, 1), 9, np.uint8), np.full((2, 2, 4), 200, np.uint8)
    assert side_by_side(grey, colour, "refuse")[0, :, 0].tolist() == [9, 9, 200, 200]
    assert side_by_side(grey, colour, "refuse").shape == (2, 4, 3)
    assert side_by_side(grey, grey, "refuse").shape == (2, 4, 1)


def test_8_bits_beside_16_keep_both_depths() -> None:
    deep = np.full((1, 1, 1), 40000, np.uint16)
    assert side_by_side(np.full((1, 1, 1), 255, np.uint8), deep, "refuse").ravel().tolist() == [65535, 40000]


def test_16_bits_as_jpeg_are_refused(tmp_path: Path) -> None:
    for side in "AB":
        image(tmp_path / side / "1.png", dtype=np.uint16)
    with pytest.raises(UsageError, match="JPEG cannot hold"):
        prepare_pairs(tmp_path / "A", tmp_path / "B", tmp_path / "out", val=0, test=0, suffix=".jpg")
    assert not (tmp_path / "out").exists()


def test_an_unreadable_image_is_named_and_nothing_passes_for_whole(tmp_path: Path) -> None:
    a, b = filled(tmp_path, 3)
    (a / "1.png").write_bytes((a / "1.png").read_bytes()[:-30])
    with pytest.raises(BadImage, match=r"A/1\.png"):
        prepare_pairs(a, b, tmp_path / "out", val=0, test=0)
    assert not (tmp_path / "out").exists()


def test_a_target_inside_a_source_is_refused(tmp_path: Path) -> None:
    a, b = filled(tmp_path, 3)
    with pytest.raises(UsageError, match="lies inside"):
        prepare_pairs(a, b, a / "out")
