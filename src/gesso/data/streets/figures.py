"""Persons, and riders with their bicycles and motorcycles."""

from typing import Final

from gesso.data.streets.canvas import FRONT, RGB, UP, Canvas, scaled
from gesso.data.streets.classes import BICYCLE, MOTORCYCLE, PERSON, RIDER
from gesso.data.streets.plan import Thing

HAIR: Final[tuple[RGB, ...]] = ((58, 44, 36), (104, 80, 54), (36, 34, 36))


def paint_person(canvas: Canvas, person: Thing, instance: int) -> None:
    """Someone who walks or stands, 1.75 m tall before scaling."""
    x, z, size = person.x, person.z, person.size
    plane = canvas.front(z)

    def ink(rgb: RGB) -> int:
        return canvas.ink(PERSON, rgb, FRONT, plane, rough=0.04, mottle=0.04, instance=instance)

    coat, legs = ink(person.rgb), ink(person.accent)
    sleeve = ink(scaled(person.rgb, 0.82))
    skin, hair = ink(person.skin), ink(HAIR[person.form])
    if canvas.scale(z) < 5:  # too far for limbs
        canvas.shape([(x - 0.2, 0.7), (x - 0.15, 0), (x + 0.2, 0), (x + 0.2, 0.7)], z, legs)
        canvas.rect(x - 0.25, x + 0.25, 0.7, 1.46 * size, z, coat)
        canvas.disc(x, 1.62 * size, z, 0.13 * size, skin, stretch=1.25)
        return
    stride, hip, neck = 0.06 + 0.2 * person.phase, 0.84 * size, 1.46 * size
    for sign in (-1, 1):
        foot = x + sign * stride
        lift = 0.08 * person.phase if sign > 0 else 0.0
        canvas.shape(
            [(x + sign * 0.17 - 0.01, hip), (x - sign * 0.02, hip), (foot - 0.06, lift), (foot + 0.1, lift)], z, legs
        )
    for sign in (-1, 1):
        hand = x + sign * (0.3 + 0.1 * person.phase)
        cuff = hand - sign * 0.09
        arm = [(x + sign * 0.2, neck - 0.04), (x + sign * 0.28, neck - 0.1), (hand, hip - 0.02), (cuff, hip)]
        canvas.shape(arm, z, sleeve)
        canvas.disc(hand - sign * 0.04, hip - 0.04, z, 0.05, skin)
    hem = hip - (0.22 if person.form == 1 else 0.06) * size  # a long coat, or a jacket
    _torso(canvas, x, z, hem, neck, coat)
    canvas.disc(x, 1.61 * size, z, 0.115 * size, skin, stretch=1.25)
    if person.away:
        canvas.disc(x, 1.63 * size, z, 0.12 * size, hair, stretch=1.2)
    else:
        canvas.disc(x, 1.71 * size, z, 0.115 * size, hair, stretch=0.6)


def _torso(canvas: Canvas, x: float, z: float, hem: float, neck: float, ink: int) -> None:
    half = [(0.2, hem), (0.23, neck - 0.06), (0.1, neck)]
    canvas.shape([*((x - dx, y) for dx, y in half), *((x + dx, y) for dx, y in reversed(half))], z, ink)


def paint_cycle(canvas: Canvas, cycle: Thing, instance: int) -> None:
    """A bicycle or a motorcycle, ridden or parked, from its end or (`across`) from its side."""
    label = BICYCLE if cycle.kind == "bicycle" else MOTORCYCLE
    plane = canvas.front(cycle.z)
    metal = canvas.ink(label, (52, 54, 60) if label == BICYCLE else cycle.accent, FRONT, plane, instance=instance)
    tyre = canvas.ink(label, (36, 36, 40), FRONT, plane, instance=instance)
    paint = canvas.ink(label, cycle.rgb, FRONT, plane, instance=instance)
    if cycle.across:
        _machine_side(canvas, cycle, label, metal, tyre, paint)
    else:
        _machine_end(canvas, cycle, label, metal, tyre, paint, instance)
    if cycle.ridden:
        _rider(canvas, cycle, instance)


def _machine_side(canvas: Canvas, cycle: Thing, label: int, metal: int, tyre: int, paint: int) -> None:
    x, z, way = cycle.x, cycle.z, 1 if cycle.away else -1
    radius, reach, thick = (0.35, 0.54, 0.055) if label == BICYCLE else (0.32, 0.68, 0.13)
    back, front = x - way * reach, x + way * reach
    for axle in (back, front):
        canvas.ring(axle, radius, z, radius, thick, tyre, 1.0)
    hub = (back, radius)
    pedal, seat, bar = (x - way * 0.08, 0.32), (x - way * 0.22, 0.92), (x + way * 0.38, 0.98)
    if label == BICYCLE:
        frame = ((pedal, seat), (pedal, bar), (seat, bar), (hub, seat), (hub, pedal), ((front, radius), bar))
        for a, b in frame:
            canvas.rod(a, b, z, 0.05, paint)
        canvas.rod((seat[0] - 0.12, 0.96), (seat[0] + 0.12, 0.96), z, 0.06, metal)
        canvas.rod((bar[0], 0.98), (bar[0] - way * 0.12, 1.06), z, 0.05, metal)
        return
    tank = [(0.1, 0.8), (0.42, 1.0), (0.5, 0.72), (0.2, 0.3), (-0.35, 0.3)]
    canvas.shape([(back, 0.62), (back, 0.84), *((x + way * dx, y) for dx, y in tank)], z, paint)
    canvas.rod((front, radius), (x + way * 0.42, 1.05), z, 0.09, metal)
    canvas.rod((back - way * 0.05, 0.88), (x - way * 0.05, 0.86), z, 0.1, tyre)


def _machine_end(canvas: Canvas, cycle: Thing, label: int, metal: int, tyre: int, paint: int, instance: int) -> None:
    x, z = cycle.x, cycle.z
    wide, radius = (0.16, 0.35) if label == BICYCLE else (0.3, 0.33)
    canvas.disc(x, radius, z, radius * wide, tyre, stretch=1 / wide)
    if label == BICYCLE:
        canvas.rod((x, 0.5), (x, 0.96), z, 0.07, paint)
        canvas.rod((x - 0.28, 1.02), (x + 0.28, 1.02), z, 0.05, metal)
    else:
        canvas.shape([(x - 0.2, 0.45), (x - 0.26, 0.85), (x + 0.26, 0.85), (x + 0.2, 0.45)], z, paint)
        canvas.rod((x - 0.38, 1.04), (x + 0.38, 1.04), z, 0.07, metal)
    glow: RGB = (230, 30, 20) if cycle.away else (255, 246, 214)
    lamp = canvas.ink(
        label, (190, 40, 30) if cycle.away else (232, 230, 214), UP, canvas.front(z), glow=glow, instance=instance
    )
    canvas.disc(x, 0.78, z, 0.07, lamp)


def _rider(canvas: Canvas, cycle: Thing, instance: int) -> None:
    x, z, size = cycle.x, cycle.z, cycle.size
    plane = canvas.front(z)

    def ink(rgb: RGB) -> int:
        return canvas.ink(RIDER, rgb, FRONT, plane, rough=0.04, mottle=0.04, instance=instance)

    coat, legs, skin = ink(cycle.rgb), ink(cycle.accent), ink(cycle.skin)
    helmet = ink((196, 196, 190) if cycle.form else (60, 62, 70))
    head = 1.62 * size
    if not cycle.across:
        for sign in (-1, 1):
            low = 0.28 + 0.14 * (cycle.phase if sign > 0 else 1 - cycle.phase)
            canvas.rod((x + sign * 0.11, 0.95), (x + sign * 0.13, low), z, 0.15, legs)
            canvas.rod((x + sign * 0.2, 1.38), (x + sign * 0.3, 1.05), z, 0.1, coat)
        _torso(canvas, x, z, 0.86, 1.47, coat)
        canvas.disc(x, head, z, 0.12, skin, stretch=1.2)
        canvas.disc(x, head + 0.06, z, 0.135, helmet, stretch=0.8)
        return
    way = 1 if cycle.away else -1
    hip, shoulder = (x - way * 0.2, 0.96), (x + way * 0.08, 1.42)
    for lift in (cycle.phase, 1 - cycle.phase):
        knee, foot = (x + way * 0.16, 0.62 + 0.14 * lift), (x - way * (0.1 - 0.12 * lift), 0.2 + 0.22 * lift)
        canvas.rod(hip, knee, z, 0.15, legs)
        canvas.rod(knee, foot, z, 0.11, legs)
    canvas.rod(hip, shoulder, z, 0.3, coat)
    canvas.rod((shoulder[0], 1.36), (x + way * 0.36, 1.06), z, 0.1, coat)
    canvas.disc(shoulder[0] + way * 0.1, head, z, 0.12, skin, stretch=1.2)
    canvas.disc(shoulder[0] + way * 0.08, head + 0.06, z, 0.135, helmet, stretch=0.8)
