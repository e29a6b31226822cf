"""Where exported files go: the names of them, and that all of them appear or none."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.graph import Graph
from gesso.exporting.source import Source
from gesso.files import disk_errors, write_atomically


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


def write_all(contents: dict[Path, bytes]) -> list[Path]:
    """Write every file of `contents`, over what has its name; or, where the disk refuses one, none."""
    written: list[Path] = []
    try:
        for path, content in contents.items():
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written
