"""The photo→label scores of the pix2pix and CycleGAN papers: how well a drawn label map says what is where.

No network takes part. Each generated pixel takes the class of the nearest colour of Cityscapes' palette, and is
compared with the true class. Two conventions are in use, and their numbers must not be mixed:

19  of the papers: the 19 classes that Cityscapes trains on. Pixels whose truth is none of them (void) are left out. A
    class that occurs neither in the truth nor in the prediction is left out of the means, as in the FCN code of Long
    et al. 2015. The pix2pix repository's script (scripts/eval_cityscapes/util.py) adds 1e-12 to the denominators
    instead, so that such a class counts 0. On the 500 validation images, where every class occurs, the two agree.
20  of the MindSpore script: those 19 and unlabeled (black), nothing left out, the truth read from its colours too, and
    denominators + 1e-12, so that absent classes count 0.

Nearest is by the sum of absolute differences of R, G and B in both. The papers do not say; asked about just that sum,
an author answered "exactly, we did a nearest neighbor search in color space" (github.com/phillipi/pix2pix/issues/115).
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gesso.data.streets.classes import CLASSES, IGNORED, TRAIN_LABELS
from gesso.metrics.classification import confusion

Colour = tuple[int, int, int]

_TRAINED: Final = {CLASSES[label][0]: CLASSES[label][1] for label in TRAIN_LABELS}
_VOID: Final = {rgb for _, rgb, train_id in CLASSES.values() if train_id == IGNORED} - set(_TRAINED.values())


@dataclass(frozen=True)
class Convention:
    """What is scored. `palette`: the colour of each class by name, in the order of the class ids 0 … K - 1.

    `void`: colours of the truth that are not scored. `epsilon` is added to the denominators; at 0 an absent class is
    left out of the means.
    """

    palette: dict[str, Colour]
    void: tuple[Colour, ...]
    epsilon: float

    @property
    def classes(self) -> int:
        """How many classes are scored, K."""
        return len(self.palette)


CONVENTIONS: Final[dict[int, Convention]] = {
    19: Convention(_TRAINED, tuple(sorted(_VOID)), 0.0),
    20: Convention(_TRAINED | {"unlabeled": (0, 0, 0)}, (), 1e-12),
}
"""By the number of classes, as `--classes` names them."""


@dataclass(frozen=True)
class ClassScore:
    """One class: how many pixels it has in the truth, and its scores in [0, 1], NaN where they are 0/0."""

    name: str
    pixels: int
    accuracy: float
    iou: float


@dataclass(frozen=True)
class Scores:
    """Pixel accuracy, mean class accuracy and mean class IoU in [0, 1] (NaN where nothing was scored), and by class."""

    pixel_accuracy: float
    class_accuracy: float
    class_iou: float
    table: tuple[ClassScore, ...]


def nearest(images: Tensor, colours: tuple[Colour, ...]) -> Tensor:
    """The index of the nearest of `colours` for each pixel of N×3×H×W: N×H×W uint8. Of equally near ones the first.

    images: uint8, or float in [-1, 1], which is rounded to the 8 bits of a file first.
    """
    assert images.shape[1] == 3 and len(colours) < IGNORED, images.shape
    if images.is_floating_point():
        images = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
    red, green, blue = images.to(torch.int16).unbind(1)
    chosen = torch.zeros(red.shape, dtype=torch.uint8, device=images.device)
    least = torch.full(red.shape, 3 * 256, dtype=torch.int16, device=images.device)
    # One colour at a time: a table of all distances would be K times the size of the images.
    for index, (r, g, b) in enumerate(colours):
        distance = (red - r).abs_() + (green - g).abs_() + (blue - b).abs_()
        chosen.masked_fill_(distance < least, index)
        least = torch.minimum(least, distance)
    return chosen


def predicted_classes(images: Tensor, convention: Convention) -> Tensor:
    """Class ids N×H×W uint8 of generated label colours, N×3×H×W uint8 or float in [-1, 1]. Nothing is void here."""
    return nearest(images, tuple(convention.palette.values()))


def true_classes(images: Tensor, convention: Convention) -> Tensor:
    """Class ids N×H×W uint8 of true label colours, N×3×H×W uint8 or float in [-1, 1]; void is IGNORED.

    Nearest here too, because JPEG shifts the colours of the published sets a little. Where the truth must be resized,
    take the nearest pixel: smooth filters mix colours at the edges, and the mixtures pass for other classes. Polegroup,
    which is void, has the colour of pole and counts as it.
    """
    chosen = nearest(images, (*convention.palette.values(), *convention.void))
    return chosen.masked_fill_(chosen >= convention.classes, IGNORED)


def count(truth: Tensor, predicted: Tensor, convention: Convention) -> Tensor:
    """The K×K int64 confusion matrix of class ids of one shape, to be summed over batches and processes."""
    return confusion(truth, predicted, convention.classes, IGNORED)


def scores(matrix: Tensor, convention: Convention) -> Scores:
    """The scores of a sum of `count`s. With t_i the pixels of class i and n_ij those of i predicted as j (Long et al.
    2015, section 5): Σ n_ii / Σ t_i, the mean of n_ii / t_i, and the mean of n_ii / (t_i + Σ_j n_ji - n_ii)."""
    matrix = matrix.cpu().double()
    hits, true, drawn = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    accuracy = hits / (true + convention.epsilon)
    iou = hits / (true + drawn - hits + convention.epsilon)
    rows = zip(convention.palette, true.tolist(), accuracy.tolist(), iou.tolist(), strict=True)
    return Scores(
        pixel_accuracy=float(hits.sum() / (true.sum() + convention.epsilon)),
        class_accuracy=float(accuracy.nanmean()),
        class_iou=float(iou.nanmean()),
        table=tuple(ClassScore(name, int(pixels), acc, i) for name, pixels, acc, i in rows),
    )
