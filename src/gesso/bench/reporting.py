"""What the results say: repeat runs in one line, by model, machine and version, in a terminal, as CSV and as a page.

The page is one file that opens from disk without server or network and follows the reader's light or dark. Its plots
are drawn here (plots.py); bench.html.jinja and the stylesheet of the runs' reports decide how they look.
"""

import csv
import dataclasses
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import jinja2

from gesso.bench import plots
from gesso.bench.results import METRICS, Configuration, Result
from gesso.bench.tables import aligned, filled
from gesso.engine.figures import digits

COLUMNS = {
    "configuration": "recipe, mode, data, images a step of each process, processes, precision, compiled, variant",
    "version": "of gesso",
    "commit": "of gesso's source; + where files differed from it",
    "runs": "repeat runs, or seeds; all numbers are medians over them",
    "images/s": METRICS["samples_per_second"],
    "noise": "standard deviation of images/s between runs, as a share",
    "ms a step": METRICS["ms_median"],
    "p10": METRICS["ms_p10"],
    "p90": METRICS["ms_p90"],
    "waiting": "share of the time in which a step waited for data",
    "memory": "most memory held at once on the device, of one process",
    "GMACs": METRICS["gmacs"],
    "of peak": "share of the machine's measured matmul peak",
    "J a step": METRICS["energy_joules"],
    "cost of 10⁶": METRICS["cost_per_million"],
    "converged": "of the seeds, how many",
    "when": "the last of the runs began",
}
"""The columns of a table and what they are."""
HEADER = tuple(COLUMNS)
WORDS = {"configuration", "version", "commit", "when"}
"""The columns that are no numbers."""
SHARED = ("version", "commit", "runs", "when")
"""The columns that a text names once where they are the same in every row, as a terminal is narrow."""

_TEMPLATES = jinja2.Environment(
    loader=jinja2.ChoiceLoader([jinja2.PackageLoader("gesso", "bench"), jinja2.PackageLoader("gesso", "engine")]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Line:
    """The repeat runs of one configuration at one state of the code, each number the median over them."""

    configuration: Configuration
    version: str
    commit: str
    runs: int
    started: str
    """Of the last run."""
    noise: float
    """Standard deviation of the throughput between runs, as a share; nan for a single run."""
    metrics: dict[str, float]

    @property
    def samples_per_second(self) -> float:
        return self.metrics.get("samples_per_second", math.nan)


def lines_of(results: Iterable[Result]) -> list[Line]:
    """Repeat runs brought together; sorted by model, machine, configuration and time."""
    grouped: dict[tuple[Configuration, str, str], list[Result]] = defaultdict(list)
    for result in results:
        grouped[result.configuration, result.version, result.commit].append(result)
    lines = [_line(*key, repeats) for key, repeats in grouped.items()]
    return sorted(lines, key=lambda line: (*_place(line), line.configuration, line.started))


def as_text(results: Iterable[Result]) -> str:
    """A table for each model and machine. What all its rows share of the columns `SHARED` stands above them."""
    lines = lines_of(results)
    if not lines:
        return "No results."
    tables = []
    for (model, machine, device), group in groupby(lines, _place):
        rows = [_cells(line) for line in group]
        same = [i for i, name in enumerate(HEADER) if name in SHARED and len({row[i] for row in rows}) == 1]
        told = [f"{HEADER[i]} {rows[0][i]}" for i in same if rows[0][i]]
        # An empty column is left out.
        rows = [tuple("" if i in same else cell for i, cell in enumerate(row)) for row in rows]
        tables += [f"{model} on {machine} ({device})", *filter(None, [", ".join(told)]), *aligned(HEADER, rows), ""]
    return "\n".join(tables).rstrip()


def as_csv(results: Iterable[Result]) -> str:
    """A row for each result, not brought together: its fields, then its metrics, empty where not measured."""
    listed = list(results)
    plain = [f.name for f in dataclasses.fields(Result)]
    for long in ("recipe_json", "environment", "step_seconds", "metrics"):
        plain.remove(long)
    metrics = list(dict.fromkeys([*METRICS, *(name for result in listed for name in result.metrics)]))
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([*plain, "steps", *metrics])
    for result in listed:
        fields = [getattr(result, name) for name in plain]
        writer.writerow([*fields, len(result.step_seconds), *(result.metrics.get(name, "") for name in metrics)])
    return written.getvalue()


def as_html(results: Iterable[Result], written: datetime | None = None) -> str:
    """One page: for each model its plots and tables. `written` is the time it names, now if None."""
    lines = lines_of(results)
    models = []
    for model, group in groupby(lines, lambda line: line.configuration.model):
        there = list(group)
        places = [(f"{machine}, {device}", list(of)) for (_, machine, device), of in groupby(there, _place)]
        models.append(
            {
                "name": model,
                "bars": plots.bars(_bars(there)),
                "history": plots.history(_histories(there)),
                "places": [(place, filled(HEADER, [_cells(line) for line in of])) for place, of in places],
            }
        )
    return _TEMPLATES.get_template("bench.html.jinja").render(
        models=models,
        words=WORDS,
        meanings=COLUMNS,
        runs=sum(line.runs for line in lines),
        machines=len({line.configuration.machine for line in lines}),
        states=len({(line.version, line.commit) for line in lines}),
        written=written or datetime.now(UTC),
    )


def _place(line: Line) -> tuple[str, str, str]:
    c = line.configuration
    return c.model, c.machine, c.device_name or c.device


def _line(configuration: Configuration, version: str, commit: str, repeats: list[Result]) -> Line:
    names = dict.fromkeys(name for result in repeats for name in result.metrics)
    metrics = {name: statistics.median(r.metrics[name] for r in repeats if name in r.metrics) for name in names}
    if "converged" in metrics:  # of seeds, how many: a share, where the median would be 0 or 1
        metrics["converged"] = sum(result.metrics.get("converged", 0.0) for result in repeats)
    speeds = [r.metrics["samples_per_second"] for r in repeats if r.metrics.get("samples_per_second", 0) > 0]
    noise = statistics.stdev(map(math.log, speeds)) if len(speeds) > 1 else math.nan
    started = max(result.started for result in repeats)
    return Line(configuration, version, commit, len(repeats), started, noise, metrics)


def _cells(line: Line) -> tuple[str, ...]:
    def number(name: str, scale: float = 1, unit: str = "") -> str:
        value = line.metrics.get(name, math.nan) * scale
        return digits(value, 3) + unit if math.isfinite(value) else ""

    c = line.configuration
    memory = line.metrics.get("peak_memory_bytes")
    converged = f"{line.metrics['converged']:.0f} of {line.runs}" if "converged" in line.metrics else ""
    return (
        c.label,
        line.version,
        line.commit,
        str(line.runs),
        number("samples_per_second"),
        "" if math.isnan(line.noise) else f"{line.noise:.1%}",
        number("ms_median"),
        number("ms_p10"),
        number("ms_p90"),
        number("data_fraction", 100, " %"),
        f"{memory * 2**-20:.0f} MiB" if memory else "",
        number("gmacs"),
        number("peak_share", 100, " %"),
        number("energy_joules"),
        number("cost_per_million"),
        converged,
        line.started[:10],
    )


def _bars(lines: list[Line]) -> list[plots.Bar]:
    """The newest line of each configuration on each machine."""
    newest = {line.configuration: line for line in sorted(lines, key=lambda line: line.started)}
    several = len({configuration.machine for configuration in newest}) > 1
    return [
        plots.Bar(c.label + f" · {c.machine}" * several, line.samples_per_second, line.noise)
        for c, line in sorted(newest.items())
        if math.isfinite(line.samples_per_second)
    ]


def _histories(lines: list[Line]) -> list[plots.History]:
    """Throughput by state of the code, of the configurations that were measured at more than one."""
    kept: dict[Configuration, list[Line]] = defaultdict(list)
    for line in lines:
        if math.isfinite(line.samples_per_second):
            kept[line.configuration].append(line)
    several = len({configuration.machine for configuration in kept}) > 1
    return [
        plots.History(
            c.label + f" · {c.machine}" * several,
            [(line.started, line.commit or line.version, line.samples_per_second) for line in of],
        )
        for c, of in sorted(kept.items())
        if len(of) > 1
    ]
