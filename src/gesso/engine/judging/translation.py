"""Judging translators: scores against the true partner, always beside two baselines on the same images.

A score means little alone: a translator that beats neither its own input nor one constant image has learned
nothing. So every table has three rows a direction: the model, the input copied, and the mean of the very
targets it is scored on (a constant that has seen the answers, the best one there is in squared error).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gesso.data.batches import normalize, stack
from gesso.data.images import write_image
from gesso.data.sources import evaluation_split, open_source
from gesso.data.store import Store, evaluation_fit, open_store
from gesso.engine.judging.base import OURS, Judge, Row
from gesso.engine.sheets import grid, spread, to_uint8
from gesso.metrics.paired import PAIRED, SMALLEST_SSIM, as_channels, resized
from gesso.models.base import Networks, using
from gesso.models.translation import Translation, Translator
from gesso.progress import Bar, Progress, Say, silent

METHODS = (OURS, "input copied", "mean target")
GALLERY_IMAGES = 12


def open_translation_judge(model: Translator, split: str, say: Say) -> "TranslationJudge":
    data = model.config.data
    if split == "auto":
        name = evaluation_split(data, model.config.evaluation.split, ("val", "test"))
    elif split == "held out":
        name = evaluation_split(data, "auto", ("test", "val"))
    else:
        name = evaluation_split(data, split, ())
    source = open_source(data, name, not model.aligned)
    with Bar(f"reading {name}", len(source.units)) as bar:
        return TranslationJudge(model, open_store(source, evaluation_fit(data), data, say, bar.update))


class TranslationJudge(Judge):
    """Every direction of a translator, on the images of `store`."""

    model: Translator

    def __init__(self, model: Translator, store: Store, seed: int = 0) -> None:
        super().__init__(model)
        self.store = store
        self.split = store.source.split
        self._seed = seed
        self.scored = {
            f"{direction}/{name}": metric.higher_is_better
            for direction in model.translations
            for name, metric in PAIRED.items()
            if store.source.paired
        }
        self.preferred = next((name for name in self.scored if name.endswith("/L1")), None)

    def rows(
        self, device: torch.device, networks: Networks | None = None, batch_size: int = 8, progress: Progress = silent
    ) -> list[Row]:
        """Each score is the mean over images. Empty where the split has no pairs."""
        if not self.store.source.paired:
            return []
        rows: list[Row] = []
        counts, directions = self.store.source.counts, self.model.translations
        total = sum(counts[translation.source] for translation in directions.values())
        done = 0
        for direction, translation in directions.items():
            sums: dict[str, dict[str, float]] = {method: {} for method in METHODS}
            mean = self._mean_target(translation, device)
            # In train mode the statistics are the batch's own, so images must not share a batch.
            most = 1 if self.model.mode == "train" else batch_size
            for run in same_sized(self.store, (translation.source, translation.target), most):
                source = images_of(self.store, translation.source, run, device)
                target = images_of(self.store, translation.target, run, device)
                with using(networks or self.model.networks, self.model.mode, self._seed):
                    made = self.model.translate({translation.source: source}, networks)[f"fake_{translation.target}"]
                answers = {
                    OURS: resized(made, _size(target)),
                    "input copied": resized(as_channels(source, target.shape[1]), _size(target)),
                    "mean target": resized(mean, _size(target)).expand_as(target),
                }
                for method, answer in answers.items():
                    for name, value in _scores(answer.float(), target).items():
                        sums[method][name] = sums[method].get(name, 0.0) + value
                done += len(run)
                progress(done, total)
            count = counts[translation.source]
            rows += [
                {"direction": direction, "method": method, **{name: value / count for name, value in scores.items()}}
                for method, scores in sums.items()
            ]
        return rows

    def protocol(self) -> list[str]:
        source, data = self.store.source, self.model.config.data
        counts = ", ".join(f"{n} {role}" for role, n in sorted(source.counts.items()))
        mode = {
            "eval": "eval mode (no dropout, running statistics)",
            "train": "train mode (dropout and batch statistics on, one image a batch, as the paper tests)",
        }[self.model.mode]
        return [
            f"data: {source.name}, split {source.split}, {counts} images, all of them scored",
            f"preparation: {data.preprocess} to {data.crop_size} px (bicubic, antialiased), no crop, no mirroring",
            f"network: {mode}",
            "L1 in units of the full range (0 to 1, lower is better); PSNR in dB and SSIM (11 px Gaussian window), "
            "higher is better; each the mean over images",
            "input copied: the source image as the answer; mean target: the mean of these targets as every answer",
        ]

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

    def _mean_target(self, translation: Translation, device: torch.device) -> Tensor:
        """The mean of the targets, 1×C×H×W; at crop_size×crop_size where they differ in size."""
        side = self.model.config.data.crop_size
        count = self.store.source.counts[translation.target]
        runs = list(same_sized(self.store, (translation.target,), 16))
        shapes = {self.store.get((translation.target, run[0])).shape for run in runs}
        total = torch.zeros((), device=device)
        for run in runs:
            targets = images_of(self.store, translation.target, run, device)
            common = targets if len(shapes) == 1 else resized(targets, (side, side))
            total = total + common.sum(0, keepdim=True) / count
        return total


def images_of(store: Store, role: str, indices: range | list[int], device: torch.device) -> Tensor:
    """Images of one role as N×C×H×W in [-1, 1]; they must be of one size."""
    return normalize(stack([store.get((role, i)) for i in indices]).to(device))


def same_sized(store: Store, roles: tuple[str, ...], most: int) -> Iterator[list[int]]:
    """Indices in order, in runs of at most `most` whose images are of one size in each role of `roles`."""
    run: list[int] = []
    sizes: list[tuple[int, ...]] = []
    for i in range(store.source.counts[roles[0]]):
        here = [store.get((role, i)).shape for role in roles]
        if run and (len(run) == most or here != sizes):
            yield run
            run = []
        run.append(i)
        sizes = here
    if run:
        yield run


def _scores(answers: Tensor, targets: Tensor) -> dict[str, float]:
    """Each score that these images are large enough for, summed over them."""
    return {
        name: float(metric.compute(answers, targets).sum())
        for name, metric in PAIRED.items()
        if name != "SSIM" or min(_size(targets)) >= SMALLEST_SSIM
    }


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]
