"""What the divergence guard costs, and how far healthy runs stay from its limits.

    python benchmarks/guard.py
    python benchmarks/guard.py --steps 20 --healthy 100

Costs: steps with and without the guard are taken in turn, the same step on the same batch, and a ratio is given from
their medians. Limits: the four demos are trained for a while, and the highest that a gradient's norm or a loss stood
above what was the highest of late is told; the guard acts at 100 times.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gesso.engine import guard as guarding
from gesso.engine.guard import FAR, LOOK, SETTLING, Guard
from gesso.engine.launch import choose, prepare
from gesso.engine.train import train
from gesso.models import build_model
from gesso.processes import ALONE
from gesso.recipe import ClassData, Recipe
from gesso.recipe import Guard as Limits
from gesso.recipes import RECIPES


def cost(name: str, recipe: Recipe, batch: dict[str, torch.Tensor], steps: int) -> None:
    model = build_model(recipe)
    model.initialize(0)
    choices = choose(recipe, model, 1, {})
    prepare(model, None, choices, train=True)
    device, rng = choices.device.value, np.random.default_rng(0)
    on_device = {role: value.to(device) for role, value in batch.items()}
    free = model.inspect
    guard = Guard(Limits(), model, ALONE)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for i in range(steps + 2):
        for which, inspect in (("with", guard.inspect), ("without", free)):
            model.inspect = inspect
            for optimizer in model.optimizers.values():
                optimizer.found_inf = None  # type: ignore[attr-defined]
            start = time.perf_counter()
            losses = model.train_step(on_device, rng)
            if which == "with":
                guard.watch(losses)
                guard.look()
            if i >= 2:
                seconds[which].append(time.perf_counter() - start)
    ours, plain = (statistics.median(seconds[which]) for which in ("with", "without"))
    ratios = [a / b for a, b in zip(seconds["with"], seconds["without"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"{name}: {ours * 1e3:.1f} ms with, {plain * 1e3:.1f} ms without: {(ours / plain - 1) * 100:+.2f} % "
        f"(quartiles of the pairs {(low - 1) * 100:+.2f} to {(high - 1) * 100:+.2f} %)"
    )


def measured_costs(steps: int) -> None:
    def images(n: int, side: int) -> torch.Tensor:
        return torch.rand(n, 3, side, side) * 2 - 1

    cyclegan = RECIPES["cyclegan"]()
    half = dataclasses.replace(cyclegan.generator, ngf=32)  # type: ignore[attr-defined]
    cyclegan = dataclasses.replace(cyclegan, generator=half)  # type: ignore[call-arg]
    cost("cyclegan, 128 px, ngf 32, batch 1", cyclegan, {"A": images(1, 128), "B": images(1, 128)}, steps)
    cost("pix2pix, 256 px, batch 1", RECIPES["pix2pix"](), {"A": images(1, 256), "B": images(1, 256)}, steps)
    cost("dcgan, 64 px, batch 64", RECIPES["dcgan"](), {"image": images(64, 64)}, steps)
    densenet = dataclasses.replace(RECIPES["densenet121"](), data=ClassData(synthetic=True, classes=100))  # type: ignore[call-arg]
    densenet = dataclasses.replace(densenet, data=dataclasses.replace(densenet.data, names=tuple(map(str, range(100)))))
    batch = {"image": images(16, 128), "label": torch.randint(0, 100, (16,))}
    cost("densenet121, 128 px, batch 16", densenet, batch, steps)


INSPECT, FAULT = Guard.inspect, Guard._fault


def telling(highest: dict[str, float]) -> tuple[Any, Any]:
    """The guard's two methods that judge, which also keep in `highest` how far above the past anything stood."""
    counts: dict[str, int] = {}

    def inspect(self: Guard, name: str, optimizer: torch.optim.Optimizer, gradients: Sequence[torch.Tensor]) -> None:
        before = float(self._highest[name])
        counts[name] = counts.get(name, 0) + 1
        INSPECT(self, name, optimizer, gradients)
        if counts[name] > SETTLING:
            highest["gradients"] = max(highest["gradients"], float(self._parts[name][0]) / before)

    def fault(self: Guard, seen: guarding.Seen, values: list[float]) -> guarding.Fault | None:
        memory = self._memory
        if memory.steps > SETTLING:
            losses = zip(seen.losses, values[2 * len(seen.optimizers) : -1], strict=True)
            ratios = [abs(value) / memory.highest[loss] for loss, value in losses if memory.highest.get(loss)]
            highest["losses"] = max(highest["losses"], *ratios)
        return FAULT(self, seen, values)

    return inspect, fault


def measured_limits(steps: int) -> None:
    for name in ("pix2pix-demo", "cyclegan-demo", "dcgan-demo", "densenet-demo"):
        made = RECIPES[name]()
        data = dataclasses.replace(made.data, train_subset=200, evaluate_subset=8)
        recipe = dataclasses.replace(
            made,
            data=data,
            epochs=steps * made.batch_size / 200,
            evaluation=dataclasses.replace(made.evaluation, every=0),
            tracking=dataclasses.replace(made.tracking, trackers=(), log_every=10**9),
        )
        highest = {"gradients": 0.0, "losses": 0.0}

        Guard.inspect, Guard._fault = telling(highest)  # type: ignore[method-assign]
        try:
            with tempfile.TemporaryDirectory() as runs:
                train(recipe, runs=runs, name="run")
        finally:
            Guard.inspect, Guard._fault = INSPECT, FAULT  # type: ignore[method-assign]
        print(
            f"{name}, {steps} steps: gradients up to {highest['gradients']:.2f}, losses up to {highest['losses']:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--healthy", type=int, default=400, help="steps of each demo")
    chosen = parser.parse_args()
    print(f"the guard looks every {LOOK} steps and acts at {FAR:.0f} times the highest of late")
    measured_costs(chosen.steps)
    measured_limits(chosen.healthy)


if __name__ == "__main__":
    main()
