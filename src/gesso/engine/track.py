"""What a run tells: one line at a time to people, log.jsonl for the truth, curves to the trackers.

The log line is that of each model's reference code, because people grep for it. Losses stay on the device and are
summed there; they are fetched only when a line is due, so that no step waits for them.
"""

import dataclasses
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from gesso.engine.runlog import RunLog
from gesso.errors import UsageError
from gesso.files import write_atomically
from gesso.processes import ALONE, World
from gesso.progress import Bar
from gesso.recipe import Kind, Recipe
from gesso.restoring import flat


class Meter:
    """Means of losses between two lines of the log, summed on the device.

    A value that is not finite counts for nothing: the step of which it tells was left out, or sent the run back. Where
    no other is there the mean is nan. `average` puts the mean over all processes into tensors.
    """

    def __init__(self, average: Callable[[Sequence[Tensor]], None] = lambda tensors: None) -> None:
        self._average = average
        self._names: list[str] = []
        self._sum: Tensor | None = None
        self._count: Tensor | None = None
        self._images = 0
        self._start = time.perf_counter()
        self._waited = 0.0

    def add(self, losses: dict[str, Tensor], images: int) -> None:
        values = torch.stack([loss.float() for loss in losses.values()])
        finite = values.isfinite()
        values, count = torch.where(finite, values, 0), finite.float()
        self._names = list(losses)
        self._sum = values if self._sum is None else self._sum + values
        self._count = count if self._count is None else self._count + count
        self._images += images

    def read(self, seconds_waited: float) -> dict[str, Any]:
        """The means since the last reading; waits for the device. `seconds_waited` for data since the run began."""
        assert self._sum is not None and self._count is not None
        self._average([self._sum, self._count])
        means = (self._sum / self._count).tolist()
        now = time.perf_counter()
        seconds = max(now - self._start, 1e-9)
        result = {
            "losses": dict(zip(self._names, means, strict=True)),
            "images_per_second": self._images / seconds,
            "seconds_per_image": seconds / self._images,
            "data_seconds_per_image": (seconds_waited - self._waited) / self._images,
            "data_fraction": (seconds_waited - self._waited) / seconds,
        }
        self._sum, self._count, self._images = None, None, 0
        self._start, self._waited = now, seconds_waited
        return result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as training time."""
        began = time.perf_counter()
        yield
        self._start += time.perf_counter() - began


@dataclass(frozen=True)
class Moment:
    """Where a run is: images seen, images in an epoch, images in a step, and the epochs that were asked for."""

    images: int
    per_epoch: int
    batch_size: int
    epochs: float


def line_due(before: int, now: int, every: int, per_epoch: int, total: int) -> bool:
    """Whether the step from `before` to `now` images is followed by a line of the log: one is due each `every` images,
    at the end of each epoch, and at the end of the run, so that the shortest run has one."""
    passed = any(now // images > before // images for images in (every, per_epoch))
    return passed or now >= total


def loss_line(at: Moment, read: dict[str, Any]) -> str:
    """(epoch: 1, iters: 100, time: 0.317, data: 0.002) G_GAN: 0.912 …; epochs from 1, images, seconds an image.

    The epoch is the one in which the newest step began: a run of 1 epoch ends in its first, though the last step may
    have more images than were left of it, which are not counted there.
    """
    epoch = max(0, at.images - at.batch_size) // at.per_epoch
    within = min(at.images - epoch * at.per_epoch, at.per_epoch)
    losses = " ".join(f"{name}: {value:.3f}" for name, value in read["losses"].items())
    return (
        f"(epoch: {epoch + 1}, iters: {within}, time: {read['seconds_per_image']:.3f}, "
        f"data: {read['data_seconds_per_image']:.3f}) {losses}"
    )


def generation_line(at: Moment, read: dict[str, Any]) -> str:
    """[0/25][0/782] Loss_D: 1.3862 Loss_G: 0.7012 D(x): 0.5011 D(G(z)): 0.4987 / 0.4752, before / after G's step.

    Epoch and step are counted from 0, by the first image of the newest step; other losses follow, and one that the
    model has not is left out.
    """
    epoch, image = divmod(at.images - at.batch_size, at.per_epoch)
    steps = math.ceil(at.per_epoch / at.batch_size)
    losses = {name: f"{value:.4f}" for name, value in read["losses"].items()}
    first = {name: losses.pop(name) for name in ("Loss_D", "Loss_G", "D(x)") if name in losses}
    beliefs = [losses.pop(name) for name in ("D(G(z))_1", "D(G(z))_2") if name in losses]
    shown = first | ({"D(G(z))": " / ".join(beliefs)} if beliefs else {})
    text = " ".join(f"{name}: {value}" for name, value in (shown | losses).items())
    return f"[{epoch}/{math.ceil(at.epochs)}][{image // at.batch_size}/{steps}] {text}"


LINES: dict[Kind, Callable[[Moment, dict[str, Any]], str]] = {
    "translator": loss_line,
    "generator": generation_line,
    "classifier": loss_line,
}
"""The line of the log for each kind of model."""


class Trackers:
    """TensorBoard by itself; W&B and MLflow through Accelerate, where they are installed.

    A resumed run goes on in the run that W&B or MLflow has for it: `trackers.json` keeps its id there. Where images are
    trained on again, after a return or a kill, TensorBoard takes the points of the first time out. The services let
    nothing be taken back and show both: MLflow takes a step twice; W&B drops what comes at a step that it had, so the
    steps there are its own, and images seen are a value, the x axis of the curves.
    """

    EXTERNAL = ("wandb", "mlflow")

    def __init__(self, run: Path, recipe: Recipe, accelerator: Accelerator, images: int) -> None:
        asked = recipe.tracking.trackers
        self._folder, self._tensorboard = run / "tensorboard", None
        if "tensorboard" in asked:
            self._tensorboard = _curves(self._folder, images)
            if images == 0:
                self._tensorboard.add_text("recipe", f"```json\n{recipe.to_json()}```")
        self._accelerator = None
        if external := [name for name in asked if name in self.EXTERNAL]:
            self._accelerator = accelerator
            _follow(external, run, recipe, accelerator, images)

    def scalars(self, values: dict[str, float], images: int) -> None:
        if self._tensorboard:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, images)
        plain = {_plain(name): value for name, value in values.items()}
        for tracker in self._accelerator.trackers if self._accelerator else ():
            if tracker.name == "wandb":
                tracker.log({**plain, "images": images})
            else:
                tracker.log(plain, step=images)

    def go_back(self, images: int) -> None:
        """Training goes on from `images`, beyond which it was already."""
        if self._tensorboard:
            self._tensorboard.close()
            self._tensorboard = _curves(self._folder, images)

    def image(self, name: str, picture: Any, images: int) -> None:
        """An H×W×3 uint8 picture."""
        if self._tensorboard:
            self._tensorboard.add_image(name, picture, images, dataformats="HWC")

    def close(self) -> None:
        if self._tensorboard:
            self._tensorboard.close()
        if self._accelerator:
            self._accelerator.end_training()


def _curves(folder: Path, images: int) -> SummaryWriter:
    """TensorBoard's curves in `folder` from `images` on, without the points that it has beyond."""
    return SummaryWriter(str(folder), purge_step=images + 1)


def _plain(name: str) -> str:
    """`name` in the characters that MLflow takes: loss/D(G(z))_1 becomes loss/D_G_z_1."""
    return re.sub(r"[^\w./ -]+_*", "_", name).rstrip("_")


def check_trackers(recipe: Recipe) -> None:
    """UsageError where a tracker was asked for that is not installed."""
    for name in recipe.tracking.trackers:
        if find_spec(name) is None:
            raise UsageError(f"--tracking.trackers {name}: not installed; pip install 'gesso[{name}]' or leave it out")


def _follow(names: Sequence[str], run: Path, recipe: Recipe, accelerator: Accelerator, images: int) -> None:
    """Begin a run in each of `names`, or go on with the one that it has. UsageError where a service refuses.

    The recipe is sent once, where a run begins: MLflow takes no second value of a parameter.
    """
    known = _read_ids(run / IDS) if images else {}  # before the first checkpoint, everything begins anew
    accelerator.log_with = _accelerate_trackers(names, run, known)
    try:
        accelerator.init_trackers("gesso")
        for tracker in accelerator.trackers:
            if tracker.name == "wandb":
                tracker.tracker.define_metric("*", step_metric="images")
            if tracker.name not in known:
                tracker.store_init_configuration({"model": recipe.model, **flat(dataclasses.asdict(recipe))})
    except Exception as error:  # the services' packages raise what they like: no login, no network, no such run
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UsageError(
            f"--tracking.trackers {' '.join(names)}: {reason}; mend that, or leave it out"
            + (f", or remove {run / IDS} to begin another run there" if known else "")
        ) from error
    if accelerator.trackers:  # only the main process has any
        ids = {tracker.name: ID_OF[tracker.name](tracker.tracker) for tracker in accelerator.trackers}
        write_atomically(run / IDS, json.dumps(known | ids) + "\n")


def _read_ids(path: Path) -> dict[str, str]:
    """The id of this run in each tracker; none where the file is missing or was damaged."""
    try:
        ids = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: id for name, id in ids.items() if isinstance(id, str)} if isinstance(ids, dict) else {}


def _accelerate_trackers(names: Sequence[str], run: Path, ids: dict[str, str]) -> list[Any]:
    from accelerate.tracking import MLflowTracker, WandBTracker

    makers: dict[str, Callable[[str | None], Any]] = {
        "wandb": lambda id: WandBTracker("gesso", name=run.name, dir=str(run), id=id, resume="allow"),
        "mlflow": lambda id: MLflowTracker("gesso", logging_dir=str(run / "mlflow"), run_name=run.name, run_id=id),
    }
    return [makers[name](ids.get(name)) for name in names]


IDS = "trackers.json"
ID_OF: dict[str, Callable[[Any], str]] = {"wandb": lambda run: run.id, "mlflow": lambda run: run.info.run_id}
"""Where each package's object of a run keeps its id."""


class Narrator:
    """Everything that one run says, to every place it is said; of several processes, by the main one alone."""

    def __init__(
        self, run: Path, recipe: Recipe, accelerator: Accelerator, images: int, total: int, world: World = ALONE
    ) -> None:
        self._log = RunLog(run / "log.jsonl") if world.main else None
        self._trackers = Trackers(run, recipe, accelerator, images) if world.main else None
        self.bar = Bar(run.name, total, images, logged=True)
        self._recipe, self._step = recipe, recipe.batch_size * world.size

    def record(self, kind: str, images: int, **values: Any) -> None:
        """A record of log.jsonl; see runlog.py for the kinds."""
        if self._log:
            self._log.write(kind, images, **values)

    def go_back(self, images: int) -> None:
        """Training goes on from `images`, beyond which it was already: what was told of later images does not count."""
        self.record("resume", images)
        if self._trackers:
            self._trackers.go_back(images)

    def note(self, images: int, text: str) -> None:
        self.bar.say(text)
        self.record("note", images, text=text)

    def losses(self, images: int, per_epoch: int, read: dict[str, Any], rates: dict[str, float]) -> None:
        moment = Moment(images, per_epoch, self._step, self._recipe.epochs)
        self.bar.say(LINES[self._recipe.kind](moment, read))
        self.record(
            "loss",
            images,
            epoch=images / per_epoch,
            losses=read["losses"],
            lr=rates,
            images_per_second=read["images_per_second"],
            data_fraction=read["data_fraction"],
        )
        values = {f"loss/{name}": value for name, value in read["losses"].items()}
        values |= {f"lr/{name}": value for name, value in rates.items()}
        values["time/images_per_second"] = read["images_per_second"]
        values["time/data_fraction"] = read["data_fraction"]
        self._scalars(values, images)

    def scores(self, images: int, epoch: float, scores: dict[str, float]) -> None:
        epoch = min(epoch, self._recipe.epochs)  # the last step may go beyond
        text = " ".join(f"{name}: {value:.4f}" for name, value in scores.items())
        self.bar.say(f"(epoch: {epoch:.1f}, evaluation) {text}")
        self.record("metric", images, scores=scores)
        self._scalars({f"metric/{name}": value for name, value in scores.items()}, images)

    def _scalars(self, values: dict[str, float], images: int) -> None:
        if self._trackers:
            self._trackers.scalars(values, images)

    def sheet(self, images: int, file: str, picture: Any) -> None:
        self.record("sheet", images, file=file)
        if self._trackers:
            self._trackers.image("samples", picture, images)

    def close(self) -> None:
        self.bar.close()
        if self._trackers:
            self._trackers.close()
        if self._log:
            self._log.close()
