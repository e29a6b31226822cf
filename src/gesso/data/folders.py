"""What a data set's folder holds: which splits, in which layout, which files make up A and B.

Names alone decide; no file is opened here. The layouts are the field's:

    pairs      root/train/x.jpg                    A on the left half of the file, B on the right
    folders    root/A/train/x.png root/B/train/x.jpg, root/train/A root/train/B, or root/A root/B (train only);
               two files make a pair when their paths below A and B are equal but for the suffix
               (and for _A and _B at the end, where every name has them)
    unpaired   root/trainA root/trainB

for the splits train, val and test. Asked for by name, `folders` also pairs root/trainA with root/trainB.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gesso.data.decoding import Array
from gesso.data.images import SUFFIXES
from gesso.errors import BadImage, DataError

Layout = Literal["auto", "pairs", "folders", "unpaired"]
Half = Literal["", "left", "right"]

SPLITS = ("train", "val", "test")
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})  # in any case; hidden names are skipped besides
LAYOUTS: dict[Layout, str] = {
    "pairs": "pairs ({0}/ with A and B side by side in each file)",
    "folders": "folders (A/{0}/ and B/{0}/ matched by name)",
    "unpaired": "unpaired ({0}A/ and {0}B/)",
}


@dataclass(frozen=True)
class Picture:
    """One image: a file, or one half of a file that holds a pair side by side."""

    path: Path
    half: Half = ""


@dataclass(frozen=True)
class Split:
    """The images of one split. `paired`: A and B have the same length, and those of one index belong together."""

    name: str
    paired: bool
    images: dict[str, tuple[Picture, ...]]
    layout: Layout


@dataclass(frozen=True)
class Matched:
    """Two folders of files, by name: index-matched pairs, those of each side alone, and clashing names of a side."""

    pairs: tuple[tuple[Path, Path], ...]
    only_a: tuple[Path, ...]
    only_b: tuple[Path, ...]
    clashes: tuple[tuple[Path, Path], ...]


def splits(root: Path, layout: Layout = "auto", unpaired: bool = True) -> tuple[str, ...]:
    """Which of train, val and test are in `root` in a layout that the model may read: testA/ and testB/ beside train/,
    as sets for both kinds of models have them, are no test split for one that needs pairs, not `unpaired`. DataError
    where `root` is no folder that may be read.
    """
    checked_root(root)
    readable = _readable(layout, unpaired)
    return tuple(name for name in SPLITS if any(domains(root, name, each) for each in readable))


def _readable(layout: Layout, unpaired: bool) -> tuple[Layout, ...]:
    """The layouts in which a model may read a split, the preferred one first."""
    if layout == "folders":
        return "folders", "unpaired"
    if layout != "auto":
        return (layout,)
    return ("unpaired", "folders", "pairs") if unpaired else ("folders", "pairs")


def domains(root: Path, split: str, layout: Layout) -> tuple[Path, ...]:
    """The folders that hold `split` in `layout`: (A, B), one folder for pairs, none where it is not there."""
    if layout == "unpaired":
        return _both(root, ("{}A", "{}B"), split)
    if layout == "pairs":
        here = root / split
        return (here,) if here.is_dir() and not _both(here, ("A", "B"), split) else ()
    for pattern in (("A/{}", "B/{}"), ("{}/A", "{}/B")):
        if found := _both(root, pattern, split):
            return found
    flat = _both(root, ("A", "B"), split)
    divided = any((folder / name).is_dir() for folder in flat for name in SPLITS)
    return flat if split == "train" and not divided else ()


def find_split(root: Path, split: str, layout: Layout, unpaired: bool) -> Split:
    """The images of a split, in natural order of their paths. DataError where they are not there or do not pair.

    unpaired: the model needs no pairs. Then unpaired folders are taken too (and first, where there are several
    layouts), and so are A/ and B/ whose names do not match. A paired set's halves still come as pairs, so that
    scores can compare with the true partner.
    """
    checked_root(root)
    chosen, folders = _chosen(root, split, layout, unpaired)
    if chosen == "unpaired" and not unpaired:
        raise DataError(
            f"{root}: {LAYOUTS['unpaired'].format(split)} has no pairs to learn from; train a translator "
            f"that needs none, or use --data.layout folders if equal names in {split}A/ and {split}B/ belong together"
        )
    if chosen == "pairs":
        files = some_images(folders[0])
        halves: tuple[tuple[str, Half], ...] = (("A", "left"), ("B", "right"))
        images = {role: tuple(Picture(path, half) for path in files) for role, half in halves}
        return Split(split, True, images, "pairs")
    a, b = some_images(folders[0]), some_images(folders[1])
    matched = match(a, folders[0], b, folders[1])
    paired = chosen == "folders" and not (matched.only_a or matched.only_b or matched.clashes)
    if chosen == "folders" and not paired and not unpaired:
        raise DataError(_mismatch(matched, folders))
    if paired:
        a, b = [pair[0] for pair in matched.pairs], [pair[1] for pair in matched.pairs]
    return Split(split, paired, {"A": tuple(map(Picture, a)), "B": tuple(map(Picture, b))}, chosen)


def _chosen(root: Path, split: str, layout: Layout, unpaired: bool) -> tuple[Layout, tuple[Path, ...]]:
    """The layout in which a split is read, and the folders that hold it. DataError where there is none."""
    order = dict.fromkeys((*_readable("auto", unpaired), *LAYOUTS))  # the others only to say what is there
    there = [known for known in order if domains(root, split, known)]
    if not there:
        raise DataError(f"{root}: no {split} split here; {_contents(root)}")
    chosen = there[0] if layout == "auto" else layout
    folders = next(filter(None, (domains(root, split, each) for each in _readable(chosen, unpaired))), ())
    if not folders:
        raise DataError(
            f"{root}: --data.layout {layout} was asked for, but the {split} split is laid out as "
            f"{LAYOUTS[there[0]].format(split)}; leave --data.layout away or choose {there[0]}"
        )
    return chosen, folders


def halve(array: Array, picture: Picture) -> Array:
    """The part of the file's H×W×C `array` that `picture` is. BadImage where the width cannot be halved."""
    if not picture.half:
        return array
    width = array.shape[1]
    if width % 2:
        raise BadImage(picture.path, f"{width} pixels wide: two halves side by side need an even width")
    return array[:, : width // 2] if picture.half == "left" else array[:, width // 2 :]


def list_images(folder: Path) -> tuple[list[Path], int]:
    """The files below `folder` whose suffix is an image's, in natural order, and how many others there are."""
    files = list_files(folder)
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    return images, len(files) - len(images)


def some_images(folder: Path) -> list[Path]:
    """The images of `list_images`. DataError where there are none."""
    files, others = list_images(folder)
    if not files:
        only = f", only {others} other files" if others else ""
        raise DataError(f"{folder}: no images in this folder{only}; images end in {' '.join(SUFFIXES)}")
    return files


def list_files(folder: Path) -> list[Path]:
    """All files below `folder` in natural order; hidden ones and the litter of desktops left out.

    Links to files and to folders are followed, but each folder is entered once, so that a loop of links ends.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); mend its permissions") from None

    found: list[Path] = []
    entered: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(here)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if wanted(name))
        found.extend(Path(here) / name for name in files if wanted(name))
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sorts 2.jpg before 10.jpg; names that differ only in leading zeros fall back to plain order."""
    return tuple(map(_part_key, re.findall(r"[0-9]+|[^0-9]+", name))), name


def _part_key(part: str) -> tuple[int, int, str]:
    if part[0] not in "0123456789":
        return 1, 0, part
    digits = part.lstrip("0")  # Python makes no number of thousands of digits; of two numbers the longer is larger
    return 0, len(digits), digits


def match(a: Iterable[Path], folder_a: Path, b: Iterable[Path], folder_b: Path) -> Matched:
    """Pairs the files of two folders whose paths below them are equal but for the suffix."""
    named_a = {path: path.relative_to(folder_a).with_suffix("").as_posix() for path in a}
    named_b = {path: path.relative_to(folder_b).with_suffix("").as_posix() for path in b}
    if all(name.endswith("_A") for name in named_a.values()) and all(name.endswith("_B") for name in named_b.values()):
        named_a, named_b = ({path: name[:-2] for path, name in named.items()} for named in (named_a, named_b))
    clashes: list[tuple[Path, Path]] = []

    def by_name(named: dict[Path, str]) -> dict[str, Path]:
        first: dict[str, Path] = {}
        for path, name in named.items():
            if first.setdefault(name, path) != path:
                clashes.append((first[name], path))
        return first

    left, right = by_name(named_a), by_name(named_b)
    return Matched(
        pairs=tuple((path, right[name]) for name, path in left.items() if name in right),
        only_a=tuple(path for name, path in left.items() if name not in right),
        only_b=tuple(path for name, path in right.items() if name not in left),
        clashes=tuple(clashes),
    )


def checked_root(root: Path, flag: str = "") -> None:
    """DataError, which names `flag` where one gave the folder, unless `root` is a folder that may be read."""
    named = f"{flag} {root}".lstrip()
    if not root.exists():
        raise DataError(f"{named}: no such folder")
    if not root.is_dir():
        raise DataError(f"{named}: a file, not a folder; name the folder that holds the images")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"{named}: may not be read; mend its permissions")


def _both(root: Path, pattern: tuple[str, str], split: str) -> tuple[Path, ...]:
    folders = tuple(root / part.format(split) for part in pattern)
    return folders if all(folder.is_dir() for folder in folders) else ()


def wanted(name: str) -> bool:
    """Whether a file or folder of this name is a user's own, and not hidden or left by a system."""
    return not name.startswith(".") and name.lower() not in JUNK


def _mismatch(matched: Matched, folders: tuple[Path, ...]) -> str:
    if matched.clashes:
        first, second = matched.clashes[0]
        return f"{first} and {second.name}: two images of one name, so pairs are not clear; rename or remove one"
    alone, other = (matched.only_a, folders[1]) if matched.only_a else (matched.only_b, folders[0])
    return (
        f"{alone[0]}: no image of this name in {other} ({len(matched.only_a)} of A and {len(matched.only_b)} of B "
        f"have no partner, {len(matched.pairs)} have); add or remove them, or train a translator that "
        "needs no pairs"
    )


def _contents(root: Path) -> str:
    """What stands in `root`, for a message."""
    if found := splits(root):
        return f"there is {', '.join(found)}"
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if wanted(path.name))
    if not names:
        return "the folder is empty"
    images = sum(Path(name).suffix.lower() in SUFFIXES for name in names)
    if images:
        return f"{images} images stand in it directly; put them into train/ (side by side), or trainA/ and trainB/"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"it holds {shown}; put images into train/ (side by side), A/ and B/, or trainA/ and trainB/"
