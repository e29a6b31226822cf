"""Scores of a translator's answers, gathered batch by batch.

A scorer belongs to one method (the model or a baseline) in one direction. What it holds are sums: counts, totals and
matrices. So neither the batches nor their order matter beyond rounding, and what the scorers of several processes
hold of different images goes into one that is as if it had seen them all.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gesso.data.images import nearest_pixels
from gesso.metrics.cityscapes import Convention, count, predicted_classes, scores
from gesso.metrics.distribution import distribution_scores
from gesso.metrics.features import Features
from gesso.metrics.features_gathered import Gathered
from gesso.metrics.paired import PAIRED, SMALLEST_SSIM, resized
from gesso.metrics.perceptual import Perceptual
from gesso.metrics.segmenter import Segmenter

SEGMENTATION = ("pixel_accuracy", "class_accuracy", "class_IoU")
"""The three scores of the papers' tables, in their order."""
Truth = Callable[[int], Tensor]
"""The true classes of the image of an index: H×W uint8, 255 for void."""


@dataclass(frozen=True)
class Asked:
    """What a batch of answers is compared with: the images' indices, and the right answers where the split has pairs,
    N×C×H×W in [-1, 1]."""

    indices: list[int]
    targets: Tensor | None

    @property
    def answers(self) -> Tensor:
        assert self.targets is not None, "this score needs pairs"
        return self.targets


class Scorer(Protocol):
    """Gathers what one or more scores need."""

    def add(self, made: Tensor, asked: Asked) -> None:
        """Takes answers, N×C×H×W in about [-1, 1], of the target's channels; they may be of another size."""

    @property
    def part(self) -> Any:
        """All that was gathered, picklable and on the CPU, for the `merge` of a scorer of the same kind."""

    def merge(self, part: Any) -> None:
        """Takes the `part` of a scorer that saw other images, which stand behind those seen here."""

    def scores(self) -> dict[str, float]:
        """Of all answers so far, by name."""

    def details(self) -> dict[str, Any]:
        """More than numbers by name, for metrics.json."""
        return {}


class PairedScorer(Scorer):
    """L1, PSNR and SSIM, each the mean over the images that are large enough for it."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    @property
    def part(self) -> tuple[dict[str, float], dict[str, int]]:
        return self._sums, self._counts

    def merge(self, part: tuple[dict[str, float], dict[str, int]]) -> None:
        for name, total in part[0].items():
            self._take(name, total, part[1][name])

    def add(self, made: Tensor, asked: Asked) -> None:
        targets = asked.answers
        size = _size(targets)
        made = resized(made, size)
        for name, metric in PAIRED.items():
            if name != "SSIM" or min(size) >= SMALLEST_SSIM:
                self._take(name, float(metric.compute(made, targets).sum()), len(made))

    def scores(self) -> dict[str, float]:
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def _take(self, name: str, total: float, images: int) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0) + images


class PerceptualScorer(Scorer):
    """LPIPS, the mean over images."""

    def __init__(self, distance: Perceptual) -> None:
        self._distance = distance
        self._sum, self._count = 0.0, 0

    def add(self, made: Tensor, asked: Asked) -> None:
        self._sum += float(self._distance(resized(made, _size(asked.answers)), asked.answers).sum())
        self._count += len(made)

    @property
    def part(self) -> tuple[float, int]:
        return self._sum, self._count

    def merge(self, part: tuple[float, int]) -> None:
        self._sum, self._count = self._sum + part[0], self._count + part[1]

    def scores(self) -> dict[str, float]:
        return {"LPIPS": self._sum / self._count}


class DistributionScorer(Scorer):
    """How far all answers together are from `real`, the features of the target domain's images. Needs no pairs."""

    def __init__(self, features: Features, real: Gathered, wanted: Collection[str], first: int = 0) -> None:
        """first: index of the first answer, on which depends which answers' features are kept."""
        self._features, self._real, self._wanted = features, real, wanted
        self._made = Gathered(real.keep, first=first)

    def add(self, made: Tensor, asked: Asked) -> None:
        self._made.add(self._features(made))

    @property
    def part(self) -> Gathered:
        return self._made

    def merge(self, part: Gathered) -> None:
        self._made.merge(part)

    def scores(self) -> dict[str, float]:
        return distribution_scores(self._real, self._made, self._wanted)


class ClassScorer(Scorer):
    """Pixel accuracy, mean class accuracy and mean class IoU from one confusion matrix over all images."""

    def __init__(self, truth: Truth, convention: Convention) -> None:
        self._truth, self._convention = truth, convention
        self._matrix = torch.zeros(convention.classes, convention.classes, dtype=torch.int64)

    @abstractmethod
    def classes(self, made: Tensor, size: tuple[int, int]) -> Tensor:
        """Class ids that 1×C×h×w answers show, 1×H×W uint8 at `size`."""

    def add(self, made: Tensor, asked: Asked) -> None:
        # One at a time: at their own size, labels of one batch may differ in it.
        for answer, index in zip(torch.split(made, 1), asked.indices, strict=True):
            truth = self._truth(index).to(made.device)[None]
            predicted = self.classes(answer, (truth.shape[1], truth.shape[2]))
            self._matrix += count(truth, predicted, self._convention).cpu()

    @property
    def part(self) -> Tensor:
        return self._matrix

    def merge(self, part: Tensor) -> None:
        self._matrix += part

    def scores(self) -> dict[str, float]:
        found = scores(self._matrix, self._convention)
        return dict(zip(SEGMENTATION, (found.pixel_accuracy, found.class_accuracy, found.class_iou), strict=True))

    def details(self) -> dict[str, Any]:
        """By class: name, pixels of the truth, accuracy and IoU (None where they are 0/0); and the matrix, rows the
        truth."""
        classes = [
            {"class": each.name, "pixels": each.pixels, "accuracy": _known(each.accuracy), "iou": _known(each.iou)}
            for each in scores(self._matrix, self._convention).table
        ]
        return {"classes": classes, "confusion": self._matrix.tolist()}


class CityscapesScorer(ClassScorer):
    """Photo → label: each pixel of an answer takes the class of the nearest palette colour."""

    def classes(self, made: Tensor, size: tuple[int, int]) -> Tensor:
        found = predicted_classes(made[:, :3], self._convention)
        if _size(made) == size:
            return found
        return torch.from_numpy(nearest_pixels(found[0].cpu().numpy(), *size))[None].to(made.device)


class SegmenterScorer(ClassScorer):
    """Label → photo: a segmenter says what it sees in an answer, at the size of the labels."""

    def __init__(self, truth: Truth, convention: Convention, segmenter: Segmenter) -> None:
        super().__init__(truth, convention)
        self._segmenter = segmenter

    def classes(self, made: Tensor, size: tuple[int, int]) -> Tensor:
        return self._segmenter(made[:, :3], size)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]
