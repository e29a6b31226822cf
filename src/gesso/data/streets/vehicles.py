"""Cars, trucks, buses and trams: boxes along the street, seen from one end and one side."""

import math
from dataclasses import dataclass
from typing import Final

from gesso.data.streets.canvas import FRONT, LEFT, RGB, RIGHT, UP, Canvas, Plane, Point
from gesso.data.streets.classes import BUS, CAR, ROAD, TRAIN, TRUCK
from gesso.data.streets.plan import Thing

PANE: Final[RGB] = (50, 58, 68)
TYRE: Final[RGB] = (34, 34, 36)
HUB: Final[RGB] = (136, 138, 142)
TAIL: Final[RGB] = (196, 40, 32)
HEAD: Final[RGB] = (236, 236, 222)
CIRCLE: Final = tuple((math.cos(math.tau * i / 10), math.sin(math.tau * i / 10)) for i in range(10))


@dataclass(frozen=True, slots=True)
class _Inks:
    body: int
    side: int
    top: int
    pane: int
    pane_side: int
    tyre: int
    light: int


def _shadow(canvas: Canvas, x: float, half: float, z: float, length: float) -> None:
    dark = canvas.ink(ROAD, (30, 30, 34), UP, canvas.ground)
    canvas.floor(x - half - 0.12, x + half + 0.12, z - 0.12, z + length, dark)


def _inks(canvas: Canvas, thing: Thing, label: int, instance: int, plane: Plane, rgb: RGB, face: int) -> _Inks:
    lamp = TAIL if thing.away else HEAD
    glow: RGB = (230, 30, 20) if thing.away else (255, 246, 214)

    def ink(colour: RGB, facing: int, light: RGB = (0, 0, 0)) -> int:
        return canvas.ink(label, colour, facing, plane, rough=0.02, mottle=0.02, glow=light, instance=instance)

    pane_glow: RGB = (0, 0, 0) if label in (CAR, TRUCK) else (214, 196, 148)  # lit inside
    return _Inks(
        ink(rgb, FRONT), ink(rgb, face), ink(rgb, UP), ink(PANE, FRONT, pane_glow), ink(PANE, face, pane_glow),
        ink(TYRE, FRONT), ink(lamp, FRONT, glow),
    )  # fmt: skip


def _seen_side(canvas: Canvas, x: float, half: float) -> tuple[float, int] | None:
    """x of the side that the camera sees, and which way it faces; None from straight behind."""
    if x - half > canvas.eye_x:
        return x - half, LEFT
    if x + half < canvas.eye_x:
        return x + half, RIGHT
    return None


def _wheels(canvas: Canvas, x: float, centres: tuple[float, ...], radius: float, tyre: int, hub: int) -> None:
    for z in centres:
        canvas.profile(x, [(z + radius * c, radius + radius * s) for c, s in CIRCLE], tyre)
        if canvas.scale(z) * radius > 3:
            inner = 0.58 * radius
            canvas.profile(x, [(z + inner * c, radius + inner * s) for c, s in CIRCLE], hub)


def paint_car(canvas: Canvas, car: Thing, instance: int) -> None:
    """A saloon (form 0), a hatchback (1) or a van (2), 4.3 m long."""
    x, z, size = car.x, car.z, car.size
    length, half = 4.3 * size, 0.89 * size
    deck, roof = (0.92 * size, 1.45 * size) if car.form < 2 else (1.02 * size, 1.82 * size)
    boot: Point = ((0.75, 1.25), (0.08, 0.5), (0.05, 0.25))[car.form]  # glass starts, roof starts, from the tail
    nose: Point = ((1.0, 1.75), (0.95, 1.65), (0.8, 1.4))[car.form]
    near, far = (boot, nose) if car.away else (nose, boot)
    side = _seen_side(canvas, x, half)
    ink = _inks(canvas, car, CAR, instance, canvas.front(z + 1), car.rgb, side[1] if side else FRONT)
    _shadow(canvas, x, half, z, length)
    detailed = canvas.scale(z) > 5
    if side:
        edge, face = side
        inward = 0.14 * half * (1 if edge < x else -1)
        start, near_roof, far_roof, stop = z + near[0], z + near[1], z + length - far[1], z + length - far[0]
        _car_flank(canvas, edge, inward, (z, start, near_roof, far_roof, stop, z + length), deck, roof, ink)
        if detailed:
            hub = canvas.ink(CAR, HUB, face, canvas.front(z + 1), instance=instance)
            _wheels(canvas, edge, (z + 0.8 * size, z + length - 0.85 * size), 0.32, ink.tyre, hub)
    if detailed and canvas.eye_y > roof:
        _slab(canvas, x, (0.84 * half, roof, z + near[1]), (0.84 * half, roof, z + length - far[1]), ink.top)
    _slab(canvas, x, (half, deck, z + near[0]), (half * 0.86, roof, z + near[1]), ink.body)
    _slab(canvas, x, (half * 0.85, deck + 0.05, z + near[0]), (half * 0.76, roof - 0.08, z + near[1]), ink.pane)
    _slab(canvas, x, (half, deck, z), (half, deck, z + near[0]), ink.top)
    canvas.rect(x - half, x + half, 0.28, deck, z, ink.body)
    _lamps(canvas, car, half, deck - 0.3, ink)
    if not detailed:
        return
    for sign in (-1, 1):
        canvas.rect(x + sign * (half - 0.04), x + sign * (half - 0.26), 0, 0.32, z, ink.tyre)
    canvas.rect(x - half, x + half, 0.26, 0.4, z, ink.tyre)
    if car.away:
        canvas.rect(x - 0.26, x + 0.26, 0.5, 0.62, z, ink.pane)
    else:
        canvas.rect(x - 0.5 * half, x + 0.5 * half, 0.48, 0.66, z, ink.pane)


def _car_flank(
    canvas: Canvas, edge: float, inward: float, stations: tuple[float, ...], deck: float, roof: float, ink: _Inks
) -> None:
    """Body, cabin and side windows. `stations`: z of tail, glass, roof, roof's end, glass's end, nose."""
    tail, start, near_roof, far_roof, stop, nose = stations
    at = canvas.at
    canvas.profile(edge, [(tail, 0.3), (tail, deck), (nose, deck), (nose, 0.3)], ink.side)
    top, sill, lintel = edge + inward, deck + 0.03, roof - 0.07
    canvas.polygon(
        [at(edge, deck, start), at(top, roof, near_roof), at(top, roof, far_roof), at(edge, deck, stop)], ink.side
    )
    canvas.polygon(
        [
            at(edge, sill, start + 0.2),
            at(top, lintel, near_roof + 0.12),
            at(top, lintel, far_roof - 0.12),
            at(edge, sill, stop - 0.2),
        ],
        ink.pane_side,
    )
    if canvas.scale(tail) > 8:
        pillar = 0.5 * (start + stop)
        canvas.flank(edge + inward * 0.5, pillar - 0.06, pillar + 0.06, sill, lintel, ink.side)


def _slab(
    canvas: Canvas, x: float, low: tuple[float, float, float], high: tuple[float, float, float], ink: int
) -> None:
    """A sloping trapezoid around x, from its lower edge to its upper: (half width, y, z) of each."""
    (a, y0, z0), (b, y1, z1), at = low, high, canvas.at
    canvas.polygon([at(x - a, y0, z0), at(x + a, y0, z0), at(x + b, y1, z1), at(x - b, y1, z1)], ink)


def _box(
    canvas: Canvas, ink: _Inks, x: float, half: float, z: tuple[float, float], y: tuple[float, float],
    side: tuple[float, int] | None,
) -> None:  # fmt: skip
    if side:
        canvas.flank(side[0], z[0], z[1], y[0], y[1], ink.side)
    canvas.rect(x - half, x + half, y[0], y[1], z[0], ink.body)


def _lamps(canvas: Canvas, thing: Thing, half: float, y: float, ink: _Inks) -> None:
    """The two lamps of the near end, from y upwards."""
    for sign in (-1, 1):
        x = thing.x + sign * half * 0.8
        canvas.rect(x - 0.15, x + 0.15, y, y + 0.19, thing.z, ink.light)
        if not thing.away:
            canvas.halo(x, y + 0.1, thing.z, 0.6, ink.light)


def paint_truck(canvas: Canvas, truck: Thing, instance: int) -> None:
    """A box truck of 7.5 m: the box behind, the cab before."""
    x, z, size = truck.x, truck.z, truck.size
    half, length, top = 1.2 * size, 7.5 * size, 3.3 * size
    side = _seen_side(canvas, x, half)
    face = side[1] if side else FRONT
    cargo: RGB = (204, 202, 196) if truck.rgb[0] < 190 else (120, 130, 140)
    cab = _inks(canvas, truck, TRUCK, instance, canvas.front(z + 1), truck.rgb, face)
    box = _inks(canvas, truck, TRUCK, instance, canvas.front(z + 1), cargo, face)
    _shadow(canvas, x, half, z, length)
    if side:
        canvas.flank(side[0], z, z + length, 0.45, 0.95, box.tyre)
    cab_at = (z + length - 1.9, z + length) if truck.away else (z, z + 1.9)
    box_at = (z, z + length - 2.0) if truck.away else (z + 2.0, z + length)
    cab_y, box_y = (0.5, 2.5 * size), (0.95, top)
    if truck.away:
        _box(canvas, cab, x, half * 0.96, cab_at, cab_y, side)
    _box(canvas, box, x, half, box_at, box_y, side)
    if side:
        _wheels(canvas, side[0], (z + 1.2, z + length - 1.1), 0.47, cab.tyre, box.side)
    for sign in (-1, 1):
        canvas.rect(x + sign * (half - 0.1), x + sign * (half - 0.5), 0, 0.6, z, cab.tyre)
    if truck.away:
        canvas.rect(x - half, x + half, 0.55, 0.95, z, cab.tyre)
        canvas.rect(x - 0.04, x + 0.04, 1.0, top - 0.1, z, cab.pane)
        _lamps(canvas, truck, half, 0.68, cab)
        return
    _box(canvas, cab, x, half * 0.96, cab_at, cab_y, side)
    if side:
        canvas.flank(side[0], z + 0.35, z + 1.3, 1.5, 2.3 * size, cab.pane_side)
    canvas.rect(x - half * 0.86, x + half * 0.86, 1.45, 2.3 * size, z, cab.pane)
    canvas.rect(x - half * 0.6, x + half * 0.6, 0.85, 1.2, z, cab.tyre)
    _lamps(canvas, truck, half, 0.7, cab)


def paint_bus(canvas: Canvas, bus: Thing, instance: int) -> None:
    """A city bus of 11 m."""
    _coach(canvas, bus, instance, BUS, half=1.27 * bus.size, length=11.0, top=3.1 * bus.size, ride=0.35)


def paint_train(canvas: Canvas, tram: Thing, instance: int) -> None:
    """A tram of 30 m, with its pantograph."""
    z, top = tram.z, 3.5
    rod = canvas.ink(TRAIN, (70, 72, 76), FRONT, canvas.front(z + 1), instance=instance)
    canvas.rod((tram.x - 0.5, top), (tram.x + 0.3, top + 0.9), z + 4, 0.07, rod)
    canvas.rod((tram.x - 0.7, top + 0.9), (tram.x + 0.9, top + 0.9), z + 4, 0.07, rod)
    _coach(canvas, tram, instance, TRAIN, half=1.3, length=30.0, top=top, ride=0.2)


def _coach(
    canvas: Canvas, thing: Thing, instance: int, label: int, *, half: float, length: float, top: float, ride: float
) -> None:
    x, z = thing.x, thing.z
    side = _seen_side(canvas, x, half)
    face = side[1] if side else FRONT
    plane = canvas.front(z + 1)
    ink = _inks(canvas, thing, label, instance, plane, thing.rgb, face)
    trim = canvas.ink(label, (212, 210, 202), FRONT, plane, instance=instance)
    trim_side = canvas.ink(label, (212, 210, 202), face, plane, instance=instance)
    _shadow(canvas, x, half, z, length)
    _box(canvas, ink, x, half, (z, z + length), (ride, top), side)
    if side:
        edge = side[0]
        canvas.flank(edge, z, z + length, top - 0.45, top, trim_side)
        pitch = 1.5
        start = z + 0.4
        while start + pitch < z + length:
            canvas.flank(edge, start, start + pitch - 0.18, 1.35, top - 0.6, ink.pane_side)
            start += pitch
        if label == BUS:
            _wheels(canvas, edge, (z + 2.4, z + length - 2.4), 0.48, ink.tyre, trim_side)
        else:
            canvas.flank(edge, z, z + length, ride, ride + 0.3, ink.tyre)
    canvas.rect(x - half, x + half, top - 0.45, top, z, trim)
    low = 1.2 if not thing.away or label == TRAIN else 1.75
    canvas.rect(x - half * 0.88, x + half * 0.88, low, top - 0.55, z, ink.pane)
    sign = canvas.ink(label, (60, 58, 40), FRONT, plane, glow=(250, 190, 70), instance=instance)
    canvas.rect(x - half * 0.5, x + half * 0.5, top - 0.4, top - 0.12, z, sign)
    canvas.rect(x - half, x + half, ride, ride + 0.25, z, ink.tyre)
    if label == BUS:
        for hand in (-1, 1):
            canvas.rect(x + hand * (half - 0.1), x + hand * (half - 0.4), 0, ride + 0.1, z, ink.tyre)
    _lamps(canvas, thing, half, 0.68, ink)
