"""How well a recipe trains, seed by seed: the losses of the last epoch, the scores, and how many seeds converged.

Each seed is a run of `gesso train` in a process of its own, in a folder of the study. So an interrupted study goes on
where it stopped, and a finished seed is only read. What is reported is read from the run's own log and scores, and the
rows for the database are a function of the run and of the criterion that the study was begun with: to report a study
again adds nothing, and by another criterion it is only shown.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gesso.bench import fresh
from gesso.bench.machine import fingerprint, kind_of
from gesso.bench.results import Result, new_run_id
from gesso.bench.tables import aligned
from gesso.bench.variants import VARIANT, variant_of
from gesso.devices import choose_device, facts
from gesso.engine.anchoring import anchored
from gesso.engine.figures import digits
from gesso.engine.judging import OURS, Row
from gesso.engine.judging.classification import BASELINE as MOST_FREQUENT
from gesso.engine.judging.measures import COPIED, MEAN
from gesso.engine.launch import step_flops
from gesso.engine.locating import located
from gesso.engine.runlog import Record, read_log
from gesso.engine.runs import LOG, METRICS, read_environment, read_recipe
from gesso.errors import INTERRUPTED, DivergenceError, UsageError
from gesso.files import disk_errors, write_atomically
from gesso.models import MODELS
from gesso.models.base import Model
from gesso.progress import Say
from gesso.recipe import Recipe, TranslationRecipe, differences

STUDY = "converge.json"


@dataclass(frozen=True)
class Criterion:
    """When a seed has converged: its losses are finite to the end, and one of these holds.

    A score reaches a bound; or, where `baseline` is named, a score beats that of the baseline in every direction in
    which both are scored; or neither is named, and finite losses are all that is asked.
    """

    score: str = ""
    at_least: float = -math.inf
    at_most: float = math.inf
    baseline: str = ""

    def __str__(self) -> str:
        if self.baseline:
            return f"finite losses, and {self.score} better than the baseline `{self.baseline}`"
        if not self.score:
            return "finite losses to the end; nothing else is asked, name a score with --score"
        bound = f"at least {self.at_least:g}" if math.isfinite(self.at_least) else f"at most {self.at_most:g}"
        return f"finite losses, and {self.score} {bound}"


@dataclass(frozen=True)
class Seed:
    """What a training left."""

    seed: int
    losses: dict[str, float]
    """Of each loss the mean over the last epoch; of a run that diverged, over the last that was logged."""
    scores: dict[str, float]
    """The best checkpoint's on the held-out split; none where the run diverged or nothing is scored."""
    converged: bool


@dataclass
class Study:
    """What is to be trained, and what came of it; filled as seeds end."""

    recipe: Recipe
    """With the first seed."""
    folder: Path
    words: Sequence[str]
    """`gesso train` and all that makes the recipe, without seed and folder."""
    criterion: Criterion
    count: int
    devices: int = 1
    machine: str = ""
    """Empty: a fingerprint."""
    seeds: list[Seed] = field(default_factory=list)


def default_criterion(recipe: Recipe) -> Criterion:
    """What a recipe's kind of model can state of itself without a number that somebody chose.

    A translator that learns from pairs does better in L1 than the best constant picture, one that learns without them
    better than its input copied; a classifier better than always naming the most frequent class. The distances of
    generators have no baseline that is to be beaten.
    """
    if isinstance(recipe, TranslationRecipe):
        return Criterion(score="L1", baseline=MEAN if recipe.aligned else COPIED)
    return Criterion(score="top1", baseline=MOST_FREQUENT) if recipe.kind == "classifier" else Criterion()


def run_study(study: Study, add: Callable[[Result], object], say: Say) -> None:
    """Train every seed that is not finished; `add` gets a result for each, in order, unless the study was begun with
    another criterion.

    UsageError where a folder holds other runs, or where there is no such score. SystemExit where a training fails, for
    the reason that it has said itself.
    """
    begun = _begun(study)
    kept = begun["criterion"] == str(study.criterion)
    if not kept:
        say(f"{study.folder} was begun with another criterion ({begun['criterion']}): this is shown, but not kept")
    gmacs = _gmacs(study.recipe)
    for number in range(study.count):
        seed = study.recipe.seed + number
        run = study.folder / f"seed-{seed}"
        diverged = False
        if not is_finished(run, replace(study.recipe, seed=seed)):
            diverged = _train(study, seed, run.name)
        found = read_seed(run, seed, study, diverged)
        study.seeds.append(found)
        if kept:
            add(_result(study, found, run, begun, gmacs))
        how = "converged" if found.converged else "diverged" if diverged else "did not converge"
        scores = "".join(f", {name} {digits(value, 3)}" for name, value in found.scores.items())
        say(f"[{number + 1}/{study.count}] seed {seed}: {how}{scores}")


def is_finished(run: Path, recipe: Recipe) -> bool:
    """Whether the folder holds a finished training of `recipe`. UsageError where it is one of another."""
    if not (run / METRICS).exists():
        return False
    if changed := differences(anchored(located(recipe)), read_recipe(run)):
        raise UsageError(f"{run} was trained by another recipe: {', '.join(changed[:3])}; name this study with --name")
    records = read_log(run / LOG)
    losses = [record for record in records if record["kind"] == "loss"]
    return records[-1]["kind"] == "finish" and bool(losses) and losses[-1]["epoch"] >= recipe.epochs - 1e-9


def read_seed(run: Path, seed: int, study: Study, diverged: bool) -> Seed:
    """What the training in folder `run` left. UsageError where it was not given the score that is asked for."""
    losses = last_epoch(read_log(run / LOG))
    metrics = {} if diverged else json.loads((run / METRICS).read_text())
    rows: list[Row] = metrics.get("rows", [])
    better: dict[str, str] = metrics.get("better", {})
    finite = bool(losses) and all(map(math.isfinite, losses.values()))
    converged = not diverged and finite and is_met(study.criterion, rows, better)
    return Seed(seed, losses, scores_of(rows, OURS), converged)


def last_epoch(records: Sequence[Record]) -> dict[str, float]:
    """Of each loss the mean over the last epoch in a log: its lines, weighted by the images that each is a mean of.

    The last epoch is as many images as an epoch has, up to the end. A line that reaches into them counts where most of
    its images are among them.
    """
    lines: list[tuple[int, Record]] = []
    before = 0
    for record in records:
        if record["kind"] == "loss":
            lines.append((before, record))
        if record["kind"] in ("loss", "start", "resume"):
            before = record["images"]
    if not lines:
        return {}
    newest = lines[-1][1]
    begin = newest["images"] - newest["images"] / newest["epoch"]
    chosen = [(first, line) for first, line in lines if (first + line["images"]) / 2 > begin] or lines[-1:]
    weights = np.array([line["images"] - first for first, line in chosen])
    means = {name: [line["losses"].get(name, math.nan) for _, line in chosen] for name in newest["losses"]}
    return {name: float(np.average(values, weights=weights)) for name, values in means.items()}


def scores_of(rows: Sequence[Row], method: str) -> dict[str, float]:
    """The scores of one method, such as {"AtoB/L1": 0.1}."""
    return {
        f"{row['direction']}/{name}" if row["direction"] else name: value
        for row in rows
        if row["method"] == method
        for name, value in row.items()
        if name not in ("direction", "method")
    }


def is_met(criterion: Criterion, rows: Sequence[Row], better: dict[str, str]) -> bool:
    """Whether the scores in `rows` are what is asked for; `better` says of each score which is: higher or lower.

    Where nothing is scored that a baseline has too, it is met. UsageError where a named score is not there.
    """
    ours = scores_of(rows, OURS)
    if criterion.baseline:
        theirs = scores_of(rows, criterion.baseline)
        asked = [name for name in ours.keys() & theirs.keys() if name.rpartition("/")[2] == criterion.score]
        return all(ours[n] > theirs[n] if better[n] == "higher" else ours[n] < theirs[n] for n in asked)
    if not criterion.score:
        return True
    named = next((name for name in ours if name.lower() == criterion.score.lower()), None)
    if named is None:
        raise UsageError(f"--score {criterion.score}: not scored here; there are {', '.join(ours) or 'no scores'}")
    return criterion.at_least <= ours[named] <= criterion.at_most


def table(study: Study) -> list[str]:
    """A line for each seed and one for their mean, and how many converged."""
    names = {group: list(dict.fromkeys(n for s in study.seeds for n in getattr(s, group))) for group in GROUPS}
    header = ["seed", "converged", *names["losses"], *names["scores"]]

    def cells(held: Sequence[Seed]) -> list[str]:
        groups = [(group, name) for group in GROUPS for name in names[group]]
        there = [[getattr(s, group)[name] for s in held if name in getattr(s, group)] for group, name in groups]
        return [digits(sum(values) / len(values), 4) if values else "" for values in there]

    rows = [[str(s.seed), "yes" if s.converged else "no", *cells([s])] for s in study.seeds]
    met = sum(s.converged for s in study.seeds)
    mean = [["mean", "", *cells(study.seeds)]] if len(study.seeds) > 1 else []
    return [*aligned(header, rows + mean), "", f"{met} of {len(study.seeds)} seeds converged: {study.criterion}"]


GROUPS = ("losses", "scores")


def _train(study: Study, seed: int, name: str) -> bool:
    """Train one seed, or go on with it. Whether it diverged for good."""
    where = ["--seed", str(seed), "--runs", str(study.folder), "--name", name, "--devices", str(study.devices)]
    code = fresh.run_python(["-m", "gesso", *study.words, *where], study.folder / f"{name}.txt")
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code == DivergenceError.exit_code:
        return True
    if code:
        raise SystemExit(code if code > 0 else 1)
    return False


def _begun(study: Study) -> dict[str, str]:
    """What the study's folder keeps from its first call: its "run_id", its "criterion" and its variant; studies of an
    older gesso have no variant."""
    path = study.folder / STUDY
    with disk_errors(study.folder):
        study.folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        variant = variant_of(study.recipe.recipe, study.recipe.to_json())
        begun = {"run_id": new_run_id(), "criterion": str(study.criterion), VARIANT: variant}
        write_atomically(path, json.dumps(begun) + "\n")
    try:
        held = json.loads(path.read_text())
        return {name: str(held[name]) for name in ("run_id", "criterion", *([VARIANT] if VARIANT in held else []))}
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: cannot be read; remove it, or name this study with --name") from None


def _gmacs(recipe: Recipe) -> float:
    """Of a training step, for one image."""
    model: Model = MODELS[recipe.model](located(recipe))
    return step_flops(model) / 2e9


def _result(study: Study, found: Seed, run: Path, begun: dict[str, str], gmacs: float) -> Result:
    environment: dict[str, Any] = read_environment(run)
    choices = environment.get("choices", {})
    device = torch.device(environment.get("device", choose_device(study.recipe.device).value))
    began = read_log(run / LOG)[0]["time"]
    metrics = {"seed": float(found.seed), "converged": float(found.converged), "gmacs": gmacs}
    metrics |= {f"loss/{name}": value for name, value in found.losses.items()}
    metrics |= {f"score/{name}": value for name, value in found.scores.items()}
    return Result(
        kind="converge",
        recipe=study.recipe.recipe,
        model=study.recipe.model,
        mode="train",
        data="real",
        batch_size=study.recipe.batch_size,
        devices=study.devices,
        precision=choices.get("precision", {}).get("value", study.recipe.precision),
        compiled=choices.get("compile", {}).get("value") == "True",
        device=kind_of(device),
        device_name=facts(device).describe(device),
        machine=study.machine or fingerprint(device),
        version=environment.get("gesso", "unknown"),
        commit=environment.get("commit", ""),
        started=datetime.fromtimestamp(began, UTC).isoformat(),
        run_id=begun["run_id"],
        recipe_json=read_recipe(run).to_json(),
        environment={**environment, **{name: begun[name] for name in ("criterion", VARIANT) if name in begun}},
        metrics=metrics,
    )
