"""Scores of a model on a split, always beside two baselines on the same images.

A score means little alone: a translator that beats neither its own input nor one constant image has learned
nothing. So every table has three rows a direction: the model, the input copied, and the mean of the very
targets it is scored on (a constant that has seen the answers, the best one there is in squared error).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gesso.data.batches import normalize, stack
from gesso.data.store import Store
from gesso.metrics.paired import PAIRED, SMALLEST_SSIM, as_channels, resized
from gesso.models.base import Batch, Model, Networks, Translation, translating
from gesso.networks.anysize import crop
from gesso.progress import Progress, silent

Row = dict[str, Any]
METHODS = ("gesso", "input copied", "mean target")


def predict(model: Model, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
    """`model.predict` for images of any size. Call inside `translating`."""
    size = _size(next(iter(batch.values())))
    return {name: crop(images, size) for name, images in model.predict(model.padded(batch), networks).items()}


def images_of(store: Store, role: str, indices: range | list[int], device: torch.device) -> Tensor:
    """Images of one domain as N×C×H×W in [-1, 1]; they must be of one size."""
    return normalize(stack([store.get((role, i)) for i in indices]).to(device))


def same_sized(store: Store, roles: tuple[str, ...], most: int) -> Iterator[list[int]]:
    """Indices in order, in runs of at most `most` whose images are of one size in each domain of `roles`."""
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


def evaluate(
    model: Model,
    store: Store,
    device: torch.device,
    *,
    networks: Networks | None = None,
    batch_size: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Row]:
    """The table for every direction of `model`: rows {"direction", "method", "L1", "PSNR", "SSIM"}.

    Empty where `store` has no pairs. `networks` are scored instead of the model's own, if given. Each score is
    the mean over images.
    """
    if not store.source.paired:
        return []
    mode = model.config.generator.test_mode
    rows: list[Row] = []
    total = sum(store.source.counts[t.source] for t in model.translations.values())
    done = 0
    for direction, translation in model.translations.items():
        mean = _mean_target(store, translation, model.config.data.crop_size, device)
        sums: dict[str, dict[str, float]] = {method: {} for method in METHODS}
        # In train mode the statistics are the batch's own, so images must not share a batch.
        for run in same_sized(store, (translation.source, translation.target), 1 if mode == "train" else batch_size):
            source = images_of(store, translation.source, run, device)
            target = images_of(store, translation.target, run, device)
            with translating(networks or model.networks, mode, seed):
                made = predict(model, {translation.source: source}, networks)[f"fake_{translation.target}"]
            answers = {
                "gesso": resized(made, _size(target)),
                "input copied": resized(as_channels(source, target.shape[1]), _size(target)),
                "mean target": resized(mean, _size(target)).expand_as(target),
            }
            for method, answer in answers.items():
                for name, metric in PAIRED.items():
                    if name == "SSIM" and min(_size(target)) < SMALLEST_SSIM:
                        continue
                    value = float(metric.compute(answer.float(), target).sum())
                    sums[method][name] = sums[method].get(name, 0.0) + value
            done += len(run)
            progress(done, total)
        count = store.source.counts[translation.source]
        rows += [
            {"direction": direction, "method": method, **{name: value / count for name, value in scores.items()}}
            for method, scores in sums.items()
        ]
    return rows


def headline(rows: list[Row]) -> dict[str, float]:
    """The model's own scores as {"AtoB/L1": …}, for curves."""
    return {
        f"{row['direction']}/{name}": row[name]
        for row in rows
        if row["method"] == "gesso"
        for name in PAIRED
        if name in row
    }


def protocol(model: Model, store: Store, checkpoint: str, averaged: bool, arithmetic: str) -> str:
    """What was scored and how, in lines for people."""
    data = model.config.data
    counts = ", ".join(f"{n} {role}" for role, n in sorted(store.source.counts.items()))
    mode = model.config.generator.test_mode
    how = {
        "eval": "eval mode (no dropout, running statistics)",
        "train": "train mode (dropout and batch statistics on, one image a batch, as the paper tests)",
    }[mode]
    return "\n".join(
        [
            f"data: {store.source.name}, split {store.source.split}, {counts} images, all of them scored",
            f"preparation: {data.preprocess} to {data.crop_size} px (bicubic, antialiased), no crop, no mirroring",
            f"network: checkpoint {checkpoint}, {'averaged weights, ' if averaged else ''}{how}, {arithmetic}",
            "L1 in units of the full range (0 to 1, lower is better); PSNR in dB and SSIM (11 px Gaussian window), "
            "higher is better; each the mean over images",
            "input copied: the source image as the answer; mean target: the mean of these targets as every answer",
        ]
    )


def _mean_target(store: Store, translation: Translation, side: int, device: torch.device) -> Tensor:
    """The mean of the targets, 1×C×H×W; at side×side where they differ in size."""
    count = store.source.counts[translation.target]
    runs = list(same_sized(store, (translation.target,), 16))
    shapes = {store.get((translation.target, run[0])).shape for run in runs}
    total: Tensor | float = 0.0
    for run in runs:
        targets = images_of(store, translation.target, run, device)
        common = targets if len(shapes) == 1 else resized(targets, (side, side))
        total = total + common.sum(0, keepdim=True) / count
    assert isinstance(total, Tensor)
    return total


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]
