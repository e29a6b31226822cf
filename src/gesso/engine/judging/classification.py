"""Judging classifiers: top-1 and top-5 accuracy beside the answer that is always the most frequent class."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from gesso.data.fits import scored_fit
from gesso.data.single import ClassSource, class_splits, has_classes, open_classes
from gesso.data.sources import ROLE
from gesso.data.store import Store, open_store
from gesso.engine.judging.base import OURS, Judge, Row
from gesso.engine.judging.images import images_of, read_images, room
from gesso.engine.judging.shard import WHOLE, Shard
from gesso.engine.judging.splits import REPORT, split_to_score, told
from gesso.engine.sheets import GAP, GREY, spread, to_uint8
from gesso.errors import DataError
from gesso.metrics.classification import class_accuracy, confusion, correct
from gesso.models.base import Networks, using
from gesso.models.classification import Classifier
from gesso.progress import Bar, Progress, Say, silent
from gesso.recipe import ClassData

HELD_OUT = "test"
BASELINE = "most frequent"
CAPTION = 12
RIGHT, WRONG = (0, 128, 60), (190, 30, 30)
LARGEST_MATRIX = 100
"""Classes up to which the whole confusion matrix is kept with the scores."""


def classification_split(model: Classifier, asked: str, say: Say) -> str:
    data = model.recipe.data
    there = class_splits(data)
    if asked == REPORT and HELD_OUT in there and data.evaluate_split != HELD_OUT:
        with Bar(f"looking for classes of {HELD_OUT}", 1) as bar:
            labelled = has_classes(data, HELD_OUT, say, bar.update)
        if not labelled:
            say(f"{data.root}: the images of {HELD_OUT} have no classes, so another split is scored at the end")
            there = tuple(split for split in there if split != HELD_OUT)
    return split_to_score(
        asked,
        model.recipe,
        there,
        say,
        watch=(data.evaluate_split,),
        report=(HELD_OUT, data.evaluate_split),
        training=data.train_split,
        required=data.evaluate_split != ClassData().evaluate_split,
    )


def open_classification_judge(model: Classifier, split: str, say: Say) -> "ClassificationJudge":
    data = model.recipe.data
    with Bar(f"reading {split}", 1) as bar:
        source = open_classes(data, split, say, bar.update)
        store = open_store(source, scored_fit(data), data, say, bar.update)
    if data.names and source.classes != data.names[: len(source.classes)]:
        raise DataError(
            f"{data.root}: the classes of {split} are not those that the model was trained on, or in another order; "
            "shards need the same classes.json"
        )
    return ClassificationJudge(model, store)


class ClassificationJudge(Judge):
    """A classifier on the images of `store`, whose source has classes."""

    model: Classifier

    def __init__(self, model: Classifier, store: Store) -> None:
        super().__init__(model)
        self.split = store.source.split
        self._store = store
        self._source: ClassSource = store.source  # type: ignore[assignment]
        # Shards without a list of classes know only as many as occur in them.
        self._names = model.recipe.data.names or self._source.classes
        self.scored = {"top1": True, "top5": True, "loss": False}
        self.preferred = "top1"
        self._matrix: Tensor | None = None

    def rows(
        self,
        device: torch.device,
        networks: Networks | None = None,
        batch_size: int = 0,
        progress: Progress = silent,
        shard: Shard = WHOLE,
    ) -> list[Row]:
        data, count, classes = self.model.recipe.data, self._store.source.counts[ROLE], self.model.classes
        among, share = (1, min(5, classes)), shard.of(count)
        right = torch.zeros(2, dtype=torch.int64)
        matrix = torch.zeros(classes, classes, dtype=torch.int64)
        loss = 0.0
        fits = room(batch_size, self.model.recipe, data.image_size)
        for images in read_images(self._store, (ROLE,), share, fits, data.workers):
            labels = torch.tensor([self._source.class_of(i) for i in images.indices])
            logits = self._logits(images.on(device, ROLE), networks)
            right += correct(logits, labels, among)
            matrix += confusion(labels, logits.argmax(1), classes)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            progress(images.indices[-1] + 1 - share.start, len(share))
        rights, matrices, losses = zip(*shard.gather((right, matrix, loss)), strict=True)
        right, self._matrix, loss = torch.stack(rights).sum(0), torch.stack(matrices).sum(0), math.fsum(losses)
        per_class = self._matrix.sum(1).sort(descending=True).values
        baseline = {"top1": int(per_class[0]) / count, "top5": int(per_class[: among[1]].sum()) / count}
        top1, top5 = (right.double() / count).tolist()
        return [
            {"direction": "", "method": OURS, "top1": top1, "top5": top5, "loss": loss / count},
            {"direction": "", "method": BASELINE, **baseline},
        ]

    def _logits(self, images: Tensor, networks: Networks | None) -> Tensor:
        """N×K float32 on the CPU."""
        networks = networks or self.model.networks
        with using({name: networks[name] for name in self.model.used}, self.model.mode):
            return self.model.predict({"image": images}, networks)["logits"].cpu()

    def details(self) -> dict[str, Any]:
        """Per class: name, images, accuracy; and the confusion matrix, rows the truth, where it is not too large."""
        if self._matrix is None:
            return {}
        accuracy = class_accuracy(self._matrix)
        images = self._matrix.sum(1)
        names = self._names
        classes = [
            {"class": name, "images": int(n), "accuracy": float(a) if int(n) else None}
            for name, n, a in zip(names, images, accuracy, strict=True)
        ]
        small = len(names) <= LARGEST_MATRIX
        return {"classes": classes, **({"confusion": self._matrix.tolist()} if small else {})}

    def protocol(self) -> list[str]:
        source, data = self._store.source, self.model.recipe.data
        return [
            f"data: {source.name}, {told(source.split, data.train_split)}, {source.counts[ROLE]} images, "
            f"{self.model.classes} classes",
            f"preparation: shorter side to {data.resize} px (antialiased), centre crop {data.image_size} px, one crop",
            "top1, top5: share of the images whose class is the likeliest, among the five likeliest; higher is better"
            + ("" if self.model.classes > 5 else f" (of {self.model.classes} classes top5 is always 1)"),
            "loss: cross-entropy of the true class, without smoothing, the mean over images; lower is better",
            f"{BASELINE}: the split's own most frequent classes as every answer",
        ]

    def sheet(self, device: torch.device, images: int, networks: Networks | None = None) -> np.ndarray:
        """images×images pictures, the likeliest class under each: on green where it is right, on red where not."""
        side = self.model.recipe.data.image_size
        chosen = spread(self._store.source.counts[ROLE], images * images)
        cell = side + CAPTION + GAP
        rows = -(-len(chosen) // images)
        canvas = Image.new("RGB", (images * (side + GAP) - GAP, rows * cell - GAP), (GREY,) * 3)
        draw = ImageDraw.Draw(canvas)
        for place, i in enumerate(chosen):
            x, y = place % images * (side + GAP), place // images * cell
            picture = to_uint8(images_of(self._store, ROLE, [i], torch.device("cpu"))[0])
            canvas.paste(Image.fromarray(picture), (x, y))
            likeliest = int(self._logits(images_of(self._store, ROLE, [i], device), networks).argmax())
            colour = RIGHT if likeliest == self._source.class_of(i) else WRONG
            name = self._names[likeliest]
            while name and draw.textlength(name) > side - 2:
                name = name[:-1]
            draw.rectangle((x, y + side, x + side - 1, y + side + CAPTION - 1), fill=colour)
            draw.text((x + 1, y + side), name, fill="white")
        return np.asarray(canvas)

    def write_gallery(self, run: Path, device: torch.device) -> None:
        """Nothing: the report shows the confusion matrix instead."""
