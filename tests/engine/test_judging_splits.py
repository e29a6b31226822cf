"""Which split is scored: one function for every kind of model."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from judged import quiet

from conftest import toy
from gesso.engine.judging.splits import REPORT, WATCH, split_to_score, told
from gesso.errors import DataError


def recipe(split: str = "auto") -> Any:
    toyed = toy("pix2pix", Path("set"))
    return dataclasses.replace(toyed, evaluation=dataclasses.replace(toyed.evaluation, split=split))


@pytest.mark.parametrize(
    ("asked", "configured", "there", "expected"),
    [
        (WATCH, "auto", ("train", "val", "test"), "val"),
        (WATCH, "auto", ("train", "test"), "test"),
        (WATCH, "test", ("train", "val", "test"), "test"),
        (REPORT, "auto", ("train", "val", "test"), "test"),
        (REPORT, "val", ("train", "val", "test"), "test"),
        (REPORT, "auto", ("train", "val"), "val"),
        (WATCH, "auto", ("train",), "train"),
        (REPORT, "auto", ("train",), "train"),
        ("train", "auto", ("train", "val"), "train"),
    ],
)
def test_split_that_is_scored(asked: str, configured: str, there: tuple[str, ...], expected: str) -> None:
    assert split_to_score(asked, recipe(configured), there, quiet) == expected


@pytest.mark.parametrize(
    ("asked", "configured", "there", "required", "words"),
    [
        ("val", "auto", ("train", "test"), False, "set: no val split here; there is train, test"),
        (WATCH, "test", ("train", "val"), False, "set: no test split here; there is train, val"),
        (WATCH, "auto", ("train",), True, "here; there is train; --data.evaluate-split names another"),
        (WATCH, "auto", ("other",), False, "set: no val or test split here; there is other"),
        ("val", "auto", (), False, "set: no val split here; there is none"),
    ],
)
def test_split_that_is_not_there(
    asked: str, configured: str, there: tuple[str, ...], required: bool, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        split_to_score(asked, recipe(configured), there, quiet, required=required)


def test_that_training_images_are_scored_is_said_once_a_run_and_stands_in_the_protocol() -> None:
    said: list[str] = []
    for asked in (WATCH, REPORT):
        split_to_score(asked, recipe(), ("train",), said.append)
    assert said == ["set: no val or test split here, so the training images take its place"]
    assert told("train") == "split train, which it was trained on" and told("val") == "split val"
