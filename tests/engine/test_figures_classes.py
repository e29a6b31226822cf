"""Figures of a classifier: the worst classes first, a matrix only where it is whole, and no harm from damage."""

import json
import math
from typing import Any

import pytest
from fake_run import fake_accuracies

from gesso.engine.figures_classes import MOST_CELLS, MOST_ROWS, class_rows, matrix

TWO: dict[str, Any] = {
    "classes": [{"class": "day", "images": 4, "accuracy": 0.75}, {"class": "night", "images": 2, "accuracy": 0.5}],
    "confusion": [[3, 1], [1, 1]],
}


def test_the_worst_class_is_first_with_what_it_is_taken_for() -> None:
    rows, total = class_rows(TWO)
    assert [(row.name, row.images, row.accuracy, row.taken_for) for row in rows] == [
        ("night", "2", 0.5, "day (1)"),
        ("day", "4", 0.75, "night (1)"),
    ]
    assert total == 2


def test_of_many_classes_the_worst_are_shown() -> None:
    metrics = fake_accuracies([f"class {k}" for k in range(MOST_CELLS)])
    rows, total = class_rows(metrics)
    accuracies = sorted(entry["accuracy"] for entry in metrics["classes"])
    assert [row.accuracy for row in rows] == accuracies[:MOST_ROWS]
    assert total == MOST_CELLS


def test_a_class_without_images_is_last_and_has_no_accuracy() -> None:
    empty = {"class": "none", "images": 0, "accuracy": None}
    rows, _ = class_rows({"classes": [empty, *TWO["classes"]]})
    assert [row.name for row in rows] == ["night", "day", "none"]
    assert rows[-1].accuracy is None


def test_shares_are_of_the_true_class() -> None:
    drawn = matrix(TWO)
    assert drawn is not None
    assert [[cell.share for cell in cells] for _, _, cells in drawn.rows] == [[0.75, 0.25], [0.5, 0.5]]
    assert [(truth, images) for truth, images, _ in drawn.rows] == [("day", 4), ("night", 2)]


def test_a_row_without_images_has_no_shares() -> None:
    drawn = matrix(TWO | {"confusion": [[0, 0], [1, 1]]})
    assert drawn is not None
    assert [cell.share for cell in drawn.rows[0][2]] == [0.0, 0.0]


@pytest.mark.parametrize("size", [MOST_CELLS, MOST_CELLS + 1])
def test_a_matrix_of_more_than_a_hundred_classes_is_left_out(size: int) -> None:
    assert (matrix(fake_accuracies([str(k) for k in range(size)], each=2)) is not None) == (size <= MOST_CELLS)


DAMAGED: list[Any] = [
    None,
    7,
    "rows",
    {},
    [],
    [[1, 2]],
    [[1], [2]],
    [[1, 2], 3],
    [[1, -1], [0, 1]],
    [[1, True], [0, 1]],
]
DAMAGED += [[[1, 0.5], [0, 1]], [[1, math.nan], [0, 1]], [[10**400, 0], [0, 1]], [["1", "2"], ["3", "4"]]]


@pytest.mark.parametrize("confusion", DAMAGED, ids=str)
def test_a_damaged_matrix_is_left_out_and_the_classes_stay(confusion: Any) -> None:
    metrics = TWO | {"confusion": confusion}
    assert matrix(metrics) is None
    assert [row.name for row in class_rows(metrics)[0]] == ["night", "day"]


@pytest.mark.parametrize("classes", [None, 7, "day", {}, {"day": 1}])
def test_classes_of_another_shape_are_none(classes: Any) -> None:
    assert class_rows({"classes": classes, "confusion": [[1]]}) == ([], 0)
    assert matrix({"classes": classes, "confusion": [[1]]}) is None


def test_an_entry_that_is_damaged_keeps_its_place() -> None:
    damaged = [3, {"class": None, "images": math.inf, "accuracy": "good"}, {"class": ["x"], "accuracy": -1}, {}]
    rows, total = class_rows(json.loads(json.dumps({"classes": [*damaged, {"class": "day", "accuracy": 1.0}]})))
    assert total == 5
    assert sorted((row.name, row.images, row.accuracy) for row in rows if row.accuracy is None) == [
        ("0", "–", None),
        ("3", "–", None),
        ("None", "–", None),
        ("['x']", "–", None),
    ]
