"""Translate pictures with an exported model, as `folder` does with a run. Needs no torch."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gesso.data.ahead import ahead
from gesso.data.decoding import MAX_PIXELS
from gesso.data.images import quantized, read_image, resize, write_image
from gesso.errors import BadImage, UsageError, spelling
from gesso.predicting.alone import at_least
from gesso.predicting.alone_session import Array, Session, bytes_of, number
from gesso.predicting.jobs import Job, check_formats, chosen_suffix, find_jobs, make_folders

READERS, READ_AHEAD = 2, 8


@dataclass(frozen=True)
class _Loaded:
    """A picture, H×W×C as the network is to see it, and its own (height, width)."""

    job: Job
    picture: Array
    size: tuple[int, int]


def translate_alone(
    *,
    model: Path,
    inputs: Path,
    out: Path,
    direction: str,
    format: str,
    batch_size: int,
    resize: int,
    existing: str,
    max_pixels: int,
    provider: str,
) -> int:
    """Translate `inputs`, a picture or a folder with its sub-folders, into the folder `out`; gives the exit code."""
    at_least(1, {"--batch-size": batch_size, "--max-pixels": max_pixels})
    at_least(0, {"--resize": resize})
    session = Session(model, "translator", provider)
    about = session.about
    if direction not in ("auto", about.direction):
        raise UsageError(f"--direction {direction}: {model} was exported for {about.direction}")
    suffix = chosen_suffix(format, inputs, out, "png")
    jobs, skipped = find_jobs(inputs, out, suffix, existing)
    check_formats(jobs, about.channels_out, suffix)
    make_folders(jobs)
    print(f"{about.name}: {about.direction} with {model}, {provider}", file=sys.stderr)
    bad: list[BadImage] = []
    written = 0
    for batch in _batches(jobs, about.channels_in, resize, max_pixels, batch_size if about.together else 1, bad):
        try:
            made = _translated(session, np.stack([loaded.picture.transpose(2, 0, 1) for loaded in batch]))
        except ValueError as error:
            bad += [BadImage(loaded.job.source, str(error)) for loaded in batch]
            continue
        for loaded, picture in zip(batch, made, strict=True):
            write_image(loaded.job.target, _as_input(picture, loaded))
            written += 1
    for unread in bad:
        print(f"gesso: {unread}", file=sys.stderr)
    print(f"{written} written to {out}, {skipped} there already, {len(bad)} could not be read")
    return 2 if bad else 0


def _batches(
    jobs: Iterable[Job], channels: int, longest: int, max_pixels: int, most: int, bad: list[BadImage]
) -> Iterator[list[_Loaded]]:
    """Pictures in order, in runs of one size and depth; what cannot be read goes to `bad`."""

    @spelling(MAX_PIXELS)
    def read(job: Job) -> _Loaded | BadImage:
        try:
            picture = read_image(job.source, channels, max_pixels)
        except BadImage as error:
            return error
        size = (picture.shape[0], picture.shape[1])
        if longest and max(size) > longest:
            shrink = longest / max(size)
            picture = resize(picture, max(1, round(size[1] * shrink)), max(1, round(size[0] * shrink)))
        return _Loaded(job, picture, size)

    batch: list[_Loaded] = []
    for loaded in ahead(read, jobs, READERS, READ_AHEAD):
        if isinstance(loaded, BadImage):
            bad.append(loaded)
            continue
        first = batch[0].picture if batch else loaded.picture
        if len(batch) == most or (loaded.picture.shape, loaded.picture.dtype) != (first.shape, first.dtype):
            yield batch
            batch = []
        batch.append(loaded)
    if batch:
        yield batch


def _translated(session: Session, pictures: Array) -> Array:
    """N×C×H×W samples to N×H×W×C: uint8, or float32 in [-1, 1]."""
    about = session.about
    count, _, height, width = pictures.shape
    made = session.run(
        bytes_of(pictures) if about.uint8 else number(pictures), (count, about.channels_out, height, width)
    )
    return made.transpose(0, 2, 3, 1)


def _as_input(made: Array, loaded: _Loaded) -> Array:
    """What the network made at the size of the input, and in its depth where network and format have it."""
    deep = loaded.picture.dtype == np.uint16 and 2 in loaded.job.channels
    picture = made if made.dtype == np.uint8 else quantized(made, np.uint16 if deep else np.uint8)
    height, width = loaded.size
    return np.ascontiguousarray(resize(picture, width, height))
