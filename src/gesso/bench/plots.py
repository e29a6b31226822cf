"""The plots of the bench's page, without scripts. Colours are the page's own variables, so light and dark work.

All words are HTML, so that they are as large as the page's own, and whole, however narrow the screen; only lines are
SVG, which is stretched to the width there is. Places are shares of that width, in percent. Each mark carries its
numbers in a title, which a browser shows on hover.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from gesso.engine.figures import digits

MOST_BARS = 40
MOST_LINES = 8
"""As many as the page has colours."""


@dataclass(frozen=True)
class Bar:
    name: str
    value: float
    noise: float
    """Standard deviation as a share of the value; nan where it is not known."""


@dataclass(frozen=True)
class History:
    name: str
    points: list[tuple[str, str, float]]
    """(ISO time, state of the code, value), oldest first"""


def bars(there: Sequence[Bar]) -> Markup:
    """A bar for each, with a whisker of two standard deviations, from 0; '' without any."""
    if not there:
        return Markup("")
    shown = there[:MOST_BARS]
    most = max(bar.value * (1 + 2 * finite(bar.noise)) for bar in shown)
    parts = []
    for bar in shown:
        length = 100 * bar.value / most
        spread = 2 * finite(bar.noise) * length
        title = f"{bar.name}: {digits(bar.value, 3)} images/s" + (f" ± {bar.noise:.1%}" if spread else "")
        whisker = Markup('<i class="whisker" style="left: {:.2f}%; width: {:.2f}%"></i>')
        parts.append(
            Markup(
                '<li><span>{}</span><div title="{}"><i class="bar" style="width: {:.2f}%"></i>{}'
                '<b style="left: {:.2f}%">{}</b></div></li>'
            ).format(
                bar.name,
                title,
                length,
                whisker.format(length - spread, 2 * spread) if spread else "",
                length + spread,
                digits(bar.value, 3),
            )
        )
    return Markup('<ul class="bars">{}</ul>').format(Markup("").join(parts)) + _left_out(len(there) - len(shown))


def history(there: Sequence[History]) -> Markup:
    """A line for each through its points, in the order of time, as a share of its first point; '' without any."""
    if not there:
        return Markup("")
    shown = there[:MOST_LINES]
    times = sorted({_seconds(when) for line in shown for when, _, _ in line.points})
    shares = [value / line.points[0][2] for line in shown for _, _, value in line.points]
    low, high = min(0.9, *shares), max(1.1, *shares)

    def across(when: str) -> float:
        whole = times[-1] - times[0]
        return 100 * ((_seconds(when) - times[0]) / whole if whole else 0.5)

    def down(share: float) -> float:
        return 100 * (high - share) / (high - low)

    ticks = [
        Markup('<span style="top: {:.2f}%">{:.0%}</span>').format(down(share), share) for share in (low, 1.0, high)
    ]
    parts = [Markup('<path class="grid" d="M0 {:.2f}H100"/>').format(down(share)) for share in (low, 1.0, high)]
    for number, line in enumerate(shown):
        points = [(across(when), down(value / line.points[0][2])) for when, _, value in line.points]
        path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
        colour = f"var(--c{number})"
        parts.append(Markup('<path class="line" stroke="{}" d="{}"/>').format(colour, path))
        for (x, y), (when, state, value) in zip(points, line.points, strict=True):
            title = f"{line.name}, {state}, {when[:10]}: {digits(value, 3)} images/s"
            # A line of no length with round ends: a disc, which a circle would not stay where the drawing is stretched.
            mark = '<path class="point" stroke="{}" d="M{:.2f} {:.2f}h0"><title>{}</title></path>'
            parts.append(Markup(mark).format(colour, x, y, title))
    moments = [when[:10] for line in shown for when, _, _ in line.points]
    keys = [
        Markup('<li><i style="background: var(--c{})"></i>{}</li>').format(number, line.name)
        for number, line in enumerate(shown)
    ]
    return Markup(
        '<div class="history"><div class="ticks">{}</div><svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        'role="img" aria-label="throughput over time, as a share of the first">{}</svg>'
        '<div class="dates"><span>{}</span><span>{}</span></div></div><ul class="keys">{}</ul>{}'
    ).format(
        Markup("").join(ticks),
        Markup("").join(parts),
        min(moments),
        max(moments) if max(moments) != min(moments) else "",
        Markup("").join(keys),
        _left_out(len(there) - len(shown)),
    )


def finite(value: float) -> float:
    """`value`, or 0 where it is not finite."""
    return value if math.isfinite(value) else 0.0


def _left_out(count: int) -> Markup:
    return Markup('<p class="hint">{} more are in the tables.</p>').format(count) if count > 0 else Markup("")


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()
