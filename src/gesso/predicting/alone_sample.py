"""Images from an exported generator, as `sampling` makes them with a run. Needs no torch."""

import math
from pathlib import Path

import numpy as np

from gesso.data.images import quantized, write_image
from gesso.errors import CheckpointError, UsageError
from gesso.files import disk_errors
from gesso.predicting.alone import at_least
from gesso.predicting.alone_session import Array, Session
from gesso.predicting.outputs import GAP, GREY, check_name, check_size, make_folder

BATCH = 64


def sample_alone(*, model: Path, out: Path, count: int, kind: str, seed: int, columns: int, provider: str) -> int:
    """Make `count` images, 0: 64, with the noise that torch draws for `seed`; gives the exit code."""
    at_least(0, {"--count": count, "--seed": seed, "--columns": columns})
    check_name(out, kind)
    session = Session(model, "generator", provider)
    count = count or 64
    columns = columns or math.ceil(math.sqrt(count))
    if kind == "grid":
        check_size(out, session.about.size, count, columns)
        make_folder(out)
        write_image(
            out,
            _sheet(
                [image for start in range(0, count, BATCH) for image in _made(session, seed, start, count)], columns
            ),
        )
    else:
        _files(session, out, seed, count)
    size = session.about.size
    print(f"{out}: {count} image{'s' if count != 1 else ''} of {size}x{size} pixels, from {model}, seed {seed}")
    return 0


def _files(session: Session, out: Path, seed: int, count: int) -> None:
    """A file 00000.png … in the folder `out` for each image, with the model's own channels."""
    paths = [out / f"{i:05d}.png" for i in range(count)]
    if there := next((path for path in paths if path.exists()), None):
        raise UsageError(f"{there} is there already; name another folder with --out")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, BATCH):
        for path, image in zip(paths[start:], _made(session, seed, start, count), strict=False):
            write_image(path, image)


def _made(session: Session, seed: int, start: int, count: int) -> list[Array]:
    """The images from `start` on, at most BATCH of them, each H×W×C uint8."""
    about = session.about
    drawn = range(start, min(start + BATCH, count))
    # As models.latents draws them: vector i is a function of the seed and i alone.
    noise = np.stack([np.random.default_rng([seed, i]).standard_normal(about.latent, np.float32) for i in drawn])
    try:
        made = session.run(noise, (len(noise), about.channels_out, about.size, about.size)).transpose(0, 2, 3, 1)
    except ValueError as error:
        raise CheckpointError(f"{session.path}: {error}") from None
    return [np.ascontiguousarray(each if each.dtype == np.uint8 else quantized(each, np.uint8)) for each in made]


def _sheet(images: list[Array], columns: int) -> Array:
    """H×W×C images in rows on grey, H×W×3, as `engine.sheets.grid` lays them out."""
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), GREY, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    return canvas
