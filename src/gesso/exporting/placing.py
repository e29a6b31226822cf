"""Where exported files go, and that none is written over unasked."""

import os
from collections.abc import Iterable
from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.graph import Graph
from gesso.exporting.source import Options, Source


def places(source: Source, out: Path, graphs: list[Graph], options: Options, suffix: str, *more: str) -> list[Path]:
    """A file called `suffix` for each of `graphs`, beside which the format writes others, called `more`.

    out  a file, whose name gets each graph's own suffix where there are several; a folder; or Path() for the working
         folder. In a folder the files are called after the run. UsageError where it is a file of another suffix, or
         where one of the files is there and `options` does not say to replace it.
    """
    if out != Path() and not out.is_dir() and out.suffix:
        if out.suffix.lower() != suffix:
            raise UsageError(f"--out {out}: this format is written as {suffix}; name such a file, or a folder")
        several = len(graphs) > 1
        paths = [out.with_name(f"{out.stem}{graph.suffix if several else ''}{suffix}") for graph in graphs]
    else:
        paths = [out / f"{source.name}{graph.suffix}{suffix}" for graph in graphs]
    refuse_existing([path.with_suffix(each) for path in paths for each in (suffix, *more)], options)
    return paths


def refuse_existing(paths: Iterable[Path], options: Options) -> None:
    """UsageError where one of `paths` is there already, even as a link to nothing, and is not to be replaced."""
    there = [path for path in paths if os.path.lexists(path)]
    if there and options.existing == "refuse":
        others = f" and {len(there) - 1} others are" if len(there) > 1 else " is"
        raise UsageError(f"{there[0]}{others} there already; use --existing replace or another --out")
