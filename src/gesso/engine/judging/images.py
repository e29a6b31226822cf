"""The images of a split as batches that judges can score."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gesso.data.batches import normalize, stack
from gesso.data.store import Store


def images_of(store: Store, role: str, indices: range | list[int], device: torch.device) -> Tensor:
    """Images of one role as N×C×H×W in [-1, 1]; they must be of one size."""
    return normalize(stack([store.get((role, i)) for i in indices]).to(device))


def same_sized(store: Store, roles: tuple[str, ...], most: int) -> Iterator[list[int]]:
    """Indices in order, in runs of at most `most` whose images are of one size in each role of `roles`."""
    run: list[int] = []
    sizes: list[tuple[int, ...]] = []
    for i in range(store.source.counts[roles[0]]):
        here = [store.get((role, i)).shape for role in roles]
        if run and (len(run) == most or here != sizes):
            yield run
            run = []
        run.append(i)
        sizes = here
    if run:
        yield run
