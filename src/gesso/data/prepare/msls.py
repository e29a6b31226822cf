"""Mapillary Street-Level Sequences to a folder of images a city, for learning to draw streets.

The set comes as zips of many gigabytes, or unpacked: `train_val/CITY/{database,query}/images/KEY.jpg` and the same
under `test/`. The MSLS variant of DCGAN trained on a sample of it and reported images and bytes of each city, as does
this. Its transforms (a random shift, a centre crop of 256 pixels, 64 pixels) belong to the training; so pictures may
be shrunk here to save room, but never so far that a crop of 256 pixels no longer fits.
"""

import json
import os
import re
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gesso.data.folders import natural_key
from gesso.data.images import SUFFIXES, resize, write_image
from gesso.data.order import ORDER, checked_seed, random
from gesso.data.prepare.target import Prepared, checked_target, digest, filling, is_there, over
from gesso.data.prepare.tree import Tree, open_tree
from gesso.errors import DataError, UsageError
from gesso.files import disk_errors, shown, write_atomically
from gesso.progress import Progress, silent

CROP = 256  # pixels; the origin's centre crop
TABLE = "cities.json"
_NAME = re.compile(r"(?:(?:.*/)?(?P<city>[^/]+)/)?(?:database|query)/images/(?P<file>[^/]+)")


@dataclass(frozen=True)
class PreparedCities(Prepared):
    """Images (`counts`) and bytes of each city."""

    sizes: dict[str, int] = field(default_factory=dict)

    def table(self) -> str:
        """The origin's table: city, size, images."""
        rows = [("City", "Size", "Imgs")]
        rows += [(shown(city), _told(self.sizes[city]), f"{count:,}") for city, count in self.counts.items()]
        rows += [("Total", _told(sum(self.sizes.values())), f"{sum(self.counts.values()):,}")]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(f"{city:{widths[0]}}  {size:>{widths[1]}}  {count:>{widths[2]}}" for city, size, count in rows)


@dataclass(frozen=True)
class _Image:
    tree: Tree
    name: str
    city: str
    file: str


def prepare_msls(
    sources: Sequence[Path],
    out: Path,
    *,
    cities: Sequence[str] = (),
    fraction: float = 1.0,
    per_city: int = 0,
    seed: int = 0,
    shorter_side: int = 0,
    link: bool = False,
    workers: int = 0,
    progress: Progress = silent,
) -> PreparedCities:
    """`out`/CITY/KEY.jpg for every city, and `cities.json` with the table.

    sources: the zips, what they unpack to, or single city folders. cities: only these; none means all. fraction: share
    of each city's images, in (0, 1], drawn by `seed`; per_city: at most so many; what is drawn from one city does not
    depend on the others. shorter_side: shrink larger images to so many pixels, at least 256, as JPEG of quality 95; 0
    keeps the files' bytes. link: hard links instead of copies, of unpacked images on the same disk. The same command
    again goes on where a kill ended it. UsageError for flags, DataError where there are no such images, BadImage where
    one that is to be shrunk is damaged, DiskError where the disk refuses.
    """
    checked_seed(seed)
    if not 0 < fraction <= 1:
        raise UsageError(f"--fraction {fraction:g}: must be more than 0 and at most 1")
    if per_city < 0:
        raise UsageError(f"--per-city {per_city}: must be at least 0, which takes all")
    if shorter_side and shorter_side < CROP:
        raise UsageError(f"--shorter-side {shorter_side}: the training cuts {CROP} pixels from it; use {CROP} or more")
    if link and (shorter_side or not all(source.is_dir() for source in sources)):
        raise UsageError("--link: works for unpacked images that stay as they are, without --shorter-side and zips")
    out = checked_target(out, sources)
    with ExitStack() as stack:
        found = _find([(path, stack.enter_context(open_tree(path))) for path in sources])
        chosen = _chosen(found, cities, fraction, per_city, seed)
        every = [image for images in chosen.values() for image in images]
        settings: dict[str, object] = {
            "source": digest((f"{image.city}/{image.file}", image.tree.version(image.name)) for image in every),
            "shorter_side": shorter_side,
            "link": link,
        }
        with filling(out, settings) as folder:

            def write(image: _Image) -> int:
                return _write(image, folder / image.city / image.file, shorter_side, link)

            with disk_errors(folder):
                for city in chosen:
                    (folder / city).mkdir(exist_ok=True)
            sizes = dict.fromkeys(chosen, 0)
            for image, size in zip(every, over(write, every, workers, progress), strict=True):
                sizes[image.city] += size
            table = {city: {"images": len(chosen[city]), "bytes": sizes[city]} for city in chosen}
            write_atomically(folder / TABLE, json.dumps(table, indent=1))
    counts = {city: len(images) for city, images in chosen.items()}
    return PreparedCities(counts, sum(map(len, found.values())) - len(every), sizes)


def _find(trees: Sequence[tuple[Path, Tree]]) -> dict[str, list[_Image]]:
    """The images of each city, in natural order. Of two of one name, the first is taken."""
    cities: dict[str, dict[str, _Image]] = {}
    for path, tree in trees:
        own = path.resolve().name if path.is_dir() else path.stem  # where the source is the folder of one city
        for name in tree.names():
            parts = _NAME.fullmatch(name)
            if parts is None or Path(name).suffix.lower() not in SUFFIXES:
                continue
            city = parts["city"] or own
            if city == TABLE:
                raise DataError(f"{tree.where(name)}: a city called as the table of all, {TABLE}; rename its folder")
            cities.setdefault(city, {}).setdefault(parts["file"], _Image(tree, name, city, parts["file"]))
    if not cities:
        raise DataError(
            f"{', '.join(str(path) for path, _ in trees)}: no MSLS here; name its zips, or the folder that holds "
            "train_val/CITY/database/images and the like"
        )
    return {
        city: [files[name] for name in sorted(files, key=natural_key)]
        for city, files in sorted(cities.items(), key=lambda item: natural_key(item[0]))
    }


def _chosen(
    found: dict[str, list[_Image]], cities: Sequence[str], fraction: float, per_city: int, seed: int
) -> dict[str, list[_Image]]:
    if strange := [city for city in cities if city not in found]:
        raise UsageError(f"--cities {' '.join(strange)}: not in these sources, which have {', '.join(found)}")
    chosen = {}
    for city in (city for city in found if not cities or city in cities):
        images = found[city]
        count = max(1, round(fraction * len(images)))
        count = min(count, per_city or count)
        drawn = random(seed, ORDER, zlib.crc32(city.encode())).permutation(len(images))[:count]
        chosen[city] = [images[i] for i in sorted(drawn)]
    return chosen


def _write(image: _Image, target: Path, shorter_side: int, link: bool) -> int:
    """Bytes of `target`, which is written unless it is there."""
    if not is_there(target):
        array = image.tree.image(image.name, 3) if shorter_side else None
        shorter = min(array.shape[:2]) if array is not None else 0
        if array is not None and shorter > shorter_side:
            scale = shorter_side / shorter
            height, width = (max(shorter_side, round(side * scale)) for side in array.shape[:2])
            write_image(target, resize(array, width, height))
        else:
            _copy(image, target, link)
    return target.stat().st_size


def _copy(image: _Image, target: Path, link: bool) -> None:
    if not link:
        write_atomically(target, image.tree.read(image.name), sync=False)
        return
    try:
        os.link(os.path.realpath(image.tree.where(image.name)), target)
    except OSError as error:
        raise UsageError(
            f"--link: {target} cannot be a link ({error.strerror}); name a folder on the disk of the images, "
            "or leave --link away"
        ) from None


def _told(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size / 1e3:.1f} kB"
