"""The true classes of a split's label images, for the scores of Cityscapes.

The images that networks see were resized with a smooth filter, which mixes colours at the edges of things, and the
mixtures pass for classes that are not there. So the truth is decoded once more, at its own size, and where another is
needed the nearest pixel is taken. It is kept as class ids, one byte a pixel, in the same cache as the images.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gesso.data.images import fit, nearest_pixels
from gesso.data.sources import Slot, Source, Unit
from gesso.data.store import Store, open_store
from gesso.metrics.cityscapes import CONVENTIONS, true_classes
from gesso.progress import Bar, Say
from gesso.recipe import TranslationData


@dataclass(frozen=True)
class LabelFit:
    """Label colours to class ids in the convention of `classes`: H×W×C, at least 3 channels, to 1×H'×W' uint8.

    preprocess: of the images that the labels belong to, whose size they get; empty leaves them at their own.
    """

    classes: int
    preprocess: str = ""
    crop_size: int = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.preprocess:
            # Asked of `fit` itself, so that the sizes cannot come apart.
            height, width = fit(image, self.preprocess, self.crop_size, self.crop_size).shape[:2]
            image = nearest_pixels(image, height, width)
        eight = image if image.dtype == np.uint8 else np.round(image / 257).astype(np.uint8)
        colours = torch.from_numpy(np.ascontiguousarray(eight[None, :, :, :3].transpose(0, 3, 1, 2)))
        return true_classes(colours, CONVENTIONS[self.classes]).numpy()


class OneRole:
    """The images of one role of a source, in the same places."""

    paired = False

    def __init__(self, source: Source, role: str) -> None:
        self.name, self.split, self.checked = source.name, source.split, source.checked
        self.counts = {role: source.counts[role]}
        self.settings: tuple[object, ...] = (*source.settings, role)
        units = [(unit, tuple(slot for slot in unit.slots if slot[0] == role)) for unit in source.units]
        self.units: Sequence[Unit] = tuple(dataclasses.replace(unit, slots=own) for unit, own in units if own)
        self._units = {slot: unit for unit in self.units for slot in unit.slots}
        self._source, self._role = source, role

    def unit_of(self, slot: Slot) -> Unit:
        return self._units[slot]

    def decode(self, unit: Unit) -> dict[Slot, np.ndarray]:
        return self._source.decode(unit)

    def label(self, slot: Slot) -> str:
        return self._source.label(slot)

    def without(self, bad: Iterable[str]) -> "OneRole":
        return OneRole(self._source.without(bad), self._role)


class Labels:
    """The true classes of label images, by their index."""

    def __init__(self, store: Store, role: str) -> None:
        self._store, self._role = store, role

    def __call__(self, index: int) -> Tensor:
        """H×W uint8 class ids, 255 for void."""
        return torch.from_numpy(np.array(self._store.get((self._role, index))[0]))


def open_labels(source: Source, role: str, labels: LabelFit, data: TranslationData, say: Say) -> Labels:
    """The labels of `source` in domain `role`, made into classes once and remembered."""
    only = OneRole(source, role)
    with Bar(f"reading labels of {source.split}", len(only.units)) as bar:
        return Labels(open_store(only, labels, data, say, bar.update), role)
