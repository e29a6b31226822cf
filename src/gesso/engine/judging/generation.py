"""Judging generators: how far the images made from noise are from the real ones of a split.

Beside the model stands one baseline: training images compared with the same split, as many as were made. It is
what a generator would reach that draws from the very distribution, so it is a mark to come near and not one to beat,
and it shows how much of a distance is owed to there being few images. Where the set has no split but the training's,
there is nothing to compare its images with but themselves, and no baseline.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gesso.data.fits import real_fit
from gesso.data.images import write_image
from gesso.data.single import Picked, image_splits, open_images
from gesso.data.sources import ROLE, Source, fingerprint
from gesso.data.store import Store, open_store
from gesso.engine.judging.base import OURS, Judge, Row
from gesso.engine.judging.images import images_of, read_images, room
from gesso.engine.judging.measures import CPU, Loaded, enough_images, kept
from gesso.engine.judging.shard import WHOLE, Shard
from gesso.engine.judging.splits import WATCH, split_to_score, told
from gesso.engine.sheets import grid, spread, to_uint8
from gesso.errors import UsageError, flag
from gesso.metrics.distribution import DISTRIBUTION, distribution_scores, protocol
from gesso.metrics.features import Features, find_inception, load_inception
from gesso.metrics.features_gathered import Gathered, gather, statistics_of
from gesso.models.base import Networks, using
from gesso.models.generation import Generator
from gesso.models.latents import latents
from gesso.progress import Bar, Progress, Say, silent
from gesso.recipe import MOST_OF_TRAINING, GenerationEvaluation

SEED = 2026
"""Of the noise that is judged and shown: every checkpoint is judged on the same noise, and `gesso sample --seed 2026`
makes the same pictures."""
BASELINE = "training images"
SHOWN = 64
"""Images in the report's gallery."""


def generation_split(model: Generator, asked: str, say: Say) -> str:
    if asked == WATCH and (unscored := _unscored(model.recipe.evaluation)):
        say(f"not scored: {unscored}")
    return split_to_score(asked, model.recipe, image_splits(model.recipe.data), say)


def open_generation_judge(model: Generator, split: str, say: Say) -> "GenerationJudge":
    data, evaluation = model.recipe.data, model.recipe.evaluation
    unscored = _unscored(evaluation)
    features: Loaded[Features] | None = None
    if evaluation.metrics and not unscored:  # loaded before images are read, which can take long
        features = Loaded(lambda device: load_inception(evaluation.inception, device))
    source = open_images(data, split)
    available = source.counts[ROLE]
    made = evaluation.images or (min(available, MOST_OF_TRAINING) if split == "train" else available)
    if not features:
        return GenerationJudge(model, _read(model, source, SHOWN, say), None, 0, None, say, unscored)
    train = open_images(data, "train") if split != "train" else None
    fewest = min(made, available, train.counts[ROLE] if train else made)
    enough_images(evaluation.metrics, fewest, f"{data.root}, split {split}")
    store = _read(model, source, made, say)
    if made <= available:
        made = store.source.counts[ROLE]  # unreadable ones are left out where the recipe says so
    enough_images(evaluation.metrics, store.source.counts[ROLE], f"{data.root}, split {split}")
    baseline = _read(model, train, made, say) if train else None
    if baseline and baseline.source.counts[ROLE] < max(DISTRIBUTION[each].fewest for each in evaluation.metrics):
        say(f"{BASELINE}: too few of the first {made} can be read, so they are not scored beside")
        baseline = None
    return GenerationJudge(model, store, baseline, made, features, say)


def _unscored(evaluation: GenerationEvaluation) -> str:
    """Why the scores that are asked for cannot be had, as no network for them is installed; empty where they can.
    UsageError where one is named that is not there."""
    try:
        if evaluation.metrics:
            find_inception(evaluation.inception)
    except UsageError as error:
        if evaluation.inception:
            raise
        return str(error)
    return ""


def _read(model: Generator, source: Source, most: int, say: Say) -> Store:
    """At most `most` images of `source`, spread over it; the others are not read."""
    chosen = Picked(source, spread(source.counts[ROLE], most))
    with Bar(f"reading {source.split}", len(chosen.units)) as bar:
        return open_store(chosen, real_fit(model.recipe.data), model.recipe.data, say, bar.update)


class GenerationJudge(Judge):
    """Images from fixed noise against those of `store`, and beside them those of `train`, the baseline."""

    model: Generator

    def __init__(
        self,
        model: Generator,
        store: Store,
        train: Store | None,
        made: int,
        features: Loaded[Features] | None,
        say: Say,
        unscored: str = "",
    ) -> None:
        """made: images to make. Without `features` nothing is scored, for the reason `unscored`."""
        super().__init__(model)
        self.split = store.source.split
        self._store, self._train, self._features, self._say = store, train, features, say
        self._made, self._unscored = made, unscored
        self._metrics = tuple(dict.fromkeys(model.recipe.evaluation.metrics)) if features else ()
        self.scored = {name: DISTRIBUTION[name].higher_is_better for name in self._metrics}
        self.preferred = self._metrics[0] if self._metrics else None
        self._keep = kept(self._metrics)
        self._baseline: list[Row] = []

    def rows(
        self,
        device: torch.device,
        networks: Networks | None = None,
        batch_size: int = 0,
        progress: Progress = silent,
        shard: Shard = WHOLE,
    ) -> list[Row]:
        """The baseline is the same each time, and scored only once.

        Of several processes each makes a part of the images; the real ones, whose features are remembered, are one
        process's work for which the others wait.
        """
        if not self._features:
            return []
        features, share = self._features.on(device), shard.of(self._made)

        def counted(batches: Iterator[Tensor]) -> Iterator[Tensor]:
            done = 0
            for batch in batches:
                yield batch
                done += len(batch)
                progress(done, len(share))

        batches = counted(self.made(share, device, networks, batch_size))
        fake = Gathered(self._keep)
        for part in shard.gather(gather(batches, features, self._keep, first=share.start)):
            fake.merge(part)
        real = self._statistics(self._store, features)
        rows: list[Row] = [{"direction": "", "method": OURS, **self._scores(real, fake)}]
        if self._train and not self._baseline:
            others = self._statistics(self._train, features)
            self._baseline = [{"direction": "", "method": BASELINE, **self._scores(real, others)}]
        return [*rows, *self._baseline]

    def _scores(self, real: Gathered, fake: Gathered) -> dict[str, float]:
        return distribution_scores(real, fake, self._metrics)

    def _statistics(self, store: Store, features: Features) -> Gathered:
        """Of all images of `store`, remembered from one time to the next."""
        data = self.model.recipe.data
        key = fingerprint(store.source, repr(real_fit(data)))
        images = read_images(store, (ROLE,), range(store.source.counts[ROLE]), workers=data.workers)
        batches = (batch.on(CPU, ROLE) for batch in images)
        return statistics_of(batches, features, key, self._say, keep=self._keep, cache_dir=data.cache_dir)

    def made(
        self, indices: range, device: torch.device, networks: Networks | None = None, batch_size: int = 0
    ) -> Iterator[Tensor]:
        """The images of `indices` in batches, each the same for the same weights: those of `gesso sample --seed`
        SEED."""
        networks = networks or self.model.networks
        side = self.model.recipe.data.image_size
        most = room(batch_size, self.model.recipe, side).of(side, side)
        for start in range(0, len(indices), most):
            noise = latents(SEED, indices[start : start + most], self.model.latent)
            with using({name: networks[name] for name in self.model.used}, self.model.mode):
                images = self.model.predict({"z": noise.to(device)}, networks)["image"]
            yield images.float()

    def protocol(self) -> list[str]:
        data, source = self.model.recipe.data, self._store.source
        if not self._features:
            reason = self._unscored or f"the recipe asks for none, {flag('evaluation.metrics')} FID would"
            return [f"data: {source.name}, {told(source.split)}", f"no scores: {reason}"]
        if data.preprocess == "shift_and_crop":
            prepared = f"the middle {data.crop} px, to {data.image_size} px (antialiased)"
        else:
            prepared = f"shorter side to {data.image_size} px (antialiased), centre crop"
        lines = protocol(
            real=f"{source.name}, split {source.split}",
            fake=f"noise of seed {SEED}",
            n_real=source.counts[ROLE],
            n_fake=self._made,
            kept=min(source.counts[ROLE], self._made, self._keep),
            preparation=prepared,
            features=self._features.network.name,
            checkpoint="as below",
            wanted=self._metrics,
        ).splitlines()
        if not self._train:
            most = f" (at most {MOST_OF_TRAINING} of them)" if not self.model.recipe.evaluation.images else ""
            return [*lines, f"scored on the training images themselves{most}: images that repeat them score well"]
        others = self._train.source.counts[ROLE]
        mark = f"{BASELINE}: {others} images of the training split in place of the made ones"
        return [*lines, f"{mark}, a mark to come near and not to beat"]

    def sheet(self, device: torch.device, images: int, networks: Networks | None = None) -> np.ndarray:
        """A square of images×images made from the same noise each time."""
        made = torch.cat(list(self.made(range(images * images), device, networks)))
        return grid([list(made[row * images : (row + 1) * images]) for row in range(images)])

    def write_gallery(self, run: Path, device: torch.device) -> None:
        """Made images beside real ones, for the report."""
        folder = run / "samples" / "gallery"
        folder.mkdir(parents=True, exist_ok=True)
        made = torch.cat(list(self.made(range(SHOWN), device)))
        write_image(folder / "made.png", grid([list(made[8 * row : 8 * row + 8]) for row in range(8)]))
        real = list(images_of(self._store, ROLE, spread(self._store.source.counts[ROLE], SHOWN), CPU))
        write_image(folder / "real.png", grid([real[place : place + 8] for place in range(0, len(real), 8)]))
        for place, image in enumerate(made):
            write_image(folder / f"{place:02d}.png", to_uint8(image))
