"""From the stored images of two domains to batches on the device.

The host only gathers uint8 samples; the crop, the mirror and the normalisation run batched on the device, with
the same windows for the two halves of a pair.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gesso.data.order import IntArray, Window, indices, windows
from gesso.data.store import Store
from gesso.data.stream import Stream
from gesso.errors import DataError
from gesso.recipe import TranslationData


@dataclass(frozen=True)
class HostBatch:
    """Samples of each domain, N×C×H×W uint8 or int32 (16-bit files), and the windows to cut from them."""

    samples: dict[str, Tensor]
    windows: dict[str, list[Window]]


def cut(samples: Tensor, chosen: list[Window], size: int | None) -> Tensor:
    """Crop to size×size (None: do not crop) and mirror: N×C×H×W to N×C×size×size, one gather on the device."""
    n, channels, height, width = samples.shape
    out_height, out_width = (height, width) if size is None else (size, size)
    top = torch.tensor([_offset(w.top, height - out_height) for w in chosen])
    left = torch.tensor([_offset(w.left, width - out_width) for w in chosen])
    mirrored = torch.tensor([w.flip for w in chosen])
    rows = top[:, None] + torch.arange(out_height)
    forth = torch.arange(out_width)
    columns = left[:, None] + torch.where(mirrored[:, None], forth.flip(0), forth)
    device = samples.device
    return samples[
        torch.arange(n, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[None, :, None, None],
        rows.to(device, non_blocking=True)[:, None, :, None],
        columns.to(device, non_blocking=True)[:, None, None, :],
    ]


def _offset(fraction: float, room: int) -> int:
    """Each of the room + 1 places is equally likely for a fraction drawn from [0, 1)."""
    return int(fraction * (room + 1))


def normalize(samples: Tensor) -> Tensor:
    """uint8 (or 16-bit values in int32) to float32 in [-1, 1]."""
    half = 255 / 2 if samples.dtype == torch.uint8 else 65535 / 2
    return samples.to(torch.float32).div_(half).sub_(1.0)


def stack(images: list[np.ndarray]) -> Tensor:
    """C×H×W samples to N×C×H×W. torch has few operations on uint16, so 16-bit samples become int32.

    Where some have 8 bits and some 16, those of 8 are spread over the 16, 255 to 65535.
    """
    if len({image.dtype for image in images}) > 1:
        images = [image if image.dtype == np.uint16 else image.astype(np.uint16) * 257 for image in images]
    samples = np.stack(images)
    return torch.from_numpy(samples if samples.dtype == np.uint8 else samples.astype(np.int32))


class Batches(Stream[HostBatch]):
    """Batches of two domains: dict of N×C×H×W float32 tensors in [-1, 1] by domain.

    aligned: A and B of a batch belong together and are cut alike; else each domain has its own order and windows,
    even where the set has pairs.
    """

    def __init__(
        self,
        store: Store,
        data: TranslationData,
        *,
        aligned: bool,
        batch_size: int,
        seed: int,
        device: torch.device,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(
            batch_size=batch_size, workers=data.workers, seed=seed, position=position, rank=rank, world=world
        )
        self._store, self._data = store, data
        self._aligned = aligned
        self._device = device
        self._crop = data.crop_size if data.cropped else None

    def host_batch(self, position: int) -> HostBatch:
        positions = self.positions(position)
        samples: dict[str, Tensor] = {}
        chosen: dict[str, list[Window]] = {}
        found: dict[str, list[np.ndarray]] = {}
        for own, (role, count) in enumerate(sorted(self._store.source.counts.items())):
            stream = 0 if self._aligned else own
            order = indices(self._seed, stream, positions, count)
            found[role] = [self._store.get((role, int(i))) for i in order]
            chosen[role] = windows(self._seed, stream, positions, self._data.flip)
        if self._aligned:
            self._check_pairs(found["A"], found["B"], order)
        for role, images in found.items():
            if len({image.shape for image in images}) > 1:
                images, chosen[role] = self._crop_on_host(images, chosen[role])
            samples[role] = stack(images)
        return HostBatch(samples, chosen)

    def _check_pairs(self, a: list[np.ndarray], b: list[np.ndarray], order: IntArray) -> None:
        for i, one, other in zip(order, a, b, strict=True):
            if one.shape[1:] != other.shape[1:]:
                names = [self._store.source.label((role, int(i))) for role in "AB"]
                raise DataError(
                    f"{self._data.root}: {names[0]} and {names[1]} are a pair but differ in size, so no crop fits "
                    "both; use --data.preprocess resize_and_crop"
                )

    def _crop_on_host(self, images: list[np.ndarray], chosen: list[Window]) -> tuple[list[np.ndarray], list[Window]]:
        """Images of different sizes cannot be stacked before they are cropped."""
        size = self._crop
        if size is None:
            raise DataError(
                f"{self._data.root}: images differ in size ({' and '.join(_sizes(images))}), which "
                f"--data.preprocess {self._data.preprocess} keeps; use --batch-size 1 or another --data.preprocess"
            )
        cropped = []
        for image, window in zip(images, chosen, strict=True):
            top = _offset(window.top, image.shape[1] - size)
            left = _offset(window.left, image.shape[2] - size)
            cropped.append(image[:, top : top + size, left : left + size])
        return cropped, [Window(0.0, 0.0, window.flip) for window in chosen]

    def to_device(self, host: HostBatch) -> dict[str, Tensor]:
        return {
            role: normalize(cut(samples.to(self._device, non_blocking=True), host.windows[role], self._crop))
            for role, samples in host.samples.items()
        }


def _sizes(images: list[np.ndarray]) -> list[str]:
    return sorted({f"{image.shape[2]}x{image.shape[1]}" for image in images})[:2]
