"""Judging generators: how far the images made from noise are from the real ones of a split.

Beside the model stands one baseline: training images compared with the same split, as many as were made. It is
what a generator would reach that draws from the very distribution, so it is a mark to come near and not one to beat,
and it shows how much of a distance is owed to there being few images. Where the set has no split but the training's,
there is nothing to compare its images with but themselves, and no baseline.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gesso.data.fits import real_fit
from gesso.data.images import write_image
from gesso.data.single import ROLE, image_splits, open_images
from gesso.data.sources import fingerprint
from gesso.data.store import Store, open_store
from gesso.engine.judging.base import OURS, Judge, Row
from gesso.engine.judging.images import images_of
from gesso.engine.judging.measures import CPU, Loaded, enough_images, kept
from gesso.engine.sheets import grid, spread, to_uint8
from gesso.errors import DataError, UsageError
from gesso.metrics.distribution import DISTRIBUTION, distribution_scores, protocol
from gesso.metrics.features import Features, find_inception, load_inception
from gesso.metrics.features_gathered import Gathered, gather, statistics_of
from gesso.models.base import Networks, using
from gesso.models.dcgan import DCGAN
from gesso.progress import Bar, Progress, Say, silent
from gesso.recipe import GenerationEvaluation

SEED = 2026
"""Of the noise that is judged and shown: every checkpoint is judged on the same noise."""
BASELINE = "training images"


def open_generation_judge(model: DCGAN, split: str, say: Say) -> "GenerationJudge":
    data = model.config.data
    there = image_splits(data)
    asked = model.config.evaluation.split if split == "auto" else split
    order = {"auto": ("val", "test"), "held out": ("test", "val")}.get(asked, (asked,))
    name = next((found for found in order if found in there), None)
    if name is None:
        if asked not in ("auto", "held out"):
            raise DataError(f"{data.root}: no {asked} split here; there is {', '.join(there)}")
        name = "train"
    stores = [_opened(model, which, say) for which in dict.fromkeys((name, "train"))]
    features = _inception(model.config.evaluation, say)
    judge = GenerationJudge(model, stores[0], stores[-1], features, say)
    enough_images(judge.scored, judge.fewest, f"{data.root}, split {name}")
    return judge


def _inception(evaluation: GenerationEvaluation, say: Say) -> Loaded[Features] | None:
    """The network of the scores; None, with a word, where none is installed or nothing is to be scored."""
    if not evaluation.metrics:
        return None
    try:
        find_inception(evaluation.inception)
    except UsageError as error:
        if evaluation.inception:
            raise
        say(f"not scored: {error}")
        return None
    return Loaded(lambda device: load_inception(evaluation.inception, device))


def _opened(model: DCGAN, split: str, say: Say) -> Store:
    data = model.config.data
    source = open_images(data, split)
    with Bar(f"reading {split}", len(source.units)) as bar:
        return open_store(source, real_fit(data), data, say, bar.update)


class GenerationJudge(Judge):
    """Images from fixed noise against those of `store`; `train` has the baseline's. Scored if there are `features`."""

    model: DCGAN

    def __init__(
        self, model: DCGAN, store: Store, train: Store, features: Loaded[Features] | None, say: Say = print
    ) -> None:
        super().__init__(model)
        self.split = store.source.split
        self._store, self._train, self._features, self._say = store, train, features, say
        self._metrics = tuple(dict.fromkeys(model.config.evaluation.metrics)) if features else ()
        self.scored = {name: DISTRIBUTION[name].higher_is_better for name in self._metrics}
        self.preferred = self._metrics[0] if self._metrics else None
        available = store.source.counts[ROLE]
        self._real = min(available, model.config.evaluation.images or available)
        self._made = model.config.evaluation.images or available
        self._keep = kept(self._metrics)
        self._others = 0 if self.split == "train" else min(self._made, train.source.counts[ROLE])
        self._baseline: list[Row] = []

    @property
    def fewest(self) -> int:
        """Images of the smallest set that is compared."""
        return min(self._real, self._made, self._others or self._made)

    def rows(
        self, device: torch.device, networks: Networks | None = None, batch_size: int = 8, progress: Progress = silent
    ) -> list[Row]:
        """The baseline is the same each time, and scored only once."""
        if not self._features:
            return []
        features, total = self._features.on(device), self._made

        def counted(batches: Iterator[Tensor]) -> Iterator[Tensor]:
            done = 0
            for batch in batches:
                yield batch
                done += len(batch)
                progress(done, total)

        fake = gather(counted(self.made(self._made, device, networks)), features, self._keep)
        real = self._statistics(self._store, self._real, features)
        rows: list[Row] = [{"direction": "", "method": OURS, **self._scores(real, fake)}]
        if self._others and not self._baseline:
            others = self._statistics(self._train, self._others, features)
            self._baseline = [{"direction": "", "method": BASELINE, **self._scores(real, others)}]
        return [*rows, *self._baseline]

    def _scores(self, real: Gathered, fake: Gathered) -> dict[str, float]:
        return distribution_scores(real, fake, self._metrics)

    def _statistics(self, store: Store, count: int, features: Features) -> Gathered:
        """Of `count` real images spread over the store, remembered from one time to the next."""
        data = self.model.config.data
        chosen = spread(store.source.counts[ROLE], count)
        key = fingerprint(store.source, repr(real_fit(data)), count)
        return statistics_of(
            _batches(store, chosen), features, key, self._say, keep=self._keep, cache_dir=data.cache_dir
        )

    def made(self, count: int, device: torch.device, networks: Networks | None = None) -> Iterator[Tensor]:
        """`count` images in batches of 64, the same for the same weights."""
        networks = networks or self.model.networks
        noise = torch.randn(count, self.model.config.networks.latent, generator=torch.Generator().manual_seed(SEED))
        for part in torch.split(noise, 64):
            with using({"G": networks["G"]}, "eval"):
                images = self.model.predict({"z": part.to(device)}, networks)["image"]
            yield images.float()

    def protocol(self) -> list[str]:
        data, source = self.model.config.data, self._store.source
        if not self._features:
            return [f"data: {source.name}, split {source.split}; nothing was scored"]
        if data.preprocess == "shift_and_crop":
            prepared = f"the middle {data.crop} px, to {data.image_size} px (antialiased)"
        else:
            prepared = f"shorter side to {data.image_size} px (antialiased), centre crop"
        lines = protocol(
            real=f"{source.name}, split {source.split}",
            fake=f"noise of seed {SEED}",
            n_real=self._real,
            n_fake=self._made,
            kept=min(self._real, self._made, self._keep),
            preparation=prepared,
            features=self._features.network.name,
            checkpoint="as below",
            wanted=self._metrics,
        ).splitlines()
        if not self._others:
            return [*lines, "scored on the training images themselves: images that repeat them score well"]
        told = f"{BASELINE}: {self._others} images of the training split in place of the made ones"
        return [*lines, f"{told}, a mark to come near and not to beat"]

    def sheet(self, device: torch.device, images: int, networks: Networks | None = None) -> np.ndarray:
        """A square of images×images made from the same noise each time."""
        made = torch.cat(list(self.made(images * images, device, networks)))
        return grid([list(made[row * images : (row + 1) * images]) for row in range(images)])

    def write_gallery(self, run: Path, device: torch.device) -> None:
        """Made images beside real ones, for the report."""
        folder = run / "samples" / "gallery"
        folder.mkdir(parents=True, exist_ok=True)
        made = torch.cat(list(self.made(64, device)))
        write_image(folder / "made.png", grid([list(made[8 * row : 8 * row + 8]) for row in range(8)]))
        real = list(torch.cat(list(_batches(self._store, spread(self._store.source.counts[ROLE], 64)))))
        write_image(folder / "real.png", grid([real[place : place + 8] for place in range(0, len(real), 8)]))
        for place, image in enumerate(made):
            write_image(folder / f"{place:02d}.png", to_uint8(image))


def _batches(store: Store, chosen: list[int]) -> Iterable[Tensor]:
    for place in range(0, len(chosen), 32):
        yield images_of(store, ROLE, chosen[place : place + 32], CPU)
