"""Images from a trained generator: a grid, single files, a walk through latent space, or a film of the training.

Latent vector i is a function of the seed and i alone. So the same seed always gives the same pictures, on any
device, and a larger `count` gives the same ones and more. Every result is written beside and renamed, and what
stands at its place already is never written over.
"""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gesso.data.images import quantized, write_image
from gesso.engine import checkpoint as checkpoints
from gesso.engine.checkpoint import Checkpoint
from gesso.engine.launch import Choices, ready_model
from gesso.engine.pulling import at_hand
from gesso.engine.runs import read_recipe
from gesso.engine.sheets import grid
from gesso.engine.state import find_checkpoint, load_for_use
from gesso.errors import CheckpointError, UsageError
from gesso.files import disk_errors, write_atomically
from gesso.models.base import using
from gesso.models.generation import Generator
from gesso.models.latents import latents
from gesso.predicting.outputs import check_asked, check_size, make_folder
from gesso.predicting.uses import other_use
from gesso.progress import Bar, say
from gesso.recipe import GenerationRecipe, Precision

BATCH = 64
WALK_MS, PROGRESS_MS, LAST_MS = 50, 250, 1500
CAPTION = 14
PALETTE_PIXELS = 2**15
"""Pixels of a film, from all its frames, from which its colours are chosen."""


@dataclass(frozen=True)
class Task:
    """What was asked for, and the generator to do it."""

    run: Path
    recipe: GenerationRecipe
    out: Path
    count: int
    seed: int
    frames: int
    columns: int
    model: Generator
    choices: Choices

    def begin(self) -> None:
        """Says where images are made, once nothing that was asked for is refused any more."""
        device, precision = self.choices.device, self.choices.precision
        say(f"{device.value} ({device.reason}), {precision.value} ({precision.reason})")

    def images(self, noise: Tensor) -> Tensor:
        """N×latent to N×C×S×S in [-1, 1] on the host."""
        parts = []
        for part in torch.split(noise, BATCH):
            with using(self.model.networks, self.model.mode):
                parts.append(self.model.predict({"z": part.to(self.choices.device.value)})["image"].float().cpu())
        return torch.cat(parts)

    def noise(self) -> Tensor:
        """count×latent."""
        return latents(self.seed, range(self.count), self.model.latent)

    @property
    def size(self) -> int:
        return self.recipe.data.image_size


def sample_run(
    *,
    run: Path | str,
    out: Path | str,
    count: int = 0,
    kind: str = "grid",
    seed: int = 0,
    checkpoint: str = "best",
    device: str = "auto",
    precision: Precision = "auto",
    frames: int = 60,
    columns: int = 0,
) -> list[str]:
    """Make images with the dcgan at `run`, a run or a checkpoint, its averaged weights where it has them.

    kind       grid      one picture (.png, .webp) of `count` images in `columns` columns, 0: nearly square
               files     a folder of `count` pictures 00000.png …, with the model's own channels
               walk      a film (.gif, .webp) that goes through `count` latent points in `frames` frames and comes
                         back to the first, so that it loops without a seam; .png: its frames as one picture, in
                         one row or `columns` columns
               progress  a film (.gif, .webp) of the training: a grid of `count` images of the same noise from each
                         checkpoint that is there, at most `frames` of them, the images seen written on it
    count      0: 64 images, 8 points of a walk

    Gives lines that say what was written. UsageError where a flag does not fit or a result is there already.
    """
    out = Path(out)
    count = check_asked(kind=kind, out=out, count=count, frames=frames, seed=seed, columns=columns)
    run = at_hand(Path(run))
    found = find_checkpoint(run, checkpoint)
    recipe = read_recipe(run)
    if not isinstance(recipe, GenerationRecipe):
        raise UsageError(other_use(run, recipe, "generator"))
    model, choices = ready_model(recipe, device, precision)
    assert isinstance(model, Generator)
    averaged = load_for_use(model, found)
    task = Task(run, recipe, out, count, seed, frames, columns, model, choices)
    made = KINDS[kind](task)
    source = "each checkpoint" if kind == "progress" else found.path.name
    return [f"{out}: {made}, from {source}{' (averaged)' if averaged else ''}, seed {seed}"]


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation (White 2016, arXiv 1609.04468; Shoemake 1985): from `start`, share 0, to `end`, share 1.

    A straight line between two Gaussian vectors passes nearer to the origin than such vectors ever lie, where a
    generator has not been trained; the great circle does not.
    """
    cosine = float((start @ end) / (start.norm() * end.norm()).clamp_min(torch.finfo().tiny))
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    if math.sin(angle) < 1e-6:  # the same direction, where both formulas agree, or opposite ones, which no circle joins
        return torch.lerp(start, end, share)
    return (math.sin((1 - share) * angle) * start + math.sin(share * angle) * end) / math.sin(angle)


def path_through(points: Tensor, frames: int) -> Tensor:
    """frames×latent: from the first of N×latent `points` through all of them and back to the first, in even steps."""
    steps = [i * len(points) / frames for i in range(frames)]
    return torch.stack([slerp(points[int(s)], points[(int(s) + 1) % len(points)], s % 1) for s in steps])


def _grid(task: Task) -> str:
    columns = task.columns or math.ceil(math.sqrt(task.count))
    check_size(task.out, task.size, task.count, columns)
    make_folder(task.out)
    task.begin()
    write_image(task.out, _sheet(task.images(task.noise()), columns))
    return f"{_plural(task.count, 'image')} of {task.size}x{task.size} pixels"


def _files(task: Task) -> str:
    paths = [task.out / f"{i:05d}.png" for i in range(task.count)]
    if there := next((path for path in paths if path.exists()), None):
        raise UsageError(f"{there} is there already; name another folder with --out")
    with disk_errors(task.out):
        task.out.mkdir(parents=True, exist_ok=True)
    task.begin()
    noise = task.noise()
    with Bar("sampling", task.count) as bar:
        for first in range(0, task.count, BATCH):
            made = task.images(noise[first : first + BATCH])
            for path, image in zip(paths[first : first + BATCH], made, strict=True):
                write_image(path, quantized(image.permute(1, 2, 0).numpy(), np.uint8))
            bar.update(first + len(made))
    return f"{_plural(task.count, 'image')} of {task.size}x{task.size} pixels"


def _walk(task: Task) -> str:
    still = task.out.suffix.lower() == ".png"
    columns = task.columns or task.frames
    if still:
        check_size(task.out, task.size, task.frames, columns)
    else:
        check_size(task.out, task.size, 1, 1, task.frames)
    make_folder(task.out)
    task.begin()
    made = task.images(path_through(task.noise(), task.frames))
    if still:
        write_image(task.out, _sheet(made, columns))
    else:
        _write_film(task.out, [Image.fromarray(grid([[image]])) for image in made], [WALK_MS] * task.frames)
    return f"{task.frames} frames through {task.count} points"


def _progress(task: Task) -> str:
    columns = task.columns or math.ceil(math.sqrt(task.count))
    there = checkpoints.list_checkpoints(task.run)
    if len(there) < 2:
        raise UsageError(
            f"{task.run}: has kept {_plural(len(there), 'checkpoint')}, and a film of the training wants 2 or more; "
            "those that it deleted are gone, so train another run with --checkpoints.keep 0, or choose --kind walk"
        )
    chosen = [there[i] for i in np.linspace(0, len(there) - 1, min(task.frames, len(there))).round().astype(int)]
    check_size(task.out, task.size, task.count, columns, len(chosen))
    make_folder(task.out)
    task.begin()
    noise = task.noise()
    pictures: list[np.ndarray] = []
    texts: list[str] = []
    with Bar("sampling", len(chosen)) as bar:
        for found in _whole(chosen):
            load_for_use(task.model, found)
            pictures.append(_sheet(task.images(noise), columns))
            texts.append(f"{found.images} images seen")
            bar.update(len(pictures))
    if not pictures:
        raise CheckpointError(f"{task.run}: no whole checkpoint here")
    durations = [PROGRESS_MS] * (len(pictures) - 1) + [LAST_MS]
    _write_film(task.out, _captioned(pictures, texts), durations)
    return f"{_plural(len(pictures), 'frame')} of {_plural(task.count, 'image')}"


KINDS: dict[str, Callable[[Task], str]] = {"grid": _grid, "files": _files, "walk": _walk, "progress": _progress}


def _whole(paths: list[Path]) -> Iterator[Checkpoint]:
    """The checkpoints at `paths`; a damaged one is named and left out."""
    for path in paths:
        try:
            yield checkpoints.read(path)
        except CheckpointError as error:
            say(f"left out: {error}")


def _sheet(images: Tensor, columns: int) -> np.ndarray:
    """H×W×3 uint8."""
    return grid([list(row) for row in torch.split(images, columns)])


def _captioned(pictures: list[np.ndarray], texts: list[str]) -> list[Image.Image]:
    """`pictures` of one size with a line under each, on white, all as wide as the longest line needs."""
    height, width = pictures[0].shape[:2]
    font = ImageFont.load_default()
    width = max(width, *(math.ceil(font.getlength(text)) + 4 for text in texts))
    canvases = []
    for picture, text in zip(pictures, texts, strict=True):
        canvas = Image.new("RGB", (width, height + CAPTION), "white")
        canvas.paste(Image.fromarray(picture), (0, 0))
        ImageDraw.Draw(canvas).text((2, height + 1), text, fill="black", font=font)
        canvases.append(canvas)
    return canvases


def _write_film(out: Path, frames: list[Image.Image], milliseconds: list[int]) -> None:
    """An endless film in the format of `out`'s suffix."""
    kind = {".gif": "GIF", ".webp": "WEBP"}[out.suffix.lower()]
    options: dict[str, object] = {"quality": 90} if kind == "WEBP" else {}
    if kind == "GIF":
        frames = _in_one_palette(frames)
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, **options)
    write_atomically(out, buffer.getvalue())


def _in_one_palette(frames: list[Image.Image]) -> list[Image.Image]:
    """`frames` in the 256 colours that fit the whole film best. With colours of its own, each frame would flicker."""
    every = -(-len(frames) * frames[0].width * frames[0].height // PALETTE_PIXELS) | 1  # odd, to come to all columns
    pixels = np.concatenate(
        [np.asarray(frame).reshape(-1, 3)[place % every :: every] for place, frame in enumerate(frames)]
    )
    palette = Image.fromarray(pixels[None]).quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
