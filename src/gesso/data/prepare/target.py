"""The folder that a preparation, or a rendering of the streets, fills: whole under its name, or not there.

Files gather in a hidden folder beside, `.NAME.partial`, which takes the name when the last one is written. So a killed
preparation leaves nothing that passes for whole; the same command again finds the files that are there and goes on,
and a command with other settings, or on changed files, starts anew.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import filelock

from gesso.data.ahead import ahead
from gesso.errors import DataError, UsageError
from gesso.files import disk_errors, shown, sync_folder, write_atomically
from gesso.progress import Progress, Say, silent

T = TypeVar("T")
R = TypeVar("R")

SETTINGS, LOCK = ".settings.json", ".lock"
_TOLD = 20
"""Bad images that are named one by one."""


@dataclass(frozen=True)
class Prepared:
    """How many images went into each folder, and how many files of the source into none."""

    counts: dict[str, int]
    left_out: int = 0

    def __str__(self) -> str:
        told = ", ".join(f"{shown(name)} {count}" for name, count in self.counts.items())
        return told + (f" ({self.left_out} files left out)" if self.left_out else "")


def checked_target(out: Path, sources: Iterable[Path] = ()) -> Path:
    """`out` made absolute. UsageError where it is a file, not empty, cannot be replaced, or is inside one of `sources`
    that is a folder: the next try, or a training on the source, would take it for a part of that."""
    out = Path(os.path.realpath(out.expanduser()))
    if out.is_symlink() or (out.exists() and not out.is_dir()):  # a link is left where it leads to itself
        raise UsageError(f"{out} is a file; name a folder that does not exist yet")
    with disk_errors(out):
        if out.is_dir() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty; name a folder that does not exist yet, or empty this one")
    if out.is_dir() and (out == Path.cwd() or os.path.ismount(out)):
        raise UsageError(f"{out} is in use as the current folder or a disk; name a folder that does not exist yet")
    for source in (path.expanduser() for path in sources):
        if source.is_dir() and out.is_relative_to(source.resolve()):
            raise UsageError(f"{out} lies inside {source}, from which it is made; name a folder elsewhere")
    return out


@contextlib.contextmanager
def filling(out: Path, settings: Mapping[str, object]) -> Iterator[Path]:
    """The folder to write into; it becomes `out` when the block ends without an error, and stays for the next try
    when not. What an earlier try with equal `settings` left is still in it. UsageError where another process is at
    it, DiskError where the disk refuses."""
    out = checked_target(out)
    partial = out.with_name(f".{out.name}.partial")
    with disk_errors(partial if os.path.lexists(partial) else out):  # the name that the user knows
        partial.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in partial.iterdir() if path.suffix != ".tmp"}  # a kill may leave half of SETTINGS
    if there - {LOCK} and SETTINGS not in there:
        raise UsageError(f"{partial} is none of gesso's unfinished folders; move it away or name another target")
    lock = filelock.FileLock(partial / LOCK)
    with disk_errors(partial):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(f"{out}: another process is preparing it; wait until it has ended") from None
    try:
        _start(partial, json.dumps(dict(settings), sort_keys=True))
        yield partial
        with disk_errors(out):
            lock.release()
            (partial / LOCK).unlink(missing_ok=True)
            if out.exists():
                out.rmdir()
            partial.rename(out)
            (out / SETTINGS).unlink()
        sync_folder(out.parent)
    finally:
        lock.release()


def _start(partial: Path, wanted: str) -> None:
    """Keeps the whole files of an earlier try with the same settings, and nothing else."""
    marker = partial / SETTINGS
    with disk_errors(partial):
        if marker.is_file() and marker.read_text(encoding="utf-8") == wanted:
            for unfinished in partial.rglob(".*.tmp"):
                unfinished.unlink(missing_ok=True)
            return
        for path in partial.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (LOCK, SETTINGS):
                path.unlink()
    write_atomically(marker, wanted)


def digest(files: Iterable[tuple[str, object]]) -> str:
    """A fingerprint of names and what is told beside each, such as `tree.file_version`, by which a changed source is
    known."""
    sha = hashlib.sha256()
    for name, told in files:
        sha.update(f"{name}\0{told}\0".encode(errors="surrogateescape"))
    return sha.hexdigest()[:32]


def is_there(path: Path) -> bool:
    """Whether an earlier try has written `path`. DiskError where the disk does not even take its name."""
    with disk_errors(path):
        return path.exists()


def over(work: Callable[[T], R], items: Sequence[T], workers: int, progress: Progress = silent) -> list[R]:
    """`work` of each item, in order, in `workers` threads (0: one a core). The first error ends it. UsageError where
    `workers` is less than 0."""
    if workers < 0:
        raise UsageError(f"--workers {workers}: must be 0, which means one a core, or more")
    results: list[R] = []
    for result in ahead(work, items, workers):
        results.append(result)
        progress(len(results), len(items))
    return results


def tell_bad(bad: Sequence[tuple[str, str]], skip_bad: bool, say: Say) -> None:
    """Names the images, and why each, that cannot be read. DataError unless they are to be left out."""
    for name, reason in bad[:_TOLD]:
        say(f"{shown(name)}: {reason}")
    if len(bad) > _TOLD:
        say(f"… and {len(bad) - _TOLD} more")
    if bad and not skip_bad:
        raise DataError(
            f"{len(bad)} image{'s' * (len(bad) > 1)} cannot be read, the first {bad[0][0]}: {bad[0][1]}; mend or "
            "remove what is bad, or leave it out with --skip-bad"
        )
