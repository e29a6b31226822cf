"""Pictures for people: tensors laid out on sheets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from gesso.data.images import quantized, write_image
from gesso.metrics.paired import resized

GAP = 4
GREY = 80
"""Between the images of a sheet: glares on no page, light or dark, and is not the grey that young generators make."""


def to_uint8(image: Tensor) -> np.ndarray:
    """C×H×W in [-1, 1] to H×W×3 uint8 for looking at: grey is repeated, a fourth channel is left out."""
    colour = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    return quantized(colour.float().permute(1, 2, 0).cpu().numpy(), np.uint8)


def grid(rows: Sequence[Sequence[Tensor]]) -> np.ndarray:
    """C×H×W images in rows and columns, on grey; each cell is as large as the first image."""
    height, width = rows[0][0].shape[1:]
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), GREY, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            cell = to_uint8(resized(image[None], (height, width))[0])
            canvas[y * (height + GAP) :, x * (width + GAP) :][:height, :width] = cell
    return canvas


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread from the first on."""
    number = min(count, wanted)
    return [i * count // number for i in range(number)]


def write_sheet(run: Path, seen: int, picture: np.ndarray) -> str:
    """Write the sheet of the moment at `seen` images; its path below the run."""
    name = f"samples/{seen:09d}.png"
    (run / "samples").mkdir(exist_ok=True)
    write_image(run / name, picture)
    return name
