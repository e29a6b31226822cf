"""Sets of single images: what counts as one, and as a class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.single import class_names, class_splits, open_classes, open_images
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


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", ".ipynb_checkpoints", "__MACOSX"):
        write(tmp_path / "train" / name / "a.png")
    assert class_names(ClassData(root=str(tmp_path))) == ("cat", "dog")


def test_a_class_that_training_does_not_know_is_refused(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "val/bird"):
        write(tmp_path / place / "a.png")
    with pytest.raises(DataError, match="class bird is not among those of train"):
        open_classes(ClassData(root=str(tmp_path)), "val")


def test_the_built_in_classes_have_streets_that_choose_nothing() -> None:
    data = ClassData(root=BUILTIN_STREETS, image_size=32, resize=32)
    assert class_splits(data) == ("train", "val", "test")
    val, test = (open_classes(data, split) for split in ("val", "test"))
    first = [source.decode(source.units[0])["image", 0] for source in (val, test)]
    assert not np.array_equal(first[0], first[1])
