"""What a report says of each class: its accuracy, what it is taken for, and the confusion matrix.

Pure functions of metrics.json, which may be of another version or damaged: what makes no sense is left out.
"""

import math
from dataclasses import dataclass
from typing import Any

from gesso.engine.figures import number

MOST_ROWS = 50
"""Classes in the table."""
MOST_CELLS = 100
"""Classes up to which the matrix is drawn."""
NUMBERED = 20
"""Classes up to which its cells are large enough for their numbers."""


@dataclass(frozen=True)
class ClassRow:
    name: str
    images: str
    accuracy: float | None
    """None for a class without images."""
    taken_for: str
    """The class that it is most often taken for and how often, '' where the matrix does not tell."""


@dataclass(frozen=True)
class Cell:
    count: int
    share: float
    """Of the images of the true class, 0 to 1."""


@dataclass(frozen=True)
class Matrix:
    names: list[str]
    rows: list[tuple[str, int, list[Cell]]]
    """(true class, its images, a cell for each answer)"""
    numbered: bool


def class_rows(metrics: dict[str, Any]) -> tuple[list[ClassRow], int]:
    """The `MOST_ROWS` classes with the least accuracy, the least first, and how many classes there are."""
    listed = _listed(metrics.get("classes"))
    counts = _counts(metrics.get("confusion"), len(listed))
    names = [str(entry.get("class", place)) for place, entry in enumerate(listed)]
    order = sorted(range(len(listed)), key=lambda i: _sortable(number(listed[i].get("accuracy"))))
    rows = []
    for i in order[:MOST_ROWS]:
        images, accuracy = number(listed[i].get("images")), number(listed[i].get("accuracy"))
        rows.append(
            ClassRow(
                names[i],
                f"{images:.0f}" if math.isfinite(images) else "–",
                accuracy if 0 <= accuracy <= 1 else None,
                _taken_for(counts[i], i, names) if counts else "",
            )
        )
    return rows, len(listed)


def matrix(metrics: dict[str, Any]) -> Matrix | None:
    """The confusion matrix, rows the truth; None where there is none, or of another shape, or too large to read."""
    listed = _listed(metrics.get("classes"))
    counts = _counts(metrics.get("confusion"), len(listed))
    if not counts or len(counts) > MOST_CELLS:
        return None
    names = [str(entry.get("class", place)) for place, entry in enumerate(listed)]
    rows = [
        (name, sum(row), [Cell(count, count / sum(row) if count else 0.0) for count in row])
        for name, row in zip(names, counts, strict=True)
    ]
    return Matrix(names, rows, len(names) <= NUMBERED)


def _listed(value: Any) -> list[dict[str, Any]]:
    return [entry if isinstance(entry, dict) else {} for entry in value] if isinstance(value, list) else []


def _counts(value: Any, size: int) -> list[list[int]]:
    """`value` if it is a size×size table of counts, else an empty list."""
    rows = value if isinstance(value, list) and len(value) == size else []
    whole = all(isinstance(row, list) and len(row) == size and all(map(_is_count, row)) for row in rows)
    return rows if whole else []


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _sortable(accuracy: float) -> float:
    return accuracy if math.isfinite(accuracy) else math.inf


def _taken_for(row: list[int], true: int, names: list[str]) -> str:
    count, place = max(((count, -i) for i, count in enumerate(row) if i != true), default=(0, 0))
    return f"{names[-place]} ({count})" if count else ""
