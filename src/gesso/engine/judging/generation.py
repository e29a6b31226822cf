"""Judging generators: how far the images made from noise are from the real ones of a split.

Beside the model stands one baseline: training images compared with the same split, as many as were made. It is
what a generator could reach that draws from the very distribution, and shows how much of a distance is owed to
there being few images.
"""

from collections.abc import Collection, Iterable, Iterator
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
from gesso.engine.judging.translation import images_of
from gesso.engine.sheets import grid, spread, to_uint8
from gesso.errors import DataError, UsageError
from gesso.metrics.distribution import DISTRIBUTION, distribution_scores, protocol
from gesso.metrics.features import Features, find_inception, load_inception
from gesso.metrics.features_gathered import Gathered, gather, statistics_of
from gesso.models.base import Networks, using
from gesso.models.dcgan import DCGAN
from gesso.progress import Bar, Progress, Say, silent

SEED = 2026
"""Of the noise that is judged and shown: every checkpoint is judged on the same noise."""
BASELINE = "training images"
KEPT = 10_000
"""Features of each set that are kept for all scores but FID."""


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
    metrics: Collection[str] = model.config.evaluation.metrics
    if metrics:
        try:
            find_inception(model.config.evaluation.inception)
        except UsageError as error:
            if model.config.evaluation.inception:
                raise
            say(f"not scored: {error}")
            metrics = ()
    return GenerationJudge(model, stores[0], stores[-1], metrics, say)


def _opened(model: DCGAN, split: str, say: Say) -> Store:
    data = model.config.data
    source = open_images(data, split)
    with Bar(f"reading {split}", len(source.units)) as bar:
        return open_store(source, real_fit(data), data, say, bar.update)


class GenerationJudge(Judge):
    """Images from fixed noise against those of `store`; `train` has the baseline's."""

    model: DCGAN

    def __init__(
        self,
        model: DCGAN,
        store: Store,
        train: Store,
        metrics: Collection[str],
        say: Say,
        features: Features | None = None,
    ) -> None:
        super().__init__(model)
        self.split = store.source.split
        self._store, self._train, self._metrics, self._say = store, train, tuple(metrics), say
        self._features = features
        self.scored = {name: DISTRIBUTION[name].higher_is_better for name in self._metrics}
        self.preferred = self._metrics[0] if self._metrics else None
        available = store.source.counts[ROLE]
        self._real = min(available, model.config.evaluation.images or available)
        self._made = model.config.evaluation.images or available

    def rows(
        self, device: torch.device, networks: Networks | None = None, batch_size: int = 8, progress: Progress = silent
    ) -> list[Row]:
        if not self._metrics:
            return []
        features = self._features = self._features or load_inception(self.model.config.evaluation.inception, device)
        total = self._made

        def counted(batches: Iterator[Tensor]) -> Iterator[Tensor]:
            done = 0
            for batch in batches:
                yield batch
                done += len(batch)
                progress(done, total)

        fake = gather(counted(self.made(self._made, device, networks)), features, KEPT)
        real = self._statistics(self._store, self._real, features)
        rows: list[Row] = [{"direction": "", "method": OURS, **self._scores(real, fake)}]
        if self.split != "train":
            few = min(self._made, self._train.source.counts[ROLE])
            rows.append(
                {
                    "direction": "",
                    "method": BASELINE,
                    **self._scores(real, self._statistics(self._train, few, features)),
                }
            )
        return rows

    def _scores(self, real: Gathered, fake: Gathered) -> dict[str, float]:
        return distribution_scores(real, fake, self._metrics)

    def _statistics(self, store: Store, count: int, features: Features) -> Gathered:
        """Of `count` real images spread over the store, remembered from one time to the next."""
        data = self.model.config.data
        chosen = spread(store.source.counts[ROLE], count)
        key = fingerprint(store.source, repr(real_fit(data)), count)
        return statistics_of(_batches(store, chosen), features, key, self._say, keep=KEPT, cache_dir=data.cache_dir)

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
        if not self._metrics:
            return [f"data: {source.name}; nothing was scored"]
        lines = protocol(
            real=f"{source.name}, split {source.split}",
            fake=f"noise of seed {SEED}",
            n_real=self._real,
            n_fake=self._made,
            kept=min(self._real, self._made, KEPT),
            preparation=f"shorter side to {data.image_size} px (antialiased), centre crop",
            features=self._features.name if self._features else "Inception",
            checkpoint="as below",
            wanted=self._metrics,
        ).splitlines()
        return [*lines, f"{BASELINE}: so many images of the training split in place of the made ones"]

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
    cpu = torch.device("cpu")
    for place in range(0, len(chosen), 32):
        yield images_of(store, ROLE, chosen[place : place + 32], cpu)
