"""Pictures for people: sample sheets during training, and the before and after of the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gesso.data.images import write_image
from gesso.data.store import Store
from gesso.engine.evaluate import images_of, predict
from gesso.metrics.paired import resized
from gesso.models.base import Model, Networks, translating

GAP = 4
SLIDER_IMAGES = 12


def to_uint8(image: Tensor) -> np.ndarray:
    """C×H×W in [-1, 1] to H×W×3 uint8 for looking at: grey is repeated, a fourth channel is left out."""
    colour = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    values = (colour.float().clamp(-1, 1) + 1) * 127.5
    return values.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def grid(rows: Sequence[Sequence[Tensor]]) -> np.ndarray:
    """C×H×W images in rows and columns, on white; each cell is as large as the first image."""
    height, width = rows[0][0].shape[1:]
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            cell = to_uint8(resized(image[None], (height, width))[0])
            canvas[y * (height + GAP) :, x * (width + GAP) :][:height, :width] = cell
    return canvas


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread from the first on."""
    number = min(count, wanted)
    return [i * count // number for i in range(number)]


def sheet(model: Model, store: Store, device: torch.device, images: int, networks: Networks | None) -> np.ndarray:
    """One row an image: the source, what the model makes of it, and the right answer where there is one.

    A model with two directions has them side by side, each with the way back.
    """
    rows: list[list[Tensor]] = []
    for translation in model.translations.values():
        chosen = spread(store.source.counts[translation.source], images)
        for y, i in enumerate(chosen):
            source, made, target = _translated(
                model, store, device, translation.source, translation.target, i, networks
            )
            cells = [source, *made, *([target] if target is not None else [])]
            if len(rows) <= y:
                rows.append([])
            rows[y] += cells
    return grid(rows)


def write_sheet(run: Path, seen: int, picture: np.ndarray) -> str:
    """Write the sheet of the moment at `seen` images; its path below the run."""
    name = f"samples/{seen:09d}.png"
    (run / "samples").mkdir(exist_ok=True)
    write_image(run / name, picture)
    return name


def write_slider(run: Path, model: Model, store: Store, device: torch.device, networks: Networks | None) -> None:
    """Before, after and right answer of images spread over the split, for the report's slider."""
    folder = run / "samples" / "slider"
    folder.mkdir(parents=True, exist_ok=True)
    for direction, translation in model.translations.items():
        for i in spread(store.source.counts[translation.source], SLIDER_IMAGES):
            source, made, target = _translated(
                model, store, device, translation.source, translation.target, i, networks
            )
            prefix = f"{direction}_" if len(model.translations) > 1 else ""
            pictures = {"input": source, "output": made[0], "target": target}
            for role, picture in pictures.items():
                if picture is not None:
                    write_image(folder / f"{prefix}{i:05d}_{role}.png", to_uint8(picture))


def _translated(
    model: Model, store: Store, device: torch.device, source: str, target: str, i: int, networks: Networks | None
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """The source image, everything made of it (the translation first), and the target if the split has pairs."""
    image = images_of(store, source, [i], device)
    with translating(networks or model.networks, model.config.generator.test_mode, seed=i):
        made = predict(model, {source: image}, networks)
    answer = images_of(store, target, [i], device)[0] if store.source.paired else None
    return image[0], [images[0] for images in made.values()], answer
