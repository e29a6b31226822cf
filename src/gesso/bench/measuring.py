"""One measurement: a model as training or use would run it, warmed up, then timed step by step.

A step is timed from the end of the one before to its own end, which waits for the device once. So what a step waits for
its data is in its time, as in training. Every time is kept: medians, percentiles and comparisons are made of them.

What is measured is what training does: the model's `train_step` with its optimizers, averaged over processes, watched
by the divergence guard and followed by the average of its weights as the recipe asks; or `predict` as a user would call
it, in the recipe's arithmetic and memory format. Not in it: the log, evaluations and checkpoints.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import gesso
from gesso.bench.machine import environment, kind_of
from gesso.bench.results import Configuration, Result, now
from gesso.bench.variants import VARIANT, variant_of
from gesso.data import order
from gesso.data.stream import Stream
from gesso.devices import DTYPES, choose_device, facts, measure_matmul_peak
from gesso.devices.energy import Counters, spent
from gesso.engine.average import Average
from gesso.engine.feeding import open_feed
from gesso.engine.guard import Guard
from gesso.engine.launch import choose, prepare, step_flops
from gesso.models import build_model
from gesso.models.base import Batch, Model, untracked
from gesso.models.classification import Classifier
from gesso.models.generation import Generator
from gesso.models.translation import Translator
from gesso.networks.macs import macs
from gesso.processes import World, joined
from gesso.recipe import Kind, Recipe, from_json

Step = Callable[[Batch], None]
Clock = Callable[[], float]

HOST_SIDE, DEVICE_SIDE = 2048, 8192
"""Side of the matrix product whose rate is the peak. On an accelerator a small one would measure how fast it starts."""


@dataclass(frozen=True)
class Job:
    """What to measure, once. The recipe names batch size, precision, device and compilation."""

    recipe: Recipe
    mode: str
    """One of results.MODES."""
    data: str
    """One of results.DATA."""
    devices: int = 1
    steps: int = 50
    warmup: int = 10
    price_per_hour: float = 0.0
    """Of all devices together; 0 is unknown."""
    machine: str = "unnamed"
    commit: str = ""
    run_id: str = "run"

    @property
    def configuration(self) -> Configuration:
        """As far as it is known before the measurement."""
        recipe = self.recipe
        return Configuration(
            kind="speed",
            recipe=recipe.recipe,
            model=recipe.model,
            mode=self.mode,
            data=self.data,
            batch_size=recipe.batch_size,
            devices=self.devices,
            precision=recipe.precision,
            compiled=recipe.compile == "on",
            device=recipe.device,
            device_name="",
            machine=self.machine,
            gmacs="",
            variant=variant_of(recipe.recipe, recipe.to_json()),
        )

    def to_json(self) -> str:
        return json.dumps({**vars(self), "recipe": self.recipe.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        held = json.loads(text)
        return cls(**{**held, "recipe": from_json(held["recipe"])})


@dataclass(frozen=True)
class Taken:
    """What one process measured."""

    seconds: list[float]
    """Of each timed step."""
    waited: float
    """Seconds of these that it waited for data."""
    peak_memory: int
    """Bytes."""
    before: Counters
    after: Counters
    """Of its energy, before and after the timed steps."""
    peak: float
    """FLOP/s of a matrix product, measured after the steps."""


def measure(job: Job, clock: Clock = time.perf_counter) -> Result | None:
    """Measure `job` in this process, or in all processes that a launcher started; None in all but the main one.

    A GessoError where flags or data are wrong.
    """
    started, recipe = now(), job.recipe
    with joined(choose_device(recipe.device).value.type) as world, ExitStack() as closing:
        model = build_model(recipe)
        model.initialize(recipe.seed)
        choices = choose(recipe, model, recipe.batch_size, {}, world)
        device = choices.device.value
        train = job.mode == "train"
        work = step_flops(model) / 2 if train else 0.0
        if not train:
            model.networks = {name: model.networks[name] for name in model.used}
        inputs = model.inputs()
        costs = {name: macs(network, inputs[name]) for name, network in model.networks.items()}
        averaged = {name: model.networks[name] for name in model.used if train and recipe.ema}
        average = Average(averaged, recipe.ema, recipe.ema_ramp) if averaged else None
        prepare(model, average, choices, train=train, deterministic=recipe.deterministic, world=world)
        batches = _real(model, device, world, closing) if job.data == "real" else _synthetic(model, device, train)
        if train:
            model.prepare(batches)
        step = (
            _training(model, average, world, choices.precision.value) if train else closing.enter_context(_using(model))
        )
        with _called(model) as calls:
            step(next(batches))  # of the warm-up
        work = work or sum(costs[name] * count for name, count in calls.items())
        for _ in range(job.warmup - 1):
            step(next(batches))
        every = world.gather(_timed(step, batches, job.steps, device, world, clock, choices.precision.value))
        if not world.main:
            return None
        seconds = [max(times) for times in zip(*(taken.seconds for taken in every), strict=True)]
        configuration = job.configuration._replace(
            devices=world.size,
            precision=choices.precision.value,
            compiled=choices.compile.value,
            device=kind_of(device),
            device_name=facts(device).describe(device),
        )
        return Result(
            **configuration.fields,
            version=gesso.__version__,
            commit=job.commit,
            started=started,
            run_id=job.run_id,
            recipe_json=recipe.to_json(),
            environment={**environment(choices, every[0].peak), VARIANT: configuration.variant},
            step_seconds=tuple(seconds),
            metrics=metrics_of(job, every, work),
        )


def metrics_of(job: Job, every: list[Taken], work: float) -> dict[str, float]:
    """By the names of results.METRICS; without those that were not measured.

    Of several processes the slowest counts, step by step: a step is over when all of them have ended it.

    Args:
        job: What was measured.
        every: What each process measured.
        work: Multiply-accumulates of one sample.
    """
    seconds = np.array([taken.seconds for taken in every]).max(0)
    total = float(seconds.sum())
    rate = job.recipe.batch_size * len(every) * len(seconds) / total
    p10, median, p90 = np.quantile(seconds * 1000, [0.1, 0.5, 0.9]).tolist()
    metrics = {
        "samples_per_second": rate,
        "ms_median": median,
        "ms_p10": p10,
        "ms_p90": p90,
        "peak_memory_bytes": float(max(taken.peak_memory for taken in every)),
        "gmacs": work / 1e9,
        "peak_share": 2 * work * rate / sum(taken.peak for taken in every),
    }
    if job.data == "real":
        metrics["data_fraction"] = max(taken.waited for taken in every) / total
    before = {name: counter for taken in every for name, counter in taken.before.items()}
    after = {name: counter for taken in every for name, counter in taken.after.items()}
    if (joules := spent(before, after, total)) is not None:
        metrics["energy_joules"] = joules / len(seconds)
    if job.price_per_hour:
        metrics["cost_per_million"] = job.price_per_hour / 3600 / rate * 1e6
    return metrics


def step_times(
    step: Step, batches: Iterator[Batch], steps: int, settle: Callable[[], None], clock: Clock
) -> list[float]:
    """Seconds of each of `steps` steps, from the end of the one before, its wait for data included.

    settle: waits until all that was asked of the device is done.
    """
    settle()
    seconds = []
    before = clock()
    for _ in range(steps):
        step(next(batches))
        settle()
        end = clock()
        seconds.append(end - before)
        before = end
    return seconds


def _timed(
    step: Step,
    batches: Iterator[Batch],
    steps: int,
    device: torch.device,
    world: World,
    clock: Clock,
    precision: str,
) -> Taken:
    row = facts(device)
    row.synchronize(device)
    row.reset_peak_memory(device)
    stream = batches if isinstance(batches, Stream) else None
    waited = stream.seconds_waited if stream else 0.0
    world.meet()
    before = row.energy(device)
    seconds = step_times(step, batches, steps, lambda: row.synchronize(device), clock)
    after = row.energy(device)
    peak_memory = row.peak_memory(device)
    side = HOST_SIDE if row.host else DEVICE_SIDE
    return Taken(
        seconds=seconds,
        waited=stream.seconds_waited - waited if stream else 0.0,
        peak_memory=peak_memory,
        before=before,
        after=after,
        peak=measure_matmul_peak(device, DTYPES[precision], side),
    )


def _training(model: Model, average: Average | None, world: World, precision: str) -> Step:
    """A step of the training loop: whether one of the processes wants to stop, random numbers, the model's step, the
    statistics of all processes, the averaged weights, the guard."""
    own, together = model.recipe.batch_size, model.recipe.batch_size * world.size
    images = itertools.count(0, together)
    statistics = [buffer for n in model.networks.values() for buffer in n.buffers() if buffer.is_floating_point()]
    guard = Guard(model.recipe.guard, model, world, fp16=precision == "fp16")

    def step(batch: Batch) -> None:
        world.any(False)
        seen = next(images)
        rng = order.random(model.recipe.seed, order.STEP, seen + world.rank * own)
        torch.manual_seed(int(rng.integers(2**62)))
        losses = model.train_step(batch, rng)
        world.average(statistics)
        if average:
            average.update(model.networks, together, seen + together)
        guard.watch(losses)
        guard.look()  # a fault ends nothing here: how fast the steps are is asked, and not where they lead
        guard.notes()

    return step


@contextlib.contextmanager
def _using(model: Model) -> Iterator[Step]:
    """`predict` as a user calls it, but compiled where the networks are, which `models.base.using` would not be."""
    networks = list(model.networks.values())
    for network in networks:
        network.train(model.mode == "train")
    # Batch norm in train mode would move its running statistics.
    still = untracked(*networks) if model.mode == "train" else contextlib.nullcontext()
    with torch.no_grad(), still:
        yield lambda batch: FORWARD[model.recipe.kind](model, batch)


FORWARD: dict[Kind, Callable[[Any, Batch], Any]] = {
    "translator": lambda model, batch: model.translate(batch),
    "generator": lambda model, batch: model.predict(batch),
    "classifier": lambda model, batch: model.predict(batch),
}
"""How each kind of model is used."""


@contextlib.contextmanager
def _called(model: Model) -> Iterator[dict[str, int]]:
    """Counts how often each network is called inside."""
    calls = dict.fromkeys(model.networks, 0)

    def counter(name: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            calls[name] += 1

        return count

    hooks = [network.register_forward_pre_hook(counter(name)) for name, network in model.networks.items()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _real(model: Model, device: torch.device, world: World, closing: ExitStack) -> Stream[Any]:
    """The feed of a training on the recipe's data."""
    with world.main_first():
        feed = open_feed(model, lambda line: None)
    stream = feed.stream(device, 0, world.place)
    closing.callback(stream.close)
    return stream


def _synthetic(model: Model, device: torch.device, train: bool) -> Iterator[Batch]:
    """The same batch again and again, on the device already."""
    batch = SYNTHETIC[model.recipe.kind](model, train)
    return itertools.repeat({role: tensor.to(device) for role, tensor in batch.items()})


def _pictures(n: int, channels: int, side: int) -> torch.Tensor:
    """N×C×S×S in [-1, 1], always the same."""
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _of_translator(model: Translator, train: bool) -> Batch:
    data, n = model.recipe.data, model.recipe.batch_size
    return {
        "A": _pictures(n, data.channels_a, data.crop_size),
        "B": _pictures(n, data.channels_b, data.crop_size),
    }


def _of_generator(model: Generator, train: bool) -> Batch:
    data, n = model.recipe.data, model.recipe.batch_size
    if train:
        return {"image": _pictures(n, data.channels, data.image_size)}
    return {"z": torch.randn(n, model.latent, generator=torch.Generator().manual_seed(0))}


def _of_classifier(model: Classifier, train: bool) -> Batch:
    data, n = model.recipe.data, model.recipe.batch_size
    return {"image": _pictures(n, data.channels, data.image_size), "label": torch.arange(n) % model.classes}


SYNTHETIC: dict[Kind, Callable[[Any, bool], Batch]] = {
    "translator": _of_translator,
    "generator": _of_generator,
    "classifier": _of_classifier,
}
"""A batch for each kind of model, to train on (True) or to use it on."""
