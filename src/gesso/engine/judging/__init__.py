"""How each model is judged. To judge another kind of model, write a `Judge` and its line in the table."""

from collections.abc import Callable
from typing import Any

from gesso.engine.judging.base import OURS, Judge, Row, columns
from gesso.engine.judging.classification import open_classification_judge
from gesso.engine.judging.generation import open_generation_judge
from gesso.engine.judging.splits import REPORT, WATCH
from gesso.engine.judging.translation import open_translation_judge
from gesso.models.base import Model
from gesso.progress import Say
from gesso.recipe import Kind

__all__ = ["JUDGES", "OURS", "REPORT", "WATCH", "Judge", "Row", "columns", "open_judge"]

JUDGES: dict[Kind, Callable[[Any, str, Say], Judge]] = {
    "translator": open_translation_judge,
    "generator": open_generation_judge,
    "classifier": open_classification_judge,
}
"""How each kind of model is judged."""


def open_judge(model: Model, split: str, say: Say) -> Judge:
    """The judge of `model` on `split`: train, val or test, WATCH while training or REPORT at the end. DataError where
    there is none."""
    return JUDGES[model.recipe.kind](model, split, say)
