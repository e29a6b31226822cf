"""Judging translators: the scores that the recipe asks for, always beside two baselines on the same images.

A score means little alone: a translator that beats neither its own input nor one constant image has learned
nothing. So every table has three rows a direction: the model, the input copied, and the mean of the very
targets it is scored on (a constant that has seen the answers, the best one there is in squared error).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gesso.data.images import write_image
from gesso.data.sources import existing_splits, open_source
from gesso.data.store import Store, evaluation_fit, open_store
from gesso.engine.judging.base import OURS, Judge, Row
from gesso.engine.judging.images import Room, images_of, read_images, room
from gesso.engine.judging.measures import COPIED, MEAN, METHODS, Measure, Measures, open_measures, paired
from gesso.engine.judging.scorers import Asked, Scorer
from gesso.engine.judging.shard import WHOLE, Shard
from gesso.engine.judging.splits import split_to_score, told
from gesso.engine.sheets import grid, spread, to_uint8
from gesso.errors import flag
from gesso.metrics.paired import as_channels, resized
from gesso.models.base import Networks, using
from gesso.models.translation import Translation, Translator
from gesso.progress import Bar, Progress, Say, silent
from gesso.recipe import TranslationData

GALLERY_IMAGES = 12


def translation_split(model: Translator, asked: str, say: Say) -> str:
    return split_to_score(asked, model.recipe, existing_splits(model.recipe.data, not model.aligned), say)


def open_translation_judge(model: Translator, split: str, say: Say) -> "TranslationJudge":
    data = model.recipe.data
    source = open_source(data, split, not model.aligned)
    with Bar(f"reading {split}", len(source.units)) as bar:
        store = open_store(source, evaluation_fit(data), data, say, bar.update)
    return TranslationJudge(model, store, open_measures(model, store, say))


class TranslationJudge(Judge):
    """Every direction of a translator, on the images of `store`."""

    model: Translator

    def __init__(self, model: Translator, store: Store, measures: Measures | None = None) -> None:
        """measures: what is scored; without, L1, PSNR and SSIM where the split has pairs."""
        super().__init__(model)
        self.store = store
        self.split = store.source.split
        self._measures = measures if measures is not None else dict.fromkeys(model.translations, _usual(store))
        self.scored = {
            f"{direction}/{name}": higher
            for direction, found in self._measures.items()
            for measure in found
            for name, higher in measure.better.items()
        }
        l1 = (name for name in self.scored if name.endswith("/L1"))
        self.preferred = next(l1, next(iter(self.scored), None))
        self._baselines: dict[str, list[Row]] = {}
        self._details: dict[str, Any] = {}

    def rows(
        self,
        device: torch.device,
        networks: Networks | None = None,
        batch_size: int = 0,
        progress: Progress = silent,
        shard: Shard = WHOLE,
    ) -> list[Row]:
        """Empty where nothing can be scored. The baselines are the same each time, and scored only once."""
        # In train mode the statistics are the batch's own, so images must not share a batch.
        fits = self._room(1 if self.model.mode == "train" else batch_size)
        rows: list[Row] = []
        directions = {
            name: translation for name, translation in self.model.translations.items() if self._measures[name]
        }
        shares = {name: shard.of(self.store.source.counts[each.source]) for name, each in directions.items()}
        total, done = sum(map(len, shares.values())), 0
        for direction in directions:

            def counted(images: int, before: int = done) -> None:
                progress(before + images, total)

            scorers = self._scored(direction, device, networks, fits, counted, shard)
            done += len(shares[direction])
            found: list[Row] = [
                {"direction": direction, "method": method, **_merged(scorer.scores() for scorer in each)}
                for method, each in scorers.items()
            ]
            if details := _merged(scorer.details() for scorer in scorers[OURS]):
                self._details[direction] = details
            self._baselines.setdefault(direction, found[1:])
            rows += [found[0], *self._baselines[direction]]
        return rows

    def _room(self, batch_size: int = 0) -> Room:
        return room(batch_size, self.model.recipe, self.model.recipe.data.crop_size)

    def _scored(
        self,
        direction: str,
        device: torch.device,
        networks: Networks | None,
        fits: Room,
        counted: Callable[[int], None],
        shard: Shard,
    ) -> dict[str, list[Scorer]]:
        """The scorers of each method after all images of one direction; of the baselines only the first time."""
        translation, pairs = self.model.translations[direction], self.store.source.paired
        measures = {
            method: [measure for measure in self._measures[direction] if method in measure.methods]
            for method in (METHODS if direction not in self._baselines else (OURS,))
        }
        measures = {method: each for method, each in measures.items() if each}
        mean = self._mean_target(translation, device, shard) if MEAN in measures else None
        share = shard.of(self.store.source.counts[translation.source])
        scorers = {method: [measure.make(device, share.start) for measure in each] for method, each in measures.items()}
        roles = (translation.source, translation.target) if pairs else (translation.source,)
        channels = {"A": self.model.recipe.data.channels_a, "B": self.model.recipe.data.channels_b}
        for images in read_images(self.store, roles, share, fits, self.model.recipe.data.workers):
            source = images.on(device, translation.source)
            with using(networks or self.model.networks, self.model.mode):
                made = self.model.translate({translation.source: source}, networks)[f"fake_{translation.target}"]
            answers = {OURS: made.float(), COPIED: as_channels(source, channels[translation.target])}
            if mean is not None:
                answers[MEAN] = mean.expand(len(source), -1, -1, -1)
            asked = Asked(images.indices, images.on(device, translation.target) if pairs else None)
            for method, each in scorers.items():
                for scorer in each:
                    scorer.add(answers[method], asked)
            counted(images.indices[-1] + 1 - share.start)
        whole = {method: [measure.make(device, 0) for measure in each] for method, each in measures.items()}
        for parts in shard.gather({method: [scorer.part for scorer in each] for method, each in scorers.items()}):
            for method, each in whole.items():
                for scorer, part in zip(each, parts[method], strict=True):
                    scorer.merge(part)
        return whole

    def details(self) -> dict[str, Any]:
        """The classes and the confusion matrix of each direction whose answers were read as classes."""
        return {"segmentation": self._details} if self._details else {}

    def protocol(self) -> list[str]:
        source, data = self.store.source, self.model.recipe.data
        counts = ", ".join(f"{n} {role}" for role, n in sorted(source.counts.items()))
        scored = ", all of them scored" if any(self._measures.values()) else ""
        mode = {
            "eval": "eval mode (no dropout, running statistics)",
            "train": "train mode (dropout and batch statistics on, one image a batch, as the paper tests)",
        }[self.model.mode]
        lines = [
            f"data: {source.name}, {told(source.split)}, {counts} images{scored}",
            f"preparation: {_prepared(data)}, no mirroring",
            f"network: {mode}",
            *self._measured(),
        ]
        methods = {method for found in self._measures.values() for measure in found for method in measure.methods}
        baselines = {
            COPIED: f"{COPIED}: the source image as the answer",
            MEAN: f"{MEAN}: the mean of these targets as every answer",
        }
        if measured := [line for method, line in baselines.items() if method in methods]:
            lines.append("; ".join(measured))
        return lines

    def _measured(self) -> list[str]:
        """The lines of all measures: those that hold in every direction as they are, others behind their direction."""
        by_line: dict[str, list[str]] = {}
        for direction, found in self._measures.items():
            for measure in found:
                for line in measure.protocol:
                    by_line.setdefault(line, []).append(direction)
        if not by_line:
            return [f"no scores: the split has no pairs; FID needs none: {flag('evaluation.metrics')} FID"]
        everywhere = len(self._measures)
        return [line if len(d) == everywhere else f"{', '.join(d)}: {line}" for line, d in by_line.items()]

    def sheet(self, device: torch.device, images: int, networks: Networks | None = None) -> np.ndarray:
        """One row an image: the source, what the model makes of it, and the right answer where there is one.

        A model with two directions has them side by side, each with the way back.
        """
        rows: list[list[Tensor]] = []
        for translation in self.model.translations.values():
            for y, i in enumerate(spread(self.store.source.counts[translation.source], images)):
                source, made, target = self._translated(translation, i, device, networks)
                if len(rows) <= y:
                    rows.append([])
                rows[y] += [source, *made, *([target] if target is not None else [])]
        return grid(rows)

    def write_gallery(self, run: Path, device: torch.device) -> None:
        """Before, after and right answer of images spread over the split, for the report's slider."""
        folder = run / "samples" / "slider"
        folder.mkdir(parents=True, exist_ok=True)
        for direction, translation in self.model.translations.items():
            for i in spread(self.store.source.counts[translation.source], GALLERY_IMAGES):
                source, made, target = self._translated(translation, i, device, None)
                prefix = f"{direction}_" if len(self.model.translations) > 1 else ""
                for role, picture in {"input": source, "output": made[0], "target": target}.items():
                    if picture is not None:
                        write_image(folder / f"{prefix}{i:05d}_{role}.png", to_uint8(picture))

    def _translated(
        self, translation: Translation, i: int, device: torch.device, networks: Networks | None
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """The source image, everything made of it (the translation first), and the target if the split has pairs."""
        image = images_of(self.store, translation.source, [i], device)
        with using(networks or self.model.networks, self.model.mode, seed=i):
            made = self.model.translate({translation.source: image}, networks)
        paired = self.store.source.paired
        answer = images_of(self.store, translation.target, [i], device)[0] if paired else None
        return image[0], [images[0] for images in made.values()], answer

    def _mean_target(self, translation: Translation, device: torch.device, shard: Shard) -> Tensor:
        """The mean of the targets, 1×C×H×W; at crop_size×crop_size where they differ in size."""
        role, side = translation.target, self.model.recipe.data.crop_size
        count = self.store.source.counts[role]
        sums: dict[tuple[int, int], Tensor] = {}  # by size, because a sum is resized as the images would be
        for images in read_images(self.store, (role,), shard.of(count), self._room(), self.model.recipe.data.workers):
            targets = images.on(device, role)
            size = (targets.shape[2], targets.shape[3])
            sums[size] = sums.get(size, torch.zeros((), device=device)) + targets.sum(0, keepdim=True) / count
        parts = shard.gather({size: found.cpu() for size, found in sums.items()})
        sizes = {size for part in parts for size in part}
        common = next(iter(sizes)) if len(sizes) == 1 else (side, side)
        total = torch.zeros(())
        for part in parts:
            for found in part.values():
                total = total + resized(found, common)
        return total.to(device)


def _prepared(data: TranslationData) -> str:
    """What `evaluation_fit` does, for the protocol."""
    side, smoothly = data.crop_size, "(bicubic, antialiased)"
    width = f"to a width of {side} px, aspect kept but at least {side} px high {smoothly}, no crop"
    return {
        "resize_and_crop": f"to {side}×{side} px {smoothly}, no crop",
        "scale_width": width,
        "scale_width_and_crop": width,
        "crop": f"at their own size, smaller ones enlarged to {side} px on the shorter side {smoothly}, no crop",
        "none": "at their own size, no crop",
    }[data.preprocess]


def _usual(store: Store) -> list[Measure]:
    return [paired()] if store.source.paired else []


def _merged(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for each in found for name, value in each.items()}
