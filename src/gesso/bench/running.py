"""From what was asked for to rows in the database: the jobs, each measured in fresh processes, kept as soon as it is
known.

Repeat runs go round all jobs, A B C A B C, so that a machine whose speed drifts slows all of them and shows its drift
as noise between the runs.
"""

import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gesso.bench import fresh, worker
from gesso.bench.machine import fingerprint
from gesso.bench.measuring import Job
from gesso.bench.results import MODES, Result, Results, new_run_id
from gesso.devices import choose_device, choose_precision, facts
from gesso.engine.feeding import open_feed
from gesso.engine.locating import located
from gesso.engine.runs import source_commit
from gesso.errors import INTERRUPTED, UsageError
from gesso.models import build_model
from gesso.progress import Say
from gesso.recipe import ClassData, Precision, Recipe

CLASSES = 1000
"""Of a classifier without a data set: as many as ImageNet has."""


@dataclass(frozen=True)
class Asked:
    """What is to be measured: every combination of these, as far as it has a meaning."""

    recipes: Sequence[Recipe]
    """With batch size, device and data set."""
    precisions: Sequence[Precision] = ("auto",)
    compile: Literal["on", "off", "both"] = "off"
    mode: Literal["train", "forward", "both"] = "both"
    devices: int = 1
    steps: int = 50
    warmup: int = 10
    price_per_hour: float = 0.0
    machine: str = ""
    """Empty: a fingerprint."""


@dataclass
class Measured:
    """What came of the jobs; filled as they are run."""

    results: list[Result] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What could not be measured and why, in a line each."""


def jobs_of(asked: Asked, say: Say) -> list[Job]:
    """A job for each row; `say` hears what is left out. A GessoError where what is asked for cannot be, or where a data
    set is not one to train on: that is looked at here, not after other rows were measured."""
    run_id, commit = new_run_id(), source_commit()
    jobs = []
    for named in asked.recipes:
        recipe = _with_data(named.checked())
        device = choose_device(recipe.device).value
        machine = asked.machine or fingerprint(device)
        if any("real" in _data(recipe, mode) for mode in _modes(asked)):
            open_feed(build_model(recipe), say)
        for precision in dict.fromkeys(choose_precision(each, device).value for each in asked.precisions):
            for compiled in _compilations(asked.compile, recipe, say):
                for mode in _modes(asked):
                    for data in _data(recipe, mode):
                        measured = replace(recipe, precision=precision, compile=compiled)  # type: ignore[arg-type]
                        jobs.append(
                            Job(
                                recipe=measured.checked(),
                                mode=mode,
                                data=data,
                                devices=asked.devices,
                                steps=asked.steps,
                                warmup=asked.warmup,
                                price_per_hour=asked.price_per_hour,
                                machine=machine,
                                commit=commit,
                                run_id=run_id,
                            )
                        )
    return jobs


def _modes(asked: Asked) -> tuple[str, ...]:
    return MODES if asked.mode == "both" else (asked.mode,)


def _with_data(recipe: Recipe) -> Recipe:
    """`recipe` with the place and the classes of its data set; where it has none, with classes to tell apart."""
    if recipe.data.root:
        return located(recipe)
    data = recipe.data
    if isinstance(data, ClassData) and not data.class_names:
        return replace(recipe, data=replace(data, classes=CLASSES))
    return recipe


def _compilations(asked: str, recipe: Recipe, say: Say) -> Iterator[Literal["off", "on"]]:
    """Eager first. UsageError where compiled alone was asked for and cannot be."""
    if asked in ("off", "both"):
        yield "off"
    if asked == "off":
        return
    compiler = facts(choose_device(recipe.device).value).compiler()
    reason = "" if compiler.value else compiler.reason
    if asked == "both" and not reason:
        reason = build_model(recipe).uncompilable
    if not reason:
        yield "on"
    elif asked == "on":
        raise UsageError(f"--compile on: {reason}")
    else:
        say(f"{recipe.recipe}: not measured compiled: {reason}")


def _data(recipe: Recipe, mode: str) -> Iterator[str]:
    """What a mode can be measured on."""
    yield "synthetic"
    drawn = isinstance(recipe.data, ClassData) and recipe.data.synthetic
    from_noise = recipe.kind == "generator" and mode == "forward"
    if recipe.data.root and not drawn and not from_noise:
        yield "real"


def run(jobs: Sequence[Job], repeats: int, results: Results, say: Say, measured: Measured) -> None:
    """Measure every job `repeats` times, and add each result to `results` at once.

    What fails for want of memory, or because its process was killed, is named and not tried again; the others go on. A
    GessoError where flags or data are wrong. `measured` is filled as they come, so that an interrupt leaves it whole.
    """
    failed: set[Job] = set()
    for number, job in enumerate([*jobs] * repeats, start=1):
        if job in failed:
            continue
        title = f"[{number}/{len(jobs) * repeats}] {job.configuration.label}"
        outcome = _measured(job)
        if isinstance(outcome, str):
            failed.add(job)
            measured.failed.append(f"{job.configuration.label}: {outcome}")
            say(f"{title}: {outcome}")
            continue
        results.add([outcome])
        measured.results.append(outcome)
        rate, step = outcome.metrics["samples_per_second"], outcome.metrics["ms_median"]
        say(f"{title}: {rate:.4g} images/s, {step:.4g} ms a step")


def _measured(job: Job) -> Result | str:
    """The result of a job in a process of its own, or why there is none."""
    with tempfile.TemporaryDirectory(prefix="gesso-bench-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(job.to_json())
        code = fresh.run_python(["-m", worker.MODULE, str(path)])
        if (error := path.with_suffix(worker.ERROR)).exists():
            raise UsageError(error.read_text())
        if path.with_suffix(worker.MEMORY).exists():
            return f"out of memory; use a smaller {job.recipe.smaller}"
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if (result := path.with_suffix(worker.RESULT)).exists():
            return Result.from_json(result.read_text())
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return "its process failed, for the reason above"


def with_root(recipe: Recipe, root: str) -> Recipe:
    """`recipe` on the data set at `root`: its own where that is empty, none where it is "synthetic"."""
    if not root:
        return recipe
    return replace(recipe, data=replace(recipe.data, root="" if root == "synthetic" else root))
