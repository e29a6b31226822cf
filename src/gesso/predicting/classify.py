"""Name the classes of a picture or a folder of pictures.

Pictures are prepared exactly as they are when the run is scored, so what is said of one here is what counted there.
Reading runs in threads ahead of the network. A picture that cannot be read is named in its place and the others go on.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gesso.data.ahead import ahead
from gesso.data.batches import normalize
from gesso.data.decoding import MAX_PIXELS
from gesso.data.fits import scored_fit
from gesso.data.images import read_image
from gesso.devices import Choice
from gesso.engine.launch import ready_model
from gesso.engine.pulling import at_hand
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, load_for_use
from gesso.errors import BadImage, UsageError, spelling
from gesso.models.base import Model, using
from gesso.predicting.jobs import pictures
from gesso.predicting.uses import other_use
from gesso.progress import say
from gesso.recipe import ClassData, ClassificationRecipe, Precision

READERS = min(8, os.cpu_count() or 1)


def classify_folder(
    *,
    run: Path | str,
    inputs: Path | str,
    top: int = 5,
    batch_size: int = 32,
    checkpoint: str = "best",
    device: str = "auto",
    precision: Precision = "auto",
    max_pixels: int = 100_000_000,
) -> Iterator[dict[str, Any]]:
    """The `top` likeliest classes of `inputs`, a picture or a folder with its sub-folders.

    Gives a record for each picture, in natural order of the names, as the batches are done:
    {"file": str, "classes": [{"class": str, "score": float}, …]}, likeliest first, with the probabilities that the
    network gives them; or {"file": str, "error": str} where it cannot be read. Names begin with `inputs` as given.
    UsageError, before the first record, where a flag does not fit.
    """
    for flag, value in (("--top", top), ("--batch-size", batch_size), ("--max-pixels", max_pixels)):
        if value < 1:
            raise UsageError(f"{flag} {value}: must be 1 or more")
    run, inputs = at_hand(Path(run)), Path(inputs)
    found = find_checkpoint(run, checkpoint)
    recipe = read_recipe(run)
    if not isinstance(recipe, ClassificationRecipe):
        raise UsageError(other_use(run, recipe, "classifier"))
    paths = pictures(inputs)
    model, choices = ready_model(recipe, device, precision)
    averaged = load_for_use(model, found)
    say(f"{found.path.name}{' (averaged)' if averaged else ''}, {_told(choices.device)}, {_told(choices.precision)}")
    names = recipe.data.class_names
    return _records(
        model, recipe.data, names, paths, min(top, len(names)), batch_size, choices.device.value, max_pixels
    )


def _told(choice: Choice[Any]) -> str:
    return f"{choice.value} ({choice.reason})"


def _records(
    model: Model,
    data: ClassData,
    names: tuple[str, ...],
    paths: list[Path],
    top: int,
    batch_size: int,
    device: torch.device,
    max_pixels: int,
) -> Iterator[dict[str, Any]]:
    prepare = scored_fit(data)

    @spelling(MAX_PIXELS)
    def read(path: Path) -> Tensor | BadImage:
        """C×S×S in [-1, 1]."""
        try:
            return normalize(torch.from_numpy(prepare(read_image(path, data.channels, max_pixels))))
        except BadImage as error:
            return error

    def scored(images: list[Tensor]) -> list[list[dict[str, Any]]]:
        if not images:
            return []
        with using(model.networks, model.mode):
            logits = model.predict({"image": torch.stack(images).to(device)})["logits"]
        best = logits.cpu().softmax(1).topk(top)
        return [
            [{"class": names[i], "score": score} for i, score in zip(chosen, scores, strict=True)]
            for chosen, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def told(batch: list[tuple[Path, Tensor | BadImage]]) -> Iterator[dict[str, Any]]:
        classes = iter(scored([image for _, image in batch if isinstance(image, Tensor)]))
        for path, image in batch:
            if isinstance(image, BadImage):
                yield {"file": str(path), "error": image.reason}
            else:
                yield {"file": str(path), "classes": next(classes)}

    batch: list[tuple[Path, Tensor | BadImage]] = []
    for path, image in zip(paths, ahead(read, paths, READERS, batch_size + READERS), strict=True):
        batch.append((path, image))
        if len(batch) == batch_size:
            yield from told(batch)
            batch = []
    yield from told(batch)
