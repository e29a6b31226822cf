"""The built-in data: a street, its label map, its weather and its time of day, from two numbers.

A scene is *planned* in metres (plan.py), *painted* far to near as numbered inks (canvas.py and the painters), and
*developed* into a photo under some light (light.py, shade.py). The plan holds all chance, the painters none, and the
light has dice of its own; so a scene is the same street at every size and in every weather.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gesso.data.streets.canvas import Canvas
from gesso.data.streets.classes import CLASSES, PALETTE, TRAIN_LABELS, colour
from gesso.data.streets.figures import paint_cycle, paint_person
from gesso.data.streets.furniture import paint_bush, paint_lamp, paint_sign, paint_signal, paint_tree
from gesso.data.streets.ground import paint_ground, paint_skyline
from gesso.data.streets.houses import paint_piece
from gesso.data.streets.light import HOURS, WEATHERS, draw_light
from gesso.data.streets.plan import Thing, draw_plan
from gesso.data.streets.shade import develop
from gesso.data.streets.vehicles import paint_bus, paint_car, paint_train, paint_truck
from gesso.errors import UsageError

__all__ = [
    "CLASSES",
    "HOURS",
    "PALETTE",
    "RENDERER",
    "SMALLEST",
    "TRAIN_LABELS",
    "WEATHERS",
    "Street",
    "colour",
    "render",
]

SMALLEST: Final = 32
"""Fewest pixels of a side."""

PAINTERS: Final[dict[str, Callable[[Canvas, Thing, int], None]]] = {
    "bicycle": paint_cycle,
    "bus": paint_bus,
    "bush": paint_bush,
    "car": paint_car,
    "lamp": paint_lamp,
    "motorcycle": paint_cycle,
    "person": paint_person,
    "sign": paint_sign,
    "signal": paint_signal,
    "train": paint_train,
    "tree": paint_tree,
    "truck": paint_truck,
}

RENDERER: Final = 1
"""To be raised by whoever changes what the same arguments draw, so that no cache shows the streets of before."""

LONGEST: Final = {"car": 5.0, "truck": 8.5, "bus": 11.0, "train": 30.0}
"""Metres from the near end to the far end, of what is long."""


@dataclass(frozen=True)
class Street:
    """A rendered scene; photo and labels have the same geometry, pixel by pixel."""

    photo: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    labels: NDArray[np.uint8]
    """(H, W) Cityscapes label ids (7 road … 33 bicycle)."""
    instances: NDArray[np.int32]
    """(H, W) as in Cityscapes: label * 1000 + n for the n-th person, rider or vehicle, the label id elsewhere."""
    weather: str
    """A key of WEATHERS."""
    hour: str
    """A key of HOURS."""

    @property
    def colour(self) -> NDArray[np.uint8]:
        """The labels in Cityscapes' palette, (H, W, 3) RGB."""
        return colour(self.labels)


def render(
    seed: int, index: int, width: int, height: int, *, weather: str | None = None, hour: str | None = None
) -> Street:
    """Scene `index` of the world `seed`: a function of its arguments alone, bit for bit.

    seed and index lie in [0, 2**64), width and height are at least SMALLEST pixels. weather is a key of WEATHERS and
    hour one of HOURS; None draws it from (seed, index). What stands where depends on neither size nor light. UsageError
    where a side is too small or the light unknown.
    """
    if min(width, height) < SMALLEST:
        raise UsageError(f"a street of {width}x{height}: each side needs {SMALLEST} pixels or more")
    for name, value, known in (("weather", weather, set(WEATHERS)), ("hour", hour, set(HOURS))):
        if value is not None and value not in known:
            raise UsageError(f"{name} {value!r}: choose one of {', '.join(sorted(known))}")
    plan = draw_plan(seed, index)
    light = draw_light(seed, index, weather, hour)
    canvas = Canvas(width, height, plan.eye, plan.shift, plan.horizon)
    paint_ground(canvas, plan)
    paint_skyline(canvas, plan)
    for back in plan.backs:
        if not isinstance(back, Thing):
            paint_piece(canvas, back)
        elif canvas.sees(back.x, back.z):
            PAINTERS[back.kind](canvas, back, 0)
    for number, thing in enumerate(plan.things, 1):
        if canvas.sees(thing.x, thing.z + LONGEST.get(thing.kind, 0.0)):
            PAINTERS[thing.kind](canvas, thing, number)
    photo, labels, instances = develop(canvas, plan, light, seed, index)
    return Street(photo, labels, instances, light.weather, light.hour)
