"""The ground, what is painted on it, and what closes the view."""

from gesso.data.streets.canvas import FAR, FRONT, NEAR, UP, Canvas, scaled
from gesso.data.streets.classes import BUILDING, ROAD, SIDEWALK, TERRAIN, VEGETATION
from gesso.data.streets.plan import FAR_END, Piece, Plan, Verge


def paint_ground(canvas: Canvas, plan: Plan) -> None:
    """Grass to the horizon, sidewalks, road, markings."""
    grass = canvas.ink(TERRAIN, (112, 126, 74), UP, canvas.ground, rough=0.15, mottle=0.1)
    canvas.polygon(
        [(0, canvas.cy), (canvas.width, canvas.cy), (canvas.width, canvas.height), (0, canvas.height)], grass
    )
    paving = canvas.ink(SIDEWALK, plan.paving, UP, canvas.ground, rough=0.05, mottle=0.05)
    joint = canvas.ink(SIDEWALK, scaled(plan.paving, 0.84), UP, canvas.ground, rough=0.05)
    kerb = canvas.ink(SIDEWALK, scaled(plan.paving, 1.16), UP, canvas.ground)
    tar = canvas.ink(ROAD, plan.asphalt, UP, canvas.ground, rough=0.05, mottle=0.05)
    gutter = canvas.ink(ROAD, scaled(plan.asphalt, 0.8), UP, canvas.ground, rough=0.07)
    left, right = -plan.left.kerb, plan.right.kerb
    for side, verge in ((-1, plan.left), (1, plan.right)):
        _sidewalk(canvas, side, verge, paving, joint, grass)
    canvas.floor(left - 0.22, right + 0.22, NEAR, FAR, kerb)
    canvas.floor(left, right, NEAR, FAR, tar)
    canvas.floor(left, left + 0.3, NEAR, FAR, gutter)
    canvas.floor(right - 0.3, right, NEAR, FAR, gutter)
    for back in plan.backs:
        if isinstance(back, Piece) and back.kind == "crossing":
            inner = back.side * (right if back.side > 0 else -left)
            edge = back.x + back.side * 30
            canvas.floor(inner, edge, back.z + 1, back.end - 1, tar)
    _markings(canvas, plan, tar)


def _sidewalk(canvas: Canvas, side: int, verge: Verge, paving: int, joint: int, grass: int) -> None:
    inner, outer = side * verge.kerb, side * (verge.front + 1)
    canvas.floor(inner, outer, NEAR, FAR, paving)
    z = 2.0
    while canvas.scale(z) * 0.05 > 0.25 and z < 60:  # joints between the slabs, where they can be seen
        canvas.floor(inner, outer, z, z + 0.06, joint)
        z += 1.5
    if verge.strip:
        near, far = side * (verge.kerb + 0.22), side * (verge.kerb + 0.22 + verge.strip)
        canvas.floor(near, far, NEAR, FAR, grass)


def _markings(canvas: Canvas, plan: Plan, tar: int) -> None:
    ground = canvas.ground
    patch = canvas.ink(ROAD, scaled(plan.asphalt, 0.86), UP, ground, rough=0.08)
    for x, z, width, length in plan.patches:
        canvas.floor(x, x + width, z, z + length, patch)
    white = canvas.ink(ROAD, (206, 206, 200), UP, ground, rough=0.07, mottle=0.06)
    if plan.rails:
        rail = canvas.ink(ROAD, (134, 130, 128), UP, ground)
        for x in (-2.45, -1.0, 1.0, 2.45):
            canvas.floor(x - 0.05, x + 0.05, NEAR, FAR_END, rail)
    z = plan.dash - 6
    while z < 90:
        if z + 3 > NEAR:
            canvas.floor(-0.09, 0.09, max(z, NEAR), z + 3, white)
        z += 6
    for x, verge in ((-plan.left.kerb, plan.left), (plan.right.kerb, plan.right)):
        if verge.kerb > 5:  # a lane for parking
            line = x - 2.1 if x > 0 else x + 2.1
            canvas.floor(line - 0.06, line + 0.06, NEAR, 90, white)
    if plan.zebra is not None:
        canvas.floor(-plan.left.kerb, plan.right.kerb, plan.zebra - 0.3, plan.zebra + 2.9, tar)
        x = -plan.left.kerb + 0.5
        while x < plan.right.kerb - 0.6:
            canvas.floor(x, x + 0.5, plan.zebra, plan.zebra + 2.6, white)
            x += 1.0
        canvas.floor(0.1, plan.right.kerb - 0.4, plan.zebra - 1.6, plan.zebra - 1.25, white)


def paint_skyline(canvas: Canvas, plan: Plan) -> None:
    """Houses and trees across the end of the street, at 130 to 170 m."""
    for i, (x, half, height, rgb) in enumerate(plan.skyline):
        z = 165.0 - 1.5 * i
        wall = canvas.ink(BUILDING, rgb, FRONT, canvas.front(z), mottle=0.08)
        canvas.rect(x - half, x + half, 0, height, z, wall)
        if i % 2:
            roof = canvas.ink(BUILDING, (104, 84, 78), UP, canvas.front(z))
            canvas.shape([(x - half, height), (x, height + 3), (x + half, height)], z, roof)
    leaves = canvas.ink(VEGETATION, (84, 104, 60), FRONT, canvas.front(132), rough=0.16, mottle=0.25)
    for x, half, height, _ in plan.skyline[::2]:
        canvas.disc(x + 3, 2.0, 132, half * 0.75, leaves, stretch=0.35 + 0.02 * height)
