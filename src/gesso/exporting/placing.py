"""Where exported files go; that they can be written there, and that none is written over unasked."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.graph import Graph
from gesso.exporting.source import Options, Source
from gesso.files import disk_errors, probe, write_all


def places(source: Source, out: Path, graphs: list[Graph], options: Options, suffix: str, *more: str) -> list[Path]:
    """A file called `suffix` for each of `graphs`, beside which the format writes others, called `more`.

    out  a file, whose name gets each graph's own suffix where there are several; a folder; or Path() for the working
         folder. In a folder the files are called after the run. UsageError where it is a file of another suffix; and
         what `check_places` refuses.
    """
    with disk_errors(out):
        folder = out.is_dir()
    if out.suffix and not folder:
        if out.suffix.lower() != suffix:
            raise UsageError(f"--out {out}: this format is written as {suffix}; name such a file, or a folder")
        several = len(graphs) > 1
        paths = [out.with_name(f"{out.stem}{graph.suffix if several else ''}{suffix}") for graph in graphs]
    else:
        paths = [out / f"{source.name}{graph.suffix}{suffix}" for graph in graphs]
    check_places([path.with_suffix(each) for path in paths for each in (suffix, *more)], options)
    return paths


def check_places(paths: list[Path], options: Options) -> None:
    """Find out before anything long is done whether `paths` can be written. Leaves nothing there.

    UsageError where one is there already, even as a link to nothing, and `options` does not say to replace it.
    DiskError where its name or its folder, which may be still to make, cannot be.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if there and options.existing == "refuse":
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise UsageError(f"{there[0]}{more} there already; use --existing replace or another --out")
    for path in paths:
        with disk_errors(path):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            folder = next(each for each in path.parents if os.path.lexists(each))
            to_make = path.relative_to(folder).parts
            for name in (path, *(folder / part for part in to_make)):
                with contextlib.suppress(FileNotFoundError):
                    name.lstat()  # says whether the system takes such a name
            probe(folder)


def write_exported(contents: Iterable[tuple[Path, bytes | memoryview]], options: Options) -> list[Path]:
    """Write each content under its path, all of them or none; gives the paths.

    UsageError where a file came to one of them since `check_places` and `options` does not say to replace it, as of
    another export at the same time. DiskError where the disk refuses.
    """
    try:
        return write_all(contents, replace=options.existing == "replace")
    except FileExistsError as error:
        raise UsageError(
            f"{error.filename} is there already: it came while this export ran; use --existing replace or another --out"
        ) from None
