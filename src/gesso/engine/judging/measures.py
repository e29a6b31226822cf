"""Which scores a translator gets in which direction, and the networks and true classes that they need.

All that can be missing is asked for here, when the judge is opened: a score without its network, its pairs or enough
images is refused before the first step and not at the first evaluation.
"""

import functools
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from gesso.data.sources import fingerprint
from gesso.data.store import Store, evaluation_fit
from gesso.engine.judging.base import OURS
from gesso.engine.judging.images import images_of, read_images
from gesso.engine.judging.labels import LabelFit, open_labels
from gesso.engine.judging.scorers import (
    SEGMENTATION,
    CityscapesScorer,
    DistributionScorer,
    PairedScorer,
    PerceptualScorer,
    Scorer,
    SegmenterScorer,
)
from gesso.errors import DataError, UsageError, flag
from gesso.metrics.cityscapes import CONVENTIONS
from gesso.metrics.distribution import DISTRIBUTION, protocol
from gesso.metrics.features import Features, brief, load_inception
from gesso.metrics.features_gathered import Gathered, statistics_of
from gesso.metrics.paired import PAIRED
from gesso.metrics.perceptual import LPIPS_FIELD, Perceptual
from gesso.metrics.segmenter import CLASSES as SEGMENTED
from gesso.metrics.segmenter import load_segmenter
from gesso.models.translation import Translation, Translator
from gesso.progress import Say

COPIED, MEAN = "input copied", "mean target"
METHODS = (OURS, COPIED, MEAN)
KEPT = 10_000
"""Features of each set that are kept for all distances but FID."""
CPU = torch.device("cpu")

T = TypeVar("T")


@dataclass(frozen=True)
class Measure:
    """One kind of score in one direction.

    better    its scores by name, and whether higher is better
    make      a scorer that works on a device, whose first image has an index
    methods   what it is measured of
    protocol  what it is, in lines for people
    """

    better: dict[str, bool]
    make: Callable[[torch.device, int], Scorer]
    protocol: tuple[str, ...]
    methods: tuple[str, ...] = METHODS


Measures = dict[str, list[Measure]]
"""By direction."""


class Loaded(Generic[T]):
    """A network that is loaded at once, to see whether it can be, and again on the device where it is used."""

    def __init__(self, load: Callable[[torch.device], T]) -> None:
        self._load, self._device = load, CPU
        self.network = load(CPU)

    def on(self, device: torch.device) -> T:
        if device != self._device:
            self.network, self._device = self._load(device), device
        return self.network


def open_measures(model: Translator, store: Store, say: Say) -> Measures:
    """The scores that the recipe's evaluation asks for, on the split of `store`. Paired scores of a split without pairs
    are left out; any other that cannot be had is a UsageError or DataError."""
    wanted = set(model.recipe.evaluation.metrics)
    distances: list[str] = [name for name in DISTRIBUTION if name in wanted]
    measures: Measures = {direction: [] for direction in model.translations}
    if "paired" in wanted and store.source.paired:
        for found in measures.values():
            found.append(paired())
    if distances:
        inception: Loaded[Features] = Loaded(lambda device: load_inception(model.recipe.evaluation.inception, device))
        for direction, translation in model.translations.items():
            measures[direction].append(distribution(model, translation, store, distances, inception, say))
    if "LPIPS" in wanted:
        _need_pairs("LPIPS", store)
        lpips = perceptual(model, store)
        for found in measures.values():
            found.append(lpips)
    if "cityscapes" in wanted:
        direction, translation = _direction(model, "cityscapes", store, drawn=True)
        measures[direction].append(cityscapes(model, translation.target, store, say))
    if "segmenter" in wanted:
        direction, translation = _direction(model, "segmenter", store, drawn=False)
        measures[direction].append(segmenter(model, translation.source, store, say))
    return measures


def paired() -> Measure:
    line = (
        "L1 in units of the full range (0 to 1, lower is better); PSNR in dB and SSIM (11 px Gaussian window), "
        "higher is better; each the mean over images"
    )
    better = {name: metric.higher_is_better for name, metric in PAIRED.items()}
    return Measure(better, lambda device, first: PairedScorer(), (line,))


def distribution(
    model: Translator, translation: Translation, store: Store, wanted: list[str], features: Loaded[Features], say: Say
) -> Measure:
    """All answers against all real images of the target domain, whether or not they are pairs. The mean target, one
    image over and over, has no distribution."""
    data, source, role = model.recipe.data, store.source, translation.target
    made, real = source.counts[translation.source], source.counts[role]
    enough_images(wanted, min(made, real), f"{source.name}, split {source.split}")
    keep = kept(wanted)

    @functools.cache
    def statistics(device: torch.device) -> Gathered:
        indices = range(source.counts[role])
        batches = (images.on(CPU, role) for images in read_images(store, (role,), indices, workers=data.workers))
        key = fingerprint(source, repr(evaluation_fit(data)), role)
        return statistics_of(batches, features.on(device), key, say, keep=keep, cache_dir=data.cache_dir)

    lines = protocol(
        real=f"{source.name}, split {source.split}, all of {role}",
        fake=f"all of {translation.source} translated",
        n_real=real,
        n_fake=made,
        kept=min(made, real, keep),
        preparation="as above",
        features=features.network.name,
        checkpoint="as below",
        wanted=wanted,
    ).splitlines()
    better = {name: DISTRIBUTION[name].higher_is_better for name in wanted}
    return Measure(
        better,
        lambda device, first: DistributionScorer(features.on(device), statistics(device), wanted, first),
        tuple(lines),
        (OURS, COPIED),
    )


def perceptual(model: Translator, store: Store) -> Measure:
    path = Path(model.recipe.evaluation.lpips).expanduser()
    distance = Loaded(lambda device: Perceptual(path, device))
    for role in sorted({translation.target for translation in model.translations.values()}):
        image = images_of(store, role, [0], CPU)
        try:
            distance.network(image, image)
        except RuntimeError:
            size = "×".join(map(str, image.shape[2:]))
            raise UsageError(f"{flag(LPIPS_FIELD)} {path}: it fails on images of {size}; score larger ones") from None
    line = f"{distance.network.name} (lower is better), the mean over images"
    return Measure({"LPIPS": False}, lambda device, first: PerceptualScorer(distance.on(device)), (line,))


def cityscapes(model: Translator, role: str, store: Store, say: Say) -> Measure:
    """Photo → label: the drawn label map against the true one."""
    data, classes = model.recipe.data, model.recipe.evaluation.classes
    convention = CONVENTIONS[classes]
    truth = open_labels(store.source, role, LabelFit(classes, data.preprocess, data.crop_size), data, say)
    kind = {
        19: "19 classes, void left out, absent classes left out of the means (the papers')",
        20: "20 classes, unlabeled among them, absent classes count 0 (the MindSpore script's)",
    }[classes]
    return Measure(
        dict.fromkeys(SEGMENTATION, True),
        lambda device, first: CityscapesScorer(truth, convention),
        (
            f"{', '.join(SEGMENTATION)} of the {store.source.counts[role]} label maps: convention of {kind}; higher is "
            "better",
            "each pixel of an answer has the class of the nearest palette colour (sum of absolute differences of R, G "
            "and B); the truth is read in the same way from the label images at their own size, then resized to the "
            "answers' by the nearest pixel",
        ),
    )


def segmenter(model: Translator, role: str, store: Store, say: Say) -> Measure:
    """Label → photo, the FCN-score: what a segmenter sees in the photo against what it was drawn from."""
    path = Path(model.recipe.evaluation.segmenter).expanduser()
    network = Loaded(lambda device: load_segmenter(path, device))
    truth = open_labels(store.source, role, LabelFit(SEGMENTED), model.recipe.data, say)
    height, width = truth(0).shape
    network.network(torch.zeros(1, 3, height, width), (height, width))  # a network of another kind says so now
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Measure(
        dict.fromkeys(SEGMENTATION, True),
        lambda device, first: SegmenterScorer(truth, CONVENTIONS[SEGMENTED], network.on(device)),
        (
            f"{', '.join(SEGMENTATION)} of the {store.source.counts[role]} photos: what the segmenter {path.name} "
            f"(sha256 {brief(digest)}) sees in them, over {SEGMENTED} classes, void left out; higher is better",
            f"it sees the photos at {'×'.join(map(str, network.network.feed.size)) or 'the size of the labels'}; "
            "compared at the label images' own size. Scores of different segmenters cannot be compared",
        ),
    )


def kept(wanted: Collection[str]) -> int:
    """How many features of each set are kept for the distances `wanted`; FID needs only their mean and covariance."""
    return KEPT if any(DISTRIBUTION[name].from_features for name in wanted) else 0


def enough_images(wanted: Collection[str], count: int, where: str) -> None:
    """DataError where `count` images are too few for one of the distances `wanted`."""
    for name in wanted:
        if count < DISTRIBUTION[name].fewest:
            raise DataError(
                f"{where}: {name} needs {DISTRIBUTION[name].fewest} or more images of each set, not {count}; score "
                f"more images, or leave it out of {flag('evaluation.metrics')}"
            )


def _direction(model: Translator, name: str, store: Store, *, drawn: bool) -> tuple[str, Translation]:
    """The direction whose target (drawn) or source is the labels' domain. UsageError where the model has none."""
    labels = model.recipe.evaluation.labels
    _need_pairs(name, store)
    for direction, translation in model.translations.items():
        if (translation.target if drawn else translation.source) == labels:
            return direction, translation
    does = "draws labels" if drawn else "draws photos from labels"
    raise UsageError(
        f"{flag('evaluation.metrics')} {name}: no direction of this model {does}, which {flag('evaluation.labels')} "
        f"says are domain {labels}"
    )


def _need_pairs(name: str, store: Store) -> None:
    source = store.source
    if not source.paired:
        raise DataError(
            f"{flag('evaluation.metrics')} {name}: it needs pairs, and split {source.split} of {source.name} has none; "
            "FID and its relatives need none"
        )
