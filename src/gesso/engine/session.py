"""A run in memory: everything between its folder and its next step, opened alike for a new run and for a resume."""

import copy
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gesso.data.stream import Stream
from gesso.engine import checkpoint, state
from gesso.engine.average import Average
from gesso.engine.checkpoint import Checkpoint, Weights
from gesso.engine.dumps import Dumper
from gesso.engine.feeding import open_feed
from gesso.engine.finish import Scored
from gesso.engine.guard import Guard
from gesso.engine.judging import Judge, open_judges
from gesso.engine.launch import Choices, choose, prepare
from gesso.engine.remarks import opening_remarks
from gesso.engine.runs import IMPORTED, changed_choices, read_environment, rewrite_choices, write_environment
from gesso.engine.teaching import bring_teacher
from gesso.engine.track import Narrator
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.models.base import Model, Networks
from gesso.processes import World
from gesso.progress import say, tell
from gesso.recipe import ClassificationRecipe, Recipe


@dataclass(frozen=True)
class Start:
    """A run before its first step, on the host."""

    weights: Weights
    model: dict[str, Any]


@dataclass
class Session:
    """A run in memory.

    judge      scores while training
    reporter   scores what is trained: `judge`, or on another split
    images     seen by all processes together
    step       images that all processes together see in a step
    per_epoch  images that count as an epoch
    total      images after which the run is finished
    saved_at   `images` at the last checkpoint, -1 before the first
    best       the best score so far: name, value, images
    returns    times that the run diverged and went back
    in_a_row   how many of them since a checkpoint was further on than the place of the newest
    diverged_at  `images` at that place, -1 where there is none
    initial    what it goes back to before the first checkpoint; None after that
    gone_back_to  `images` at the newest return, -1 before any
    scored     what `judge` has found of the best checkpoint, so that it need not score the same images again
    """

    recipe: Recipe
    run: Path
    world: World
    model: Model
    average: Average | None
    choices: Choices
    judge: Judge
    reporter: Judge
    dumper: Dumper
    guard: Guard
    narrator: Narrator
    batches: Stream[Any]
    images: int
    saved_at: int
    total: int
    per_epoch: int
    best: dict[str, Any]
    returns: int
    initial: Start | None
    began: float
    in_a_row: int = 0
    diverged_at: int = -1
    gone_back_to: int = -1
    scored: Scored | None = None

    @property
    def device(self) -> torch.device:
        return self.choices.device.value

    @property
    def step(self) -> int:
        return self.recipe.batch_size * self.world.size

    @property
    def seed(self) -> int:
        """Of the data's order and of every step's random numbers: another one after each return."""
        return seed_after(self.recipe, self.returns)

    @property
    def judged(self) -> Networks:
        """The networks that are scored and shown: averaged ones where there are."""
        return {**self.model.networks, **(self.average.networks if self.average else {})}

    def every(self, epochs: float) -> int:
        """`epochs` in images; 0 stays never."""
        return max(1, round(epochs * self.per_epoch)) if epochs else 0


def open_session(recipe: Recipe, run: Path, world: World, closing: ExitStack) -> Session:
    """The run of `recipe` in folder `run`, at its last whole checkpoint or before its first step.

    What is to be closed in the end goes to `closing`. A GessoError where data, weights or flags are not right.
    """
    began = time.monotonic()
    model = build_model(recipe)
    dumper = Dumper(model, run, recipe.dump if isinstance(recipe, ClassificationRecipe) and world.main else None)
    with world.main_first():
        judge, reporter = open_judges(model, tell)
        best_score(recipe, judge)  # refused before the first step
        feed = open_feed(model, tell)
        if world.main:
            checkpoint.sweep(run)
        found = checkpoint.find(run, "latest", say) if checkpoint.list_checkpoints(run) else None
    per_epoch = recipe.epoch_images(feed.images, world.size)
    total = _total(recipe, per_epoch)
    model.initialize(recipe.seed)
    bring_teacher(model, run, world, first=found is None)
    average = Average({n: model.networks[n] for n in model.used}, recipe.ema, recipe.ema_ramp) if recipe.ema else None
    if not found:
        state.start_from(model, average, recipe.start_from)
    environment = read_environment(run)
    choices = choose(recipe, model, total, environment.get("choices", {}) if found else {}, world)
    accelerator = prepare(model, average, choices, train=True, deterministic=recipe.deterministic, world=world)
    guard = Guard(recipe.guard, model, world, fp16=choices.precision.value == "fp16")
    if found:
        state.restore(model, average, guard, found, world.rank)
    imported = environment.get(IMPORTED) if found else None
    if world.main and (imported or not found):
        write_environment(run, choices.as_dict(), feed.images, world.size)
    changed = changed_choices(environment, choices.as_dict()) if found and not imported else []
    if world.main and changed:
        rewrite_choices(run, choices.as_dict())
    world.equalise(tensors_of(model, average))
    images = found.images if found else 0
    narrator = Narrator(run, recipe, accelerator, images, total, world)
    closing.callback(narrator.close)
    narrator.record("resume" if found else "start", images)
    for what, choice in choices.as_dict().items():
        line = f"{what}: {choice.value} ({choice.reason})"
        narrator.bar.say(line)
        if what in changed:
            narrator.record("note", images, text=line)
    if world.size > 1:
        narrator.bar.say(
            f"processes: {world.size}, each {recipe.batch_size} images a step, {recipe.batch_size * world.size} in all"
        )
    narrator.bar.say(f"{run}: {min(images, total)} of {total} images seen, {per_epoch} an epoch")
    if imported:
        narrator.note(images, "imported weights: there is no optimizer state with them, so the optimizers begin anew")
    for remark in opening_remarks(recipe, run, images, total):
        narrator.bar.say(remark)
    if world.place.restarts:
        narrator.note(images, f"restart {world.place.restarts}: a process ended, all of them go on from here")
    if found:
        _tell_of_others(found, recipe, world, narrator)
        _tell_of_other_images(environment.get("training images"), feed.images, found.images, narrator)
    batches = feed.stream(choices.device.value, images, world.place)
    closing.callback(batches.close)
    returns = found.progress.get("returns", 0) if found else 0
    if found:
        batches.rewind(images, seed_after(recipe, returns))
    else:
        model.prepare(batches)
        batches.rewind(0)
    return Session(
        recipe=recipe,
        run=run,
        world=world,
        model=model,
        average=average,
        choices=choices,
        judge=judge,
        reporter=reporter,
        dumper=dumper,
        guard=guard,
        narrator=narrator,
        batches=batches,
        images=images,
        saved_at=images if found else -1,
        total=total,
        per_epoch=per_epoch,
        best=settle(run, found, recipe, world) if found else {},
        returns=returns,
        initial=None if found else _start(model, average),
        began=began,
        in_a_row=found.progress.get("in_a_row", 0) if found else 0,
        diverged_at=found.progress.get("diverged_at", -1) if found else -1,
    )


def seed_after(recipe: Recipe, returns: int) -> int:
    """The seed after so many returns; a recipe's own is below 2³¹."""
    return recipe.seed + returns * 2**31


def _start(model: Model, average: Average | None) -> Start:
    weights = state.weights_of(model, average)
    host = {name: {key: t.detach().cpu().clone() for key, t in tensors.items()} for name, tensors in weights.items()}
    return Start(host, copy.deepcopy(model.state_dict()))


def _total(recipe: Recipe, per_epoch: int) -> int:
    """Images of the whole run. UsageError where there are none, or more than can be counted."""
    images = recipe.epochs * per_epoch
    if not 0.5 < images < 2**53:
        raise UsageError(
            f"--epochs {recipe.epochs:g}: {images:g} images in all, at {per_epoch} an epoch; nothing can be trained so"
        )
    return round(images)


def tensors_of(model: Model, average: Average | None) -> list[torch.Tensor]:
    """All that training changes in the networks, averaged ones too: parameters and buffers."""
    networks = state.all_networks(model, average).values()
    return [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]


def best_score(recipe: Recipe, judge: Judge) -> str | None:
    """Which score chooses the best checkpoint; it may be asked for in any case. UsageError where `judge` does not give
    the one asked for."""
    asked = recipe.checkpoints.best
    if asked == "none" or (asked == "auto" and not recipe.evaluation.wanted):
        return None
    if not recipe.evaluation.wanted:
        raise UsageError(f"--checkpoints.best {asked}: with --evaluation.split none nothing is scored")
    if asked == "auto":
        return judge.preferred
    found = next((name for name in judge.scored if name.lower() == asked.lower()), None)
    if found is None:
        there = ", ".join(judge.scored) or "no scores"
        raise UsageError(f"--checkpoints.best {asked}: not scored here; there are {there}")
    return found


def settle(run: Path, found: Checkpoint, recipe: Recipe, world: World) -> dict[str, Any]:
    """The folder as it was right after `found` was saved, by the main process; the best score so far, in all."""
    return world.from_main(checkpoint.settle(run, found, recipe.checkpoints.keep) if world.main else {})


def _tell_of_other_images(before: Any, now: int, images: int, narrator: Narrator) -> None:
    """Whether the data set has grown or shrunk since the run began, with `before` images where that was written down:
    it may, but not without a word, since the order of the images and the length of an epoch are other ones then."""
    if isinstance(before, int) and before != now:
        narrator.note(
            images,
            f"data: the training split had {before} images when the run began and has {now} now, so an epoch is "
            "another one and the weights will not be those of a run without the change",
        )


def _tell_of_others(found: Checkpoint, recipe: Recipe, world: World, narrator: Narrator) -> None:
    """Another number of processes than before trains on, but not to the same weights: say what differs."""
    before = found.progress.get("processes", 1)
    if before == world.size:
        return
    was, now = recipe.batch_size * before, recipe.batch_size * world.size
    rates = "" if recipe.schedule.scaling == "none" else f", learning rates scaled for {world.size} processes"
    narrator.note(
        found.images,
        f"processes: {before} until here, now {world.size}; a step has {now} images in place of {was}{rates}, so the "
        "weights will not be those of a run without the change; every image is still seen once an epoch",
    )
