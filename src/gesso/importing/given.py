"""The files that a user names, and which network is in each."""

import re
from pathlib import Path

import torch
from torch import Tensor

from gesso.engine.weights import read_weights
from gesso.errors import CheckpointError, UsageError
from gesso.importing.imported import Options

MOST_NAMES = 20_000
COUNTER = "num_batches_tracked"
"""The last part of the name of the one kind of tensor that is not of numbers with a fraction."""
PARALLEL = "module."
"""In front of every name that nn.DataParallel wrote."""


def given(files: tuple[str, ...], networks: tuple[str, ...], by_name: re.Pattern[str] | None) -> list[tuple[str, Path]]:
    """Network and path of each of `files`, FILE or NETWORK=FILE; the network is empty where nothing tells it.

    UsageError where there is none. by_name: finds a network's name, its group 1, in the name of a file without its last
    suffix; None where names of files tell nothing.
    """
    if not files:
        raise UsageError("name a file of weights; see gesso import --help")
    found = []
    for word in files:
        network, _, file = word.partition("=")
        path = Path(file if network in networks and file else word).expanduser()
        if network not in networks or not file:
            match = by_name.search(path.stem) if by_name else None
            network = match[1] if match else ""
        found.append((network, path))
    return found


def unique(found: list[tuple[str, Path]]) -> dict[str, Path]:
    """By network; UsageError where two files are for one."""
    by_network: dict[str, Path] = {}
    for network, path in found:
        if network in by_network:
            raise UsageError(f"{path}: {by_network[network]} is {network} already; name each as NETWORK=FILE")
        by_network[network] = path
    return by_network


def read_state(path: Path) -> dict[str, Tensor]:
    """The state_dict at `path` as float32, without what nn.DataParallel put in front of its names."""
    weights = read_weights(path)
    if not weights:
        raise CheckpointError(f"{path}: not a network's weights, it is empty")
    if all(name.startswith(PARALLEL) for name in weights):
        weights = {name.removeprefix(PARALLEL): tensor for name, tensor in weights.items()}
    return plain(path, weights)


def plain(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` as float32, counters as they are. CheckpointError where they cannot be a network's."""
    if len(weights) > MOST_NAMES:
        raise CheckpointError(f"{path}: {len(weights)} tensors; no network that gesso knows has so many")
    return {name: _plain(path, name, tensor) for name, tensor in weights.items()}


def _plain(path: Path, name: str, tensor: Tensor) -> Tensor:
    if not tensor.numel() or tensor.dim() > 4 or tensor.is_complex():
        shape = "×".join(map(str, tensor.shape))
        raise CheckpointError(f"{path}: {name} is {shape}, which no network that gesso knows has")
    if name.rpartition(".")[2] == COUNTER:
        return tensor
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"{path}: {name} is of {kind}; a network's weights are of float16, bfloat16, or float32")
    numbers = tensor.float()
    if not torch.isfinite(numbers).all():
        told = (
            "numbers too large for float32" if torch.isfinite(tensor.double()).all() else "numbers that are not finite"
        )
        raise CheckpointError(f"{path}: {name} has {told}, so the network computes nothing; take an earlier file")
    return numbers


def no_use(format_: str, options: Options, *fields: str) -> None:
    """UsageError where `options` has one of `fields`, of which `format_` has no use."""
    for field in fields:
        if getattr(options, field) is not None:
            raise UsageError(f"--{field} {getattr(options, field)}: of no use for the files of {format_}; leave it out")
