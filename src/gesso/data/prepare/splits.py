"""One folder of images, or of class folders, divided into train, val and test.

Where a file goes depends on its own name and the seed, not on its place in a list: files that are added later move
none of those that were there, so a score before and after stays comparable. Files of equal content go together,
because a copy of a training image in the test split is an answer given away.
"""

import hashlib
import math
import os
import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from gesso.data.decoding import MAX_PIXELS
from gesso.data.folders import SPLITS, checked_root, list_images
from gesso.data.images import read_image
from gesso.data.order import checked_seed
from gesso.data.prepare.target import Prepared, checked_target, digest, filling, is_there, over, tell_bad
from gesso.data.prepare.tree import file_size, file_version
from gesso.errors import BadImage, DataError, UsageError, spelling
from gesso.files import atomic_file, disk_errors
from gesso.progress import Progress, Say, silent

How = Literal["copy", "hardlink"]
"""copy: files of their own. hardlink: no space used, but changing one changes the original too; same disk only."""


def prepare_splits(
    source: Path,
    out: Path,
    *,
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    how: How = "copy",
    workers: int = 0,
    skip_bad: bool = False,
    max_pixels: int = 100_000_000,
    say: Say = print,
    progress: Progress = silent,
) -> Prepared:
    """Fills `out`/{train,val,test} with the images below `source`, under the names that they have there.

    val, test: below 1 a fraction of all images, expected and not exact; from 1 a count in each class folder. Files
    whose names are not those of images are left out. Every image is read before any is placed: one that cannot be, or
    has more than `max_pixels`, is named to `say` and left out if `skip_bad`. A try that was ended goes on with the same
    arguments. UsageError for flags that make no sense, a target that is not empty, or a disk that cannot link;
    DataError for a source with no images, or with bad ones and not `skip_bad`; DiskError for a full disk.
    """
    source = source.expanduser()
    checked_root(source)
    checked_target(out, [source])
    if there := [name for name in SPLITS if (source / name).is_dir()]:
        raise DataError(f"{source}: already divided, it has {'/, '.join(there)}/; name one of these folders instead")
    files, ignored = list_images(source)
    if not files:
        raise DataError(f"{source}: no images in this folder")
    bad = _bad(files, max_pixels, workers, progress)
    tell_bad([(str(path), reason) for path, reason in bad.items()], skip_bad, say)
    named = {path.relative_to(source).as_posix(): path for path in files if path not in bad}
    if not named:
        raise DataError(f"{source}: none of its {len(files)} images can be read")
    sizes = {name: file_size(path) for name, path in named.items()}
    places = divide(list(named), val, test, seed, _copies(named, sizes, workers))
    versions = [(name, file_version(path)) for name, path in named.items()]
    settings = {"splits": [str(source.resolve()), val, test, seed, how], "source": digest(versions)}
    with filling(out, settings) as folder:

        def place(name: str) -> None:
            _place(named[name], folder / places[name] / name, how)

        over(place, list(named), workers)
    counts = Counter(places.values())
    return Prepared({split: counts[split] for split in SPLITS if counts[split]}, ignored + len(bad))


def _bad(paths: Sequence[Path], max_pixels: int, workers: int, progress: Progress) -> dict[Path, str]:
    """Those of `paths` that cannot be read as images, and why."""

    @spelling(MAX_PIXELS)
    def reason(path: Path) -> str:
        try:
            read_image(path, max_pixels=max_pixels)
        except BadImage as error:
            return error.reason
        return ""

    reasons = zip(paths, over(reason, paths, workers, progress), strict=True)
    return {path: reason for path, reason in reasons if reason}


def divide(
    names: Sequence[str], val: float, test: float, seed: int, same: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The split of each name: train, val or test.

    names: paths with /, all but the last part the class. val, test: both fractions (below 1) or both counts in each
    class (from 1); 0 for none. same: names that go where another one goes. By fractions, adding names moves no other;
    by counts, at most as many as were added. UsageError where a split or training would be empty.
    """
    checked_seed(seed)
    for flag, value in (("val", val), ("test", test)):
        if not 0 <= value < math.inf or (value >= 1 and value != int(value)):
            raise UsageError(f"--{flag} {value:g}: must be a fraction below 1, or a whole number of images")
    if 0 < val < 1 <= test or 0 < test < 1 <= val:
        raise UsageError(f"--val {val:g} --test {test:g}: give two fractions or two counts")
    if val < 1 and test < 1 and val + test >= 1:
        raise UsageError(f"--val {val:g} --test {test:g}: together they must stay below 1, so that training has some")
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[(same or {}).get(name, name)].append(name)
    ordered = sorted(groups, key=lambda first: (_position(first, seed), first))
    if max(val, test) < 1:
        chosen = {first: _by_fraction(_position(first, seed), val, test) for first in ordered}
    else:
        chosen = _by_count(ordered, groups, int(val), int(test))
    places = {name: chosen[first] for first, members in groups.items() for name in members}
    counts = Counter(places.values())
    for split, wanted in (("train", 1.0), ("val", val), ("test", test)):
        if wanted and not counts[split]:
            raise UsageError(
                f"--val {val:g} --test {test:g}: no image of {len(names)} falls to {split}; "
                f"{_mend(len(names), len(groups), counted=max(val, test) >= 1)}"
            )
    return {name: places[name] for name in names}


def _mend(images: int, groups: int, *, counted: bool) -> str:
    """What helps where a split is empty. By counts, one is only where all groups of equal images are too large for it.

    groups: of equal images, one image alone being one too
    """
    if groups == images:
        return "give counts, or add images"
    if groups == 1:
        return "they are all equal, and equal images stay together; add others"
    other = "give larger counts" if counted else "give counts"
    return f"equal images stay together, and only {groups} of these differ; {other}, or add images"


def _position(name: str, seed: int) -> float:
    """Where in [0, 1) a name stands. The same on systems that spell accents differently."""
    key = f"{seed}\0{unicodedata.normalize('NFC', name)}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.sha256(key).digest()[:6]) / 2**48


def _by_fraction(position: float, val: float, test: float) -> str:
    return "val" if position < val else "test" if position < val + test else "train"


def _by_count(ordered: list[str], groups: Mapping[str, list[str]], val: int, test: int) -> dict[str, str]:
    """The first of each class fill val, the next test. Copies count where their first stands, and go whole or not."""
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    chosen = {}
    for first in ordered:
        here, many = taken[PurePosixPath(first).parent.as_posix()], len(groups[first])
        fits = [split for split, room in (("val", val), ("test", test)) if here[split] + many <= room]
        chosen[first] = fits[0] if fits else "train"
        here[chosen[first]] += many
    for name, here in taken.items():
        if not here["train"]:
            where = "the folder" if name == "." else name
            raise UsageError(
                f"--val {val:g} --test {test:g}: {where} has only {here.total()} images, none is left to train"
            )
    return chosen


def _copies(named: Mapping[str, Path], sizes: Mapping[str, int], workers: int) -> dict[str, str]:
    """Each name whose content another file has too, with the first name of that content. Only equal sizes are read."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for name, size in sizes.items():
        by_size[size].append(name)
    suspects = [name for names in by_size.values() if len(names) > 1 for name in names]
    first: dict[str, str] = {}
    contents = over(lambda name: _content(named[name]), suspects, workers)
    found = {name: first.setdefault(content, name) for name, content in zip(suspects, contents, strict=True)}
    return {name: original for name, original in found.items() if name != original}


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _place(source: Path, target: Path, how: How) -> None:
    """`target` whole or not at all; nothing to do where an earlier try has put it there."""
    if is_there(target):
        return
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if how == "hardlink":
        try:
            os.link(os.path.realpath(source), target)
        except OSError as error:
            raise UsageError(f"{target}: cannot be linked to {source} ({error.strerror}); choose --how copy") from None
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from None
    with file, atomic_file(target, sync=False) as copy:
        shutil.copyfileobj(file, copy, 2**20)
