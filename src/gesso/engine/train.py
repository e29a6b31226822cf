"""The training loop, one for every model.

Upkeep first, training last: at the top of each turn the loop asks whether it is time to score, to draw a
sheet, to save or to stop, so the final save takes the ordinary path and there is one way out. Progress is
counted in images seen, and everything that a step depends on (its batch, its learning rate, its random
numbers) is a function of that count. So a run that was killed anywhere and resumed from its last checkpoint
ends in the same weights as one that was not.
"""

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
from gesso.data.batches import Batches
from gesso.data.sources import evaluation_split, existing_splits, open_source
from gesso.data.store import Store, evaluation_fit, open_store, training_fit
from gesso.engine import checkpoint, state
from gesso.engine.average import Average
from gesso.engine.evaluate import evaluate, headline
from gesso.engine.finish import finish
from gesso.engine.launch import Choices, choose, prepare
from gesso.engine.report import write_report
from gesso.engine.runs import default_name, lock_run, open_run, read_environment, read_recipe, write_environment
from gesso.engine.schedule import rate
from gesso.engine.sheets import sheet, write_sheet
from gesso.engine.track import Meter, Narrator, check_trackers, say
from gesso.errors import UsageError
from gesso.metrics.paired import PAIRED
from gesso.models import build_model
from gesso.models.base import Model, Networks
from gesso.progress import Bar
from gesso.recipe import Recipe


@dataclass
class Session:
    """A run in memory: everything between its folder and its next step."""

    recipe: Recipe
    run: Path
    model: Model
    average: Average | None
    choices: Choices
    test_store: Store
    narrator: Narrator
    batches: Batches
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
    existing_splits(recipe.data)  # a missing folder is named before anything is made
    opened = open_run(Path(runs) / (name or default_name(recipe)), recipe, overwrite=overwrite)
    with ExitStack() as closing:
        closing.callback(opened.lock.release)
        session = _open(recipe, opened.path, closing)
        with _stop_on_signals() as stop:
            finished = _loop(session, stop)
        rows = _end(session, finished)
        write_report(session.run)
        return Run(session.run, finished, rows)


def resume(run: Path, *, epochs: float | None = None) -> Run:
    """Go on with the run at `run`, to `epochs` instead of its recipe's, if given."""
    run = run.resolve()  # `.` has a name too
    recipe = read_recipe(run)
    if epochs is not None and epochs != recipe.epochs:
        lock = lock_run(run)
        try:
            state.lengthen(run, epochs)
        finally:
            lock.release()
        recipe = read_recipe(run)
    return train(recipe, runs=run.parent, name=run.name)


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

        losses = model.train_step(model.padded(next(s.batches)), rng)

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
    store, test_store = _stores(recipe, unpaired=not model.aligned)
    scored = [f"{direction}/{name}" for direction in model.translations for name in PAIRED]
    best_score(recipe, dict.fromkeys(scored, 0.0) if test_store.source.paired else {})  # refused before the first step
    per_epoch = max(store.source.counts.values())
    total = round(recipe.epochs * per_epoch)
    model.initialize(recipe.seed)
    average = Average({n: model.networks[n] for n in model.generators}, recipe.ema) if recipe.ema else None
    checkpoint.sweep(run)
    found = checkpoint.find(run, "latest", say) if checkpoint.list_checkpoints(run) else None
    if not found:
        state.start_from(model, average, recipe.start_from)
    environment = read_environment(run)
    choices = choose(recipe, model, total, environment.get("choices", {}) if found else {})
    accelerator = prepare(model, average, choices, deterministic=recipe.deterministic)
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
    batches = Batches(
        store,
        recipe.data,
        aligned=model.aligned,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        device=choices.device.value,
        position=images,
    )
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
        test_store=test_store,
        narrator=narrator,
        batches=batches,
        images=images,
        saved_at=images if found else -1,
        total=total,
        per_epoch=per_epoch,
        best=checkpoint.settle(run, found, recipe.checkpoints.keep) if found else {},
        began=began,
    )


def _stores(recipe: Recipe, unpaired: bool) -> tuple[Store, Store]:
    """The training images and those that are scored while training, each read once before the first step."""
    data = recipe.data
    split = evaluation_split(data, recipe.evaluation.split, ("val", "test"))
    stores = []
    for name, fit in (("train", training_fit(data)), (split, evaluation_fit(data))):
        source = open_source(data, name, unpaired)
        bar = Bar(f"reading {name}", len(source.units))
        try:
            stores.append(open_store(source, fit, data, bar.say, bar.update))
        finally:
            bar.close()
    return stores[0], stores[1]


def _evaluate(s: Session) -> bool:
    """Score the split for training. Whether the scores are the best so far, so that they must be saved."""
    rows = evaluate(s.model, s.test_store, s.device, networks=s.judged)
    if not rows:
        return False
    scores = headline(rows)
    s.narrator.scores(s.images, s.images / s.per_epoch, scores)
    name = best_score(s.recipe, scores)
    if name is None:
        return False
    value, higher = scores[name], PAIRED[name.split("/")[-1]].higher_is_better
    if not math.isfinite(value):
        return False
    before = s.best.get("value")
    if before is not None and not (value > before if higher else value < before):
        return False
    s.best = {"name": name, "value": value, "images": s.images}
    return True


def best_score(recipe: Recipe, scores: dict[str, float]) -> str | None:
    """Which of `scores` chooses the best checkpoint. UsageError where the one asked for is not among them."""
    asked = recipe.checkpoints.best
    if asked == "none":
        return None
    if asked == "auto":
        return next((name for name in scores if name.endswith("/L1")), None)
    if asked not in scores:
        raise UsageError(f"--checkpoints.best {asked}: not scored here; there are {', '.join(scores) or 'no scores'}")
    return asked


def _draw_sheet(s: Session) -> None:
    picture = sheet(s.model, s.test_store, s.device, s.recipe.tracking.sheet_images, s.judged)
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
