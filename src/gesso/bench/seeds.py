"""Whether one state of the code converges less often than another, and whether it ends in other scores.

A seed is a whole training, so there are few of them, and a share of few moves far by chance alone: of two samples of 20
seeds of which 4 in 5 converge, one often has 14 and the other 18. Therefore:

1. A row fails only where fewer seeds converged than is allowed, and where Fisher's exact test says that chance does not
   explain it: were both sides alike, so few or fewer in head would come in less than CHANCE of all cases, however many
   seeds there are and however often they converge. Over several rows CHANCE is divided by their number (Bonferroni), so
   that it holds for the comparison as a whole.
2. The interval of a share is Wilson's, which is right near 0 and 1 too, where most studies are.
3. A score or a loss is a mean over seeds, with a bootstrap interval (bootstrap.py), and so is the difference of two.
   These are shown and fail nothing: a result does not say which way is better, and of many scores one in twenty differs
   at a confidence of 0.95 by chance alone. What a score must reach belongs into the criterion of `bench converge`.

The machine need not be the same: whether a training converges there too is what is asked of a new one. The criterion,
the epochs and the variant must be. Where other fields of the recipes differ, or a default, the output names them.

Sources: Fisher, The Design of Experiments, 1935, chapter 2; Wilson, Journal of the American Statistical Association 22,
1927; Brown, Cai and DasGupta, Statistical Science 16, 2001, for the choice of it.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from gesso.bench import bootstrap
from gesso.bench.matching import matched
from gesso.bench.results import Configuration, Result, setting
from gesso.bench.tables import aligned
from gesso.engine.figures import digits
from gesso.recipe.common import HARMLESS
from gesso.restoring import flat

CHANCE = 0.01
"""The share of comparisons of the same code that may fail."""
ENOUGH = 20
"""Seeds of a side from which on a fall from all to two in three is seen."""
TOO_FEW = "TOO FEW"
FIGURES = ("score/", "loss/")
"""How the metrics begin that are means over seeds."""
OF_THE_RUN = ("seed", "data.root", "device", "precision", "compile", *HARMLESS)
"""Beginnings of a recipe's fields that may differ from seed to seed, or are compared as they came out."""

Interval = tuple[float, float]


class Training(NamedTuple):
    """What must be equal for two studies to be comparable."""

    recipe: str
    batch_size: int
    devices: int
    precision: str
    compiled: bool
    gmacs: str
    epochs: float
    criterion: str
    variant: str

    @property
    def label(self) -> str:
        """In a few words."""
        variant = f" {self.variant}" if self.variant else ""
        shape = setting(self.batch_size, self.devices, self.precision, self.compiled)
        return f"{self.recipe} converge {shape} -e {self.epochs:g}{variant}"


@dataclass(frozen=True)
class Count:
    """How many seeds converged."""

    converged: int
    seeds: int

    @property
    def share(self) -> float:
        return self.converged / self.seeds

    def interval(self, confidence: float) -> Interval:
        """Wilson's, of the share."""
        z, n = NormalDist().inv_cdf((1 + confidence) / 2), self.seeds
        centre = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(self.share * (1 - self.share) / n + (z / (2 * n)) ** 2)
        return max(0.0, centre - reach), min(1.0, centre + reach)


@dataclass(frozen=True)
class Mean:
    """Of one score or loss over the seeds in which it is finite."""

    value: float
    interval: Interval | None
    """None where a single seed has it."""


@dataclass(frozen=True)
class Figure:
    """A score or a loss on both sides."""

    name: str
    base: Mean
    head: Mean
    difference: Mean
    """Head less base."""

    @property
    def differs(self) -> bool:
        """Whether 0 lies outside the interval of the difference."""
        ends = self.difference.interval
        return ends is not None and not ends[0] <= 0 <= ends[1]


@dataclass(frozen=True)
class Outcome:
    """A study on both sides."""

    training: Training
    machines: str
    """Of base, and of head where it is another."""
    base: Count
    head: Count
    chance: float
    """Of so few converged seeds in head, or fewer, were both sides alike: the p of Fisher's exact test."""
    figures: list[Figure]
    differing: list[str]
    """The recipe's fields that are not the same in all seeds of both sides."""
    enough: bool
    """Whether so many seeds can fail at all."""
    verdict: str
    """TOO FEW: this fails. unsure: fewer than allowed, but that may be chance. fewer, more: surely, but not so that it
    fails. same: no difference that is sure."""


def chance_of_fewer(base: Count, head: Count) -> float:
    """Fisher's exact test, one-sided: the probability that head has so few of all that converged, or fewer."""
    converged = base.converged + head.converged
    fewest = max(0, converged - base.seeds)
    ways = sum(
        math.comb(head.seeds, here) * math.comb(base.seeds, converged - here)
        for here in range(fewest, head.converged + 1)
    )
    return ways / math.comb(base.seeds + head.seeds, converged)


def mean_of(values: Sequence[float], confidence: float) -> Mean:
    """Of at least one value, with its interval."""
    held, generator = np.asarray(values, dtype=np.float64), np.random.default_rng(0)
    interval = None
    if len(held) > 1:
        low, high = bootstrap.ends(bootstrap.deviations(held, generator), len(held) - 1, confidence, generator)
        interval = float(held.mean()) + low, float(held.mean()) + high
    return Mean(float(held.mean()), interval)


def difference_of(base: Sequence[float], head: Sequence[float], confidence: float) -> Mean:
    """Of the means, head less base; with an interval where both sides have at least two values."""
    ours, theirs = np.asarray(base, dtype=np.float64), np.asarray(head, dtype=np.float64)
    generator = np.random.default_rng(0)
    value = float(theirs.mean() - ours.mean())
    fewest = min(len(ours), len(theirs))
    if fewest < 2:
        return Mean(value, None)
    spread = bootstrap.deviations(theirs, generator) - bootstrap.deviations(ours, generator)
    # The larger side does not tell the spread of the smaller one, which may be another.
    low, high = bootstrap.ends(spread, fewest - 1, confidence, generator)
    return Mean(value, (value + low, value + high))


def compare_seeds(
    base: Iterable[Result], head: Iterable[Result], converged_below: float, confidence: float = 0.95
) -> tuple[list[Outcome], list[str]]:
    """Every study that both sides have, compared; and what only one side has, in a line each.

    Args:
        base: Results; those of speed do not count. Of a seed that was trained twice, the newest counts.
        head: The same.
        converged_below: The share of base's that head's share must not surely be below, 0 to 1; 0 fails nothing.
        confidence: Of the intervals.
    """
    ours, theirs = _studies(base), _studies(head)
    both, alone = matched(ours, theirs)
    level = CHANCE / max(1, len(both))
    return [_outcome(each, ours[each], theirs[each], converged_below, confidence, level) for each in both], alone


def shown(outcomes: Sequence[Outcome], converged_below: float, confidence: float) -> list[str]:
    """The outcomes as lines of text: who converged, then the means over seeds."""
    several = len({outcome.machines for outcome in outcomes}) > 1 or any(" → " in o.machines for o in outcomes)
    header = ("configuration", "machine", "base converged", "interval", "head converged", "interval", "p", "")
    rows = []
    for o in outcomes:
        counts = [text for count in (o.base, o.head) for text in _shown_count(count, confidence)]
        rows.append((o.training.label, o.machines if several else "", *counts, f"{o.chance:.2g}", o.verdict))
    lines = [*aligned(header, rows), ""]
    means = [(o.training.label if len(outcomes) > 1 else "", f) for o in outcomes for f in o.figures]
    if means:
        columns = ("configuration", "mean over seeds", "base", "interval", "head", "interval", "difference", "interval")
        lines += [*aligned((*columns, ""), [_means(label, figure) for label, figure in means]), ""]
    lines.append(
        f"interval: at a confidence of {confidence:g}; p: of so few in head by chance, were both sides alike "
        "(Fisher's exact test)."
    )
    if blind := [o.training.label for o in outcomes if not o.enough]:
        lines.append(
            f"Too few seeds to fail anything, whatever comes of them: {', '.join(blind)}; use --seeds {ENOUGH}."
        )
    if any(outcome.verdict == "unsure" for outcome in outcomes):
        lines.append(
            f"unsure: below {converged_below:g} of base's share, but chance may do that; more seeds tell. Not failed."
        )
    for o in outcomes:
        if o.differing:
            lines.append(f"{o.training.label}: not all were trained alike, the recipes differ in {_some(o.differing)}.")
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _studies(results: Iterable[Result]) -> dict[Training, list[Result]]:
    """The newest result of each seed, by what was trained."""
    found: dict[Training, dict[float | str, Result]] = defaultdict(dict)
    for result in sorted((r for r in results if r.kind == "converge"), key=lambda r: r.started):
        found[_training(result)][result.metrics.get("seed", result.digest)] = result
    return {training: list(seeds.values()) for training, seeds in found.items()}


def _training(result: Result) -> Training:
    c: Configuration = result.configuration
    epochs = json.loads(result.recipe_json).get("epochs", 0)
    criterion = str(result.environment.get("criterion", ""))
    shape = (c.recipe, c.batch_size, c.devices, c.precision, c.compiled, c.gmacs)
    return Training(*shape, float(epochs), criterion, c.variant)


def _outcome(
    training: Training, base: list[Result], head: list[Result], converged_below: float, confidence: float, level: float
) -> Outcome:
    ours, theirs = _count(base), _count(head)
    chance = chance_of_fewer(ours, theirs)
    low = theirs.share < converged_below * ours.share
    if chance < level:
        verdict = TOO_FEW if low else "fewer"
    else:
        verdict = "unsure" if low else "more" if chance_of_fewer(theirs, ours) < level else "same"
    machines = dict.fromkeys(", ".join(sorted({result.machine for result in side})) for side in (base, head))
    figures = _figures(base, head, confidence)
    return Outcome(
        training,
        " → ".join(machines),
        ours,
        theirs,
        chance,
        figures,
        _differing([*base, *head]),
        _can_fail(ours, theirs, level),
        verdict,
    )


def _count(results: Sequence[Result]) -> Count:
    return Count(sum(result.metrics.get("converged", 0) > 0 for result in results), len(results))


def _differing(results: Sequence[Result]) -> list[str]:
    """The fields in which the recipes of `results` are not one."""
    recipes = [flat(json.loads(result.recipe_json)) for result in results]
    fields = dict.fromkeys(name for recipe in recipes for name in recipe if not name.startswith(OF_THE_RUN))
    return [name for name in fields if any(recipe.get(name) != recipes[0].get(name) for recipe in recipes)]


def _figures(base: list[Result], head: list[Result], confidence: float) -> list[Figure]:
    """Of every score and loss that is finite in a seed of each side."""
    names = dict.fromkeys(name for result in (*base, *head) for name in result.metrics)
    figures = []
    for name in sorted(names, key=lambda name: not name.startswith(FIGURES[0])):  # scores first, in their order
        ours, theirs = _finite(base, name), _finite(head, name)
        if name.startswith(FIGURES) and ours and theirs:
            means = mean_of(ours, confidence), mean_of(theirs, confidence)
            figures.append(Figure(name.removeprefix("score/"), *means, difference_of(ours, theirs, confidence)))
    return figures


def _finite(results: Sequence[Result], name: str) -> list[float]:
    values = (result.metrics.get(name, math.nan) for result in results)
    return [value for value in values if math.isfinite(value)]


def _can_fail(base: Count, head: Count, level: float) -> bool:
    """Whether any outcome of so many seeds is surely worse than another."""
    return chance_of_fewer(Count(base.seeds, base.seeds), Count(0, head.seeds)) < level


def _shown_count(count: Count, confidence: float) -> tuple[str, str]:
    low, high = count.interval(confidence)
    return f"{count.converged} of {count.seeds}", f"{100 * low:.0f} to {100 * high:.0f} %"


def _means(label: str, figure: Figure) -> tuple[str, ...]:
    sides = [text for mean in (figure.base, figure.head, figure.difference) for text in _mean(mean)]
    return label, figure.name, *sides, "differs" if figure.differs else ""


def _mean(mean: Mean) -> tuple[str, str]:
    ends = "?" if mean.interval is None else " to ".join(digits(end, 3) for end in mean.interval)
    return digits(mean.value, 4), ends
