"""Which files make up a split, in every layout; and the one-line errors where they do not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.data.folders import Picture, find_split, halve, list_files, list_images, natural_key, splits
from gesso.data.images import read_image, write_image
from gesso.errors import BadImage, DataError


def tree(root: Path, *names: str) -> Path:
    """Empty files of these names below `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(root: Path, pictures: tuple[Picture, ...]) -> list[str]:
    return [picture.path.relative_to(root).as_posix() for picture in pictures]


def test_side_by_side_files_give_both_halves(tmp_path: Path) -> None:
    found = find_split(tree(tmp_path, "train/2.jpg", "train/10.PNG", "train/more/1.tif"), "train", "auto", False)
    assert found.layout == "pairs" and found.paired
    assert names(tmp_path, found.images["A"]) == ["train/2.jpg", "train/10.PNG", "train/more/1.tif"]
    assert names(tmp_path, found.images["B"]) == names(tmp_path, found.images["A"])
    assert {p.half for p in found.images["A"]} == {"left"} and {p.half for p in found.images["B"]} == {"right"}


@pytest.mark.parametrize("pattern", ["{}/train", "train/{}", "{}"])
def test_two_folders_are_paired_by_name_whatever_the_suffix(tmp_path: Path, pattern: str) -> None:
    a, b = pattern.format("A"), pattern.format("B")
    tree(tmp_path, f"{a}/2.png", f"{a}/sub/1.png", f"{b}/2.jpg", f"{b}/sub/1.tif")
    found = find_split(tmp_path, "train", "auto", False)
    assert found.layout == "folders" and found.paired
    assert names(tmp_path, found.images["A"]) == [f"{a}/2.png", f"{a}/sub/1.png"]
    assert names(tmp_path, found.images["B"]) == [f"{b}/2.jpg", f"{b}/sub/1.tif"]


def test_names_that_all_end_in_the_domain_are_paired_without_it(tmp_path: Path) -> None:
    tree(tmp_path, "A/train/1_A.jpg", "A/train/2_A.jpg", "B/train/1_B.jpg", "B/train/2_B.jpg")
    found = find_split(tmp_path, "train", "auto", False)
    assert found.paired and names(tmp_path, found.images["B"]) == ["B/train/1_B.jpg", "B/train/2_B.jpg"]


def test_unpaired_folders_may_differ_in_length(tmp_path: Path) -> None:
    tree(tmp_path, "trainA/1.jpg", "trainA/2.jpg", "trainB/x.jpg", "testA/1.jpg", "testB/1.jpg")
    found = find_split(tmp_path, "train", "auto", True)
    assert found.layout == "unpaired" and not found.paired
    assert [len(found.images[role]) for role in "AB"] == [2, 1]


def test_cyclegan_takes_the_halves_of_pairs_and_keeps_the_pairing(tmp_path: Path) -> None:
    tree(tmp_path, "val/1.jpg", "val/2.jpg")
    assert find_split(tmp_path, "val", "auto", True) == find_split(tmp_path, "val", "auto", False)


def test_cyclegan_takes_folders_whose_names_do_not_match(tmp_path: Path) -> None:
    tree(tmp_path, "A/train/1.jpg", "B/train/2.jpg", "B/train/3.jpg")
    found = find_split(tmp_path, "train", "auto", True)
    assert not found.paired and len(found.images["B"]) == 2


def test_the_model_decides_where_two_layouts_are_there(tmp_path: Path) -> None:
    tree(tmp_path, "train/1.jpg", "trainA/1.jpg", "trainB/1.jpg")
    assert find_split(tmp_path, "train", "auto", False).layout == "pairs"
    assert find_split(tmp_path, "train", "auto", True).layout == "unpaired"
    assert find_split(tmp_path, "train", "pairs", True).layout == "pairs"


def test_unpaired_folders_with_equal_names_are_pairs_when_asked(tmp_path: Path) -> None:
    tree(tmp_path, "trainA/1.jpg", "trainB/1.png")
    found = find_split(tmp_path, "train", "folders", False)
    assert found.paired and found.layout == "folders"


def test_existing_splits_are_listed(tmp_path: Path) -> None:
    assert splits(tree(tmp_path / "a", "train/1.jpg", "val/1.jpg")) == ("train", "val")
    assert splits(tree(tmp_path / "b", "trainA/1.jpg", "trainB/1.jpg", "testA/1.jpg")) == ("train",)
    assert splits(tree(tmp_path / "c", "A/1.jpg", "B/1.jpg")) == ("train",)
    assert splits(tree(tmp_path / "d", "A/test/1.jpg", "B/test/1.jpg")) == ("test",)
    assert splits(tree(tmp_path / "e", "1.jpg")) == ()


def test_litter_is_skipped_and_other_files_are_counted(tmp_path: Path) -> None:
    tree(tmp_path, "train/1.jpg", "train/.1.jpg", "train/Thumbs.db", "train/__MACOSX/1.jpg", "train/notes.txt")
    assert list_images(tmp_path / "train") == ([tmp_path / "train/1.jpg"], 1)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    tree(tmp_path, "real/1.jpg", "train/2.jpg")
    (tmp_path / "train/0.jpg").symlink_to(tmp_path / "real/1.jpg")
    (tmp_path / "train/folder").symlink_to(tmp_path / "real")
    (tmp_path / "real/loop").symlink_to(tmp_path / "train")
    assert names(tmp_path, tuple(map(Picture, list_images(tmp_path / "train")[0]))) == [
        "train/0.jpg",
        "train/2.jpg",
        "train/folder/1.jpg",
    ]


@pytest.mark.parametrize(
    ("files", "layout", "unpaired", "message"),
    [
        ((), "auto", False, "no such folder"),
        (("val/1.jpg",), "auto", False, "no train split here; there is val"),
        (("1.jpg", "2.jpg"), "auto", False, "2 images stand in it directly; put them into train/"),
        (("photos/1.jpg",), "auto", False, "it holds photos/; put images into train/"),
        (("train/notes.txt",), "auto", False, "train: no images in this folder, only 1 other files"),
        (("trainA/1.jpg", "trainB/.keep"), "auto", True, "trainB: no images in this folder"),
        (("train/1.jpg",), "unpaired", True, "laid out as pairs"),
        (("trainA/1.jpg", "trainB/1.jpg"), "pairs", False, "laid out as unpaired"),
        (("trainA/1.jpg", "trainB/1.jpg"), "auto", False, "train a translator that needs none"),
        (("A/1.jpg", "A/2.jpg", "B/2.jpg"), "auto", False, r"A/1\.jpg: no image of this name in .*B \(1 of A and 0"),
        (("A/1.jpg", "B/1.jpg", "B/2.jpg"), "auto", False, r"B/2\.jpg: no image of this name in .*A \(0 of A and 1"),
        (("A/1.jpg", "A/1.png", "B/1.jpg"), "auto", False, r"A/1\.jpg and 1\.png: two images of one name"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_a_mend(
    tmp_path: Path, files: tuple[str, ...], layout: str, unpaired: bool, message: str
) -> None:
    root = tree(tmp_path / "set", *files)
    with pytest.raises(DataError, match=message) as caught:
        find_split(root, "train", layout, unpaired)  # type: ignore[arg-type]
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a file, not a folder"):
        find_split(tree(tmp_path, "x.jpg") / "x.jpg", "train", "auto", False)


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        find_split(tmp_path, "train", "auto", False)


def test_halves_are_cut_in_the_middle(tmp_path: Path) -> None:
    pair = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    write_image(tmp_path / "x.png", pair)
    assert np.array_equal(halve(read_image(tmp_path / "x.png"), Picture(tmp_path / "x.png", "left")), pair[:, :3])
    assert np.array_equal(halve(read_image(tmp_path / "x.png"), Picture(tmp_path / "x.png", "right")), pair[:, 3:])
    assert np.array_equal(halve(read_image(tmp_path / "x.png"), Picture(tmp_path / "x.png")), pair)


def test_an_odd_width_cannot_be_halved(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", np.zeros((2, 5, 3), np.uint8))
    with pytest.raises(BadImage, match=r"x\.png: 5 pixels wide"):
        halve(read_image(tmp_path / "x.png"), Picture(tmp_path / "x.png", "left"))


def test_numbers_sort_as_numbers() -> None:
    order = ["1.jpg", "2.jpg", "10.jpg", "a1.jpg", "a02.jpg", "a2.jpg", "a10.jpg", "b.jpg"]
    assert sorted(set(order), key=natural_key) == order


def test_numbers_may_have_thousands_of_digits() -> None:
    order = ["9.jpg", f"{'1' * 5000}.jpg", f"{'2' * 5000}.jpg", f"1{'0' * 5000}.jpg"]
    assert sorted(set(order), key=natural_key) == order


@given(st.integers(0, 2000), st.integers(0, 2000))
@settings(max_examples=50, deadline=None)
def test_numbers_with_leading_zeros_sort_as_numbers(a: int, b: int) -> None:
    if a != b:
        assert (natural_key(f"{a:05}") < natural_key(f"{b}")) == (a < b)


@given(st.text(max_size=6), st.text(max_size=6))
@settings(max_examples=50, deadline=None)
def test_any_two_names_have_one_order(a: str, b: str) -> None:
    assert (natural_key(a) < natural_key(b)) + (natural_key(b) < natural_key(a)) == (a != b)


def test_files_are_listed_from_every_depth(tmp_path: Path) -> None:
    tree(tmp_path, "b/1.txt", "a.jpg", "b/c/d.png")
    assert [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)] == ["a.jpg", "b/1.txt", "b/c/d.png"]
