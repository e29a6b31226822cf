"""The commands for what the bench has measured: report, compare, export, import. Those that measure: measuring.py."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gesso.commands.flags import Database, Flag, Out
from gesso.commands.measuring import converge, run, suite
from gesso.commands.table import Command, call
from gesso.errors import UsageError
from gesso.parsing import parse

if TYPE_CHECKING:
    from gesso.bench.results import Result

File = Annotated[tyro.conf.Positional[Path], Flag(metavar="FILE")]
State = Annotated[tyro.conf.Positional[str], Flag(metavar="STATE")]


def report(arguments: Sequence[str]) -> int:
    """Show what was measured: in the terminal, as a page with plots, or as CSV."""

    def form(
        *,
        format: Literal["terminal", "html", "csv"] = "terminal",
        out: Out = Path(),
        kind: Literal["", "speed", "converge"] = "",
        model: str = "",
        recipe: str = "",
        machine: str = "",
        version: str = "",
        commit: str = "",
        run_id: str = "",
        database: Database = "",
    ) -> tuple[dict[str, Any], ...]:
        """Show results by model, machine and version; repeat runs of one configuration are one line.

        Args:
            format: A table in the terminal, a page with plots that opens from disk, or a row of CSV for each result.
            out: File to write; without, a page becomes bench.html and the others go to standard output.
            kind: Only speed, or only converge.
            model: Only this model.
            recipe: Only this recipe.
            machine: Only this machine.
            version: Only this version of gesso.
            commit: Only this commit of gesso, as the report writes it.
            run_id: Only the results of this call of the bench.
        """
        equal = {"kind": kind, "model": model, "recipe": recipe, "machine": machine, "version": version}
        return {"format": format, "out": out, "database": database}, {**equal, "commit": commit, "run_id": run_id}

    values, equal = parse(form, arguments, "bench report", "gesso bench report --model pix2pix --format html")
    from gesso.bench.reporting import as_csv, as_html, as_text
    from gesso.bench.results import open_results
    from gesso.files import write_atomically

    results = open_results(values["database"]).query(**_given(equal))
    formats: dict[str, Callable[[Sequence[Result]], str]] = {"terminal": as_text, "html": as_html, "csv": as_csv}
    text = formats[values["format"]](results).rstrip("\n")
    out = Path("bench.html") if values["format"] == "html" and values["out"] == Path() else values["out"]
    if out == Path():
        print(text)
    else:
        write_atomically(out, text + "\n")
        print(f"{out}: {len(results)} results")
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Tell whether one state of the code is slower or converges less often than another; fail where that is sure."""

    def form(
        base: State,
        head: State,
        *,
        fail_below: float = 0.0,
        converged_below: float = 0.0,
        confidence: float = 0.95,
        database: Database = "",
    ) -> tuple[Any, ...]:
        """Compare two states of the code, in every configuration that both have measured: the throughput, how many
        seeds converged, and the scores.

        Exit code 1 where the ratio of throughputs, head over base, is surely below --fail-below, or where the share of
        seeds that converged is below --converged-below of base's and chance does not explain it.

        Args:
            base: A commit (7 digits or more), a version, a run id, or a file that `gesso bench export` wrote.
            head: The same; what is asked about.
            fail_below: Such as 0.95: a twentieth slower is allowed. 0 only shows.
            converged_below: Such as 1: none fewer is allowed, 0.9: a tenth fewer. 0 only shows.
            confidence: Of the interval of each ratio, share and mean.
        """
        return base, head, {"fail_below": fail_below, "converged_below": converged_below}, confidence, database

    base, head, below, confidence, database = parse(
        form, arguments, "bench compare", "gesso bench compare 0.1.0 3bb6350 --fail-below 0.95 --converged-below 1"
    )
    for name, value in below.items():
        if not 0 <= value <= 1:
            raise UsageError(f"--{name.replace('_', '-')} {value:g}: must be from 0 to 1, such as 0.95")
    if not 0.5 <= confidence < 1:
        raise UsageError(f"--confidence {confidence:g}: must be from 0.5 to below 1, such as 0.95")
    from gesso.bench import comparing

    found = comparing.compare(_measured(base, database), _measured(head, database), **below, confidence=confidence)
    print("\n".join(comparing.shown(found)))
    for failed, there, what in (
        (found.too_slow, found.rows, f"are surely below {found.fail_below:g} of {base}"),
        (found.too_few, found.outcomes, f"converge surely less often than in {base}"),
    ):
        if failed:
            print(
                f"gesso: {len(failed)} of {len(there)} configurations in {head} {what}: {', '.join(failed)}",
                file=sys.stderr,
            )
    return 1 if found.too_slow or found.too_few else 0


def export(arguments: Sequence[str]) -> int:
    """Write results into a file of JSON lines."""

    def form(
        file: File,
        *,
        recipe: str = "",
        machine: str = "",
        version: str = "",
        commit: str = "",
        run_id: str = "",
        database: Database = "",
    ) -> tuple[Any, ...]:
        """Write results into a file of JSON lines, without loss; what the file held is replaced.

        Args:
            file: To write.
            recipe: Only this recipe.
            machine: Only this machine.
            version: Only this version of gesso.
            commit: Only this commit of gesso, as the report writes it.
            run_id: Only the results of this call of the bench.
        """
        equal = {"recipe": recipe, "machine": machine, "version": version, "commit": commit, "run_id": run_id}
        return file, database, equal

    file, database, equal = parse(form, arguments, "bench export", "gesso bench export results.jsonl --version 0.1.0")
    from gesso.bench.exchange import export_results
    from gesso.bench.results import open_results

    results = open_results(database).query(**_given(equal))
    export_results(results, file)
    print(f"{file}: {len(results)} results")
    return 0


def import_(arguments: Sequence[str]) -> int:
    """Add the results of a file that export wrote; those that are there already are left."""

    def form(file: File, *, database: Database = "") -> tuple[Any, ...]:
        """Add all results of a file of JSON lines, or none where a line is bad. To do it twice adds nothing.

        Args:
            file: That `gesso bench export` wrote.
        """
        return file, database

    file, database = parse(form, arguments, "bench import", "gesso bench import results.jsonl")
    from gesso.bench.exchange import import_results
    from gesso.bench.results import open_results

    results = open_results(database)
    read, added = import_results(file, results)
    print(f"{results}: {added} results added, {read - added} were there already")
    return 0


COMMANDS: dict[str, Command] = {
    "run": run,
    "converge": converge,
    "suite": suite,
    "report": report,
    "compare": compare,
    "export": export,
    "import": import_,
}


def bench(arguments: Sequence[str]) -> int:
    """Measure how fast and how well the models run, and compare."""
    return call("bench", COMMANDS, arguments, "gesso bench report")


def _given(equal: dict[str, Any]) -> dict[str, Any]:
    """Without those that were not given."""
    return {name: value for name, value in equal.items() if value}


def _measured(state: str, database: str) -> "list[Result]":
    """The results of a commit, version or run id, or of a file."""
    from gesso.bench.exchange import read_results
    from gesso.bench.results import open_results

    return read_results(Path(state)) if Path(state).is_file() else open_results(database).named(state)
