"""Sets of single images: what counts as one, and as a class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.fits import Whole
from gesso.data.single import Picked, class_names, class_splits, open_classes, open_images
from gesso.data.store import open_store
from gesso.errors import DataError
from gesso.recipe import BUILTIN_STREETS, ClassData, ImageData


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(path)


def test_what_lies_beside_the_training_folder_is_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.png")
    write(tmp_path / "raw" / "b.png")
    assert open_images(ImageData(root=str(tmp_path)), "train").counts == {"image": 1}


def test_a_folder_without_splits_is_all_for_training(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.png")
    write(tmp_path / "b.png")
    assert open_images(ImageData(root=str(tmp_path)), "train").counts == {"image": 2}


def test_half_of_a_pair_is_an_image(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    source = open_images(ImageData(root=str(tmp_path), half="left"), "train")
    assert source.decode(source.units[0])["image", 0].shape == (8, 8, 3)


def test_picked_images_are_those_of_the_source_and_the_unreadable_ones_among_them_are_left_out(tmp_path: Path) -> None:
    for i in range(6):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    data = ImageData(root=str(tmp_path), cache="off", skip_bad=True)
    picked = Picked(open_images(data, "train"), [1, 3, 5])
    assert [picked.label(("image", i)) for i in range(3)] == ["1.png", "3.png", "5.png"]
    for bad in (0, 3):
        (tmp_path / f"{bad}.png").write_bytes(b"no image")
    said: list[str] = []
    store = open_store(picked, Whole(), data, said.append)
    assert [int(store.get(("image", i)).max()) for i in range(store.source.counts["image"])] == [1, 5]
    assert "left out 1 of 3 files" in said[-1]


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", ".ipynb_checkpoints", "__MACOSX"):
        write(tmp_path / "train" / name / "a.png")
    assert class_names(ClassData(root=str(tmp_path))) == ("cat", "dog")


def test_one_class_folder_alone_is_refused_as_that(tmp_path: Path) -> None:
    write(tmp_path / "train" / "cat" / "a.png")
    with pytest.raises(DataError, match="one class alone, cat; a classifier needs two or more"):
        class_names(ClassData(root=str(tmp_path)))


def test_a_class_that_training_does_not_know_is_refused(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "val/bird"):
        write(tmp_path / place / "a.png")
    with pytest.raises(DataError, match="class bird is not among those of train"):
        open_classes(ClassData(root=str(tmp_path)), "val")


def test_a_subset_takes_the_classes_in_turn(tmp_path: Path) -> None:
    for place in ("cat/0", "cat/1", "cat/2", "dog/0", "dog/1", "dog/2", "emu/0"):
        write(tmp_path / "train" / f"{place}.png")
    source = open_classes(ClassData(root=str(tmp_path), train_subset=5), "train")
    told = [(source.label(("image", i)), source.class_of(i)) for i in range(source.counts["image"])]
    expected = [("cat/0", 0), ("cat/1", 0), ("dog/0", 1), ("dog/1", 1), ("emu/0", 2)]
    assert told == [(f"train/{name}.png", class_) for name, class_ in expected]


def test_the_built_in_classes_have_streets_that_choose_nothing() -> None:
    data = ClassData(root=BUILTIN_STREETS, image_size=32, resize=32)
    assert class_splits(data) == ("train", "val", "test")
    val, test = (open_classes(data, split) for split in ("val", "test"))
    first = [source.decode(source.units[0])["image", 0] for source in (val, test)]
    assert not np.array_equal(first[0], first[1])
