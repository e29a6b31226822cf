"""From stored single images to batches on the device.

Each image is cut and resized by itself on the host, by threads, with random numbers that depend on (seed, position)
alone: images of one batch differ in size, and Pillow's antialiased resizing of a part has no equal on devices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gesso.data.augment import View
from gesso.data.batches import normalize
from gesso.data.order import indices
from gesso.data.sources import ROLE
from gesso.data.store import Store
from gesso.data.stream import Stream

ClassOf = Callable[[int], int]


@dataclass(frozen=True)
class HostSamples:
    """N×C×S×S uint8 images and their N classes, where they have any."""

    images: Tensor
    labels: Tensor | None


class Samples(Stream[HostSamples]):
    """Batches {"image": N×C×S×S float32 in [-1, 1]}, and {"label": N int64} where `class_of` is given."""

    def __init__(
        self,
        store: Store,
        view: View,
        *,
        class_of: ClassOf | None,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int = 0,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(batch_size=batch_size, workers=workers, seed=seed, position=position, rank=rank, world=world)
        self._store, self._view, self._class_of = store, view, class_of
        self._device = device

    def host_batch(self, position: int) -> HostSamples:
        positions = self.positions(position)
        order = indices(self._seed, 0, positions, self._store.source.counts[ROLE])
        images = [
            self._view(self._store.get((ROLE, int(i))), self._seed, 0, int(p))
            for i, p in zip(order, positions, strict=True)
        ]
        labels = torch.tensor([self._class_of(int(i)) for i in order]) if self._class_of else None
        return HostSamples(torch.from_numpy(np.stack(images)), labels)

    def to_device(self, host: HostSamples) -> dict[str, Tensor]:
        batch = {"image": normalize(host.images.to(self._device, non_blocking=True))}
        if host.labels is not None:
            batch["label"] = host.labels.to(self._device, non_blocking=True)
        return batch
