"""Whether a run that is disturbed on its way comes to the score of one that is not, with the guard and without it.

    python benchmarks/recovery.py
    python benchmarks/recovery.py --recipe cyclegan-demo --epochs 5 --disturbance nan --guard on

Disturbances: `nan` puts a number that is none into the gradients of one update in a hundred, drawn at random; `rate`
multiplies the learning rates by a hundred for forty steps, a quarter of the way in; `none` is the run itself. Each is
counted in steps that were taken, so a run that goes back does not meet the same one again. Told are the scores of the
last checkpoint on the held-out split (the best one may be from before), and what the log says of the guard.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gesso.engine import train as training
from gesso.engine.runlog import read_log
from gesso.engine.runs import LOG, METRICS
from gesso.errors import DivergenceError
from gesso.models.base import Loss, Model
from gesso.recipe import Guard
from gesso.recipes import RECIPES

SHARE, FACTOR, STEPS = 0.01, 100.0, 40


def inject_nan() -> None:
    """One update in a hundred finds a number in its gradients that is none, before the guard looks at them."""
    generator, plain = np.random.default_rng(1), Model.descend

    def descend(self: Model, optimizer: str, losses: Iterable[Loss], clip_norm: float = 0.0) -> dict[str, Tensor]:
        share = self.share_gradients

        def spoil(gradients: list[Tensor]) -> None:
            share(gradients)
            if generator.random() < SHARE:
                gradients[int(generator.integers(len(gradients)))].view(-1)[0] = torch.nan

        self.share_gradients = spoil
        told = plain(self, optimizer, losses, clip_norm)
        self.share_gradients = share
        return told

    Model.descend = descend  # type: ignore[method-assign]


def raise_rates(first: int) -> None:
    """From the `first` step on, `STEPS` at `FACTOR` times the rate."""
    plain, taken = training.rate, iter(range(10**9))

    def rate(*given: Any) -> float:
        return plain(*given) * (FACTOR if first <= next(taken) < first + STEPS else 1)

    training.rate = rate  # type: ignore[attr-defined]


def one(name: str, disturbance: str, guarded: bool, seed: int, epochs: float) -> None:
    """Train in this process, and print what came of it."""
    recipe = RECIPES[name]()
    recipe = dataclasses.replace(recipe, epochs=epochs or recipe.epochs)
    last = dataclasses.replace(recipe.checkpoints, best="none")
    recipe = dataclasses.replace(recipe, seed=seed, guard=Guard(enabled=guarded), checkpoints=last)
    if disturbance == "nan":
        inject_nan()
    if disturbance == "rate":
        data: Any = recipe.data
        raise_rates(round(recipe.epochs * data.train_subset / recipe.batch_size / 4))
    with tempfile.TemporaryDirectory() as runs:
        try:
            training.train(recipe, runs=runs, name="run")
            rows = json.loads((Path(runs) / "run" / METRICS).read_text())["rows"]
            for row in rows:
                numbers = ", ".join(f"{score} {row[score]:.4f}" for score in ("L1", "PSNR", "SSIM"))
                print(f"  {row['direction']} {row['method']:12}  {numbers}")
        except DivergenceError as error:
            print(f"  stopped: {error}")
        notes = [record["text"] for record in read_log(Path(runs) / "run" / LOG) if record["kind"] == "note"]
        discarded = sum("discarded," in note for note in notes)
        print(f"  steps discarded: {discarded}")
        for note in notes:
            if note.startswith("diverged"):
                print(f"  {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["pix2pix-demo", "cyclegan-demo"])
    parser.add_argument("--disturbance", nargs="+", choices=("none", "nan", "rate"), default=["nan", "rate"])
    parser.add_argument("--guard", nargs="+", choices=("on", "off"), default=["on", "off"])
    parser.add_argument("--epochs", type=float, default=0, help="0: the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.recipe[0], options.disturbance[0], options.guard == ["on"], options.seed, options.epochs)
    for name in options.recipe:
        for disturbance in options.disturbance:
            for guard in options.guard:
                print(f"{name}, disturbance {disturbance}, guard {guard}", flush=True)
                words = ["--one", "--recipe", name, "--disturbance", disturbance, "--guard", guard]
                words += ["--seed", str(options.seed), "--epochs", str(options.epochs)]
                done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
                told = [line for line in done.stdout.splitlines() if line.startswith("  ")]
                print(
                    "\n".join(told) if done.returncode == 0 else f"  failed: {done.stderr.splitlines()[-1]}", flush=True
                )


if __name__ == "__main__":
    main()
