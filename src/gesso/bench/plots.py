"""The plots of the bench's page, as SVG without scripts. Colours are the page's own variables, so light and dark work.

Each mark carries its numbers in a <title>, which a browser shows on hover and a screen reader speaks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from gesso.engine.figures import digits

MOST_BARS = 40
MOST_LINES = 8
"""As many as the page has colours."""
WIDTH = 720
"""Of a plot in its own units, which the page scales."""
_ROW, _LEFT, _RIGHT, _LETTER = 26, 12, 70, 6.4


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
    left = min(WIDTH * 0.55, _LETTER * max(len(bar.name) for bar in shown) + _LEFT)
    most = max(bar.value * (1 + 2 * finite(bar.noise)) for bar in shown)
    scale = (WIDTH - left - _RIGHT) / most
    parts = []
    for row, bar in enumerate(shown):
        middle, length = row * _ROW + _ROW / 2, bar.value * scale
        spread = 2 * finite(bar.noise) * length
        title = f"{bar.name}: {digits(bar.value, 3)} images/s" + (f" ± {bar.noise:.1%}" if spread else "")
        parts.append(
            Markup(
                '<g><title>{}</title><text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>'
                '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="14" rx="2"/>'
            ).format(title, left - 8, middle + 4, _cut(bar.name, left - 8), left, middle - 7, length)
        )
        if spread:
            path = f"M{left + length - spread:.1f} {middle:.1f}h{2 * spread:.1f}"
            parts.append(Markup('<path class="whisker" d="{}"/>').format(path))
        end = left + length + spread + 6
        parts.append(Markup('<text x="{:.1f}" y="{:.1f}">{}</text></g>').format(end, middle + 4, digits(bar.value, 3)))
    return _svg(parts, len(shown) * _ROW, "images a second, by configuration") + _left_out(len(there) - len(shown))


def history(there: Sequence[History]) -> Markup:
    """A line for each through its points, in the order of time, as a share of its first point; '' without any."""
    if not there:
        return Markup("")
    shown = there[:MOST_LINES]
    times = sorted({_seconds(when) for line in shown for when, _, _ in line.points})
    shares = [value / line.points[0][2] for line in shown for _, _, value in line.points]
    low, high = min(0.9, *shares), max(1.1, *shares)
    top, height, left = 10, 220, 46

    def across(when: str) -> float:
        whole = times[-1] - times[0]
        return left + (WIDTH - left - 20) * ((_seconds(when) - times[0]) / whole if whole else 0.5)

    def down(share: float) -> float:
        return top + height * (high - share) / (high - low)

    parts = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" text-anchor="end">{:.0%}</text>').format(
            left, down(share), WIDTH - 20, left - 8, down(share) + 4, share
        )
        for share in (low, 1.0, high)
    ]
    for number, line in enumerate(shown):
        points = [(across(when), down(value / line.points[0][2])) for when, _, value in line.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        colour = f"var(--c{number})"
        parts.append(Markup('<path class="line" stroke="{}" d="{}"/>').format(colour, path))
        for (x, y), (when, state, value) in zip(points, line.points, strict=True):
            title = f"{line.name}, {state}, {when[:10]}: {digits(value, 3)} images/s"
            mark = '<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}"><title>{}</title></circle>'
            parts.append(Markup(mark).format(x, y, colour, title))
    foot = top + height + 18
    for when, anchor in ((min(p[0] for line in shown for p in line.points), "start"), (_last(shown), "end")):
        x = left if anchor == "start" else WIDTH - 20
        parts.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, foot, anchor, when[:10]))
    keys = [
        Markup('<li><i style="background: var(--c{})"></i>{}</li>').format(number, line.name)
        for number, line in enumerate(shown)
    ]
    plot = _svg(parts, foot + 6, "throughput over time, as a share of the first")
    return plot + Markup('<ul class="keys">{}</ul>').format(Markup("").join(keys)) + _left_out(len(there) - len(shown))


def finite(value: float) -> float:
    """`value`, or 0 where it is not finite."""
    return value if math.isfinite(value) else 0.0


def _svg(parts: Sequence[Markup], height: float, about: str) -> Markup:
    opened = '<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>'
    return Markup(opened).format(WIDTH, height, about, Markup("").join(parts))


def _cut(name: str, width: float) -> Markup:
    """`name` as far as it fits into `width`."""
    most = int(width / _LETTER)
    return escape(name if len(name) <= most else name[: most - 1] + "…")


def _left_out(count: int) -> Markup:
    return Markup('<p class="hint">{} more are in the tables.</p>').format(count) if count > 0 else Markup("")


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


def _last(lines: Sequence[History]) -> str:
    return max(when for line in lines for when, _, _ in line.points)
