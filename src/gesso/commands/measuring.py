"""The commands by which the bench measures: run, converge, suite."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gesso.commands.flags import Arithmetic, BatchSize, Database, DataRoot, Flag, defaults_of
from gesso.errors import GessoError, UsageError, perhaps
from gesso.parsing import parse
from gesso.recipe import Precision, Recipe
from gesso.recipes import RECIPES

if TYPE_CHECKING:
    from gesso.bench.results import Result
    from gesso.bench.running import Asked

Named = Annotated[
    tyro.conf.Positional[tuple[str, ...]], Flag(metavar="RECIPE [RECIPE …]", help_behavior_hint="(required)")
]
Suite = Annotated[tyro.conf.Positional[Literal["origins"]], Flag(metavar="SUITE")]
One = Annotated[tyro.conf.Positional[str], Flag(metavar="RECIPE")]
Precisions = Annotated[tuple[Precision, ...], Flag(aliases=("-d",))]
Compilation = Literal["on", "off", "both"]
UNSET = {"price_per_hour": 0.0, "machine": "", "database": ""}
"""The values of flags that ask for nothing. The commands of a suite have all others, for their own defaults may differ
from the suite's."""


def run(arguments: Sequence[str]) -> int:
    """Measure how fast recipes train and predict, and keep it in the database."""

    def form(
        recipes: Named,
        *,
        batch_size: BatchSize = 0,
        precision: Precisions = ("auto",),
        compile: Compilation = "both",
        mode: Literal["train", "forward", "both"] = "both",
        devices: int = 1,
        device: str = "auto",
        data_root: DataRoot = "",
        steps: int = 50,
        warmup: int = 10,
        repeats: int = 3,
        price_per_hour: float = 0.0,
        machine: str = "",
        database: Database = "",
    ) -> dict[str, Any]:
        """Time the steps of recipes, on tensors that are there already and on a data set, and keep every result.

        Flags of `gesso train` for the recipes themselves stand behind --, as in
        gesso bench run pix2pix -b 4 -- --generator.ngf 32

        Args:
            recipes: Recipes of `gesso train`.
            batch_size: Images a step of each process; 0 is the recipe's.
            precision: One or several of auto, fp32, tf32, bf16, fp16: arithmetic of the networks.
            compile: Compiled networks, eager ones, or both, one after the other.
            mode: Training steps with their optimizers, predictions, or both.
            devices: Processes of this machine that train together, each on a device of its own.
            device: auto, cpu, cuda, …
            data_root: A data set to measure with too; empty is the recipe's own, synthetic is none.
            steps: Timed steps.
            warmup: Steps before them that do not count.
            repeats: How often all is measured anew, in fresh processes; how these differ is the noise of compare.
            price_per_hour: Of the machine with all its devices, for the cost of a million images.
            machine: Name under which results of this machine are compared; empty makes one of its hardware.
        """
        return locals()

    own, theirs = split(arguments)
    values = parse(form, own, "bench run", "gesso bench run pix2pix -b 4 --precision fp32 bf16 --compile off")
    positive = {"--steps": values["steps"], "--warmup": values["warmup"], "--repeats": values["repeats"]}
    for name, value in positive.items():
        if value < 1:
            raise UsageError(f"{name} {value}: must be 1 or more")
    _check_labels(values["machine"], values["price_per_hour"])
    if not values["recipes"]:
        raise UsageError(f"bench run: name a recipe; there are {', '.join(RECIPES)}")
    changes = {"batch_size": values["batch_size"]} if values["batch_size"] else {}
    _refuse_own(theirs, ("--device", "--precision", "--compile", *(["--batch-size"] if changes else [])))
    recipes = [recipe_of(name, theirs, "bench run", device=values["device"], **changes) for name in values["recipes"]]

    from gesso.bench.running import Asked, with_root

    asked = Asked(
        recipes=[with_root(recipe, values["data_root"]) for recipe in recipes],
        precisions=values["precision"] or ("auto",),
        compile=values["compile"],
        mode=values["mode"],
        devices=values["devices"],
        steps=values["steps"],
        warmup=values["warmup"],
        price_per_hour=values["price_per_hour"],
        machine=values["machine"],
    )
    return _measure(asked, values["repeats"], values["database"])


def _measure(asked: "Asked", repeats: int, database: str) -> int:
    """Measure, and show what was measured, also where it was interrupted. The exit code."""
    from gesso.bench.reporting import as_text
    from gesso.bench.results import open_results
    from gesso.bench.running import Measured, jobs_of
    from gesso.bench.running import run as run_jobs
    from gesso.launching import starts
    from gesso.progress import say

    _refuse_launchers()
    for recipe in asked.recipes:
        starts(asked.devices, 0, recipe.device)
    results, measured = open_results(database), Measured()
    jobs = jobs_of(asked, say)
    try:
        run_jobs(jobs, repeats, results, say, measured)
    finally:
        if measured.results:
            print(as_text(measured.results))
            print(f"\n{results}: {len(measured.results)} results added, run id {jobs[0].run_id}")
    for line in measured.failed:
        print(f"gesso: not measured: {line}", file=sys.stderr)
    return 2 if measured.failed else 0


def converge(arguments: Sequence[str]) -> int:
    """Train a recipe with many seeds: last losses, scores, and how many converged."""

    def form(
        recipe: One,
        *,
        seeds: int = 20,
        batch_size: BatchSize = 0,
        epochs: Annotated[float, Flag(aliases=("-e",))] = 0,
        precision: Arithmetic = "auto",
        devices: int = 1,
        device: str = "auto",
        data_root: DataRoot = "",
        score: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
        fail_below: float = 0.0,
        runs: Path = Path("runs"),
        name: str = "",
        machine: str = "",
        database: Database = "",
    ) -> dict[str, Any]:
        """Train a recipe once for each seed; report the losses of the last epoch, the scores, and who converged.

        The same command again goes on where it stopped; a finished seed is not trained again. Flags of `gesso train`
        stand behind --, as in gesso bench converge pix2pix-demo -- --loss.gan vanilla

        Args:
            recipe: Recipe of `gesso train`.
            seeds: How many: from the recipe's own seed on.
            batch_size: Images a step of each process; 0 is the recipe's.
            epochs: Length of each training; 0 is the recipe's.
            precision: Arithmetic of the networks.
            devices: Processes of this machine that train together, each on a device of its own.
            device: auto, cpu, cuda, …
            data_root: The data set; empty is the recipe's own.
            score: That decides, such as AtoB/L1, with one of the next two. Without: to beat the baseline of the kind.
            at_least: A seed has converged where --score is this or more.
            at_most: A seed has converged where --score is this or less.
            fail_below: Exit code 1 where a smaller share of the seeds than this converged, such as 0.95.
            runs: Folder in which the study's folder lies.
            name: Name of the study's folder; empty means converge-RECIPE.
            machine: Name under which results of this machine are compared; empty makes one of its hardware.
        """
        return locals()

    own, theirs = split(arguments)
    values = parse(form, own, "bench converge", "gesso bench converge pix2pix-demo --seeds 20")
    if values["seeds"] < 1:
        raise UsageError(f"--seeds {values['seeds']}: must be 1 or more")
    if not 0 <= values["fail_below"] <= 1:
        raise UsageError(f"--fail-below {values['fail_below']:g}: must be from 0 to 1, such as 0.95")
    _check_labels(values["machine"])
    _refuse_own(theirs, ("--device", "--precision"))
    _check_bounds(values["score"], values["at_least"], values["at_most"])
    # As words, since each seed is trained by `gesso train` in a process of its own.
    words = [*theirs, "--precision", values["precision"], "--device", values["device"]]
    given = {"--batch-size": values["batch_size"], "--epochs": values["epochs"], "--data.root": values["data_root"]}
    words += [str(word) for flag, value in given.items() if value for word in (flag, value)]
    recipe = recipe_of(values["recipe"], words, "bench converge").checked()

    from gesso.bench.converge import Criterion, Study, default_criterion, run_study, table
    from gesso.bench.results import open_results
    from gesso.launching import starts
    from gesso.progress import say

    _refuse_launchers()
    starts(values["devices"], 0, recipe.device)
    bounds = {name: values[name] for name in ("at_least", "at_most") if values[name] is not None}
    study = Study(
        recipe=recipe,
        folder=values["runs"] / (values["name"] or f"converge-{recipe.recipe}"),
        words=["train", recipe.recipe, *words],
        criterion=Criterion(values["score"], **bounds) if values["score"] else default_criterion(recipe),
        count=values["seeds"],
        devices=values["devices"],
        machine=values["machine"],
    )
    results, added = open_results(values["database"]), 0

    def add(result: "Result") -> None:
        nonlocal added
        added += results.add([result])

    try:
        run_study(study, add, say)
    finally:
        if study.seeds:
            print("\n".join(table(study)))
            print(f"{results}: {added} results added")
    share = sum(seed.converged for seed in study.seeds) / values["seeds"]
    return 1 if share < values["fail_below"] else 0


def _check_labels(machine: str, price: float = 0.0) -> None:
    """UsageError where no result can hold these."""
    if not machine.isprintable():
        raise UsageError(f"--machine {machine!r}: holds characters that cannot be shown")
    if not 0 <= price < math.inf:
        raise UsageError(f"--price-per-hour {price:g}: must be 0 or more")


def _refuse_own(theirs: Sequence[str], own: Sequence[str]) -> None:
    """UsageError where a flag of `own` stands behind --: the bench's own would silently win."""
    for word in theirs:
        if word.partition("=")[0].replace("_", "-") in own:
            raise UsageError(f"{word} stands behind --, but is the bench's own: write it before --")


def _check_bounds(score: str, at_least: float | None, at_most: float | None) -> None:
    """UsageError unless a score has one bound, or there is neither."""
    if not score and (at_least, at_most) != (None, None):
        raise UsageError("--at-least, --at-most: name the score that is meant with --score, such as AtoB/L1")
    if score and (at_least is None) == (at_most is None):
        raise UsageError(f"--score {score}: give it one bound, --at-least or --at-most")


def suite(arguments: Sequence[str]) -> int:
    """Measure a set of configurations: those of gesso's origins."""

    def form(
        suite: Suite,
        *,
        list: bool = False,
        device: str = "auto",
        datasets: Path = Path("datasets"),
        compile: Compilation = "off",
        steps: int = 50,
        warmup: int = 10,
        repeats: int = 3,
        price_per_hour: float = 0.0,
        runs: Path = Path("runs"),
        machine: str = "",
        database: Database = "",
    ) -> dict[str, Any]:
        """Measure the configurations of gesso's five origins, one command each; what this machine cannot run is named.

        Args:
            suite: origins.
            list: Only print the commands.
            device: auto, cpu, cuda, …
            datasets: Folder in which data sets lie by name: horse2zebra, cityscapes, imagenet, msls, facades.
            compile: Compiled networks, eager ones as the origins', or both.
            steps: Timed steps.
            warmup: Steps before them that do not count.
            repeats: How often each is measured anew, in fresh processes.
            price_per_hour: Of the machine with all its devices, for the cost of a million images.
            runs: Folder in which the trainings of convergence lie.
            machine: Name under which results of this machine are compared; empty makes one of its hardware.
        """
        return locals()

    values = parse(form, arguments, "bench suite", "gesso bench suite origins --list")
    from gesso.bench.suite import SUITES, command, obstacle

    entries = SUITES[values["suite"]]
    named = {
        "run": ("compile", "steps", "warmup", "repeats", "price_per_hour", "device", "machine", "database"),
        "converge": ("runs", "device", "machine", "database"),
    }
    flags = {
        name: [
            str(word)
            for field in fields
            if values[field] != UNSET.get(field)
            for word in (f"--{field.replace('_', '-')}", values[field])
        ]
        for name, fields in named.items()
    }
    if values["list"]:
        for entry in entries:
            print(f"# {entry.origin}: {entry.what}\n{command(entry, values['datasets'], flags[entry.command])}")
        return 0
    obstacles = [obstacle(entry, values["device"], values["datasets"]) for entry in entries]
    for entry, reason in zip(entries, obstacles, strict=True):
        if reason:
            print(f"skipped: {entry.origin}, {entry.what}: {reason}")
    worst = 0
    for entry in (entry for entry, reason in zip(entries, obstacles, strict=True) if not reason):
        print(f"{entry.origin}, {entry.what}")
        try:
            code = {"run": run, "converge": converge}[entry.command](
                entry.words(values["datasets"], flags[entry.command])
            )
        except GessoError as error:
            print(f"gesso: {error}", file=sys.stderr)
            code = error.exit_code
        worst = max(worst, code)
    return worst


def _refuse_launchers() -> None:
    """UsageError where a launcher started this process as one of several."""
    import os

    from gesso.processes import place

    if place(os.environ).size > 1:
        raise UsageError("gesso bench starts its processes itself: call it once, with --devices")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before and behind --."""
    words = list(arguments)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def recipe_of(name: str, flags: Sequence[str], command: str, **changes: Any) -> Recipe:
    """Recipe `name` with flags of `gesso train`, then `changes`. UsageError where there is none such."""
    if name not in RECIPES:
        raise UsageError(f"{command} {name}: no such recipe{perhaps(name, RECIPES)}; there are {', '.join(RECIPES)}")
    recipe = defaults_of(name, flags)
    if flags:
        recipe = parse(type(recipe), flags, f"train {name}", f"gesso {command} {name} -- --seed 1", recipe)
    return dataclasses.replace(recipe, **changes)
