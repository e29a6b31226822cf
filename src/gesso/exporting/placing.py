"""Where exported files go."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.graph import Graph
from gesso.exporting.source import Source


def places(source: Source, out: Path, graphs: list[Graph], suffix: str) -> list[Path]:
    """A file for each of `graphs`.

    out  a file, whose name gets each graph's own suffix where there are several; a folder; or Path() for the working
         folder. In a folder the files are called after the run. UsageError where it is a file of another suffix.
    """
    if out != Path() and not out.is_dir() and out.suffix:
        if out.suffix.lower() != suffix:
            raise UsageError(f"--out {out}: this format is written as {suffix}; name such a file, or a folder")
        several = len(graphs) > 1
        return [out.with_name(f"{out.stem}{graph.suffix if several else ''}{suffix}") for graph in graphs]
    return [out / f"{source.name}{graph.suffix}{suffix}" for graph in graphs]
