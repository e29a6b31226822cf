"""Which pictures are meant, and where their results go. No package but numpy and Pillow is needed here."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gesso.data.folders import list_images
from gesso.data.images import SUFFIXES, WRITABLE
from gesso.errors import UsageError
from gesso.files import disk_errors

SAME_FORMAT = "same"


@dataclass(frozen=True)
class Job:
    """One picture: where from and where to."""

    source: Path
    target: Path

    @property
    def channels(self) -> dict[int, tuple[int, ...]]:
        """Channels that the target's format can hold, by bytes a sample."""
        return WRITABLE[SUFFIXES[self.target.suffix.lower()]]


def pictures(inputs: Path) -> list[Path]:
    """`inputs`, a picture, or those of a folder and its sub-folders, in natural order. UsageError for none."""
    if not inputs.exists():
        raise UsageError(f"{inputs}: there is no such picture or folder")
    paths = list_images(inputs)[0] if inputs.is_dir() else [inputs]
    if not paths:
        raise UsageError(f"{inputs}: no pictures in this folder or its sub-folders")
    return paths


def chosen_suffix(format_: str, inputs: Path, out: Path, default: str) -> str:
    """The suffix of results for --format as given; auto: that of `out` where it names the result itself. UsageError
    where the two say different things."""
    if not _names_result(inputs, out):
        return default if format_ == "auto" else format_
    if format_ not in ("auto", SAME_FORMAT) and SUFFIXES[f".{format_}"] != SUFFIXES[out.suffix.lower()]:
        raise UsageError(f"--out {out}: its name says another format than --format {format_}; leave that out")
    return out.suffix[1:]


def _names_result(inputs: Path, out: Path) -> bool:
    """Whether `out` is the result of a lone picture, and no folder for results."""
    return inputs.is_file() and out.suffix.lower() in SUFFIXES and not out.is_dir()


def find_jobs(inputs: Path, out: Path, suffix: str, existing: str) -> tuple[list[Job], int]:
    """What to translate where to, and how many results are there already and were left.

    out  a folder; where `inputs` is one picture, also a file, by a picture's suffix.
    """
    if not inputs.exists():
        raise UsageError(f"{inputs}: there is no such picture or folder")
    lone = _names_result(inputs, out)
    if out.exists() and not out.is_dir() and not lone:
        raise UsageError(f"--out {out}: is a file; name a folder")
    if inputs.is_dir() and _real(out).is_relative_to(_real(inputs)):
        raise UsageError(
            f"--out {out}: lies inside {inputs}, so results would be taken for inputs; name another folder"
        )
    root = inputs if inputs.is_dir() else inputs.parent
    sources = list_images(inputs)[0] if inputs.is_dir() else [inputs]
    if not sources:
        raise UsageError(f"{inputs}: no pictures in this folder or its sub-folders")
    names = names_of(sources, root, suffix)
    jobs = [Job(source, out if lone else out / name) for source, name in zip(sources, names, strict=True)]
    taken = {_real(source) for source in sources}
    if own := next((job.target for job in jobs if _real(job.target) in taken), None):
        raise UsageError(f"--out {out}: {own} is one of the pictures to translate; name another place")
    there = [job for job in jobs if job.target.exists()]
    if there and existing == "refuse":
        others = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise UsageError(
            f"{there[0].target}{others} there already; use --existing skip, --existing replace or another --out"
        )
    if existing == "skip":
        gone = set(there)
        jobs = [job for job in jobs if job not in gone]
    return jobs, len(there) if existing == "skip" else 0


def _real(path: Path) -> Path:
    """Where links lead to. Unlike `Path.resolve`, this leaves a link that leads to itself to who reads it."""
    return Path(os.path.realpath(path))


def names_of(sources: list[Path], root: Path, suffix: str) -> list[Path]:
    """Where each result lies below the folder for results. No two are the same.

    The picture's own place, with another suffix; a.jpg and a.png side by side become a.jpg.png and a.png.png.
    """
    places = [source.relative_to(root) for source in sources]
    if suffix == SAME_FORMAT:
        return places
    whole: set[Path] = set()  # those that keep their own suffix inside the name
    while True:
        names = [place.with_name(f"{place.name if place in whole else place.stem}.{suffix}") for place in places]
        counts = Counter(names)
        clashing = {place for place, name in zip(places, names, strict=True) if counts[name] > 1}
        if clashing <= whole:
            return names
        whole |= clashing


def check_formats(jobs: list[Job], channels: int, suffix: str) -> None:
    """UsageError where a result's name is of no format, or of one that cannot hold the model's channels."""
    for job in jobs:
        kind = SUFFIXES.get(job.target.suffix.lower())
        if kind is None:
            raise UsageError(f"--format {suffix}: {job.target.name} does not end in an image's suffix; choose png")
        if channels not in job.channels[1]:
            raise UsageError(
                f"--format {suffix}: {kind} cannot hold the {channels} channels of {job.target.name}; choose png"
            )


def make_folders(jobs: list[Job]) -> None:
    for folder in {job.target.parent for job in jobs}:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
