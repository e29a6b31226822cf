"""Pictures to try an exported model on: those of the run's test data, or the built-in streets, or noise."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gesso.data.fits import scored_fit
from gesso.data.shards import is_shards
from gesso.data.single import class_splits, has_classes, open_classes
from gesso.data.sources import ROLE, existing_splits, open_source
from gesso.data.sources import Source as Images
from gesso.data.store import Fit, evaluation_fit
from gesso.errors import GessoError, spelling
from gesso.exporting.source import Source
from gesso.models.classification import Classifier
from gesso.models.generation import Generator
from gesso.models.latents import latents
from gesso.models.translation import Translator
from gesso.recipe import BUILTIN_STREETS, TranslationData

SCORED = 32
"""Pictures that an int8 model is scored on; it is calibrated on as many others."""


@dataclass(frozen=True)
class Tried:
    """What a model is tried on.

    inputs   C×H×W uint8 pictures, prepared as they are for scoring; or latent vectors, float32
    of       what they are, in words
    targets  for each input the picture that it should become, uint8; empty where there are no pairs
    labels   for each input its class, the number of an output; empty where classes are not known
    """

    inputs: list[np.ndarray]
    of: str
    targets: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    @property
    def what(self) -> str:
        """For a report, such as "32 pictures of streets, test"."""
        return f"{len(self.inputs)} {self.of}"

    def half(self, which: Literal[0, 1]) -> "Tried":
        """Every second input, from the first or the second on: two sets that share none. A lone input is in both."""
        if len(self.inputs) < 2:
            return self
        return Tried(self.inputs[which::2], self.of, self.targets[which::2], self.labels[which::2])


def tried_on(source: Source, direction: str, count: int) -> Tried:
    """At most `count` inputs of the network of `source` that does `direction`, the same ones each time."""
    model = source.model
    if isinstance(model, Generator):
        return Tried(list(latents(0, range(count), model.latent).numpy()), "latent vectors")
    try:
        with spelling({}):
            return _of_run(source, direction, count)
    except GessoError as error:
        found = _streets(source, direction, count)
        return dataclasses.replace(found, of=f"{found.of} ({error})") if source.recipe.data.root else found


def _of_run(source: Source, direction: str, count: int) -> Tried:
    model = source.model
    if isinstance(model, Translator):
        data, there = model.recipe.data, existing_splits(model.recipe.data, not model.aligned)
        split = min(there, key=("test", "val", "train").index, default="test")
        return _translated(open_source(data, split, not model.aligned), model, direction, evaluation_fit(data), count)
    assert isinstance(model, Classifier), model
    data_of_classes = model.recipe.data
    if data_of_classes.synthetic or is_shards(data_of_classes.root):  # a shard would be fetched whole for a few images
        return _streets(source, direction, count)
    splits = class_splits(data_of_classes)
    wanted = ("test", data_of_classes.evaluate_split, *splits)
    labelled = (name for name in wanted if name in splits and has_classes(data_of_classes, name))
    split = next(labelled, data_of_classes.evaluate_split)
    images = open_classes(data_of_classes, split)
    found = _single(images, ROLE, scored_fit(data_of_classes), count)
    if images.classes != data_of_classes.class_names:
        return found
    return dataclasses.replace(found, labels=[images.class_of(i) for i in _spread(images.counts[ROLE], count)])


def _streets(source: Source, direction: str, count: int) -> Tried:
    model = source.model
    if isinstance(model, Translator):
        data = dataclasses.replace(model.recipe.data, root=BUILTIN_STREETS, evaluate_subset=0)
        return _translated(open_source(data, "test", False), model, direction, evaluation_fit(data), count)
    assert isinstance(model, Classifier), model
    of = model.recipe.data
    streets = TranslationData(root=BUILTIN_STREETS, channels_a=of.channels, load_size=of.resize)
    return _single(open_source(streets, "test", False), "A", scored_fit(of), count)


def _translated(images: Images, model: Translator, direction: str, fit: Fit, count: int) -> Tried:
    translation = model.translations[direction]
    inputs = _prepared(images, translation.source, fit, count)
    targets = _prepared(images, translation.target, fit, count) if images.paired else []
    return Tried(inputs, f"pictures of {images.name}, {images.split}", targets)


def _single(images: Images, role: str, fit: Fit, count: int) -> Tried:
    return Tried(_prepared(images, role, fit, count), f"pictures of {images.name}, {images.split}")


def _prepared(images: Images, role: str, fit: Fit, count: int) -> list[np.ndarray]:
    """At most `count` images, C×H×W uint8."""
    made = []
    for i in _spread(images.counts[role], count):
        image = fit(images.decode(images.unit_of((role, i)))[role, i])
        made.append(image if image.dtype == np.uint8 else np.round(image / 257).astype(np.uint8))
    return made


def _spread(there: int, count: int) -> list[int]:
    """At most `count` of `there` places, at equal distances: a set may have its classes or its cities one by one."""
    count = min(count, there)
    return [place * there // count for place in range(count)]
