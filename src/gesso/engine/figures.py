"""What a report says in figures: scores with the best marked, curves for a browser to draw, numbers in words.

Pure functions of the log's records and of metrics.json, apart from files and page. Losses and scores are
known by name alone, so that one page serves every model.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from gesso.engine.runlog import Record

Point = tuple[float, float]
"""(images seen, value)"""

CURVE_POINTS = 1500

OURS = "gesso"
MARKS = {"training images"}
"""Methods that no model is expected to beat: they show how near it could come."""
BETTER = {
    "lower": {"l1", "l2", "mae", "mse", "rmse", "lpips", "fid", "kid", "loss", "error"},
    "higher": {"psnr", "ssim", "accuracy", "acc", "iou", "miou", "top", "top1", "top5", "is", "f1"}
    | {"precision", "recall", "density", "coverage"},
}
"""The words in a score's name that tell which way is better, where nothing else does: in a run's first epochs, before
its metrics.json is written, and in that of an older gesso."""
SPREAD = " std"
"""The end of a score's name that is the standard deviation of the score without it: KID std."""
TRAINING = "training"
"""The curve of a score on the training batches, beside that of the evaluation."""
BELIEFS = {
    "D(x)": "D(x)",
    "D(G(z))_1": "D(G(z)) before G's step",
    "D(G(z))_2": "D(G(z)) after",
}
"""Losses that are probabilities, and their names in a chart of their own."""


@dataclass(frozen=True)
class Clock:
    """Images seen as epochs. `per_epoch` is 0 while that is not known, and then the page counts in images."""

    per_epoch: float
    """Images in an epoch."""
    images: int
    """Images seen by the last record."""
    total: float
    """Epochs that the recipe asks for, 0 where that is not known."""

    @classmethod
    def of(cls, log: list[Record], total: Any) -> "Clock":
        epochs = ((r["images"], number(r.get("epoch"))) for r in reversed(log) if r["kind"] == "loss")
        per_epoch = next((images / epoch for images, epoch in epochs if images and 0 < epoch < math.inf), 0.0)
        return cls(per_epoch, log[-1]["images"] if log else 0, max(0.0, finite_or(total, 0.0)))

    @property
    def unit(self) -> str:
        return "epoch" if self.per_epoch else "image"

    @property
    def epochs(self) -> float:
        return self.images / self.per_epoch if self.per_epoch else 0.0

    def at(self, images: float) -> float:
        """`images` on the horizontal axis of the curves."""
        return images / self.per_epoch if self.per_epoch else images

    def label(self, images: float) -> str:
        return f"epoch {short(self.at(images))}" if self.per_epoch else f"{thousands(images)} images"


def steps(log: list[Record]) -> list[tuple[Record, Record]]:
    """Neighbours in the log between which the run was training: not from one session to the next."""
    return [(a, b) for a, b in pairwise(log) if a["kind"] != "finish" and b["kind"] not in ("start", "resume")]


# -- scores --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    method: str
    ours: bool
    cells: list[tuple[str, bool]]
    """(value, is it the best of its column), in the order of the table's columns."""


@dataclass(frozen=True)
class Table:
    direction: str
    columns: list[tuple[str, str | None]]
    """(score, which way is better)"""
    rows: list[Row]
    lost: list[str]
    """Scores in which a baseline is as good as the model, or better."""
    verdict: str
    """In words."""


Ways = Mapping[str, str]
"""'lower' or 'higher', by the names of scores as the judge calls them: AtoB/L1, FID."""


def ways_of(metrics: dict[str, Any]) -> Ways:
    """What the judge itself says is better, from metrics.json."""
    told = metrics.get("better")
    return {str(name): str(way) for name, way in told.items()} if isinstance(told, dict) else {}


def better(score: str, ways: Ways = MappingProxyType({})) -> str | None:
    """'lower' or 'higher': which is better for this score; None where neither `ways` nor its name tells."""
    if ways.get(score) in BETTER:
        return ways[score]
    words = set(re.split(r"[^a-z0-9]+", score.lower()))
    return next((way for way, names in BETTER.items() if words & names), None)


def tables(metrics: dict[str, Any], decimals: int | None = None) -> list[Table]:
    """One table for each direction in the rows of metrics.json.

    decimals  of scores that have no standard deviation to say how many there are; without, four digits
    """
    listed = metrics.get("rows")
    rows = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
    directions = dict.fromkeys(str(r.get("direction", "")) for r in rows)
    ways = ways_of(metrics)
    return [_table(d, [r for r in rows if str(r.get("direction", "")) == d], ways, decimals) for d in directions]


def _table(direction: str, rows: list[dict[str, Any]], ways: Ways, decimals: int | None) -> Table:
    there = dict.fromkeys(key for row in rows for key in row if not math.isnan(number(row[key])))
    names = [name for name in there if not is_spread(name, there)]
    marks = [row for row in rows if str(row.get("method")) in MARKS]
    rivals = [row for row in rows if row not in marks]
    columns = [(name, better(f"{direction}/{name}" if direction else name, ways)) for name in names]
    best = {name: _best_of(rivals, name, way) for name, way in columns}
    shown = []
    for row in rows:
        cells = [
            (_spread(row, name, decimals), row in rivals and number(row.get(name)) == best[name]) for name in names
        ]
        shown.append(Row(str(row.get("method", "")), row.get("method") == OURS, cells))
    won, lost = _compared(rivals, best)
    verdict = " ".join([_verdict(won, lost), *(_mark(row, names, decimals) for row in marks)]).strip()
    return Table(direction, columns, shown, lost, verdict)


def is_spread(name: str, names: Iterable[str]) -> bool:
    """Whether `name` is the standard deviation of another of `names`."""
    return name.endswith(SPREAD) and name.removesuffix(SPREAD) in names


def _spread(row: dict[str, Any], name: str, decimals: int | None) -> str:
    """A score with its standard deviation, where there is one, in as many decimals."""
    value, spread = number(row.get(name)), number(row.get(name + SPREAD))
    # Subsets as large as the whole set are all the same: what is left then is rounding.
    if not (math.isfinite(value) and 1e-9 * abs(value) < spread < math.inf):
        if decimals is None or not math.isfinite(value):
            return digits(row.get(name))
        return f"{value:.{decimals}f}"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{value:.{decimals}f} ± {spread:.{decimals}f}"


def _best_of(rows: list[dict[str, Any]], name: str, way: str | None) -> float | None:
    """The best value of a score among `rows`; None where fewer than two of them have it."""
    values = [number(row[name]) for row in rows if name in row]
    return _best(values, way) if len(values) > 1 else None


def _mark(row: dict[str, Any], names: list[str], decimals: int | None) -> str:
    """What a mark scores, in one sentence."""
    scores = [f"{_spread(row, name, decimals)} in {name}" for name in names if math.isfinite(number(row.get(name)))]
    method = str(row["method"])
    return f"{method.capitalize()} score {_listed(scores, 'and')}: a mark to come near, not to beat." if scores else ""


def _compared(rows: list[dict[str, Any]], best: dict[str, float | None]) -> tuple[list[str], list[str]]:
    """In which scores the model is better than every baseline, and in which not; both empty without baselines."""
    ours = [row for row in rows if row.get("method") == OURS]
    others = [row for row in rows if row.get("method") != OURS]
    won: list[str] = []
    lost: list[str] = []
    if ours and others:
        for name in (name for name, value in best.items() if value is not None):
            alone = all(number(row.get(name)) != best[name] for row in others)
            (won if alone and number(ours[0].get(name)) == best[name] else lost).append(name)
    return won, lost


def _verdict(won: list[str], lost: list[str]) -> str:
    """That in one sentence."""
    if not won:
        return f"Does not beat the baselines in {_listed(lost, 'or')}." if lost else ""
    but = f", but not in {_listed(lost, 'or')}" if lost else ""
    return f"Beats every baseline in {_listed(won, 'and')}{but}."


def progress(log: list[Record], clock: Clock, ways: Ways = MappingProxyType({})) -> list[dict[str, Any]]:
    """The scores measured while training: name, which way is better, the best and when, the last."""
    rows = []
    measured = curves(log, "metric", "scores")
    for name, points in measured.items():
        if is_spread(name, measured):
            continue
        way = better(name, ways)
        best = _best([value for _, value in points], way)
        when = next((clock.label(images) for images, value in points if value == best), "")
        last = digits(points[-1][1])
        rows.append({"name": name, "better": way, "best": digits(best), "when": when, "last": last})
    return rows


def _best(values: list[float], way: str | None) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite or way is None:
        return None
    return min(finite) if way == "lower" else max(finite)


# -- curves --------------------------------------------------------------------------------------------------


def curves(log: list[Record], kind: str, group: str) -> dict[str, list[Point]]:
    """The curves in the records of a kind: of each name in the dict `group`, its points in order."""
    found: dict[str, list[Point]] = {}
    for record in log:
        values = record.get(group) if record["kind"] == kind else None
        for name, value in values.items() if isinstance(values, dict) else ():
            found.setdefault(name, []).append((record["images"], number(value)))
    return found


def thin(points: list[Point], most: int = CURVE_POINTS) -> list[Point]:
    """At most `most` (4 or more) of `points`: both ends, and of each stretch between them the lowest and the
    highest, so that no spike is lost."""
    if len(points) <= most:
        return points
    inner, stretches = points[1:-1], (most - 2) // 2
    kept = [points[0]]
    for i in range(stretches):
        part = inner[len(inner) * i // stretches : len(inner) * (i + 1) // stretches]
        part = [p for p in part if math.isfinite(p[1])] or part[:1]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return [*kept, points[-1]]


def smooth(points: list[Point]) -> list[Point]:
    """The mean over a centred window of a thirtieth of the curve; what is not finite is left out of it.

    It is taken before `thin`, which keeps extremes and so would bias it.
    """
    reach = len(points) // 60
    sums, counts = [0.0], [0]
    for _, value in points:
        sums.append(sums[-1] + (value if math.isfinite(value) else 0.0))
        counts.append(counts[-1] + math.isfinite(value))
    mean = []
    for i, (x, _) in enumerate(points):
        start, end = max(0, i - reach), min(len(points), i + reach + 1)
        count = counts[end] - counts[start]
        mean.append((x, (sums[end] - sums[start]) / count if count else math.nan))
    return mean


def chart(
    title: str,
    lines: dict[str, list[Point]],
    clock: Clock,
    *,
    noisy: bool = False,
    way: str | None = None,
    spread: dict[str, list[Point]] | None = None,
    domain: Point | None = None,
) -> dict[str, Any]:
    """What report.js draws: thinned (x, y), smoothed (sx, sy) if `noisy`, the best point if a `way` is better.

    `spread` has the standard deviation of a line's points, `domain` the least and largest value that can be.
    Numbers are rounded to more than a screen can show; null where a value is not finite.
    """

    def columns(points: list[Point]) -> tuple[list[float], list[float | None]]:
        xs = [float(f"{clock.at(x):.6g}") for x, _ in points]
        return xs, [float(f"{y:.5g}") if math.isfinite(y) else None for _, y in points]

    series = []
    for name, points in lines.items():
        kept = thin(points)
        x, y = columns(kept)
        soft = smooth(points) if noisy else []
        soft_x, soft_y = columns([*soft[: -1 : math.ceil(len(points) / (CURVE_POINTS / 3))], *soft[-1:]])
        best = _best([value for _, value in points], way) if name != TRAINING else None
        at = next(([clock.at(images), value] for images, value in points if value == best), None)
        widths = dict((spread or {}).get(name, []))
        _, band = columns([(images, widths.get(images, math.nan)) for images, _ in kept] if widths else [])
        series.append({"name": name, "x": x, "y": y, "sx": soft_x, "sy": soft_y, "best": at, "band": band})
    return {"title": title, "better": way, "noisy": noisy, "domain": domain, "series": series}


def main_chart(log: list[Record], clock: Clock) -> dict[str, Any]:
    """The losses, without what is no loss."""
    losses = curves(log, "loss", "losses")
    lines = {name: points for name, points in losses.items() if name not in BELIEFS and not _trained(name)}
    return chart("Losses", lines, clock, noisy=True)


def small_charts(log: list[Record], clock: Clock, ways: Ways = MappingProxyType({})) -> list[dict[str, Any]]:
    """What a discriminator believes; each score, its directions together and the training's beside it; then the
    learning rates and the speed."""
    losses, measured = curves(log, "loss", "losses"), curves(log, "metric", "scores")
    charts = []
    if beliefs := {BELIEFS[name]: losses[name] for name in BELIEFS if name in losses}:
        charts.append(chart("D(x) and D(G(z))", beliefs, clock, noisy=True, domain=(0, 1)))
    scores: dict[str, dict[str, list[Point]]] = {}
    spreads: dict[str, dict[str, list[Point]]] = {}
    for name, points in measured.items():
        direction, _, score = name.rpartition("/")
        if is_spread(name, measured):
            stem = score.removesuffix(SPREAD)
            spreads.setdefault(stem, {})[direction or stem] = points
        else:
            scores.setdefault(score, {})[direction or score] = points
    for name, points in losses.items():
        if score := _trained(name):
            scores.setdefault(score, {})[TRAINING] = points
    directed = {name.rpartition("/")[2]: way for name, way in ways.items()}  # the same in every direction
    for score, lines in scores.items():
        way = better(score, directed)
        charts.append(chart(score, lines, clock, noisy=TRAINING in lines, way=way, spread=spreads.get(score)))
    if rates := curves(log, "loss", "lr"):
        charts.append(chart("Learning rate", rates, clock))
    speed = [(r["images"], number(r["images_per_second"])) for r in log if "images_per_second" in r]
    if speed:
        charts.append(chart("Images a second", {"speed": speed}, clock, noisy=True))
    return charts


def _trained(name: str) -> str:
    """The score that a loss is on the training batches: top1 for train_top1; '' for others."""
    return name.removeprefix("train_") if name.startswith("train_") else ""


def diverged(losses: dict[str, list[Point]], clock: Clock) -> list[str]:
    """A warning for each loss that was NaN or infinite."""
    warnings = []
    for name, points in losses.items():
        if bad := [images for images, value in points if not math.isfinite(value)]:
            share = f"{len(bad)} of {len(points)} records, first at {clock.label(bad[0])}"
            warnings.append(f"{name} was not a finite number in {share}.")
    return warnings


# -- numbers in words ----------------------------------------------------------------------------------------


def number(value: Any) -> float:
    """`value` as a float, NaN where it is not a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def finite_or(value: Any, otherwise: float) -> float:
    """`value` as a float, `otherwise` where it is not a finite number."""
    return number(value) if math.isfinite(number(value)) else otherwise


def digits(value: Any, count: int = 4) -> str:
    """A measured number with `count` digits, an integer whole, and a dash for what is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return thousands(value)
    return f"{number(value):#.{count}g}".rstrip(".") if math.isfinite(number(value)) else "–"


def short(value: float) -> str:
    return thousands(value) if value >= 1e4 else f"{round(value, 1):g}"


def thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"


def _listed(names: list[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
