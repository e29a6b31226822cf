"""How each model is judged. To judge another kind of model, write a `Judge`, which of its data set's splits that is
done on, and its line in the table."""

from collections.abc import Callable
from typing import Any

from gesso.engine.judging.base import OURS, Judge, Row, columns
from gesso.engine.judging.classification import classification_split, open_classification_judge
from gesso.engine.judging.generation import generation_split, open_generation_judge
from gesso.engine.judging.splits import REPORT, WATCH
from gesso.engine.judging.translation import open_translation_judge, translation_split
from gesso.models.base import Model
from gesso.progress import Say
from gesso.recipe import Kind

__all__ = ["JUDGES", "OURS", "REPORT", "WATCH", "Judge", "Row", "columns", "open_judge", "open_judges"]

JUDGES: dict[Kind, tuple[Callable[[Any, str, Say], str], Callable[[Any, str, Say], Judge]]] = {
    "translator": (translation_split, open_translation_judge),
    "generator": (generation_split, open_generation_judge),
    "classifier": (classification_split, open_classification_judge),
}
"""By the kind of model: which split is meant by WATCH, by REPORT or by a name, and the judge on the split of a name."""


def open_judge(model: Model, split: str, say: Say) -> Judge:
    """The judge of `model` on `split`: train, val or test, WATCH while training or REPORT at the end. DataError where
    there is none."""
    choose, opened = JUDGES[model.recipe.kind]
    return opened(model, choose(model, split, say), say)


def open_judges(model: Model, say: Say) -> tuple[Judge, Judge]:
    """The judges on WATCH and on REPORT, which are one where both are the same split or nothing is to be scored. So
    all that either needs is asked for before the first step, and not when there is a trained model to score."""
    choose, opened = JUDGES[model.recipe.kind]
    watched = choose(model, WATCH, say)
    reported = choose(model, REPORT, say) if model.recipe.evaluation.wanted else watched
    watch = opened(model, watched, say)
    return watch, watch if reported == watched else opened(model, reported, say)
