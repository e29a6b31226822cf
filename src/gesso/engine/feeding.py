"""What each kind of model is trained on: images, found good before the first step, and a stream of batches of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gesso.data.batches import Batches
from gesso.data.fits import class_fit, image_fit
from gesso.data.images import image_size
from gesso.data.samples import Samples
from gesso.data.single import ClassSource, open_classes, open_images
from gesso.data.sources import ROLE, FolderSource, Source, open_source
from gesso.data.store import Fit, Store, open_store, training_fit
from gesso.data.stream import Stream
from gesso.models.base import Model
from gesso.models.classification import Classifier
from gesso.models.generation import Generator
from gesso.models.translation import Translator
from gesso.processes import Place
from gesso.progress import Bar, Say
from gesso.recipe import Data, Kind, TranslationData


@dataclass(frozen=True)
class Feed:
    """The training images of a run."""

    images: int
    """How many there are, of the larger domain where there are two."""
    stream: Callable[[torch.device, int, Place], Stream[Any]]
    """Batches on a device from a position on, for the process at a place."""


def open_feed(model: Model, say: Say) -> Feed:
    """The training images of `model`'s recipe. DataError where they are missing or cannot be read."""
    return FEEDS[model.recipe.kind](model, say)


def _translation(model: Translator, say: Say) -> Feed:
    recipe, data = model.recipe, model.recipe.data
    store = _opened(open_source(data, "train", not model.aligned), training_fit(data), data, say)
    _doubt_halves(store.source, data, say)

    def stream(device: torch.device, position: int, place: Place) -> Batches:
        return Batches(
            store,
            data,
            aligned=model.aligned,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            device=device,
            position=position,
            rank=place.rank,
            world=place.size,
        )

    return Feed(max(store.source.counts.values()), stream)


def _doubt_halves(source: Source, data: TranslationData, say: Say) -> None:
    """A word where the first file that is taken for a pair side by side is not even wider than high."""
    if isinstance(source, FolderSource) and (picture := source.picture(("A", 0))).half:
        width, height = image_size(picture.path, data.max_pixels)
        if width <= height:
            say(
                f"{picture.path}: {width}×{height} px are taken for A and B side by side, {width // 2}×{height} px "
                "each; images that are no pairs go into A/ and B/, or trainA/ and trainB/"
            )


def _images(model: Generator, say: Say) -> Feed:
    recipe, data = model.recipe, model.recipe.data
    fit, view = image_fit(data)
    store = _opened(open_images(data, "train"), fit, data, say)

    def stream(device: torch.device, position: int, place: Place) -> Samples:
        return Samples(
            store,
            view,
            class_of=None,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            device=device,
            workers=data.workers,
            position=position,
            rank=place.rank,
            world=place.size,
        )

    return Feed(store.source.counts[ROLE], stream)


def _classes(model: Classifier, say: Say) -> Feed:
    recipe, data = model.recipe, model.recipe.data
    fit, view = class_fit(data)
    with Bar(f"reading {data.train_split}", 1) as bar:
        source = open_classes(data, data.train_split, say, bar.update)
    store = _opened(source, fit, data, say)
    kept: ClassSource = store.source  # type: ignore[assignment]  # without what could not be read

    def stream(device: torch.device, position: int, place: Place) -> Samples:
        return Samples(
            store,
            view,
            class_of=kept.class_of,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            device=device,
            workers=data.workers,
            position=position,
            rank=place.rank,
            world=place.size,
        )

    return Feed(store.source.counts[ROLE], stream)


def _opened(source: Source, fit: Fit, data: Data, say: Say) -> Store:
    with Bar(f"reading {source.split}", len(source.units)) as bar:
        return open_store(source, fit, data, say, bar.update)


FEEDS: dict[Kind, Callable[[Any, Say], Feed]] = {
    "translator": _translation,
    "generator": _images,
    "classifier": _classes,
}
"""What each kind of model is trained on."""
