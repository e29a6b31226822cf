"""Pairs in two folders, A/ and B/, to files that hold both side by side, as pix2pix trains on.

Training reads two folders as they are too; one file a pair is what other programs read, what cannot fall apart, and
where the sizes are settled once. Where A/ and B/ have the folders train, val and test, these stay; otherwise the pairs
are divided by their names, as `splits` does it.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gesso.data.decoding import UNNAMED_LIMIT, Array
from gesso.data.folders import SPLITS, checked_root, list_images, match
from gesso.data.images import image_size, nearest_pixels, read_image, resize, to_channels, write_image
from gesso.data.prepare.splits import divide
from gesso.data.prepare.target import Prepared, checked_target, digest, filling, is_there, over
from gesso.data.prepare.tree import file_version
from gesso.errors import BadImage, DataError, spelling
from gesso.files import disk_errors
from gesso.progress import Progress, silent

Sizes = Literal["refuse", "smooth", "nearest"]
"""Where B has another size than A: refuse it, or resize B to A, smoothly (photos) or by the nearest pixel (labels)."""
Alone = Literal["refuse", "skip"]
Suffix = Literal[".png", ".jpg"]


@dataclass(frozen=True)
class _Pair:
    """One pair: its name below the split, without suffix, and its two files."""

    split: str
    name: str
    a: Path
    b: Path


def prepare_pairs(
    a: Path,
    b: Path,
    out: Path,
    *,
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    sizes: Sizes = "refuse",
    alone: Alone = "refuse",
    suffix: Suffix = ".png",
    workers: int = 0,
    progress: Progress = silent,
) -> Prepared:
    """Writes `out`/{train,val,test}/NAME with A on the left and B on the right.

    a, b: folders whose files belong together when their paths are equal but for the suffix (and for _A and _B at the
    end). val, test: as for `splits`; not used where the folders are divided already. alone: files without a partner.
    The halves get equal depth and channels: colour if one has it, 16 bits if one has them (PNG only); alpha is dropped.
    A try that was ended goes on with the same arguments. DataError where the files do not pair, BadImage where one
    cannot be read or has another size, UsageError for flags and targets, DiskError for a full disk.
    """
    a, b = a.expanduser(), b.expanduser()
    checked_root(a)
    checked_root(b)
    checked_target(out, [a, b])
    pairs, left_out = _pairs(a, b, alone)
    if not pairs[0].split:
        places = divide([pair.name for pair in pairs], val, test, seed)
        pairs = [_Pair(places[pair.name], pair.name, pair.a, pair.b) for pair in pairs]
    if sizes == "refuse":
        over(_check_sizes, pairs, workers)
    files = [(str(path), file_version(path)) for pair in pairs for path in (pair.a, pair.b)]
    settings = {"pairs": [val, test, seed, sizes, suffix], "source": digest(files)}
    with filling(out, settings) as folder:

        @spelling(UNNAMED_LIMIT)
        def prepare(pair: _Pair) -> None:
            path = folder / pair.split / f"{pair.name}{suffix}"
            if is_there(path):
                return
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, side_by_side(read_image(pair.a), read_image(pair.b), sizes))

        over(prepare, pairs, workers, progress)
    counts = Counter(pair.split for pair in pairs)
    return Prepared({split: counts[split] for split in SPLITS if counts[split]}, left_out)


def side_by_side(a: Array, b: Array, sizes: Sizes) -> Array:
    """H×W×C and H'×W'×C' as H×2W×max(C, C') without alpha; B is resized to A as `sizes` says."""
    channels = 3 if max(a.shape[2], b.shape[2]) >= 3 else 1
    a, b = to_channels(a, channels), to_channels(b, channels)
    if a.dtype != b.dtype:  # 65535 is 257 times 255
        a, b = (half if half.dtype == np.uint16 else half.astype(np.uint16) * np.uint16(257) for half in (a, b))
    height, width = a.shape[:2]
    if b.shape[:2] != (height, width):
        assert sizes != "refuse", "checked before"
        b = resize(b, width, height) if sizes == "smooth" else nearest_pixels(b, height, width)
    return np.hstack([a, b])


def _pairs(a: Path, b: Path, alone: Alone) -> tuple[list[_Pair], int]:
    """The pairs, with their splits where the folders have them and "" where not, and how many files have no partner."""
    given = [split for split in SPLITS if (a / split).is_dir() or (b / split).is_dir()]
    if lacking := [folder / split for split in given for folder in (a, b) if not (folder / split).is_dir()]:
        raise DataError(f"{lacking[0]}: no such folder, but the other side has it; A and B must be divided alike")
    found: list[_Pair] = []
    left_out = 0
    for split in given or [""]:
        folders = (a / split, b / split)
        (files_a, _), (files_b, _) = (list_images(folder) for folder in folders)
        matched = match(files_a, folders[0], files_b, folders[1])
        if matched.clashes:
            first, second = matched.clashes[0]
            raise DataError(f"{first} and {second.name}: two images of one name, so pairs are not clear; remove one")
        single = (*matched.only_a, *matched.only_b)
        if single and alone == "refuse":
            raise DataError(
                f"{single[0]}: no image of this name on the other side ({len(matched.only_a)} of A and "
                f"{len(matched.only_b)} of B have no partner, {len(matched.pairs)} have); --alone skip leaves them out"
            )
        left_out += len(single)
        for left, right in matched.pairs:
            name = left.relative_to(folders[0]).with_suffix("").as_posix()
            found.append(_Pair(split, name, left, right))
    if not found:
        raise DataError(f"{a} and {b}: no two images of the same name")
    return found, left_out


@spelling(UNNAMED_LIMIT)
def _check_sizes(pair: _Pair) -> None:
    (width_a, height_a), (width_b, height_b) = image_size(pair.a), image_size(pair.b)
    if (width_a, height_a) != (width_b, height_b):
        raise BadImage(
            pair.b,
            f"{width_b} x {height_b} pixels, but {pair.a} has {width_a} x {height_a}; --sizes smooth resizes B to A, "
            "--sizes nearest too, and mixes no label colours",
        )
