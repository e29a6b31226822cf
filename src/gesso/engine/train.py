"""The training loop, one for every model.

Upkeep first, training last: at the top of each turn the loop asks whether it is time to score, to draw a
sheet, to save or to stop, so the final save takes the ordinary path and there is one way out. Progress is
counted in images seen, and everything that a step depends on (its batch, its learning rate, its random
numbers) is a function of that count. So a run that was killed anywhere and resumed from its last checkpoint
ends in the same weights as one that was not.
"""

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from gesso.data import order
from gesso.devices import choose_device
from gesso.engine import checkpoint, state
from gesso.engine.anchoring import anchored, refuse_inside
from gesso.engine.checkpoint import list_checkpoints
from gesso.engine.comparing import compared
from gesso.engine.finish import Scored, finish
from gesso.engine.going_back import go_back
from gesso.engine.judging.shard import shard_of
from gesso.engine.locating import located, moved
from gesso.engine.report import write_report
from gesso.engine.runs import check_classes, default_name, open_run, read_recipe, refuse_checkpoint
from gesso.engine.schedule import rate, scaling
from gesso.engine.session import Session, best_score, open_session
from gesso.engine.sheets import write_sheet
from gesso.engine.teaching import adopted
from gesso.engine.track import Meter, check_trackers, line_due
from gesso.processes import joined
from gesso.progress import say
from gesso.recipe import DistillRecipe, Recipe


@dataclass(frozen=True)
class Run:
    """What `train` leaves: the folder, whether all images were seen, and the scores of its metrics.json."""

    path: Path
    finished: bool
    rows: list[dict[str, Any]]


def train(recipe: Recipe, *, runs: Path | str = "runs", name: str = "", overwrite: bool = False) -> Run:
    """Train `recipe` in `runs/name`, or go on with it where the folder holds the same recipe already.

    Where a launcher started several processes (`gesso train --devices`, torchrun, srun), each calls this, and they
    train together. A GessoError says what to mend; what was saved before it stays, and before the first step the disk
    is left as it was. After SIGINT or SIGTERM the run is saved, `finished` is False, and the same call goes on with it.
    """
    with joined(choose_device(recipe.device).value.type) as world, ExitStack() as closing:
        with world.main_first():
            recipe = adopted(recipe).checked()
            check_trackers(recipe)
            recipe = anchored(located(recipe))
            run = Path(runs) / (name or default_name(recipe))
            if isinstance(recipe, DistillRecipe) and recipe.compare and (overwrite or not list_checkpoints(run)):
                compared(recipe)  # known before the first step; one that is gone later costs a remark at the end
            opened = None
            if world.main:
                anew = overwrite and not world.place.restarts
                if anew:
                    refuse_inside(run, recipe)
                opened = open_run(run, recipe, overwrite=anew)
                closing.callback(opened.lock.release)
        try:
            with ExitStack() as opening:  # what was opened is closed before the folder goes
                session = open_session(recipe, run, world, opening)
                closing.push(opening.pop_all())
        except BaseException:  # an interrupt too
            if opened:  # nothing was trained
                opened.withdraw()
            raise
        if opened and opened.aside:
            say(f"the run that was {run} is now {opened.aside}")
        with _stop_on_signals() as stop:
            finished = _loop(session, stop)
        rows = _end(session, finished)
        if world.main:
            write_report(run)
        return Run(run, finished, rows)


def resume(run: Path | str, *, epochs: float | None = None, data_root: str = "") -> Run:
    """Go on with the run at `run`, to `epochs` instead of its recipe's, if given.

    data_root: where the run's data set is now, if it was moved; its images are taken to be the same. Both are written
    into the run's recipe.
    """
    run = Path(run).resolve()  # `.` has a name too
    refuse_checkpoint(run)  # before its data set is looked for, which a published one has not
    recipe = read_recipe(run)
    with joined(choose_device(recipe.device).value.type) as world:
        with world.main_first():
            changed = recipe if epochs is None else dataclasses.replace(recipe, epochs=epochs)
            if data_root:
                changed = moved(changed, data_root)
            if changed != recipe:
                changed = located(changed)
                check_classes(run, changed, recipe)  # before anything is written down
            if world.main and changed != recipe:
                state.rewrite(run, changed)
        return train(changed, runs=run.parent, name=run.name)


def _loop(s: Session, stop: threading.Event) -> bool:
    """Train until every image was seen or `stop` is set. Whether it was the former."""
    recipe, model, world, step = s.recipe, s.model, s.world, s.step
    meter = Meter(world.average)
    scale = scaling(recipe.schedule, world.size)
    statistics = [buffer for n in model.networks.values() for buffer in n.buffers() if buffer.is_floating_point()]
    before = s.images
    while True:
        done, stopping = s.images >= s.total, world.any(stop.is_set())  # read once: a signal during the upkeep waits
        if s.images != s.saved_at:  # what was saved had its upkeep first
            with meter.paused():
                save = done or stopping or _due(before, s.images, s.every(recipe.checkpoints.every))
                score = done or _due(before, s.images, s.every(recipe.evaluation.every))
                if save or score:  # a score may be the best, and saved for that
                    fault = s.guard.settle()
                    _tell_of_guard(s)
                    if fault:
                        before, meter = go_back(s, fault), Meter(world.average)
                        continue
                if score:
                    save |= _evaluate(s)
                if done or _due(before, s.images, s.every(recipe.tracking.sheet_every)):
                    _draw_sheet(s)
                if save:
                    _save(s)
        if done or stopping:
            return done

        multiplier = scale * rate(recipe.schedule, recipe.epochs, s.per_epoch, s.images)
        multiplier *= recipe.guard.rate_factor**s.returns
        for optimizer in model.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * multiplier
        rng = order.random(s.seed, order.STEP, s.images + world.rank * recipe.batch_size)
        torch.manual_seed(int(rng.integers(2**62)))  # dropout

        with s.dumper.around(s.images // step, s.images, s.choices):
            losses = model.train_step(next(s.batches), rng)
        world.average(statistics)

        if s.average:
            s.average.update(model.networks, step, s.images + step)
        before, s.images = s.images, s.images + step
        meter.add(losses, step)
        s.guard.watch(losses)
        fault = s.guard.look()
        _tell_of_guard(s)
        if fault:
            before, meter = go_back(s, fault), Meter(world.average)
            continue
        if line_due(before, s.images, recipe.tracking.log_every, s.per_epoch, s.total):
            rates = {name: o.param_groups[0]["lr"] for name, o in model.optimizers.items()}
            s.narrator.losses(s.images, s.per_epoch, meter.read(s.batches.seconds_waited), rates)
        s.narrator.bar.update(s.images)


def _end(s: Session, finished: bool) -> list[dict[str, Any]]:
    """Score and show a finished run; tell how to go on with another."""
    rows: list[dict[str, Any]] = []
    if finished:
        scored = s.scored if s.reporter is s.judge else None
        rows = finish(s.run, s.reporter, scored, s.choices, s.narrator.bar.say, s.world)
    else:
        s.narrator.note(
            s.images, f"stopped and saved at {s.images} of {s.total} images; go on with: gesso resume {s.run}"
        )
    s.narrator.record("finish", s.images, seconds=time.monotonic() - s.began)
    return rows


def _due(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` images was passed on the way from `before` to `now`."""
    return every > 0 and now // every > before // every


def _tell_of_guard(s: Session) -> None:
    for note in s.guard.notes():
        s.narrator.note(s.images, note)


def _evaluate(s: Session) -> bool:
    """Score the split for training. Whether the scores are the best so far, so that they must be saved."""
    if not s.recipe.evaluation.wanted:
        return False
    rows = s.judge.rows(s.device, s.judged, shard=shard_of(s.world))
    if not rows:
        return False
    scores = s.world.from_main(s.judge.headline(rows))  # a last digit must not divide what all do next
    s.narrator.scores(s.images, s.images / s.per_epoch, scores)
    name, found = best_score(s.recipe, s.judge), Scored(s.images, rows, s.judge.details())
    if name is None or name not in scores:
        s.scored = found  # without a best checkpoint the last one is reported
        return False
    value, higher = scores[name], s.judge.scored[name]
    if not math.isfinite(value):
        return False
    before = s.best.get("value")
    if before is not None and not (value > before if higher else value < before):
        return False
    s.best = {"name": name, "value": value, "images": s.images, "split": s.judge.split}
    s.scored = found
    return True


def _draw_sheet(s: Session) -> None:
    if not s.world.main:
        return
    picture = s.judge.sheet(s.device, s.recipe.tracking.sheet_images, s.judged)
    file = write_sheet(s.run, s.images, picture)
    s.narrator.sheet(s.images, file, picture)


def _save(s: Session) -> None:
    s.saved_at, s.initial = s.images, None
    if s.images > s.diverged_at:
        s.in_a_row = 0
    training = state.training_of(s.model, s.guard, s.world)
    if not s.world.main:
        return
    path = checkpoint.save(
        s.run,
        s.images,
        s.recipe.model,
        state.weights_of(s.model, s.average),
        training,
        {
            "best": s.best,
            "processes": s.world.size,
            "returns": s.returns,
            "in_a_row": s.in_a_row,
            "diverged_at": s.diverged_at,
        },
        s.recipe.to_json(),
    )
    if s.best.get("images") == s.images:
        checkpoint.mark_best(s.run, path)
    checkpoint.prune(s.run, s.recipe.checkpoints.keep)
    s.narrator.record("checkpoint", s.images, name=path.name)
    write_report(s.run)


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Set on the first SIGINT or SIGTERM, so that the loop ends after its step; a second one ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python delivers signals to the main thread alone
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping after this step; once more to stop at once")

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
