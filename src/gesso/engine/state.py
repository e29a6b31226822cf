"""A model's state out of memory and back: for checkpoints, for given weights; and a run's recipe anew."""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gesso.engine import checkpoint
from gesso.engine.average import Average
from gesso.engine.checkpoint import Checkpoint, Weights
from gesso.engine.guard import Guard
from gesso.engine.pulling import at_hand
from gesso.engine.runs import RECIPE, lock_run, read_recipe
from gesso.engine.weights import read_weights
from gesso.errors import CheckpointError, UsageError
from gesso.files import write_atomically
from gesso.models import build_model
from gesso.models.base import Model
from gesso.processes import ALONE, World
from gesso.progress import say
from gesso.recipe import BUILTIN_STREETS, ClassData, Recipe

AVERAGED = "_ema"


def all_networks(model: Model, average: Average | None) -> dict[str, nn.Module]:
    """Every network of a run by the name that checkpoints give it: the model's, and averaged ones as NAME_ema."""
    averaged = average.networks if average else {}
    return model.networks | {name + AVERAGED: network for name, network in averaged.items()}


def weights_of(model: Model, average: Average | None) -> Weights:
    """state_dict of every network, averaged ones too."""
    return {name: network.state_dict() for name, network in all_networks(model, average).items()}


def training_of(model: Model, guard: Guard, world: World = ALONE) -> dict[str, Any]:
    """Everything else that a resume needs. "processes" has what each of `world` holds by itself, in order of ranks."""
    return {
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
        "processes": world.gather({"model": model.state_dict(), "guard": guard.state_dict()}),
    }


def restore(model: Model, average: Average | None, guard: Guard, found: Checkpoint, rank: int = 0) -> None:
    """Put the whole of a checkpoint into a model that is on its device, and what watches it, in process `rank`.

    Where there are more processes than before, those that are new hold what another one held. Imported weights have
    nothing besides them: what else there is begins anew.
    """
    load_weights(all_networks(model, average), found)
    training = found.training()
    if not training:
        for optimizer in model.optimizers.values():
            optimizer.state.clear()
        with torch.device("meta"):  # pools and the like as they are before the first step
            model.load_state_dict(build_model(model.recipe).state_dict())
        guard.forget()
        return
    try:
        for name, optimizer in model.optimizers.items():
            optimizer.load_state_dict(training["optimizers"][name])
        own = training["processes"][rank % len(training["processes"])]
        model.load_state_dict(own["model"])
        guard.load_state_dict(own["guard"])
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{found.path}: of another model, its training state does not fit: {error}") from None


def begin_again(model: Model, average: Average | None, guard: Guard, weights: Weights, kept: dict[str, Any]) -> None:
    """Put a run back before its first step: its first `weights`, what the model `kept` beside them, nothing else."""
    for name, network in all_networks(model, average).items():
        network.load_state_dict(weights[name])
    for optimizer in model.optimizers.values():
        optimizer.state.clear()
    model.load_state_dict(copy.deepcopy(kept))
    guard.forget()


def load_for_use(model: Model, found: Checkpoint) -> bool:
    """The checkpoint's networks that are used, averaged ones where it has them, into `model`; whether it had."""
    if found.model != model.recipe.model:
        raise CheckpointError(f"{found.path}: a checkpoint of {found.model}, not of {model.recipe.model}")
    keys = used_keys(found, model.used)
    for name, key in keys.items():
        load_into(model.networks[name], found.weights[key], f"{found.path}/{key}.safetensors")
    return any(key.endswith(AVERAGED) for key in keys.values())


def used_keys(found: Checkpoint, used: Sequence[str]) -> dict[str, str]:
    """Under which names `found` has the networks `used`: the averaged ones', where it has any. CheckpointError names
    one that it lacks."""
    suffix = AVERAGED if any(name.endswith(AVERAGED) for name in found.weights) else ""
    keys = {name: name + suffix for name in used}
    if missing := [key for key in keys.values() if key not in found.weights]:
        raise CheckpointError(f"{found.path}: it has no network {missing[0]}")
    return keys


def load_weights(networks: dict[str, nn.Module], found: Checkpoint) -> None:
    """Load each of `networks` from `found`. CheckpointError where one is missing or of another shape."""
    for name, network in networks.items():
        if name not in found.weights:
            raise CheckpointError(f"{found.path}: a checkpoint of {found.model} without a network {name}")
        load_into(network, found.weights[name], f"{found.path}/{name}.safetensors")


def load_into(network: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """`weights` into `network`, every tensor of it. CheckpointError names the first that does not fit."""
    check_fit(network, weights, name)
    network.load_state_dict(weights)


def check_fit(network: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """CheckpointError names the first of `weights`, from the file `name`, that `network` has not or has otherwise."""
    wanted = network.state_dict()
    for key in {**wanted, **weights}:
        if key not in weights:
            raise CheckpointError(f"{name}: of another architecture, it lacks {key}")
        if key not in wanted:
            raise CheckpointError(f"{name}: of another architecture, it has {key} besides")
        if weights[key].shape != wanted[key].shape:
            there, here = (list(t[key].shape) for t in (weights, wanted))
            raise CheckpointError(f"{name}: of another architecture, {key} is {there} there and {here} here")


def start_from(model: Model, average: Average | None, given: tuple[str, ...]) -> None:
    """Initial weights from `--start-from`: a run, a checkpoint, or NETWORK=FILE entries."""
    for entry in given:
        name, _, file = entry.partition("=")
        if file:
            if name not in model.networks:
                raise UsageError(f"--start-from {entry}: networks are {', '.join(model.networks)}")
            weights = model.renamed(read_weights(Path(file).expanduser()))
            load_into(model.networks[name], counters(model.networks[name]) | weights, file)
        else:
            found = find_checkpoint(at_hand(Path(entry).expanduser()))
            if found.model != model.recipe.model:
                raise CheckpointError(f"--start-from {entry}: a {found.model}, not a {model.recipe.model}")
            if checkpoint.PUBLISHED in found.progress:
                _start_from_published(model, found, entry)
            else:
                load_weights(model.networks, found)
    if average:
        for name, network in average.networks.items():
            network.load_state_dict(model.networks[name].state_dict())


def _start_from_published(model: Model, found: Checkpoint, entry: str) -> None:
    """The networks of a published model into `model`. Averaged weights do where there are no others; those of networks
    that only training needs may not have been published, and then begin anew."""
    keys = {name: name for name in model.networks if name in found.weights}
    keys |= used_keys(found, [name for name in model.used if name not in keys])
    for name, key in keys.items():
        load_into(model.networks[name], found.weights[key], f"{found.path}/{key}.safetensors")
    if left := [name for name in model.networks if name not in keys]:
        say(f"--start-from {entry}: published without {', '.join(left)}, which begin anew")


def counters(network: nn.Module) -> dict[str, Tensor]:
    """How many batches each batch norm of `network` has seen. Files from before PyTorch 0.4.1 do not say; nothing that
    gesso does depends on it."""
    return {name: buffer for name, buffer in network.named_buffers() if name.endswith(".num_batches_tracked")}


def find_checkpoint(path: Path, which: str = "latest") -> Checkpoint:
    """The checkpoint at `path`, which is one itself or a run that has them."""
    if (path / checkpoint.MANIFEST).exists():
        return checkpoint.read(path)
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such run or checkpoint")
    read_recipe(path)
    return checkpoint.find(path, which, say)


def with_data(found: Checkpoint, recipe: Recipe, data_root: str = "") -> Recipe:
    """`recipe`, on the data set at `data_root` if that is given. UsageError where `found` was published, and so without
    its data set, and none is given."""
    if data_root:
        return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root=data_root))
    root = recipe.data.root
    synthetic = isinstance(recipe.data, ClassData) and recipe.data.synthetic
    if checkpoint.PUBLISHED in found.progress and root != BUILTIN_STREETS and not synthetic:
        raise UsageError(f"{found.path}: published without its data set ({root}); say where it is with --data-root")
    return recipe


def rewrite(run: Path, recipe: Recipe) -> None:
    """Make `recipe` that of the run at `run`. UsageError where it makes no sense, or another process trains the run."""
    text = recipe.checked().to_json()
    lock = lock_run(run)
    try:
        write_atomically(run / RECIPE, text)
    finally:
        lock.release()
