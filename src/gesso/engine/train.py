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
from gesso.data.fetch import fetch, hint
from gesso.data.shards import is_shards
from gesso.data.shards_bytes import is_url
from gesso.data.single import class_names
from gesso.data.sources import root_of
from gesso.data.stream import Stream
from gesso.engine import checkpoint, state
from gesso.engine.average import Average
from gesso.engine.dumps import Dumper
from gesso.engine.feeding import open_feed
from gesso.engine.finish import finish
from gesso.engine.judging import Judge, open_judge
from gesso.engine.launch import Choices, choose, prepare
from gesso.engine.report import write_report
from gesso.engine.runs import default_name, open_run, read_environment, read_recipe, write_environment
from gesso.engine.schedule import rate
from gesso.engine.sheets import write_sheet
from gesso.engine.track import Meter, Narrator, check_trackers, say, tell
from gesso.errors import DataError, UsageError
from gesso.models import build_model
from gesso.models.base import Model, Networks
from gesso.progress import Bar
from gesso.recipe import BUILTIN_STREETS, ClassData, Data, DenseNetRecipe, Recipe


@dataclass
class Session:
    """A run in memory: everything between its folder and its next step."""

    recipe: Recipe
    run: Path
    model: Model
    average: Average | None
    choices: Choices
    judge: Judge
    dumper: Dumper
    narrator: Narrator
    batches: Stream[Any]
    images: int
    saved_at: int
    total: int
    per_epoch: int
    best: dict[str, Any]
    began: float

    @property
    def device(self) -> torch.device:
        return self.choices.device.value

    @property
    def judged(self) -> Networks:
        """The networks that are scored and shown: averaged ones where there are."""
        return {**self.model.networks, **(self.average.networks if self.average else {})}

    def every(self, epochs: float) -> int:
        """`epochs` in images; 0 stays never."""
        return max(1, round(epochs * self.per_epoch)) if epochs else 0


@dataclass(frozen=True)
class Run:
    """What `train` leaves: the folder, whether all images were seen, and the scores of its metrics.json."""

    path: Path
    finished: bool
    rows: list[dict[str, Any]]


def train(recipe: Recipe, *, runs: Path | str = "runs", name: str = "", overwrite: bool = False) -> Run:
    """Train `recipe` in `runs/name`, or go on with it where the folder holds the same recipe already.

    A GessoError says what to mend; what was saved before it stays. After SIGINT or SIGTERM the run is saved,
    `finished` is False, and the same call goes on with it.
    """
    recipe = recipe.checked()
    check_trackers(recipe)
    recipe = located(recipe)
    opened = open_run(Path(runs) / (name or default_name(recipe)), recipe, overwrite=overwrite)
    with ExitStack() as closing:
        closing.callback(opened.lock.release)
        session = _open(recipe, opened.path, closing)
        with _stop_on_signals() as stop:
            finished = _loop(session, stop)
        rows = _end(session, finished)
        write_report(session.run)
        return Run(session.run, finished, rows)


def located(recipe: Recipe) -> Recipe:
    """`recipe` with what the data set says: its place, written out from the root of the file system so that a resume
    may start from any folder, and its classes. DataError where there is no such data set."""
    data = recipe.data
    _fetch_missing(data)
    if isinstance(data, ClassData):
        data = dataclasses.replace(data, names=class_names(data))
        recipe = dataclasses.replace(recipe, data=data)
        if data.synthetic:
            return recipe
    if data.root == BUILTIN_STREETS or is_url(data.root):
        return recipe
    # Names of shards, such as train-{000..146}.tar, are no folder.
    named = isinstance(data, ClassData) and is_shards(data.root)
    root = Path(data.root).expanduser() if named else root_of(data)
    return dataclasses.replace(recipe, data=dataclasses.replace(data, root=str(root.resolve())))


def _fetch_missing(data: Data) -> None:
    """A public data set whose folder is missing: downloaded if `data.fetch`, else DataError says how."""
    root = Path(data.root).expanduser()
    advice = hint(root)
    if advice is None:
        return
    if not data.fetch:
        raise DataError(f"{advice}, and so does --data.fetch")
    with Bar(f"fetching {root.name}", unit="MB") as bar:
        fetch(root.name, root.parent, existing="keep", progress=bar.update, say=bar.say)


def resume(run: Path, *, epochs: float | None = None, data_root: str = "") -> Run:
    """Go on with the run at `run`, to `epochs` instead of its recipe's, if given.

    data_root: where the run's data set is now, if it was moved; its images are taken to be the same. Both are written
    into the run's recipe.
    """
    run = run.resolve()  # `.` has a name too
    recipe = read_recipe(run)
    changed = recipe if epochs is None else dataclasses.replace(recipe, epochs=epochs)
    if data_root:
        changed = _moved(changed, data_root)
    if changed != recipe:
        state.rewrite(run, changed)
    return train(changed, runs=run.parent, name=run.name)


def _moved(recipe: Recipe, root: str) -> Recipe:
    """`recipe` with its data set at `root`. UsageError where that cannot be the same data set."""
    if recipe.data.root == BUILTIN_STREETS:
        raise UsageError(f"--data-root {root}: this run's data are {BUILTIN_STREETS}, which cannot have moved")
    moved = located(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root=root)))
    before, now = recipe.data, moved.data
    if isinstance(before, ClassData) and isinstance(now, ClassData) and now.names != before.names:
        raise UsageError(f"--data-root {root}: another data set than the run's, its classes have other names")
    return moved


def _loop(s: Session, stop: threading.Event) -> bool:
    """Train until every image was seen or `stop` is set. Whether it was the former."""
    recipe, model, meter = s.recipe, s.model, Meter()
    step = recipe.batch_size
    before = s.images
    while True:
        done, stopping = s.images >= s.total, stop.is_set()  # read once: a signal during the upkeep waits a turn
        if s.images != s.saved_at:  # what was saved had its upkeep first
            with meter.paused():
                save = done or stopping or _due(before, s.images, s.every(recipe.checkpoints.every))
                if done or _due(before, s.images, s.every(recipe.evaluation.every)):
                    save |= _evaluate(s)
                if done or _due(before, s.images, s.every(recipe.tracking.sheet_every)):
                    _draw_sheet(s)
                if save:
                    _save(s)
        if done or stopping:
            return done

        multiplier = rate(recipe.schedule, recipe.epochs, s.per_epoch, s.images)
        for optimizer in model.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * multiplier
        rng = order.random(recipe.seed, order.STEP, s.images)
        torch.manual_seed(int(rng.integers(2**62)))  # dropout

        with s.dumper.around(s.images // step, s.images, s.choices):
            losses = model.train_step(next(s.batches), rng)

        if s.average:
            s.average.update(model.networks, step, s.images + step)
        before, s.images = s.images, s.images + step
        meter.add(losses, step)
        if _due(before, s.images, recipe.tracking.log_every):
            rates = {name: o.param_groups[0]["lr"] for name, o in model.optimizers.items()}
            s.narrator.losses(s.images, s.per_epoch, meter.read(s.batches.seconds_waited), rates)
        s.narrator.bar.update(s.images)


def _end(s: Session, finished: bool) -> list[dict[str, Any]]:
    """Score and show a finished run; tell how to go on with another."""
    rows: list[dict[str, Any]] = []
    if finished:
        rows = finish(s.run, s.model, s.choices, s.narrator.bar.say)
    else:
        s.narrator.note(
            s.images, f"stopped and saved at {s.images} of {s.total} images; go on with: gesso resume {s.run}"
        )
    s.narrator.log.write("finish", s.images, seconds=time.monotonic() - s.began)
    return rows


def _due(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` images was passed on the way from `before` to `now`."""
    return every > 0 and now // every > before // every


def _open(recipe: Recipe, run: Path, closing: ExitStack) -> Session:
    began = time.monotonic()
    model = build_model(recipe)
    dumper = Dumper(model, run, recipe.dump if isinstance(recipe, DenseNetRecipe) else None)
    judge = open_judge(model, "auto", tell)
    best_score(recipe, judge)  # refused before the first step
    feed = open_feed(model, tell)
    per_epoch = recipe.epoch_images(feed.images)
    total = round(recipe.epochs * per_epoch)
    model.initialize(recipe.seed)
    average = Average({n: model.networks[n] for n in model.used}, recipe.ema, recipe.ema_ramp) if recipe.ema else None
    checkpoint.sweep(run)
    found = checkpoint.find(run, "latest", say) if checkpoint.list_checkpoints(run) else None
    if not found:
        state.start_from(model, average, recipe.start_from)
    environment = read_environment(run)
    choices = choose(recipe, model, total, environment.get("choices", {}) if found else {})
    accelerator = prepare(model, average, choices, train=True, deterministic=recipe.deterministic)
    if found:
        state.restore(model, average, found)
    else:
        write_environment(run, choices.as_dict(), str(choices.device.value))
    images = found.images if found else 0
    narrator = Narrator(run, recipe, accelerator, images, total)
    closing.callback(narrator.close)
    narrator.log.write("resume" if found else "start", images)
    for what, choice in choices.as_dict().items():
        narrator.bar.say(f"{what}: {choice.value} ({choice.reason})")
    narrator.bar.say(f"{run}: {images} of {total} images seen, {per_epoch} an epoch")
    batches = feed.stream(choices.device.value, images)
    closing.callback(batches.close)
    if not found:
        model.prepare(batches)
        batches.rewind(0)
    return Session(
        recipe=recipe,
        run=run,
        model=model,
        average=average,
        choices=choices,
        judge=judge,
        dumper=dumper,
        narrator=narrator,
        batches=batches,
        images=images,
        saved_at=images if found else -1,
        total=total,
        per_epoch=per_epoch,
        best=checkpoint.settle(run, found, recipe.checkpoints.keep) if found else {},
        began=began,
    )


def _evaluate(s: Session) -> bool:
    """Score the split for training. Whether the scores are the best so far, so that they must be saved."""
    rows = s.judge.rows(s.device, s.judged)
    if not rows:
        return False
    scores = s.judge.headline(rows)
    s.narrator.scores(s.images, s.images / s.per_epoch, scores)
    name = best_score(s.recipe, s.judge)
    if name is None or name not in scores:
        return False
    value, higher = scores[name], s.judge.scored[name]
    if not math.isfinite(value):
        return False
    before = s.best.get("value")
    if before is not None and not (value > before if higher else value < before):
        return False
    s.best = {"name": name, "value": value, "images": s.images}
    return True


def best_score(recipe: Recipe, judge: Judge) -> str | None:
    """Which score chooses the best checkpoint. UsageError where `judge` does not give the one asked for."""
    asked = recipe.checkpoints.best
    if asked == "none":
        return None
    if asked == "auto":
        return judge.preferred
    if asked not in judge.scored:
        there = ", ".join(judge.scored) or "no scores"
        raise UsageError(f"--checkpoints.best {asked}: not scored here; there are {there}")
    return asked


def _draw_sheet(s: Session) -> None:
    picture = s.judge.sheet(s.device, s.recipe.tracking.sheet_images, s.judged)
    file = write_sheet(s.run, s.images, picture)
    s.narrator.sheet(s.images, file, picture)


def _save(s: Session) -> None:
    path = checkpoint.save(
        s.run,
        s.images,
        s.recipe.model,
        state.weights_of(s.model, s.average),
        state.training_of(s.model),
        {"best": s.best},
        s.recipe.to_json(),
    )
    s.saved_at = s.images
    if s.best.get("images") == s.images:
        checkpoint.mark_best(s.run, path)
    checkpoint.prune(s.run, s.recipe.checkpoints.keep)
    s.narrator.log.write("checkpoint", s.images, name=path.name)
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
