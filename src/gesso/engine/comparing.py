"""Translators side by side: what each costs and how well it does, on the same images, on this machine.

A smaller network is worth what it keeps of a large one's scores at how much less work; neither number says anything
alone. So a student's run ends with this table, and `gesso compare-models` makes it of any runs.
"""

import dataclasses
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from gesso.devices import facts, hardware
from gesso.engine.checkpoint import Checkpoint
from gesso.engine.judging import REPORT, Row, open_judge
from gesso.engine.judging.shard import shard_of
from gesso.engine.launch import Choices, ready_model
from gesso.engine.pulling import at_hand, name_of
from gesso.engine.runs import read_recipe
from gesso.engine.state import AVERAGED, find_checkpoint, load_for_use, with_data
from gesso.engine.teaching import FOLDER
from gesso.errors import GessoError, UsageError
from gesso.hub import is_hub
from gesso.models.base import using
from gesso.models.translation import Translator
from gesso.networks.macs import macs
from gesso.processes import ALONE, World
from gesso.progress import Say, say
from gesso.recipe import DistillRecipe, Pix2PixRecipe, Precision, TranslationRecipe, as_flag

TEACHER, SCRATCH, STUDENT = "teacher", "student from scratch", "student distilled"
WARM_UP, TIMED, LONGEST = 3, 30, 10.0
"""Passes that do not count; passes that are timed; seconds after which no further one is begun."""

DRAWN = ("dropout", "init", "init_gain")
"""Fields of a generator, of what is drawn in training, in which a run beside a student may differ from it."""


@dataclass(frozen=True)
class Contender:
    """One model of the table: its name there, where it lies, and its checkpoint."""

    name: str
    run: Path
    recipe: TranslationRecipe
    found: Checkpoint


def contender(run: Path, name: str = "") -> Contender:
    """The best checkpoint of the run at `run`, or the checkpoint, as a contender. A GessoError where it is none."""
    here = at_hand(run)
    if here.is_file():  # an exported model, mostly
        raise UsageError(f"{run}: a file; only runs, checkpoints and published models are put side by side")
    found, recipe = find_checkpoint(here, "best"), read_recipe(here)
    if not isinstance(recipe, TranslationRecipe):
        raise UsageError(f"{run}: a {recipe.model}; only translators are put side by side")
    called = name_of(run) if is_hub(run) else run.resolve().name
    return Contender(name or called, run, recipe, found)


def compare(
    contenders: list[Contender],
    device: str,
    precision: str,
    note: Say = say,
    world: World = ALONE,
    known: dict[str, list[Row]] | None = None,
) -> dict[str, Any]:
    """The table of `contenders`, for metrics.json: {"rows": […], "protocol": …}.

    All are scored on the data of the last one, as its recipe says, and run in the same arithmetic on the same device.
    UsageError where one of them cannot be: other channels, or another direction.

    device, precision  as the flags of those names
    known              tables of scores that were made already, by the contender's name
    """
    last = contenders[-1].recipe
    for each in contenders:
        _check_like(each, last)
    models: list[Translator] = []
    rows: list[dict[str, Any]] = []
    for each in contenders:
        recipe = dataclasses.replace(each.recipe, data=last.data, evaluation=last.evaluation)
        model, choices = ready_model(recipe, device, cast(Precision, precision), world)
        assert isinstance(model, Translator)
        load_for_use(model, each.found)
        with world.main_first():
            judge = open_judge(model, REPORT, note)
        scores = (known or {}).get(each.name)
        if scores is None:
            scores = judge.rows(choices.device.value, shard=shard_of(world))
        cost = _cost(model, each)
        rows.append({"model": each.name, **cost, "scores": judge.headline(scores)})
        models.append(model)
    if world.main:
        for row, ms in zip(rows, _milliseconds(models, choices.device.value), strict=True):
            row["ms"] = ms
    rows = world.from_main(rows)
    protocol = _protocol(last, choices, judge.split)
    return {"rows": rows, "protocol": protocol, "preferred": judge.preferred, "higher": judge.scored}


def _protocol(recipe: TranslationRecipe, choices: Choices, split: str) -> str:
    side, device = recipe.data.crop_size, choices.device.value
    return (
        f"cost: of one generator, for one image of {side}×{side} px; ms: median of {TIMED} passes in turn, eager, "
        f"{choices.precision.value} on {hardware(device)}; scores: split {split}"
    )


def _check_like(each: Contender, last: TranslationRecipe) -> None:
    ours = each.recipe
    for name in ("channels_a", "channels_b"):
        if getattr(ours.data, name) != getattr(last.data, name):
            raise UsageError(
                f"{each.run}: it has {getattr(ours.data, name)} channels in domain {name[-1].upper()}, and another run "
                f"{getattr(last.data, name)}; only translators between the same domains are put side by side"
            )
    if _directions(ours) != _directions(last):
        raise UsageError(
            f"{each.run}: it translates {_directions(ours)}, and another run {_directions(last)}; only translators in "
            "the same direction are put side by side"
        )


def _directions(recipe: TranslationRecipe) -> str:
    return recipe.direction if isinstance(recipe, Pix2PixRecipe) else "both ways"


def _cost(model: Translator, each: Contender) -> dict[str, float]:
    """Of the generator of the first direction: parameters, multiply-accumulates, bytes of its file."""
    translation = next(iter(model.translations.values()))
    network, name = model.networks[translation.network], translation.network
    key = name + AVERAGED if name + AVERAGED in each.found.weights else name
    image = model.inputs()[name]
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": macs(network, image),
        "bytes": (each.found.path / f"{key}.safetensors").stat().st_size,
    }


def _milliseconds(models: list[Translator], device: torch.device) -> list[float]:
    """The median time that the generator of each takes for one image. They take turns, so that a machine whose speed
    drifts, or that has other work, slows all of them."""
    row, taken = facts(device), [list[float]() for _ in models]
    began = time.perf_counter()
    for turn in range(WARM_UP + TIMED):
        for model, times in zip(models, taken, strict=True):
            name = next(iter(model.translations.values())).network
            shape, rng = model.inputs()[name].shape, torch.Generator().manual_seed(0)
            image = (torch.rand(shape, generator=rng) * 2 - 1).to(device)
            with using({name: model.networks[name]}, model.mode):
                row.synchronize(device)
                start = time.perf_counter()
                model.networks[name](image)
                row.synchronize(device)
                times.append(1000 * (time.perf_counter() - start))
        if turn >= WARM_UP and time.perf_counter() - began > LONGEST:
            break
    return [statistics.median(times[WARM_UP:]) for times in taken]


def compared(recipe: DistillRecipe) -> Contender:
    """The run that `recipe.compare` names. UsageError where it cannot stand beside the student."""
    try:
        there = contender(Path(recipe.compare), SCRATCH)
        _check_like(there, recipe)
    except GessoError as error:
        raise UsageError(f"--compare {error}") from None
    wanted = "name a run of the student's network, trained without a teacher"
    if isinstance(there.recipe, DistillRecipe):
        raise UsageError(f"--compare {recipe.compare}: it had a teacher itself; {wanted}")
    ours, theirs = vars(recipe.generator), vars(there.recipe.generator)
    for name in ours:
        if name not in DRAWN and ours[name] != theirs[name]:
            flag, own = (as_flag(f"generator.{name}", values[name]) for values in (theirs, ours))
            raise UsageError(f"--compare {recipe.compare}: it has {flag}, and the student {own}; {wanted}")
    return there


def beside_teacher(
    recipe: DistillRecipe,
    run: Path,
    student: Checkpoint,
    scored: list[Row],
    device: str,
    precision: str,
    note: Say = say,
    world: World = ALONE,
) -> dict[str, Any]:
    """The table of a student's run: its teacher, the run that `recipe.compare` names, and itself, already `scored`."""
    there = [contender(run / FOLDER, TEACHER)]
    missing = "no student from scratch beside it: --compare names a run of one"
    if recipe.compare:
        try:
            there.append(compared(recipe))
            missing = ""
        except UsageError as error:  # what was trained is not lost for it
            missing = f"no student from scratch beside it: {error}"
    there.append(Contender(STUDENT, run, recipe, student))
    table = compare(there, device, precision, note, world, {STUDENT: scored})
    return {**table, "protocol": "\n".join(filter(None, [table["protocol"], missing]))}


def lines(table: dict[str, Any]) -> list[str]:
    """The table as lines of text, what it means under it."""
    rows = cells(table)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = [
        name.ljust(widths[0]) + "".join(cell.rjust(w + 2) for cell, w in zip(others, widths[1:], strict=True))
        for name, *others in rows
    ]
    return [*text, *(f"  {line}" for line in remarks(table))]


def cells(table: dict[str, Any]) -> list[list[str]]:
    """The table's lines for people, the columns' names first."""
    rows = table["rows"]
    names = _names(rows)
    return [["model", "parameters", "MACs", "ms", "file", *names], *(_cells(row, names) for row in rows)]


def remarks(table: dict[str, Any]) -> list[str]:
    """What the table means and how it was made."""
    return [*verdicts(table), *table["protocol"].splitlines()]


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["scores"]))


def _cells(row: dict[str, Any], names: list[str]) -> list[str]:
    scores = (f"{row['scores'][name]:.4f}" if name in row["scores"] else "–" for name in names)
    return [
        row["model"],
        f"{row['parameters'] / 1e6:.3f} M",
        f"{row['macs'] / 1e9:.3f} G",
        f"{row['ms']:.1f}",
        f"{row['bytes'] / 1e6:.2f} MB",
        *scores,
    ]


def verdicts(table: dict[str, Any]) -> list[str]:
    """What the last row is beside the first, in words; and how much of the way to it a teacher has helped."""
    first, last, name = table["rows"][0], table["rows"][-1], table.get("preferred")
    if first is last:
        return []
    times = ", ".join(_times(first[key], last[key], what) for key, what in _UNITS.items() if first[key] and last[key])
    told = [f"{last['model']} against {first['model']}: {times}"]
    scratch = next((row for row in table["rows"] if row["model"] == SCRATCH), None)
    if scratch and name in first["scores"] and name in last["scores"] and name in scratch["scores"]:
        gap, closed = first["scores"][name] - scratch["scores"][name], last["scores"][name] - scratch["scores"][name]
        better = gap > 0 if table["higher"][name] else gap < 0
        if better and math.isfinite(closed / gap):
            told.append(f"distilling closes {closed / gap:.0%} of the gap in {name} between {SCRATCH} and {TEACHER}")
        else:
            told.append(f"the {TEACHER} is not better in {name} than the {SCRATCH}")
    return told


_UNITS = {"parameters": "parameters", "macs": "multiply-accumulates", "ms": "milliseconds"}


def _times(first: float, last: float, what: str) -> str:
    """How many times fewer `what` than the first row the last has, or more."""
    times = f"{max(first, last) / min(first, last):.1f}"
    return f"as many {what}" if times == "1.0" else f"{times} times {'fewer' if last < first else 'more'} {what}"


def compare_runs(
    runs: list[Path], device: str = "auto", precision: Precision = "auto", data_root: str = ""
) -> list[str]:
    """The table of `runs`, each a run, a checkpoint or a model on the hub, as lines of text.

    data_root: a data set to score on, in place of the last run's. UsageError where there are not two runs, or one is
    named twice.
    """
    if len(runs) < 2:
        raise UsageError("compare-models: name two runs or more, the one that the others are measured by first")
    contenders = [contender(run) for run in runs]
    places: dict[Path, Path] = {}
    for each in contenders:
        place = each.found.path.resolve()
        if place in places:
            raise UsageError(f"{each.run}: named twice, {places[place]} is the same checkpoint; name each once")
        places[place] = each.run
    last = contenders[-1]
    recipe = with_data(last.found, last.recipe, data_root)
    assert isinstance(recipe, TranslationRecipe)
    contenders[-1] = dataclasses.replace(last, recipe=recipe)
    names = [each.name for each in contenders]
    if len({*names}) < len(names):
        contenders = [dataclasses.replace(each, name=str(each.run)) for each in contenders]
    return lines(compare(contenders, device, precision))
