"""From a recipe to a model that is ready to train or to translate on its device.

What is put around the networks, and only here: the device, the memory format, autocast and compilation. A
model's own code calls its networks as plain modules and never speaks of any of these.
"""

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment

from gesso.devices import Choice, choose_compile, choose_device, choose_precision, facts
from gesso.engine.average import Average
from gesso.models import build_model
from gesso.models.base import Model
from gesso.networks.macs import macs
from gesso.networks.synchronize import synchronize
from gesso.processes import ALONE, World
from gesso.recipe import Precision, Recipe


@dataclass(frozen=True)
class Choices:
    """What gesso chose for this machine. Recorded in the run and used again by a resume."""

    device: Choice[torch.device]
    precision: Choice[str]
    channels_last: Choice[bool]
    compile: Choice[bool]

    def as_dict(self) -> dict[str, Choice[Any]]:
        return {
            "device": self.device,
            "precision": self.precision,
            "channels_last": self.channels_last,
            "compile": self.compile,
        }


def choose(recipe: Recipe, model: Model, images: float, before: dict[str, Any], world: World = ALONE) -> Choices:
    """Choose for a run over `images` images; `before` are the recorded choices of the run that is resumed.

    What was chosen automatically is not chosen again: another arithmetic would not end in the same weights. Only where
    this machine has it not, another precision is taken, with a reason that says what it costs. Of several processes the
    main one chooses for all, but for the device, of which each has its own.
    """
    device = choose_device(recipe.device, own_device(world))
    chosen = _choose(recipe, model, device, images / world.size, before)
    return replace(world.from_main(chosen), device=device)


def own_device(world: World) -> int | None:
    """The number of this process's device; None where the process is alone and may take any."""
    return world.place.local_rank if world.size > 1 else None


def _choose(
    recipe: Recipe, model: Model, device: Choice[torch.device], images: float, before: dict[str, Any]
) -> Choices:
    recorded = {name: entry["value"] for name, entry in before.items()}
    if recorded.get("device", "").partition(":")[0] == device.value.type:
        precision = _precision_again(recipe, device.value, recorded["precision"])
        compiled = _compile_again(recipe, device.value, recorded["compile"] == "True")
    else:
        precision = choose_precision(recipe.precision, device.value)
        flops = step_flops(model) * recipe.batch_size
        compiled = choose_compile(recipe.compile, device.value, flops, images / recipe.batch_size)
        if recipe.compile == "auto" and model.uncompilable:
            compiled = Choice(False, model.uncompilable)
    return Choices(device, precision, _layout(model, device.value, compiled.value), compiled)


def _precision_again(recipe: Recipe, device: torch.device, before: str) -> Choice[str]:
    """The precision in which a run began, `before`, or another where this machine's device has it not: UsageError where
    the recipe asks for it."""
    if before in facts(device).precisions(device):
        return Choice(before, "as before in this run")
    anew = choose_precision(recipe.precision, device)
    return Choice(
        anew.value,
        f"the run began in {before}, which {device} has not: the weights will not be those of a run without the change",
    )


def _compile_again(recipe: Recipe, device: torch.device, before: bool) -> Choice[bool]:
    """Whether a run goes on compiled, where it began so, `before`; not where this machine has no compiler: UsageError
    where the recipe asks for one."""
    compiler = facts(device).compiler()
    if not before or compiler.value:
        return Choice(before, "as before in this run")
    choose_compile(recipe.compile, device, 0, 0)
    return Choice(
        False,
        f"the run began compiled; {compiler.reason}: the weights will not be those of a run without the change",
    )


def _layout(model: Model, device: torch.device, compiled: bool) -> Choice[bool]:
    """Whether the networks are kept channels_last."""
    channels_last = facts(device).channels_last
    if channels_last.value:
        return channels_last
    if compiled:
        return Choice(True, "compiled convolutions run faster channels_last")
    if model.gains_from_channels_last:
        return Choice(True, "this model's convolutions run faster channels_last")
    return channels_last


AUTOCAST = ("bf16", "fp16")
"""Precisions in which convolutions and products are done in another arithmetic than the rest."""


def step_flops(model: Model) -> float:
    """Floating point operations of one training step on one image of each role; a multiply-add counts two."""
    inputs, networks = model.inputs(), {**model.networks, **model.teachers}
    return sum(2 * macs(networks[name], inputs[name]) * n for name, n in model.forward_passes().items())


def prepare(
    model: Model,
    average: Average | None,
    choices: Choices,
    *,
    train: bool,
    deterministic: bool = False,
    world: World = ALONE,
) -> Accelerator:
    """Put `model` on its device, in the chosen precision and memory format, compiled where chosen, its gradients shared
    with the other processes of `world`."""
    device = choices.device.value
    row = facts(device)
    if device.index is not None:
        row.select(device)
    if world.size > 1 and model.recipe.sync_batch_norm:
        for network in model.networks.values():
            synchronize(network)
    model.share_gradients, model.submit = world.average, row.submit
    row.allow_tf32(choices.precision.value == "tf32")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # Accelerate keeps its state for a whole process, which may train several recipes one after another.
    AcceleratorState._reset_state(reset_partial_state=True)
    precision = choices.precision.value
    with patch_environment(ACCELERATE_TORCH_DEVICE=str(device)):  # of two kinds it would take its own favourite
        accelerator = Accelerator(mixed_precision=precision if precision in AUTOCAST else "no", cpu=row.host)
    layout = torch.channels_last if choices.channels_last.value else torch.contiguous_format
    networks = [*model.networks.values(), *model.teachers.values(), *(average.networks.values() if average else ())]
    for network in networks:
        network.to(device=device, memory_format=layout)
    if train:
        model.make_optimizers(row.fused_optimizer)
    if choices.compile.value:
        for network in (*model.networks.values(), *model.teachers.values()):
            network.forward = torch.compile(network.forward, dynamic=False, backend=row.compile_backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for network in networks:
            # They are on the device asked for, and share gradients by themselves; evaluation mode wraps nothing more.
            accelerator.prepare_model(network, device_placement=False, evaluation_mode=True)
    return accelerator


def ready_model(
    recipe: Recipe, device_flag: str, precision_flag: Precision, world: World = ALONE
) -> tuple[Model, Choices]:
    """A model to use: its used networks alone, eager, on their device, weights still to be loaded."""
    model = build_model(recipe)
    model.networks, model.teachers = {name: model.networks[name] for name in model.used}, {}
    device = choose_device(device_flag, own_device(world))
    precision = choose_precision(precision_flag, device.value)
    eager = Choice(False, "using a model does not wait for a compiler")
    choices = Choices(device, precision, _layout(model, device.value, compiled=False), eager)
    prepare(model, None, choices, train=False, world=world)
    return model, choices
