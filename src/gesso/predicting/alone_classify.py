"""Classes of pictures by an exported model, as `classify` finds them with a run. Needs no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gesso.data.ahead import ahead
from gesso.data.augment import CenterView
from gesso.data.decoding import MAX_PIXELS
from gesso.data.images import read_image
from gesso.errors import BadImage, spelling
from gesso.files import shown
from gesso.predicting.alone import at_least
from gesso.predicting.alone_session import Array, Session, number
from gesso.predicting.jobs import pictures
from gesso.predicting.listing import print_json, print_table


def classify_alone(
    *, model: Path, inputs: list[Path], top: int, json: bool, batch_size: int, max_pixels: int, provider: str
) -> int:
    """Print the `top` likeliest classes of each picture of `inputs`, pictures and folders; gives the exit code."""
    at_least(1, {"--top": top, "--batch-size": batch_size, "--max-pixels": max_pixels})
    session = Session(model, "classifier", provider)
    paths = [path for each in inputs for path in pictures(each)]
    records = _records(session, paths, min(top, len(session.about.classes)), batch_size, max_pixels)
    return print_json(records) if json else print_table(records, max(len(shown(path)) for path in paths))


def _records(
    session: Session, paths: list[Path], top: int, batch_size: int, max_pixels: int
) -> Iterator[dict[str, Any]]:
    """A record for each picture, in order, as `classify.classify_folder` gives them."""
    about = session.about
    view = CenterView(about.resize, about.size)

    @spelling(MAX_PIXELS)
    def read(path: Path) -> Array | BadImage:
        """C×S×S uint8."""
        try:
            picture = read_image(path, about.channels_in, max_pixels)
        except BadImage as error:
            return error
        return view(np.ascontiguousarray(picture.transpose(2, 0, 1)))

    def told(batch: list[tuple[Path, Array | BadImage]]) -> Iterator[dict[str, Any]]:
        images = [image for _, image in batch if not isinstance(image, BadImage)]
        found: Iterator[Any] = iter(())
        why = ""
        if images:
            stacked = np.stack(images)
            try:
                found = iter(
                    session.run(stacked if about.uint8 else number(stacked), (len(images), len(about.classes)))
                )
            except ValueError as error:
                why = str(error)
        for path, image in batch:
            if isinstance(image, BadImage) or why:
                yield {"file": str(path), "error": why if not isinstance(image, BadImage) else image.reason}
                continue
            scores = next(found)
            best = np.argsort(-scores, kind="stable")[:top]
            yield {"file": str(path), "classes": [{"class": about.classes[i], "score": float(scores[i])} for i in best]}

    batch: list[tuple[Path, Array | BadImage]] = []
    for path, image in zip(paths, ahead(read, paths, most=batch_size + 8), strict=True):
        batch.append((path, image))
        if len(batch) == batch_size:
            yield from told(batch)
            batch = []
    if batch:
        yield from told(batch)
