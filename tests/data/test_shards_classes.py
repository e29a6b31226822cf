"""Classes of shards: what cannot be trained on is said in one line, before there is a run."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from toy_shards import _no_waiting, picture, write_tar

from conftest import toy
from gesso.data.single import class_names, open_classes
from gesso.engine.train import train
from gesso.errors import DataError
from gesso.recipe import ClassData

__all__ = ["_no_waiting"]


def written(root: Path, labels: dict[str, list[int | None]]) -> ClassData:
    """Shards by name, each with a sample a label; None is a sample without a class."""
    for shard, classes in labels.items():
        files = {}
        for i, class_ in enumerate(classes):
            files[f"{i}.png"] = picture(i)
            if class_ is not None:
                files[f"{i}.cls"] = str(class_).encode()
        write_tar(root / f"{shard}.tar", files)
    return ClassData(root=str(root), cache_dir=str(root.parent / "cache"))


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([0, 1, None, 1], r"train-1\.tar:2 has no class; .*KEY\.cls"),
        ([0, -1, None, 1, -1], r"train-1\.tar:1 and 2 more have no class"),
    ],
)
def test_samples_without_a_class_are_named_and_counted_as_the_set_is_opened(
    tmp_path: Path, labels: list[int | None], named: str
) -> None:
    data = written(tmp_path / "set", {"train-0": [0, 1], "train-1": labels})
    with pytest.raises(DataError, match=named):
        open_classes(data, "train")


def test_shards_without_any_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train-0\.tar:0 and 2 more have no class"):
        class_names(written(tmp_path / "set", {"train-0": [None, None, None]}))


def test_samples_that_a_subset_leaves_out_need_no_class(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"train-0": [0, 1, None]})
    subset = ClassData(root=data.root, cache_dir=data.cache_dir, train_subset=2)
    assert open_classes(subset, "train").counts == {"image": 2}


@pytest.mark.parametrize("split", ["train", "val"])
def test_training_is_refused_before_there_is_a_run(tmp_path: Path, split: str) -> None:
    labels = {"train-0": [0, 1, 2], "val-0": [0, 1, 2], f"{split}-1": [0, None]}
    written(tmp_path / "set", labels)
    with pytest.raises(DataError, match=rf"{split}-1\.tar:1 has no class"):
        train(toy("densenet121", tmp_path / "set"), runs=tmp_path / "runs")
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_a_class_beyond_the_number_of_samples_is_refused_with_its_sample(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"train-0": [0, 1, 2], "train-1": [1, 2**20 - 1]})
    with pytest.raises(DataError, match=r"train-1\.tar:1: class 1048575, but there are only 5 samples.*classes\.json"):
        class_names(data)


def test_classes_may_be_more_than_samples_where_a_list_names_them(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"train-0": [0, 3]})
    (tmp_path / "set" / "classes.json").write_text('["a", "b", "c", "d"]')
    assert class_names(data) == ("a", "b", "c", "d")


def test_few_samples_of_many_classes_are_enough_to_score(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"train-0": [0, 1, 2, 3, 4], "val-0": [4, 0]})
    assert open_classes(data, "val").class_of(0) == 4


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one class alone, 0; a classifier needs two or more"):
        class_names(written(tmp_path / "set", {"train-0": [0, 0, 0]}))


def test_a_list_that_names_a_class_twice_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "set", {"train-0": [0, 1, 2]})
    (tmp_path / "set" / "classes.json").write_text('{"classes": ["cat", "dog", "cat"]}')
    with pytest.raises(DataError, match=r"classes\.json: names the class 'cat' twice"):
        class_names(data)


def test_a_test_split_that_is_asked_for_must_have_classes(classes: Path, tmp_path: Path) -> None:
    shutil.copytree(classes, tmp_path / "set")
    (tmp_path / "set" / "test").mkdir()
    shutil.copy(classes / "val" / "dark" / "0.png", tmp_path / "set" / "test")
    recipe = toy("densenet121", tmp_path / "set")
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, evaluate_split="test"))
    with pytest.raises(DataError, match=r"test/0\.png: stands beside the class folders"):
        train(recipe, runs=tmp_path / "runs")


@pytest.mark.parametrize("form", ["shards", "folders"])
def test_a_test_split_without_any_class_is_passed_over(
    form: str, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    if form == "shards":
        written(root, {"train-0": [0, 1, 0, 1], "val-0": [0, 1], "test-0": [None, None]})
    else:
        shutil.copytree(classes, root)
        (root / "test").mkdir()
        shutil.copy(classes / "val" / "dark" / "0.png", root / "test")
    run = train(toy("densenet121", root, epochs=0.5), runs=tmp_path / "runs").path
    assert json.loads((run / "metrics.json").read_text())["split"] == "val"
    assert "the images of test have no classes, so another split is scored at the end" in capsys.readouterr().out
