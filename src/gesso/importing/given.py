"""The files that a user names, and which network is in each."""

import re
from pathlib import Path

from torch import Tensor

from gesso.engine.weights import read_weights
from gesso.errors import CheckpointError, UsageError
from gesso.importing.imported import Options

MOST_NAMES = 20_000
PARALLEL = "module."
"""In front of every name that nn.DataParallel wrote."""


def given(files: tuple[str, ...], networks: tuple[str, ...], by_name: re.Pattern[str]) -> list[tuple[str, Path]]:
    """Network and path of each of `files`, FILE or NETWORK=FILE; the network is empty where nothing tells it.

    by_name: finds a network's name, its group 1, in the name of a file without its last suffix.
    """
    found = []
    for word in files:
        network, _, file = word.partition("=")
        path = Path(file if network in networks and file else word).expanduser()
        if network not in networks or not file:
            match = by_name.search(path.stem)
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
    for name, tensor in weights.items():
        if not tensor.numel() or tensor.dim() > 4 or tensor.is_complex():
            shape = "×".join(map(str, tensor.shape))
            raise CheckpointError(f"{path}: {name} is {shape}, which no network that gesso knows has")
    return {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}


def no_use(format_: str, options: Options, *fields: str) -> None:
    """UsageError where `options` has one of `fields`, of which `format_` has no use."""
    for field in fields:
        if getattr(options, field) is not None:
            raise UsageError(f"--{field} {getattr(options, field)}: of no use for the files of {format_}; leave it out")
