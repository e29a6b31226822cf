"""The first 20 losses of every recipe at toy size, against those in pinned_losses.json.

A change that was meant to be without effect (a refactoring, another order of operations, a faster layer) must not
move them; one that changes the mathematics does, and then says so by writing them anew:

    python tests/test_losses_pinned.py --write

Why in float64: another CPU or another release of PyTorch rounds differently, and a GAN amplifies each difference
at every step. Measured with the convolutions of another library (oneDNN off), CycleGAN's losses in float32 agree to
1e-7 at the first step and to 5 % at the twentieth, which is as much as a learning rate that is off by a twentieth
moves them: no tolerance would tell the two apart. In float64, initial weights that differ by 1e-12 moved no loss of
any recipe by more than 4e-7, so rounding (1e-16) ends near 1e-10, while every change in `test_the_pins_see` moved
one by more than 1e-2. RTOL lies between. The networks, the losses and the loop are the same code in both; only the
numbers that flow through are wider.

Kept of a recipe is everything that a step goes through: networks and their kinds, norms, dropout, losses, their
weights and order, learning rates, batch size, the schedule (scaled to the 20 steps, warm-up and decay included) and
the pools (shrunk, so that they fill and swap).
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import toy, write_classes, write_pairs
from gesso.data import batches, samples
from gesso.engine.judging import images
from gesso.engine.runlog import read_log
from gesso.engine.train import train
from gesso.recipe import Checkpoints, Recipe, Tracking
from gesso.recipes import RECIPES

PINS = Path(__file__).with_name("pinned_losses.json")
STEPS, IMAGES = 20, 4
RTOL = 1e-6
"""Also the precision of float32, in which the log sums losses up."""

Losses = dict[str, list[float]]


@contextmanager
def float64() -> Iterator[None]:
    """Networks and images in float64 instead of float32; one thread."""
    real = batches.normalize

    def normalize(samples: Tensor) -> Tensor:
        return real(samples).double()

    with pytest.MonkeyPatch.context() as patch:
        for module in (batches, samples, images):
            patch.setattr(module, "normalize", normalize)
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def pinned_recipe(name: str, root: Path) -> Any:
    """Recipe `name` with its own choices, at toy size, 20 steps long."""
    own: Any = RECIPES[name]()
    epochs = STEPS * own.batch_size / IMAGES
    schedule, shrink = own.schedule, epochs / own.epochs
    changes: dict[str, Any] = {}
    if own.kind == "translator":
        changes["loss"] = dataclasses.replace(own.loss, pool_size=min(own.loss.pool_size, 3))
    unscored = {"metrics": ()} if own.model == "dcgan" else {}
    small = toy(
        name,
        root,
        batch_size=own.batch_size,
        epochs=epochs,
        schedule=dataclasses.replace(
            schedule,
            delay=schedule.delay * shrink if schedule.delay >= 0 else schedule.delay,
            warmup_epochs=schedule.warmup_epochs * shrink,
        ),
        **changes,
        checkpoints=Checkpoints(every=epochs, best="none"),
        evaluation=dataclasses.replace(own.evaluation, every=0, **unscored),
        tracking=Tracking(log_every=1, sheet_every=0, sheet_images=1, trackers=()),
    )
    data = dataclasses.replace(small.data, train_subset=IMAGES, cache_dir=str(root.parent / "cache"))
    # Once more the size of the batch: in a student's toy, a recipe's own means the teacher's.
    return dataclasses.replace(small, data=data, batch_size=own.batch_size)


def losses_of(recipe: Recipe, runs: Path) -> Losses:
    """Every named loss at each of the 20 steps, as the loop logs it."""
    with float64():
        run = train(recipe, runs=runs, name=recipe.recipe).path
    steps = [record["losses"] for record in read_log(run / "log.jsonl") if record["kind"] == "loss"]
    return {name: [step[name] for step in steps] for name in steps[0]}


def moved(ours: Losses, pinned: Losses) -> float:
    """The largest relative difference between two sets of losses."""
    assert ours.keys() == pinned.keys()
    pairs = [pair for name in pinned for pair in zip(ours[name], pinned[name], strict=True)]
    assert len(pairs) == STEPS * len(pinned)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def pins() -> dict[str, Losses]:
    return json.loads(PINS.read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_losses_are_those_that_were_pinned(name: str, pairs: Path, classes: Path, tmp_path: Path) -> None:
    recipe = pinned_recipe(name, classes if RECIPES[name]().model == "densenet" else pairs)
    assert name in pins(), f"recipe {name} has no pinned losses yet: python {Path(__file__).name} --write"
    if recipe.model == "pix2pix" and recipe.generator.dropout and not torch.backends.mkl.is_available():
        pytest.skip("without MKL, dropout draws other random numbers")
    difference = moved(losses_of(recipe, tmp_path), pins()[name])
    assert difference < RTOL, (
        f"losses of {name} moved by {difference:.1e}; meant so? python {Path(__file__).name} --write"
    )


def test_every_pin_is_of_a_recipe() -> None:
    assert pins().keys() == RECIPES.keys()


CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a second moment that forgets faster": ("optimizer", lambda r: {"beta2": 0.9985}),
    "a steeper leak": ("discriminator", lambda r: {"slope": 0.2002}),
    "the other order of updates": ("loss", lambda r: {"order": "DG"}),
    "decay by the step": ("schedule", lambda r: {"granularity": "step"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_pins_see(change: str, pairs: Path, tmp_path: Path) -> None:
    recipe = pinned_recipe("cyclegan", pairs)
    part, edit = CHANGES[change]
    before = getattr(recipe, part)
    changed = dataclasses.replace(recipe, **{part: dataclasses.replace(before, **edit(before))})
    assert moved(losses_of(changed, tmp_path), pins()["cyclegan"]) > 100 * RTOL


def write() -> None:
    """Pin the losses of every recipe as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        root = write_pairs(Path(folder) / "pairs", {"train": 24, "val": 4, "test": 4})
        classes = write_classes(Path(folder) / "classes")
        pinned = {
            name: losses_of(pinned_recipe(name, classes if RECIPES[name]().model == "densenet" else root), Path(folder))
            for name in RECIPES
        }
    rows = [
        f'  "{name}": {{\n'
        + ",\n".join(
            f'    "{loss}": {json.dumps([float(f"{v:.8g}") for v in values])}' for loss, values in losses.items()
        )
        + "\n  }"
        for name, losses in pinned.items()
    ]
    PINS.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: python {sys.argv[0]} --write")
    write()
