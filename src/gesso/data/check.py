"""What is wrong with a data set: every file read, every finding with its reason.

`gesso data check DIR` prints it. "bad" stops a training run (or is left out with --data.skip-bad), or is a shard with
other bytes than its index says; "odd" does neither, but is seldom meant.
"""

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from gesso.data.ahead import ahead
from gesso.data.decoding import MAX_PIXELS
from gesso.data.folders import checked_root, domains, list_files, match
from gesso.data.images import SUFFIXES, image_format, read_image
from gesso.data.layouts import VARIED, Laid, Size, below, layouts, readers
from gesso.data.shards import UNLABELLED, ShardSource, is_shards, open_shards, shard_splits
from gesso.data.shards_index import INDEX
from gesso.data.sources import Unit
from gesso.data.store import cache_root
from gesso.errors import BadImage, DataError, UsageError, spelling
from gesso.files import shown
from gesso.progress import Progress, silent

T = TypeVar("T")
Severity = Literal["bad", "odd"]

MODES = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGB and alpha"}
AREA_FACTOR, ASPECT_FACTOR = 4.0, 2.0  # from the median of the folder
SHOWN_SIZES = 5


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one file."""

    path: Path
    severity: Severity
    reason: str


@dataclass(frozen=True)
class Report:
    """What `check` found. `files` counts images and others; `sizes` ((width, height)) and `modes` the readable ones;
    `layouts` has what training finds, by split."""

    root: Path
    files: int
    images: int
    layouts: dict[str, Laid]
    sizes: Counter[Size]
    modes: Counter[str]
    findings: tuple[Finding, ...]

    @property
    def bad(self) -> int:
        """How many files cannot be used."""
        return self._count("bad")

    @property
    def odd(self) -> int:
        """How many files are odd."""
        return self._count("odd")

    def _count(self, severity: Severity) -> int:
        return len({finding.path for finding in self.findings if finding.severity == severity})


@dataclass(frozen=True)
class _Seen:
    """What reading one file told. `size` is None where it could not be read."""

    path: Path
    findings: tuple[Finding, ...]
    size: Size | None = None
    mode: str = ""


def check(root: Path, max_pixels: int = 100_000_000, workers: int = 0, progress: Progress = silent) -> Report:
    """Reads every file below `root`, or its shards and every image in them, in `workers` threads (0: one a core).
    `progress` hears of (files, or shards and images, done, in all).

    Images that cannot be read are findings, and so are shards that are not what their index says. DataError only where
    there is no such folder, no image in it, or a shard whose headers or size cannot be; UsageError where `max_pixels`
    is less than 1.
    """
    if max_pixels < 1:
        raise UsageError(f"--max-pixels {max_pixels}: must be 1 or more")
    shards = is_shards(str(root))
    if shards and not root.is_dir():  # one shard, or the names of several
        return _check_shards(root, max_pixels, workers, progress)
    checked_root(root)
    files = list_files(root)
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if shards and not images:
        return _check_shards(root, max_pixels, workers, progress)
    if not images:
        raise DataError(f"{root}: no images in this folder; images end in {' '.join(SUFFIXES)}")
    seen = _each(partial(_read, max_pixels=max_pixels), files, len(files), workers, progress)
    sizes = {one.path: one.size for one in seen if one.size}
    laid = layouts(root, images, sizes)
    more = [*_odd_sizes(sizes), *_odd_halves(root, laid, sizes), *_clashing_names(images)]
    return _report(root, len(files), len(images), laid, seen, [*more, *_unmatched(root, laid, images)])


def _check_shards(root: Path, max_pixels: int, workers: int, progress: Progress) -> Report:
    """As `check`, of tar shards, which are also held against the digests in their index. An index of shards without one
    is remembered in the user's cache, as in training."""
    sources = {
        split: open_shards(str(root), split, cache_root(), channels=None, max_pixels=max_pixels, say=lambda line: None)
        for split in shard_splits(str(root))
    }
    if not sources:
        raise DataError(f"{root}: no shards of train, val or test here")
    count = sum(len(source.units) for source in sources.values())
    digests = [told for source in sources.values() for told in source.digests().items()]
    whole = (partial(_whole, Path(name), sha256) for name, sha256 in digests)
    # One at a time: a million would fill a gigabyte.
    samples = (partial(_sample, source, unit) for source in sources.values() for unit in source.units)
    jobs: Iterator[Callable[[], _Seen]] = chain(whole, samples)
    seen = _each(lambda job: job(), jobs, len(digests) + count, workers, progress)
    laid = {split: Laid("shards", source.class_counts(), source.shards) for split, source in sources.items()}
    unlabelled = (Finding(Path(name), "bad", UNLABELLED) for source in sources.values() for name in source.unlabelled())
    return _report(root, count, count, laid, seen, unlabelled)


def _each(work: Callable[[T], _Seen], items: Iterable[T], count: int, workers: int, progress: Progress) -> list[_Seen]:
    seen: list[_Seen] = []
    for one in ahead(work, items, workers):
        seen.append(one)
        progress(len(seen), count)
    return seen


def _report(
    root: Path, files: int, images: int, laid: dict[str, Laid], seen: Sequence[_Seen], more: Iterable[Finding]
) -> Report:
    """What was `seen`, in its order, and `more` findings beside those of single files."""
    place = {one.path: index for index, one in enumerate(seen)}
    findings = [*(finding for one in seen for finding in one.findings), *more]
    return Report(
        root=root,
        files=files,
        images=images,
        layouts=laid,
        sizes=Counter(one.size for one in seen if one.size),
        modes=Counter(one.mode for one in seen if one.mode),
        findings=tuple(sorted(findings, key=lambda finding: place[finding.path])),
    )


def format_report(report: Report) -> str:
    """The report as lines for a terminal: one a finding, then a summary."""
    lines = [f"{finding.severity}  {shown(finding.path)}: {finding.reason}" for finding in report.findings]
    if lines:
        lines.append("")
    sizes = [f"{width} x {height} ({count})" for (width, height), count in report.sizes.most_common(SHOWN_SIZES)]
    if len(report.sizes) > SHOWN_SIZES:
        sizes.append(f"{len(report.sizes) - SHOWN_SIZES} other sizes")
    modes = [f"{mode} ({count})" for mode, count in report.modes.most_common()]
    others = report.files - report.images
    return "\n".join(
        [
            *lines,
            f"{report.root}: {report.images} images" + (f" and {others} other files" if others else ""),
            f"layout   {', '.join(f'{split}: {laid}' for split, laid in report.layouts.items())}",
            f"for      {readers(next(iter(report.layouts.values())).kind)}",
            f"sizes    {', '.join(sizes) or 'none readable'}",
            f"samples  {', '.join(modes) or 'none readable'}",
            f"found    {report.bad} bad, {report.odd} odd",
        ]
    )


@spelling(MAX_PIXELS)
def _read(path: Path, max_pixels: int) -> _Seen:
    """One file, and all that can be said of it alone."""
    promised = SUFFIXES.get(path.suffix.lower())
    if promised is None:
        return _Seen(path, (Finding(path, "odd", _ignored(path)),))
    try:
        array, kind = read_image(path, max_pixels=max_pixels), image_format(path)
    except BadImage as error:
        return _Seen(path, (Finding(path, "bad", error.reason),))
    belied = kind != promised
    named = [Finding(path, "odd", f"named {path.suffix}, but its content is {kind}")] if belied else []
    return _looked_at(path, array, named)


def _whole(path: Path, sha256: str) -> _Seen:
    """A shard, of which its index tells the digest."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    reason = f"not the bytes that were packed, by the SHA-256 in its {INDEX}; copy or prepare it again"
    return _Seen(path, (Finding(path, "bad", reason),) if found != sha256 else ())


@spelling(MAX_PIXELS)
def _sample(source: ShardSource, unit: Unit) -> _Seen:
    """One image of a shard."""
    path = Path(unit.name)
    try:
        (array,) = source.decode(unit).values()
    except BadImage as error:
        return _Seen(path, (Finding(path, "bad", error.reason),))
    return _looked_at(path, array, [])


def _looked_at(path: Path, array: np.ndarray, findings: list[Finding]) -> _Seen:
    """What the pixels of the image at `path` tell, besides `findings`."""
    height, width, channels = array.shape
    if all((part == array[0, 0]).all() for part in (array[0], array)):  # one row first: it nearly always settles it
        findings = [*findings, Finding(path, "odd", "one colour all over")]
    return _Seen(path, tuple(findings), (width, height), f"{MODES[channels]} {8 * array.itemsize}-bit")


def _ignored(path: Path) -> str:
    try:
        return f"left out: {image_format(path)} by its content, but the suffix is not an image's; rename it"
    except BadImage:
        return "left out: not an image"


def _odd_sizes(sizes: dict[Path, Size]) -> Iterator[Finding]:
    """Images much larger, smaller, wider or taller than the others of their folder."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in sizes:
        folders[path.parent].append(path)
    for paths in folders.values():
        area = statistics.median(width * height for width, height in map(sizes.__getitem__, paths))
        aspect = statistics.median(width / height for width, height in map(sizes.__getitem__, paths))
        odd = {}
        for path in paths:
            width, height = sizes[path]
            for ratio, factor, what in (
                (width * height / area, AREA_FACTOR, "area"),
                (width / height / aspect, ASPECT_FACTOR, "width over height"),
            ):
                if not 1 / factor <= ratio <= factor:
                    odd[path] = f"{width} x {height}: {what} {ratio:.2g} times that of the others in its folder"
        if len(odd) <= VARIED * len(paths):
            yield from (Finding(path, "odd", reason) for path, reason in odd.items())


def _odd_halves(root: Path, laid: Mapping[str, Laid], sizes: Mapping[Path, Size]) -> Iterator[Finding]:
    folders = {
        folder for split in laid if laid[split].kind in ("pairs", "nested") for folder in domains(root, split, "pairs")
    }
    for path, (width, _) in sizes.items():
        if width % 2 and not folders.isdisjoint(path.parents):
            yield Finding(path, "odd", f"{width} pixels wide: cannot be halved if it holds a pair side by side")


def _clashing_names(images: Iterable[Path]) -> Iterator[Finding]:
    first: dict[tuple[Path, str], Path] = {}
    for path in images:
        other = first.setdefault((path.parent, path.stem.casefold()), path)
        if other != path:
            yield Finding(path, "odd", f"same name as {other.name}: pairs are not clear, and outputs would clash")


def _unmatched(root: Path, laid: Mapping[str, Laid], images: Sequence[Path]) -> Iterator[Finding]:
    """Images of A/ and B/ folders without a partner. They stop a translator that learns from pairs."""
    for split in laid:
        if laid[split].kind == "folders":
            folders = domains(root, split, "folders")
            a, b = (below(folder, images) for folder in folders)
            matched = match(a, folders[0], b, folders[1])
            for alone, other in ((matched.only_a, folders[1]), (matched.only_b, folders[0])):
                yield from (Finding(path, "odd", f"no image of this name in {other}") for path in alone)
