"""Whether one state of the code is slower than another, with the noise of both stated; and, by seeds.py, whether it
converges less often.

The unit of evidence is a repeat run: a process that started, warmed up and timed its steps. Steps of one run share all
that is particular to it (where its memory lies, what else the machine did, how hot it was), so a thousand steps of one
run say little about the next run. Therefore the interval comes from a bootstrap over runs:

1. A run is its median step, which a few disturbed steps do not move; a side is the mean of its runs' logarithms; the
   ratio of throughputs is the exponential of the difference.
2. Runs are drawn with replacement within each side (bootstrap.py), with ν = the runs of both sides less 2. The noise
   within runs is in the spread between them.
3. On a machine that also does other things, now and then a run is disturbed from start to end, and one that took twice
   as long would hide any slowdown. So a run is left out, and this is told, that is further from the median of its side
   than DISTURBED and than 4 robust standard deviations; but where that is more than a quarter of a side's runs, they
   are how the machine is, and stay.
4. A side of a single run tells nothing of the spread between runs. Its steps are drawn in blocks of √n neighbours, for
   noise within a run is not independent from step to step, and a spread of ASSUMED is added. The table says so.

A row fails only where the upper end of the interval lies below the threshold: where it is improbable (2.5 % at a
confidence of 0.95, if the true ratio were the threshold itself) that the slowdown is smaller than what is allowed. At a
true ratio of 1 the threshold is far away, so that noise fails a gate much more rarely than that: docs/benchmarks.md
has both rates, measured. A ratio below the threshold with an interval that reaches over it is unsure and does not fail;
more repeats make it sure.

Sources: Künsch, Annals of Statistics 17, 1989, for blocks; Kalibera and Jones, Rigorous Benchmarking in Reasonable
Time, 2013, for runs as units.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gesso.bench import bootstrap, seeds
from gesso.bench.bootstrap import Array
from gesso.bench.matching import matched
from gesso.bench.results import Configuration, Result
from gesso.bench.tables import aligned
from gesso.bench.variants import changes
from gesso.errors import UsageError

ASSUMED = 0.01
"""The standard deviation between runs, as a share, of a side with a single run."""
DISTURBED = 0.05
"""How far a run must be from the others, as a share, to be left out at all."""
ENOUGH = 5
"""Runs of a side from which on a table does not ask for more."""
FEWEST_STEPS = 10
"""A run with fewer timed steps is not compared: its median is no better than a step."""
TOO_SLOW = "TOO SLOW"


@dataclass(frozen=True)
class Ratio:
    """Throughput of head over that of base: 0.9 is a tenth fewer images a second."""

    value: float
    low: float
    high: float
    """The ends of the confidence interval."""


@dataclass(frozen=True)
class Side:
    """The repeat runs of one configuration on one side, without those that were disturbed."""

    runs: int
    disturbed: int
    """Runs that were left out."""
    samples_per_second: float
    """Of all processes, at the mean over runs (geometric) of the median step."""
    noise: float
    """Standard deviation between runs as a share of the step; nan for a single run."""


@dataclass(frozen=True)
class Row:
    configuration: Configuration
    base: Side
    head: Side
    ratio: Ratio
    verdict: str
    """TOO SLOW: this fails. unsure: below the threshold, but that may be noise. slower, faster: surely, but not so that
    it fails. same: no difference that is sure."""
    changes: list[str]
    """The flags whose defaults in the recipe are not head's in base, as "--ema 500 (was 0)"."""


@dataclass(frozen=True)
class Comparison:
    rows: list[Row]
    """Of speed."""
    outcomes: list[seeds.Outcome]
    """Of converge."""
    unmatched: list[str]
    """What was measured on one side alone, or cannot be compared, in a line each."""
    fail_below: float
    converged_below: float
    confidence: float

    @property
    def too_slow(self) -> list[str]:
        """The configurations that fail for their speed."""
        return [row.configuration.label for row in self.rows if row.verdict == TOO_SLOW]

    @property
    def too_few(self) -> list[str]:
        """The configurations that fail for the seeds that converged."""
        return [outcome.training.label for outcome in self.outcomes if outcome.verdict == seeds.TOO_FEW]


def undisturbed(runs: Sequence[Array]) -> list[Array]:
    """Those of one side's `runs` that are not left out as disturbed."""
    away = np.abs(_log_medians(runs) - np.median(_log_medians(runs)))
    robust_deviation = 1.4826 * float(np.median(away))  # of normal noise, the standard deviation
    kept = [run for run, far in zip(runs, away, strict=True) if far <= max(DISTURBED, 4 * robust_deviation)]
    return kept if len(runs) - len(kept) <= len(runs) // 4 else list(runs)


def throughput_ratio(base: Sequence[Array], head: Sequence[Array], confidence: float = 0.95) -> Ratio:
    """The ratio of throughputs, head over base, and its interval.

    Args:
        base: For each repeat run, the seconds of its steps in order.
        head: The same. Both without runs that were disturbed.
        confidence: Of the interval, both ends together.
    """
    generator = np.random.default_rng(0)  # one comparison always gives one answer
    centre = float(_log_medians(base).mean() - _log_medians(head).mean())
    spread = _deviations(base, generator) - _deviations(head, generator)
    low, high = bootstrap.ends(spread, len(base) + len(head) - 2, confidence, generator)
    return Ratio(math.exp(centre), math.exp(centre + low), math.exp(centre + high))


def compare(
    base: Sequence[Result],
    head: Sequence[Result],
    fail_below: float,
    converged_below: float = 0.0,
    confidence: float = 0.95,
) -> Comparison:
    """All that both sides have measured, compared. UsageError where there is nothing.

    Args:
        base: Results of speed and of converge.
        head: The same.
        fail_below: The ratio of throughputs, head over base, that must not surely be gone below.
        converged_below: The same of the shares of seeds that converged. With 0 neither fails anything.
        confidence: Of the intervals.
    """
    unmatched: list[str] = []
    ours, theirs = _by_configuration(base, "base", unmatched), _by_configuration(head, "head", unmatched)
    both, alone = matched(ours, theirs)
    outcomes, alone_of_seeds = seeds.compare_seeds(base, head, converged_below, confidence)
    unmatched += alone + alone_of_seeds
    if not both and not outcomes:
        why = f": {unmatched[0]}" if unmatched else ", for neither has timed steps or trained seeds"
        raise UsageError(f"nothing was measured in the same configuration on both sides{why}")
    rows = [_row(each, ours[each], theirs[each], fail_below, confidence) for each in both]
    return Comparison(rows, outcomes, unmatched, fail_below, converged_below, confidence)


def shown(comparison: Comparison) -> list[str]:
    """The comparison as lines of text: tables, where more repeats are needed, and what was not compared."""
    c = comparison
    lines = _shown_speed(c) if c.rows else []
    if c.outcomes:
        lines += [""] * bool(lines) + seeds.shown(c.outcomes, c.converged_below, c.confidence)
    return lines + [f"not compared: {line}" for line in c.unmatched]


def _shown_speed(comparison: Comparison) -> list[str]:
    header = ("configuration", "machine", "base images/s", "head images/s", "ratio", "interval", "runs", "noise", "")
    several = len({row.configuration.machine for row in comparison.rows}) > 1
    lines = aligned(header, [_cells(row, several) for row in comparison.rows])
    lines += ["", f"interval: of the ratio, at a confidence of {comparison.confidence:g}; noise: between runs."]
    fewest = min(min(row.base.runs, row.head.runs) for row in comparison.rows)
    if fewest == 1:
        lines.append(
            f"Too few repeats: from a single run the noise between runs is not known, {ASSUMED:.0%} is assumed; "
            f"measure {ENOUGH} times, with --repeats {ENOUGH}."
        )
    elif fewest < ENOUGH:
        lines.append(f"Few repeats: {fewest} runs show only a large slowdown; --repeats {ENOUGH} shows smaller ones.")
    if any(row.verdict == "unsure" for row in comparison.rows):
        lines.append(
            f"unsure: below {comparison.fail_below:g}, but noise alone may do that; more repeats can tell. Not failed."
        )
    if disturbed := sum(row.base.disturbed + row.head.disturbed for row in comparison.rows):
        lines.append(f"Runs left out as disturbed, each far from the others of its side: {disturbed}.")
    for row in comparison.rows:
        if row.changes:
            lines.append(
                f"{row.configuration.label}: the recipe itself changed from base to head, {', '.join(row.changes)}; "
                "the ratio has this in it."
            )
    return lines


def _log_medians(runs: Sequence[Array]) -> Array:
    logs: Array = np.log([float(np.median(run)) for run in runs])
    return logs


def _deviations(runs: Sequence[Array], generator: np.random.Generator) -> Array:
    """DRAWS × how far one side's mean logarithm of a step may lie from what was measured."""
    logs = _log_medians(runs)
    if len(runs) > 1:
        return bootstrap.deviations(logs, generator)
    return _drawn_medians(runs[0], generator) - float(logs[0]) + generator.normal(0, ASSUMED, bootstrap.DRAWS)


def _drawn_medians(run: Array, generator: np.random.Generator) -> Array:
    """DRAWS × the logarithm of the median of as many steps, drawn in blocks of neighbours; the end joins the start."""
    length = math.ceil(math.sqrt(len(run)))
    blocks = math.ceil(len(run) / length)
    medians = []
    at_once = max(1, 1_000_000 // len(run))  # bounds the memory
    for begin in range(0, bootstrap.DRAWS, at_once):
        starts = generator.integers(len(run), size=(min(at_once, bootstrap.DRAWS - begin), blocks, 1))
        steps = (starts + np.arange(length)).reshape(len(starts), -1)[:, : len(run)] % len(run)
        medians.append(np.median(run[steps], axis=1))
    logs: Array = np.log(np.concatenate(medians))
    return logs


def _by_configuration(results: Iterable[Result], side: str, unmatched: list[str]) -> dict[Configuration, list[Result]]:
    """The repeat runs of each configuration. What cannot be compared is told in `unmatched`."""
    found: dict[Configuration, list[Result]] = defaultdict(list)
    for result in (result for result in results if result.kind == "speed"):
        if (steps := len(result.step_seconds)) < FEWEST_STEPS:
            unmatched.append(f"a run of {result.configuration.label} in {side}: {steps} steps, {FEWEST_STEPS} needed")
        else:
            found[result.configuration].append(result)
    return found


def _row(
    configuration: Configuration, base: list[Result], head: list[Result], fail_below: float, confidence: float
) -> Row:
    timed = [[np.asarray(run.step_seconds, dtype=np.float64) for run in side] for side in (base, head)]
    ratio = throughput_ratio(undisturbed(timed[0]), undisturbed(timed[1]), confidence)
    if ratio.high < fail_below:
        verdict = TOO_SLOW
    elif ratio.value < fail_below:
        verdict = "unsure"
    else:
        verdict = "slower" if ratio.high < 1 else "faster" if ratio.low > 1 else "same"
    samples = configuration.batch_size * configuration.devices
    newest = [max(side, key=lambda run: run.started).recipe_json for side in (base, head)]
    return Row(configuration, _side(timed[0], samples), _side(timed[1], samples), ratio, verdict, changes(*newest))


def _side(runs: Sequence[Array], samples: int) -> Side:
    kept = undisturbed(runs)
    logs = _log_medians(kept)
    noise = float(logs.std(ddof=1)) if len(kept) > 1 else math.nan
    return Side(len(kept), len(runs) - len(kept), samples / math.exp(float(logs.mean())), noise)


def _cells(row: Row, several_machines: bool) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        row.configuration.label,
        row.configuration.machine if several_machines else "",
        f"{row.base.samples_per_second:.4g}",
        f"{row.head.samples_per_second:.4g}",
        f"{ratio.value:.3f}",
        f"{ratio.low:.3f} to {ratio.high:.3f}",
        f"{row.base.runs}, {row.head.runs}",
        f"{_percent(row.base.noise)}, {_percent(row.head.noise)}",
        row.verdict,
    )


def _percent(share: float) -> str:
    return "?" if math.isnan(share) else f"{share:.1%}"
