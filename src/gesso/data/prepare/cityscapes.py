"""Cityscapes, from the archives that its users download, to the pairs and unpaired folders of the field.

Sources are `gtFine_trainvaltest.zip` and `leftImg8bit_trainvaltest.zip`, or what they unpack to, or one of each. The
labels of the test split are withheld by the authors, so, as in the published sets, the train split becomes `train`,
`trainA` and `trainB`, and the val split becomes `val`, `testA` and `testB`; A are photos and B label colours. Labels
are resized by the nearest pixel and photos with antialiasing. PNG keeps the label colours exact, which the JPEGs of
the published set do not.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gesso.data.decoding import READERS, UNNAMED_LIMIT, Array, RefusedError, checked_size, recognised
from gesso.data.folders import natural_key
from gesso.data.images import blaming, resize, write_image
from gesso.data.prepare.target import Prepared, checked_target, digest, filling, is_there, over
from gesso.data.prepare.tree import Tree, open_tree
from gesso.data.streets.classes import PALETTE, TRAIN_LABELS
from gesso.errors import BadImage, DataError, UsageError, spelling
from gesso.files import disk_errors
from gesso.progress import Progress, silent

Layout = Literal["both", "pairs", "unpaired"]
Colours = Literal["color", "train"]
"""color: as Cityscapes painted them, `*_gtFine_color.png`. train: `*_gtFine_labelIds.png` in the same colours, but only
the 19 classes that are trained on and scored; everything else is black."""
Suffix = Literal[".png", ".jpg"]

SMALLEST, LARGEST = 8, 8192  # pixels of a side
_MOST_PIXELS = 100_000_000  # of a picture in the archives
_GREY, _PALETTE = 0, 3  # colour types of PNG
ARCHIVES = ("gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip")
_KINDS = {"leftImg8bit": "photo", "gtFine_color": "color", "gtFine_labelIds": "train"}
_NAME = re.compile(rf"(?:.*/)?(train|val)/([^/]+)/(\2_[^/]*)_({'|'.join(_KINDS)})\.png")
_LAYOUTS = {"both": ("pair", "A", "B"), "pairs": ("pair",), "unpaired": ("A", "B")}
_FOLDERS = {
    "train": {"pair": "train", "A": "trainA", "B": "trainB"},
    "val": {"pair": "val", "A": "testA", "B": "testB"},
}
_TRAINED = np.zeros_like(PALETTE)
_TRAINED[list(TRAIN_LABELS)] = PALETTE[list(TRAIN_LABELS)]


@dataclass(frozen=True)
class _Frame:
    """One scene: its split, its name (aachen_000000_000019), and its files in the tree."""

    split: str
    name: str
    photo: str
    labels: str


def prepare_cityscapes(
    sources: Sequence[Path],
    out: Path,
    *,
    width: int = 256,
    height: int = 256,
    layout: Layout = "both",
    colours: Colours = "color",
    suffix: Suffix = ".png",
    workers: int = 0,
    progress: Progress = silent,
) -> Prepared:
    """Writes `out`/{train,val}/CITY_SEQUENCE_FRAME.png, photo left and label colours right, and the four folders
    {train,test}{A,B}, or one of the two, with pictures of width×height pixels.

    sources: the archives or the folders that they unpack to; a folder that holds the archives will do. workers: threads
    (0: one a core). A try that was ended goes on with the same arguments. UsageError for a target that is not empty,
    DataError where something is missing or damaged, BadImage for an unreadable picture, DiskError for a full disk.
    """
    for flag, value in (("width", width), ("height", height)):
        if not SMALLEST <= value <= LARGEST:
            raise UsageError(f"--{flag} {value}: must lie in {SMALLEST} … {LARGEST} pixels")
    parts = _unfolded(sources)
    checked_target(out, parts)
    with open_tree(*parts) as tree:
        frames = _frames(tree, colours)
        if not frames:
            raise DataError(
                f"{', '.join(map(str, sources))}: no Cityscapes here, no SPLIT/CITY/*_leftImg8bit.png with its labels; "
                f"name {' and '.join(ARCHIVES)}, or the folders that they unpack to"
            )
        settings = {
            "cityscapes": [width, height, layout, colours, suffix],
            "source": digest((tree.where(name), tree.version(name)) for f in frames for name in (f.photo, f.labels)),
        }
        with filling(out, settings) as folder:
            counts: dict[str, int] = {}
            for frame in frames:
                for kind in _LAYOUTS[layout]:
                    name = _FOLDERS[frame.split][kind]
                    counts[name] = counts.get(name, 0) + 1
            with disk_errors(folder):
                for name in counts:
                    (folder / name).mkdir(exist_ok=True)

            def prepare(frame: _Frame) -> None:
                names = {kind: f"{_FOLDERS[frame.split][kind]}/{frame.name}{suffix}" for kind in _LAYOUTS[layout]}
                if all(is_there(folder / name) for name in names.values()):
                    return
                photo, labels = _pictures(tree, frame, colours, width, height)
                pictures = {"pair": np.hstack([photo, labels]), "A": photo, "B": labels}
                for kind, name in names.items():
                    write_image(folder / name, pictures[kind])

            over(prepare, frames, workers, progress)
        return Prepared(counts)


def _unfolded(sources: Sequence[Path]) -> list[Path]:
    """The sources, the official archives in place of a folder that holds them."""
    found: list[Path] = []
    for path in (path.expanduser() for path in sources):
        archives = [path / name for name in ARCHIVES if (path / name).is_file()]
        found += archives or [path]
    return found


def _frames(tree: Tree, colours: Colours) -> list[_Frame]:
    """The scenes of train and val, in natural order of their names. DataError where one lacks its other half."""
    found: dict[str, dict[tuple[str, str], str]] = {kind: {} for kind in _KINDS.values()}
    for path in tree.names():
        if part := _NAME.fullmatch(path):
            split, _, name, kind = part.groups()
            found[_KINDS[kind]].setdefault((split, name), path)
    photos, labels = found["photo"], found[colours]
    wanted = "_gtFine_color.png" if colours == "color" else "_gtFine_labelIds.png"
    for these, others, lacking in ((photos, labels, wanted), (labels, photos, "_leftImg8bit.png")):
        alone = [path for key, path in these.items() if key not in others]
        if alone:
            ids = these is photos and colours == "color" and photos.keys() <= found["train"].keys()
            raise DataError(
                f"{tree.where(alone[0])}: no *{lacking} belongs to it ({len(alone)} of {len(these)} files have no "
                f"partner); name both archives, or unpack them again{', or take --colours train' if ids else ''}"
            )
    keys = sorted(photos, key=lambda key: (key[0], natural_key(key[1])))
    return [_Frame(split, name, photos[split, name], labels[split, name]) for split, name in keys]


def _pictures(tree: Tree, frame: _Frame, colours: Colours, width: int, height: int) -> tuple[Array, Array]:
    """Photo and label colours, both height×width×3 uint8."""
    photo = tree.image(frame.photo, 3)
    labels = tree.image(frame.labels, 3) if colours == "color" else _ids(tree, frame.labels)
    for name, picture in ((frame.photo, photo), (frame.labels, labels)):
        if picture.dtype != np.uint8:
            raise BadImage(tree.where(name), "16 bits a sample, where Cityscapes has 8")
    if photo.shape[:2] != labels.shape[:2]:
        sizes = [f"{picture.shape[1]} x {picture.shape[0]}" for picture in (photo, labels)]
        raise BadImage(tree.where(frame.labels), f"{sizes[1]} pixels, but its photo has {sizes[0]}")
    nearest = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    return resize(photo, width, height), nearest if colours == "color" else _TRAINED[nearest]


@spelling(UNNAMED_LIMIT)
def _ids(tree: Tree, name: str) -> Array:
    """Label ids, height×width uint8: the grey values of a PNG, or, as Cityscapes' own tools read one with a palette,
    its indices and not its colours. BadImage where it is neither."""
    data = tree.read(name)
    with blaming(tree.where(name)), io.BytesIO(data) as file:
        kind = recognised(file, _MOST_PIXELS)
        depth, colour_type = data[24:26]  # of IHDR, the first chunk: PNG specification, 11.2.2
        if kind != "PNG" or (colour_type != _PALETTE and (colour_type, depth) != (_GREY, 8)):
            raise RefusedError("not a PNG of 8-bit grey or with a palette, as label ids of Cityscapes are")
        picture = READERS[kind](file)
        checked_size(picture, _MOST_PIXELS)
        return np.array(picture)
