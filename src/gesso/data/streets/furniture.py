"""Trees and bushes; lamps, signals and signs on their poles. Cityscapes does not number them."""

import math
from typing import Final

from gesso.data.streets.canvas import FRONT, RGB, SELF, UP, Canvas, scaled
from gesso.data.streets.classes import POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION
from gesso.data.streets.plan import Thing

# Clumps of a crown: (x, y, radius) around its middle, in crown radii. Those behind and below come first.
CLUMPS: Final = (
    (-0.55, -0.3, 0.5), (0.55, -0.28, 0.5), (0.0, -0.2, 0.72), (-0.66, 0.1, 0.42), (0.66, 0.14, 0.42),
    (-0.34, 0.42, 0.5), (0.36, 0.4, 0.5), (0.0, 0.68, 0.42),
)  # fmt: skip
STEEL: Final[RGB] = (112, 114, 116)


def paint_tree(canvas: Canvas, tree: Thing, _instance: int) -> None:
    """A trunk and a crown of clumps, lighter above. Cityscapes counts the trunk as vegetation."""
    x, z, size = tree.x, tree.z, tree.size
    plane = canvas.front(z)
    bark = canvas.ink(VEGETATION, (86, 72, 58), FRONT, plane, rough=0.12, mottle=0.1)
    shades = [
        canvas.ink(VEGETATION, scaled(tree.rgb, gain), face, plane, rough=0.22, mottle=0.14)
        for gain, face in ((0.74, FRONT), (0.96, FRONT), (0.94, UP))
    ]
    radius, middle = 2.3 * size, 4.7 * size
    foot = 0.2 * size
    canvas.shape([(x - foot, 0), (x - 0.6 * foot, middle), (x + 0.6 * foot, middle), (x + foot, 0)], z, bark)
    lean = tree.phase * math.tau
    clumps = CLUMPS if canvas.scale(z) > 3 else CLUMPS[2:]
    for i, (dx, dy, r) in enumerate(clumps):
        wobble = 1 + 0.16 * math.sin(lean + 2.4 * i)
        shade = shades[0 if dy < -0.1 else 1 if dy < 0.3 else 2]
        canvas.disc(x + dx * radius * wobble, middle + dy * radius * 0.95, z, r * radius * wobble, shade, stretch=0.92)


def paint_bush(canvas: Canvas, bush: Thing, _instance: int) -> None:
    """Three clumps on the ground."""
    leaves = canvas.ink(VEGETATION, bush.rgb, FRONT, canvas.front(bush.z), rough=0.2, mottle=0.14)
    for dx, r in ((-0.9, 0.8), (0.9, 0.9), (0.0, 1.2)):
        canvas.disc(bush.x + dx * bush.size, 0.55 * r * bush.size, bush.z, r * bush.size, leaves, stretch=0.9)


def _pole(canvas: Canvas, thing: Thing, height: float, radius: float) -> int:
    steel = canvas.ink(POLE, STEEL, FRONT, canvas.front(thing.z))
    canvas.rect(thing.x - radius, thing.x + radius, 0, height, thing.z, steel)
    return steel


def paint_lamp(canvas: Canvas, lamp: Thing, _instance: int) -> None:
    """A street lamp of 6.5 m whose arm reaches over the road."""
    x, z, top = lamp.x, lamp.z, 6.5 * lamp.size
    steel = _pole(canvas, lamp, top, 0.09)
    arm = x - math.copysign(1.6, x)
    canvas.rod((x, top - 0.05), (arm, top + 0.15), z, 0.1, steel)
    head = canvas.ink(POLE, (188, 188, 180), FRONT, canvas.front(z), glow=(255, 214, 150))
    canvas.rect(arm - 0.35, arm + 0.35, top, top + 0.22, z, head)
    canvas.halo(arm, top + 0.1, z, 0.9, head)


def paint_signal(canvas: Canvas, signal: Thing, _instance: int) -> None:
    """A traffic light on a pole; form 0 red, 1 amber, 2 green."""
    x, z, plane = signal.x, signal.z, canvas.front(signal.z)
    _pole(canvas, signal, 2.5, 0.08)
    case = canvas.ink(TRAFFIC_LIGHT, (40, 42, 42), FRONT, plane)
    canvas.rect(x - 0.24, x + 0.24, 2.3, 3.5, z, case)
    for i, rgb in enumerate(((232, 52, 40), (240, 176, 50), (70, 214, 120))):
        on = i == signal.form
        lens = canvas.ink(
            TRAFFIC_LIGHT, rgb if on else scaled(rgb, 0.28), SELF if on else FRONT, plane, glow=rgb if on else (0, 0, 0)
        )
        canvas.disc(x, 3.28 - 0.38 * i, z, 0.16, lens)
        if on:
            canvas.halo(x, 3.28 - 0.38 * i, z, 0.45, lens)


def paint_sign(canvas: Canvas, sign: Thing, _instance: int) -> None:
    """A road sign on a pole: speed limit, no entry, warning, parking or priority."""
    x, z, y, r = sign.x, sign.z, 2.5, 0.36 * sign.size
    plane = canvas.front(z)
    _pole(canvas, sign, y, 0.05)

    def ink(rgb: RGB) -> int:
        return canvas.ink(TRAFFIC_SIGN, rgb, FRONT, plane, rough=0.01)

    red, white = ink((190, 40, 40)), ink((228, 228, 224))
    if sign.form == 0:
        canvas.disc(x, y, z, r, red)
        canvas.disc(x, y, z, 0.7 * r, white)
    elif sign.form == 1:
        canvas.disc(x, y, z, r, red)
        canvas.rect(x - 0.7 * r, x + 0.7 * r, y - 0.16 * r, y + 0.16 * r, z, white)
    elif sign.form == 2:
        canvas.shape([(x - 1.1 * r, y - 0.8 * r), (x + 1.1 * r, y - 0.8 * r), (x, y + 1.1 * r)], z, red)
        canvas.shape([(x - 0.65 * r, y - 0.55 * r), (x + 0.65 * r, y - 0.55 * r), (x, y + 0.6 * r)], z, white)
    elif sign.form == 3:
        canvas.rect(x - r, x + r, y - r, y + r, z, ink((44, 84, 160)))
        canvas.rect(x - 0.3 * r, x - 0.05 * r, y - 0.6 * r, y + 0.6 * r, z, white)
        canvas.rect(x - 0.3 * r, x + 0.4 * r, y, y + 0.6 * r, z, white)
    else:
        canvas.shape([(x - 1.1 * r, y), (x, y + 1.1 * r), (x + 1.1 * r, y), (x, y - 1.1 * r)], z, white)
        canvas.shape([(x - 0.7 * r, y), (x, y + 0.7 * r), (x + 0.7 * r, y), (x, y - 0.7 * r)], z, ink((226, 186, 50)))
