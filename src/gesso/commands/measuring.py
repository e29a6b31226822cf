"""The commands by which the bench measures: run, converge, suite."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gesso.commands.flags import BatchSize, DataRoot, Flag
from gesso.errors import UsageError, perhaps
from gesso.parsing import parse
from gesso.recipe import Precision, Recipe
from gesso.recipes import RECIPES

if TYPE_CHECKING:
    from gesso.bench.running import Asked

Named = Annotated[
    tyro.conf.Positional[tuple[str, ...]], Flag(metavar="RECIPE [RECIPE …]", help_behavior_hint="(required)")
]
One = Annotated[tyro.conf.Positional[str], Flag(metavar="RECIPE")]
Precisions = Annotated[tuple[Precision, ...], Flag(aliases=("-d",))]
Compilation = Literal["on", "off", "both"]


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
        database: str = "",
    ) -> tuple[Any, ...]:
        """Time the steps of recipes, on tensors that are there already and on a data set, and keep every result.

        Flags of `gesso train` for the recipes themselves stand behind --, as in
        gesso bench run pix2pix -b 4 -- --generator.ngf 32

        Args:
            recipes: Recipes of `gesso train`.
            batch_size: Images a step of each process; 0 is the recipe's.
            precision: One or several of auto, fp32, tf32, bf16: arithmetic of the networks.
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
            database: postgresql://user@host/name or an SQLite file; without, bench.sqlite3 in the user's data folder.
        """
        return locals()

    own, theirs = split(arguments)
    values = parse(form, own, "bench run", "gesso bench run pix2pix -b 4 --precision fp32 bf16 --compile off")
    positive = {"--steps": values["steps"], "--warmup": values["warmup"], "--repeats": values["repeats"]}
    for name, value in positive.items():
        if value < 1:
            raise UsageError(f"{name} {value}: must be 1 or more")
    if values["price_per_hour"] < 0:
        raise UsageError(f"--price-per-hour {values['price_per_hour']:g}: must be 0 or more")
    if not values["recipes"]:
        raise UsageError(f"bench run: name a recipe; there are {', '.join(RECIPES)}")
    changes = {"batch_size": values["batch_size"]} if values["batch_size"] else {}
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
    import os

    from gesso.bench.reporting import as_text
    from gesso.bench.results import open_results
    from gesso.bench.running import Measured, jobs_of
    from gesso.bench.running import run as run_jobs
    from gesso.launching import starts
    from gesso.processes import place
    from gesso.progress import say

    if place(os.environ).size > 1:
        raise UsageError("bench: it starts its processes itself; call it once, with --devices")
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
    recipe = RECIPES[name]()
    if flags:
        recipe = parse(type(recipe), flags, f"train {name}", f"gesso {command} {name} -- --seed 1", recipe)
    import dataclasses

    return dataclasses.replace(recipe, **changes)
