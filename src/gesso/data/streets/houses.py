"""The line of houses: fronts with rows of windows, roofs, and the walls, fences and hedges between."""

from typing import Final

from gesso.data.streets.canvas import FRONT, LEFT, NEAR, RGB, RIGHT, UP, Canvas, scaled
from gesso.data.streets.classes import BUILDING, FENCE, TERRAIN, VEGETATION, WALL
from gesso.data.streets.plan import Piece

DEPTH: Final = 9.0  # metres from the front to the back of a house
WIDE: Final = 1.15  # metres, of a window
GLASS: Final[RGB] = (60, 70, 82)
SHEEN: Final[RGB] = (104, 120, 136)  # glass that mirrors the sky
LIT: Final[RGB] = (255, 204, 122)


def paint_piece(canvas: Canvas, piece: Piece) -> None:
    """A house, or what fills the gap between two."""
    start = max(piece.z, NEAR)
    if piece.end <= start:
        return
    if not 0 <= canvas.across(piece.x, piece.end) < canvas.width:  # even its far end is beside the picture
        return
    if piece.kind == "building":
        _building(canvas, piece, start)
    elif piece.kind == "fence":
        _fence(canvas, piece, start)
    elif piece.kind == "wall":
        _wall(canvas, piece, start)
    elif piece.kind == "hedge":
        _hedge(canvas, piece, start)
    elif piece.kind == "park":
        grass = canvas.ink(TERRAIN, (112, 128, 72), UP, canvas.ground, rough=0.16, mottle=0.16)
        canvas.floor(piece.x, piece.x + 14 * piece.side, start, piece.end, grass)


def _building(canvas: Canvas, piece: Piece, start: float) -> None:
    x, side, top, end = piece.x, piece.side, piece.height, piece.end
    face, plane = (LEFT if side > 0 else RIGHT), canvas.side(piece.x)
    if piece.pitched:
        roof = canvas.ink(BUILDING, piece.roof, UP, plane, rough=0.07, mottle=0.06)
        at, back = canvas.at, x + 1.5 * side
        canvas.polygon([at(x, top, start), at(back, top + 2.5, start), at(back, top + 2.5, end), at(x, top, end)], roof)
        if piece.chances[0] > 0.4:
            z = start + (0.25 + 0.5 * piece.chances[1]) * (end - start)
            stack = canvas.ink(BUILDING, (128, 88, 74), FRONT, canvas.front(z))
            canvas.rect(back, back + 0.8 * side, top + 1.8, top + 3.9, z, stack)
    gable = canvas.ink(BUILDING, piece.rgb, FRONT, canvas.front(start), rough=0.05, mottle=0.07)
    outline = [(x, 0.0), (x, top), (x + side * DEPTH, top), (x + side * DEPTH, 0.0)]
    if piece.pitched:
        outline[2:2] = [(x + side * 1.5, top + 2.5), (x + side * (DEPTH - 1.5), top + 2.5)]
    canvas.shape(outline, start, gable)
    wall = canvas.ink(BUILDING, piece.rgb, face, plane, rough=0.05, mottle=0.07)
    canvas.flank(x, start, end, 0, top, wall)
    trim = canvas.ink(BUILDING, piece.trim, face, plane)
    canvas.flank(x, start, end, top - 0.4, top, trim)
    if piece.shop:
        canvas.flank(x, start, end, piece.storey - 0.25, piece.storey, trim)
    _windows(canvas, piece, start, face, trim)


def _windows(canvas: Canvas, piece: Piece, start: float, face: int, trim: int) -> None:
    """Rows of windows; where they are too thin to be told apart, one band a storey."""
    x, storey, chances = piece.x, piece.storey, piece.chances
    plane = canvas.side(x)
    glass = canvas.ink(BUILDING, GLASS, face, plane, rough=0.02)
    sheen = canvas.ink(BUILDING, SHEEN, face, plane, rough=0.02)
    lit = canvas.ink(BUILDING, GLASS, face, plane, rough=0.02, glow=LIT)
    floors = round(piece.height / storey)
    columns = max(1, int((piece.end - piece.z - 1.0) / piece.spacing))
    first = piece.z + 0.5 * (piece.end - piece.z - columns * piece.spacing + piece.spacing - WIDE)
    shown = []
    for column in range(columns):
        z = first + column * piece.spacing
        left, right = canvas.across(x, z), canvas.across(x, z + WIDE)
        if z < start or not 0 <= right < canvas.width:
            continue
        if abs(right - left) < 1.5:
            _bands(canvas, piece, z, face, floors)
            break
        shown.append(z)
        framed = abs(right - left) > 7
        for floor in range(1, floors):
            low, chance = floor * storey + 0.85, chances[(column * floors + floor) % len(chances)]
            if framed:
                canvas.flank(x, z - 0.12, z + WIDE + 0.12, low - 0.14, low + 1.7, trim)
            canvas.flank(x, z, z + WIDE, low, low + 1.6, lit if chance < 0.4 else sheen if chance > 0.72 else glass)
            if framed:
                middle = z + 0.5 * WIDE
                canvas.flank(x, middle - 0.03, middle + 0.03, low, low + 1.6, trim)
    if piece.shop:
        _shops(canvas, piece, shown, face)
        return
    door = canvas.ink(BUILDING, piece.awning, face, plane)
    entrance = first + int(chances[2] * columns) * piece.spacing
    for z in shown:
        if z == entrance:
            canvas.flank(x, z, z + WIDE, 0, 2.3, door)
        else:
            canvas.flank(x, z, z + WIDE, 0.9, 2.4, sheen if chances[3] > 0.5 else glass)


def _bands(canvas: Canvas, piece: Piece, z: float, face: int, floors: int) -> None:
    (red, green, blue), (r, g, b) = scaled(piece.rgb, 0.55), scaled(GLASS, 0.45)
    band = canvas.ink(
        BUILDING, (red + r, green + g, blue + b), face, canvas.side(piece.x), rough=0.05, glow=scaled(LIT, 0.18)
    )
    for floor in range(floors):
        low = floor * piece.storey + 0.85
        canvas.flank(piece.x, z, piece.end - 0.5, low, low + 1.6, band)


def _shops(canvas: Canvas, piece: Piece, starts: list[float], face: int) -> None:
    """Shop windows under awnings on the ground floor, one from each of `starts`."""
    plane, at, out = canvas.side(piece.x), canvas.at, piece.x - piece.side * 0.8
    glow: RGB = (255, 224, 168) if piece.chances[3] < 0.6 else (60, 56, 48)
    pane = canvas.ink(BUILDING, (78, 84, 88), face, plane, mottle=0.12, glow=glow)
    awning = canvas.ink(BUILDING, piece.awning, UP, plane)
    for z in starts:
        end = z + piece.spacing - 0.35
        canvas.flank(piece.x, z, end, 0.4, 2.5, pane)
        canvas.polygon([at(piece.x, 2.9, z), at(piece.x, 2.9, end), at(out, 2.45, end), at(out, 2.45, z)], awning)


def _fence(canvas: Canvas, piece: Piece, start: float) -> None:
    """Bars on a plinth. The ground and the garden show between the bars where these can be told apart."""
    x, top = piece.x, piece.height * 0.8
    face, plane = (LEFT if piece.side > 0 else RIGHT), canvas.side(piece.x)
    bars = canvas.ink(FENCE, piece.rgb, face, plane, rough=0.06)
    gaps = canvas.ink(FENCE, scaled(piece.rgb, 0.72), face, plane, rough=0.12, mottle=0.1)
    canvas.flank(x, start, piece.end, 0, top, gaps)
    z = start
    while z < piece.end and canvas.scale(z) * 0.3 > 1.5:
        canvas.flank(x, z, z + 0.1, 0, top, bars)
        z += 0.45
    for y in (0.12, top - 0.12):
        canvas.flank(x, start, piece.end, y, y + 0.12, bars)


def _wall(canvas: Canvas, piece: Piece, start: float) -> None:
    face, plane = (LEFT if piece.side > 0 else RIGHT), canvas.side(piece.x)
    stone = canvas.ink(WALL, piece.rgb, face, plane, rough=0.1, mottle=0.12)
    coping = canvas.ink(WALL, (184, 176, 166), UP, plane)
    canvas.flank(piece.x, start, piece.end, 0, piece.height, stone)
    canvas.flank(piece.x, start, piece.end, piece.height, piece.height + 0.15, coping)
    ends = canvas.ink(WALL, piece.rgb, FRONT, canvas.front(start), rough=0.1)
    canvas.rect(piece.x, piece.x + 0.4 * piece.side, 0, piece.height, start, ends)


def _hedge(canvas: Canvas, piece: Piece, start: float) -> None:
    face, plane = (LEFT if piece.side > 0 else RIGHT), canvas.side(piece.x)
    leaves = canvas.ink(VEGETATION, piece.rgb, face, plane, rough=0.2, mottle=0.25)
    tips = canvas.ink(VEGETATION, scaled(piece.rgb, 1.2), UP, plane, rough=0.2)
    canvas.rect(piece.x, piece.x + 1.2 * piece.side, 0, piece.height, start, leaves)
    canvas.flank(piece.x, start, piece.end, 0, piece.height, leaves)
    canvas.flank(piece.x, start, piece.end, piece.height - 0.18, piece.height, tips)
