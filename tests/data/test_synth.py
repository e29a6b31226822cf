"""The streets on disk: layouts, refusals, and what a full disk leaves behind."""

import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.streets import HOURS, PALETTE, WEATHERS, colour, render
from gesso.data.synth import FIRST, KINDS, street_pair, write_cityscapes_raw, write_classes, write_pairs, write_unpaired
from gesso.errors import DiskError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_pair_is_photo_and_palette_labels_of_a_clear_day() -> None:
    photo, labels = street_pair(3, 4, 48)
    street = render(3, 4, 48, 48, weather="clear", hour="day")
    np.testing.assert_array_equal(photo, street.photo)
    np.testing.assert_array_equal(labels, colour(street.labels))


def test_pairs_are_side_by_side_in_three_splits(tmp_path: Path) -> None:
    written = write_pairs(tmp_path / "streets", count=11, size=32, seed=5)
    assert written.counts == {"train": 11, "val": 1, "test": 1} and str(written) == "train 11, val 1, test 1"
    assert len(names(tmp_path / "streets")) == 13
    image = pixels(tmp_path / "streets/train/00000003.png")
    photo, labels = street_pair(5, 3, 32)
    np.testing.assert_array_equal(image, np.concatenate([photo, labels], axis=1))


def test_splits_show_different_streets(tmp_path: Path) -> None:
    write_pairs(tmp_path, count=1, size=32)
    images = {pixels(tmp_path / split / "00000000.png").tobytes() for split in ("train", "val", "test")}
    assert len(images) == 3


def test_unpaired_folders_show_different_streets_and_test_folders_the_same(tmp_path: Path) -> None:
    written = write_unpaired(tmp_path, count=3, size=32, seed=1)
    assert written.counts == {"trainA": 3, "trainB": 3, "testA": 1, "testB": 1}
    same = street_pair(1, FIRST["train"], 32)
    np.testing.assert_array_equal(pixels(tmp_path / "trainA/00000000.png"), same[0])
    assert not np.array_equal(pixels(tmp_path / "trainB/00000000.png"), same[1])
    photo, labels = street_pair(1, FIRST["test"], 32)
    np.testing.assert_array_equal(pixels(tmp_path / "testA/00000000.png"), photo)
    np.testing.assert_array_equal(pixels(tmp_path / "testB/00000000.png"), labels)


def test_classes_are_weather_and_hour_with_alike_many_images(tmp_path: Path) -> None:
    written = write_classes(tmp_path, count=30, size=32)
    classes = sorted(f"{weather}-{hour}" for weather in WEATHERS for hour in HOURS)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == classes
    assert sorted(path.name for path in (tmp_path / "val").iterdir()) == classes
    assert {len(names(tmp_path / "train" / name)) for name in classes} == {2}
    assert written.counts == {"train": 30, "val": 15}


def test_cityscapes_layout_names_sizes_and_bit_depths(tmp_path: Path) -> None:
    written = write_cityscapes_raw(tmp_path, count=2, size=32, seed=9)
    assert written.counts == {"train": 2, "val": 1}
    stem = "train/gessoburg/gessoburg_000001_000019"
    assert f"leftImg8bit/{stem}_leftImg8bit.png" in names(tmp_path)
    assert "gtFine/val/gessoheim/gessoheim_000000_000019_gtFine_labelIds.png" in names(tmp_path)
    assert len(names(tmp_path)) == 3 * 4
    photo = pixels(tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png")
    labels = pixels(tmp_path / f"gtFine/{stem}_gtFine_labelIds.png")
    instances = pixels(tmp_path / f"gtFine/{stem}_gtFine_instanceIds.png").astype(np.int64)
    assert photo.shape == (32, 64, 3) and labels.shape == (32, 64) and labels.dtype == np.uint8
    np.testing.assert_array_equal(np.where(instances >= 1000, instances // 1000, instances), labels)
    np.testing.assert_array_equal(pixels(tmp_path / f"gtFine/{stem}_gtFine_color.png"), PALETTE[labels])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_a_folder_that_is_not_empty(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="is not empty; name a folder") as caught:
        KINDS[kind](tmp_path, count=15, size=32)
    assert str(tmp_path) in str(caught.value) and names(tmp_path) == ["mine.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("keep")
    with pytest.raises(UsageError, match="out is a file"):
        write_pairs(tmp_path / "out", count=1, size=32)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"count": 0}, "--count 0"),
        ({"size": 16}, "--size 16: must lie in 32"),
        ({"size": 10**6}, "--size 1000000"),
        ({"seed": -1}, "--seed -1"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_out_of_range_name_their_flag(tmp_path: Path, kind: str, values: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        KINDS[kind](tmp_path / "out", **{"count": 20, "size": 32, "seed": 0, **values})
    assert not (tmp_path / "out").exists()


def test_fewer_images_than_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="15 classes"):
        write_classes(tmp_path / "out", count=14, size=32)


def test_progress_counts_up_to_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_unpaired(tmp_path, count=2, size=32, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


def test_a_full_disk_is_one_line_and_leaves_only_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.replace, iter(range(100))

    def fills_up(beside: Path, path: Path) -> Path:
        if path.suffix != ".png" or next(calls) < 2:
            return rename(beside, path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fills_up)
    with pytest.raises(DiskError, match="the disk is full; free some space") as caught:
        write_pairs(tmp_path, count=10, size=32)
    assert "\n" not in str(caught.value) and "00000002.png" in str(caught.value)
    beside = tmp_path.with_name(f".{tmp_path.name}.partial")
    images = [name for name in names(beside) if name.endswith(".png")]
    assert images == ["train/00000000.png", "train/00000001.png"] and names(tmp_path) == []
    for name in images:
        assert pixels(beside / name).shape == (32, 64, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_set_is_not_there_and_the_same_command_makes_it_whole(tmp_path: Path, kind: str) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        KINDS[kind](tmp_path / "cut", count=15, size=32, progress=interrupt)
    assert not (tmp_path / "cut").exists() and (tmp_path / ".cut.partial").is_dir()
    KINDS[kind](tmp_path / "cut", count=15, size=32)
    KINDS[kind](tmp_path / "whole", count=15, size=32)
    assert names(tmp_path / "cut") == names(tmp_path / "whole") and not (tmp_path / ".cut.partial").exists()
    for name in names(tmp_path / "whole"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_an_interrupted_set_of_other_settings_left_is_swept(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(tmp_path / "out", count=9, size=64, progress=interrupt)
    write_pairs(tmp_path / "out", count=2, size=32)
    assert pixels(tmp_path / "out/train/00000000.png").shape == (32, 64, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
