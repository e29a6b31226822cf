"""`gesso evaluate`: score a run again, on another split, checkpoint or data set."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

from gesso.devices import choose_device, choose_precision, facts
from gesso.engine.comparing import beside_teacher
from gesso.engine.finish import score, write_metrics
from gesso.engine.judging import REPORT, open_judge
from gesso.engine.judging.shard import shard_of
from gesso.engine.launch import ready_model
from gesso.engine.pulling import at_hand
from gesso.engine.report import write_report
from gesso.engine.runs import read_environment, read_recipe
from gesso.engine.state import find_checkpoint, with_data
from gesso.errors import UsageError, spelling
from gesso.processes import joined
from gesso.progress import say
from gesso.recipe import ClassificationRecipe, DistillRecipe, Precision, Recipe, TranslationRecipe
from gesso.restoring import restore

FLAGS = ("metrics", "inception", "lpips", "segmenter", "classes", "labels", "images")
"""What `gesso evaluate` may change about a recipe's evaluation, by the names of its fields."""
SPELT = {f"evaluation.{name}": name for name in FLAGS}
SPELT |= {"data.resize": "resize", "data.root": "data-root", "data.max_pixels": ""}
"""Its flags, for `errors.flag`."""


@spelling(SPELT)
def score_run(
    run: Path | str,
    checkpoint: str = "best",
    split: str = "auto",
    data_root: str = "",
    mode: str = "recipe",
    batch_size: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    *,
    metrics: tuple[str, ...] = (),
    inception: str = "",
    lpips: str = "",
    segmenter: str = "",
    classes: int = 0,
    labels: str = "",
    images: int = 0,
    resize: int = 0,
) -> dict[str, Any]:
    """The scores of a run, as its metrics.json has them: "rows" is the table, a dict for each direction and method,
    "split" what was scored, "protocol" how, in lines. `engine.finish.table` makes text of it.

    The run's own score (best checkpoint, held-out split, the recipe's data, mode and scores) also goes to metrics.json
    and the report; any other is only shown. The last seven, where they are not empty, are in place of the fields of
    those names in the recipe's evaluation. resize: of a classifier, the shorter side before the centre crop. Where a
    launcher started several processes, each scores its share and all of them return all.
    """
    given = dict(zip(FLAGS, (metrics, inception, lpips, segmenter, classes, labels, images), strict=True))
    with joined(choose_device(device).value.type) as world:
        with world.main_first():
            run = at_hand(Path(run))
            found = find_checkpoint(run, checkpoint)
            recipe = read_recipe(run)
            if batch_size < 0:
                raise UsageError(f"--batch-size {batch_size}: must be 1 or more, or 0, which goes by the images' size")
            asked = evaluated_by(in_mode(recipe, mode), {name: value for name, value in given.items() if value})
            if resize:
                asked = resized(asked, resize)
            whole_run = found.path.resolve().parent.parent == run.resolve()
            own = whole_run and (checkpoint, split, data_root) == ("best", "auto", "") and asked == recipe
            asked = with_data(found, asked, data_root)
            trained_in = _arithmetic_of(run, device)
            if precision == "auto":
                precision = trained_in = _at_hand(trained_in, device)
        model, choices = ready_model(asked, device, precision, world)
        own = own and trained_in in ("auto", choices.precision.value)
        with world.main_first():
            judge = open_judge(model, REPORT if split == "auto" else split, say)
        scored = score(found, judge, choices, batch_size, shard_of(world))
        if own and isinstance(asked, DistillRecipe):
            arithmetic = choices.precision.value
            scored["models"] = beside_teacher(asked, run, found, scored["rows"], device, arithmetic, say, world)
        if own and world.main:
            write_metrics(run, scored)
            write_report(run)
        return scored


def _arithmetic_of(run: Path, device: str) -> Precision:
    """The arithmetic that the run was trained and scored in, where it was on such a device; else auto."""
    chosen = read_environment(run).get("choices", {})
    if chosen.get("device", {}).get("value", "").partition(":")[0] != choose_device(device).value.type:
        return "auto"
    precision: Precision = chosen["precision"]["value"]
    return precision


def _at_hand(trained_in: Precision, device: str) -> Precision:
    """The arithmetic `trained_in`, where `device` has it; else auto, and a line that says so."""
    here = choose_device(device).value
    if trained_in == "auto" or trained_in in facts(here).precisions(here):
        return trained_in
    other = choose_precision("auto", here).value
    say(f"the run was trained in {trained_in}, which {here} has not: scored in {other}, and the scores may differ")
    return "auto"


def resized(recipe: Recipe, resize: int) -> Recipe:
    """`recipe`, a classifier's, with images scored at another shorter side; UsageError where it is none."""
    if not isinstance(recipe, ClassificationRecipe):
        raise UsageError(
            f"--resize {resize}: only a classifier's images are resized before a crop, not a {recipe.model}'s"
        )
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, resize=resize)).checked()


def evaluated_by(recipe: Recipe, given: dict[str, Any]) -> Recipe:
    """`recipe` with the fields `given` in its evaluation; UsageError where it has no such field or value."""
    evaluation = recipe.evaluation
    hints = typing.get_type_hints(type(evaluation))
    for name, value in given.items():
        if name not in hints:
            there = [f"--{each}" for each in FLAGS if each in hints]
            there += ["--resize"] * isinstance(recipe, ClassificationRecipe)
            raise UsageError(
                f"--{name}: the scores of a {recipe.model} do not depend on it; its flags are: {', '.join(there)}"
            )
        try:
            restore(hints[name], list(value) if isinstance(value, tuple) else value)
        except TypeError as error:
            raise UsageError(f"--{name}: {error}") from None
    asked: Recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(evaluation, **given))
    return asked.checked()


def in_mode(recipe: Recipe, mode: str) -> Recipe:
    """`recipe` with its generator's test mode set to `mode`, "recipe" leaving it; UsageError where it has none."""
    if mode == "recipe":
        return recipe
    if not isinstance(recipe, TranslationRecipe):
        raise UsageError(f"--mode {mode}: only translators have a choice; a {recipe.model} is always used in eval mode")
    generator: Any = dataclasses.replace(recipe.generator, test_mode=mode)  # type: ignore[arg-type]
    return dataclasses.replace(recipe, generator=generator)
