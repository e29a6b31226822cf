"""Results as JSON lines: out of one database, into another, without loss.

A line is a result (`Result.to_json`). A file with a bad line adds nothing; a result that is there already is not added
again. So the same file may be imported as often as one likes, and an import that was killed is simply repeated.
"""

from collections.abc import Iterable
from pathlib import Path

from gesso.bench.results import Result, Results
from gesso.errors import DataError, DiskError
from gesso.files import write_atomically

SHOWN = 3
"""Bad lines that a message names."""


def to_lines(results: Iterable[Result]) -> str:
    """A line for each result, each ended."""
    return "".join(f"{result.to_json()}\n" for result in results)


def export_results(results: Iterable[Result], path: Path) -> None:
    """Write `results` to the file `path`, which holds either all of them or what it held. DiskError as usual."""
    write_atomically(path, to_lines(results))


def read_results(path: Path) -> list[Result]:
    """The results in the file `path`; empty lines do not count.

    DataError, which names the bad lines by their number, where one is no result; DiskError where it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not text; name a file that `gesso bench export` wrote") from None
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror}") from None
    results: list[Result] = []
    bad: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            results.append(Result.from_json(line))
        except ValueError as error:
            bad.append(f"line {number}: {error}")
    if bad:
        more = f"; and {len(bad) - SHOWN} more lines" if len(bad) > SHOWN else ""
        raise DataError(f"{path}: {'; '.join(bad[:SHOWN])}{more}; nothing was taken from it")
    return results


def import_results(path: Path, results: Results) -> tuple[int, int]:
    """Add the file `path` to `results`, wholly or not at all. Gives how many it holds, and how many were new."""
    read = read_results(path)
    return len(read), results.add(read)
