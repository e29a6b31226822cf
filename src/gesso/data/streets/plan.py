"""What stands where: a street decided in metres, before anything is painted.

All chance is spent here. The painters have none, so they may leave out what is too small to see without
changing what else is in the scene, and a scene is the same at every size.
"""

from dataclasses import dataclass
from typing import Final, Literal

from gesso.data.streets.canvas import RGB
from gesso.data.streets.dice import Dice

FAR_END: Final = 115.0  # metres; the street's last house ends here

CAR_PAINTS: Final[tuple[RGB, ...]] = (
    (38, 40, 46), (92, 96, 102), (168, 172, 176), (214, 216, 218), (132, 32, 34), (36, 58, 108),
    (58, 78, 70), (196, 198, 190), (60, 62, 68), (150, 120, 70),
)  # fmt: skip
COATS: Final[tuple[RGB, ...]] = (
    (44, 46, 58), (122, 44, 46), (60, 80, 118), (150, 138, 116), (74, 92, 66), (176, 170, 162), (190, 140, 60),
)  # fmt: skip
TROUSERS: Final[tuple[RGB, ...]] = ((36, 40, 54), (52, 50, 48), (82, 84, 94), (48, 60, 88))
SKINS: Final[tuple[RGB, ...]] = ((224, 184, 158), (198, 150, 118), (142, 98, 72), (96, 66, 50))
PLASTERS: Final[tuple[RGB, ...]] = (
    (196, 182, 154), (178, 166, 148), (158, 96, 76), (146, 112, 88), (188, 160, 116), (168, 168, 164),
    (186, 150, 130), (140, 130, 122), (202, 196, 184), (152, 90, 78),
)  # fmt: skip
ROOFS: Final[tuple[RGB, ...]] = ((92, 62, 54), (82, 84, 90), (116, 68, 52), (70, 66, 64))
AWNINGS: Final[tuple[RGB, ...]] = ((146, 48, 44), (48, 88, 70), (56, 74, 118), (180, 150, 84), (90, 60, 90))
LEAVES: Final[tuple[RGB, ...]] = ((72, 104, 48), (84, 112, 54), (64, 94, 52), (96, 116, 56), (120, 110, 48))

Kind = Literal[
    "car", "truck", "bus", "train", "motorcycle", "bicycle", "person", "tree", "lamp", "signal", "sign", "bush"
]  # fmt: skip
PieceKind = Literal["building", "wall", "fence", "hedge", "park", "crossing"]

GAPS: Final[dict[PieceKind, RGB]] = {
    "wall": (158, 146, 134),
    "fence": (104, 96, 88),
    "hedge": (84, 112, 54),
    "park": (112, 128, 72),
    "crossing": (98, 98, 102),
}
"""What may fill a gap between houses, and its colour."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands on the ground at (x, z), z its nearest end."""

    kind: Kind
    x: float
    z: float
    size: float = 1.0
    rgb: RGB = (128.0, 128.0, 128.0)
    accent: RGB = (60.0, 60.0, 60.0)
    skin: RGB = (200.0, 160.0, 130.0)
    away: bool = True  # goes the camera's way, so shows its back
    across: bool = False  # two-wheelers: crosses the street, so shows its side
    ridden: bool = False
    form: int = 0  # which of its kind's variants
    phase: float = 0.0  # 0 … 1: stride, lean, unevenness


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the line of houses: z … end on one side, its front at x."""

    kind: PieceKind
    x: float
    z: float
    end: float
    height: float
    rgb: RGB
    trim: RGB = (200.0, 196.0, 188.0)
    roof: RGB = (90.0, 70.0, 62.0)
    pitched: bool = False
    storey: float = 3.2
    spacing: float = 2.6
    shop: bool = False
    awning: RGB = (150.0, 50.0, 45.0)
    chances: tuple[float, ...] = ()  # one a window, used again from the start when they run out

    @property
    def side(self) -> int:
        """-1 left of the road, 1 right of it."""
        return 1 if self.x > 0 else -1


@dataclass(frozen=True, slots=True)
class Verge:
    """One side of the road, from its centre line outwards: kerb, strip of grass, sidewalk, front of the houses."""

    kerb: float
    strip: float
    sidewalk: float

    @property
    def front(self) -> float:
        """Distance of the houses from the centre line."""
        return self.kerb + self.strip + self.sidewalk


@dataclass(frozen=True, slots=True)
class Plan:
    """A street. `backs` (the houses, and what grows between them) and `things` are ordered from far to near."""

    eye: tuple[float, float]
    shift: float
    horizon: float
    left: Verge
    right: Verge
    asphalt: RGB
    paving: RGB
    dash: float
    zebra: float | None
    rails: bool
    patches: tuple[tuple[float, float, float, float], ...]
    backs: tuple[Piece | Thing, ...]
    skyline: tuple[tuple[float, float, float, RGB], ...]
    things: tuple[Thing, ...]


def draw_plan(seed: int, index: int) -> Plan:
    """The street of (seed, index)."""
    dice = Dice(seed, index, 0)
    parking = {-1: dice.chance(0.5), 1: dice.chance(0.6)}
    verges = {
        side: Verge(
            kerb=3.2 + 2.1 * parking[side] + dice.uniform(0, 0.5),
            strip=dice.uniform(1.0, 2.6) if dice.chance(0.35) else 0.0,
            sidewalk=dice.uniform(2.4, 4.4),
        )
        for side in (-1, 1)
    }
    zebra = dice.uniform(7, 16) if dice.chance(0.3) else None
    train = dice.chance(0.16)
    things = _traffic(dice, train)
    for side in (-1, 1):
        verge = verges[side]
        if parking[side]:
            things += _parked(dice, side, verge)
        things += _furniture(dice, side, verge, zebra)
        things += _people(dice, side, verge)
    if zebra is not None and dice.chance(0.6):
        things += [_person(dice, dice.uniform(-3, 4), zebra + dice.uniform(0.4, 2.2)) for _ in range(2)]
    pieces = [piece for side in (-1, 1) for piece in _houses(dice, side, verges[side].front)]
    backs: list[Piece | Thing] = [*pieces, *(thing for piece in pieces for thing in _garden(dice, piece))]
    return Plan(
        eye=(dice.uniform(0.9, 2.1), dice.uniform(1.45, 2.1)),
        shift=dice.uniform(-0.12, 0.12),
        horizon=dice.uniform(0.43, 0.5),
        left=verges[-1],
        right=verges[1],
        asphalt=dice.tint((98, 98, 102), 0.06),
        paving=dice.tint((156, 150, 144), 0.08),
        dash=dice.uniform(0, 6),
        zebra=zebra,
        rails=train or dice.chance(0.08),
        patches=tuple(
            (dice.uniform(-3, 1.6), dice.uniform(4, 30), dice.uniform(0.5, 1.6), dice.uniform(1, 5)) for _ in range(3)
        ),
        backs=tuple(sorted(backs, key=lambda back: -back.z)),
        skyline=tuple(
            (x * 9.0 + dice.uniform(-2, 2), dice.uniform(5, 10), dice.uniform(7, 19), dice.tint((128, 126, 128), 0.12))
            for x in range(-9, 10)
        ),
        things=tuple(sorted(things, key=lambda thing: -thing.z)),
    )


def _car(dice: Dice, x: float, z: float, away: bool) -> Thing:
    paint = dice.tint(dice.pick(CAR_PAINTS), 0.1)
    return Thing("car", x, z, dice.uniform(0.94, 1.08), paint, away=away, form=dice.whole(0, 2))


def _cycle(dice: Dice, x: float, z: float, *, away: bool, across: bool, ridden: bool) -> Thing:
    kind: Kind = "motorcycle" if dice.chance(0.36) else "bicycle"
    return Thing(
        kind, x, z, dice.uniform(0.95, 1.08), dice.tint(dice.pick(COATS), 0.15), dice.pick(TROUSERS),
        dice.pick(SKINS), away, across, ridden, dice.whole(0, 1), dice.unit(),
    )  # fmt: skip


def _person(dice: Dice, x: float, z: float) -> Thing:
    return Thing(
        "person", x, z, dice.uniform(0.88, 1.08), dice.tint(dice.pick(COATS), 0.15), dice.pick(TROUSERS),
        dice.pick(SKINS), away=dice.chance(0.5), form=dice.whole(0, 2), phase=dice.unit(),
    )  # fmt: skip


def _vehicle(dice: Dice, x: float, z: float, away: bool) -> tuple[Thing, float]:
    """A vehicle in traffic, and the length of road that it takes."""
    kind: Kind = dice.weighted({"car": 0.72, "truck": 0.11, "bus": 0.1, "motorcycle": 0.07})
    if kind == "car":
        return _car(dice, x, z, away), 4.6
    if kind == "motorcycle":
        return _cycle(dice, x, z, away=away, across=False, ridden=True), 2.2
    paint = dice.pick(((172, 60, 48), (206, 176, 70), (60, 92, 136), (206, 206, 202), (84, 116, 92)))
    return Thing(kind, x, z, dice.uniform(0.95, 1.05), dice.tint(paint, 0.1), away=away), 10.0


def _traffic(dice: Dice, train: bool) -> list[Thing]:
    """What drives: ahead in the camera's lane, and towards it in the other."""
    things = []
    ahead = dice.uniform(7.5, 24)
    while ahead < 70:
        thing, length = _vehicle(dice, 1.65, ahead, away=True)
        things.append(thing)
        ahead += length + dice.uniform(6, 40)
    oncoming = dice.uniform(7, 26)
    if train:
        livery = dice.pick(((186, 50, 46), (206, 190, 120), (72, 130, 150)))
        things.append(Thing("train", -1.7, oncoming + 2, rgb=livery, away=dice.chance(0.5)))
        oncoming += 36
    while oncoming < 75:
        thing, length = _vehicle(dice, -1.65, oncoming, away=False)
        things.append(thing)
        oncoming += length + dice.uniform(7, 40)
    for _ in range(dice.whole(0, 1) + dice.whole(0, 1)):
        side = 1 if dice.chance(0.6) else -1
        across = dice.chance(0.4)
        x = dice.uniform(-3, 5) if across else side * 3.0
        things.append(_cycle(dice, x, dice.uniform(6, 24), away=side > 0, across=across, ridden=True))
    return things


def _parked(dice: Dice, side: int, verge: Verge) -> list[Thing]:
    z, x, things = dice.uniform(3.5, 8), side * (verge.kerb - 1.05), []
    density = dice.uniform(0.35, 0.85)
    while z < 72:
        away = side > 0
        if dice.chance(density):
            if dice.chance(0.05):
                things.append(Thing("truck", x, z, 0.85, dice.tint((196, 194, 188), 0.1), away=away))
                z += 5
            else:
                things.append(_car(dice, x, z, away))
        z += dice.uniform(5.2, 7)
    return things


def _furniture(dice: Dice, side: int, verge: Verge, zebra: float | None) -> list[Thing]:
    """Trees, lamps, signals and signs beside the kerb."""
    things = []
    x = side * (verge.kerb + (0.5 * verge.strip if verge.strip else 0.7))
    if dice.chance(0.55):
        z, step, leaf = dice.uniform(6, 14), dice.uniform(8, 15), dice.pick(LEAVES)
        while z < 100:
            if dice.chance(0.8):
                things.append(Thing("tree", x, z, dice.uniform(0.75, 1.2), dice.tint(leaf, 0.12), phase=dice.unit()))
            z += step * dice.uniform(0.85, 1.15)
    z = dice.uniform(9, 24)
    while z < 95:
        things.append(Thing("lamp", side * (verge.kerb + 0.45), z, dice.uniform(0.92, 1.05)))
        z += dice.uniform(22, 30)
    if zebra is not None or dice.chance(0.3):
        z = (zebra if zebra is not None else dice.uniform(8, 26)) + 3.4
        things.append(Thing("signal", side * (verge.kerb + 0.35), z, form=dice.whole(0, 2)))
    for _ in range(dice.whole(0, 2)):
        z = dice.uniform(6, 34)
        things.append(Thing("sign", side * (verge.kerb + 0.4), z, dice.uniform(0.9, 1.15), form=dice.whole(0, 4)))
    return things


def _people(dice: Dice, side: int, verge: Verge) -> list[Thing]:
    inner, outer = verge.kerb + verge.strip + 0.4, verge.front - 0.5
    things = []
    for _ in range(dice.whole(0, 4)):
        x, z = side * dice.uniform(inner, outer), dice.uniform(6, 34)
        things.append(_person(dice, x, z))
        if dice.chance(0.3):
            things.append(_person(dice, x + 0.6, z + 0.1))
    for _ in range(dice.whole(0, 3) if dice.chance(0.4) else 0):
        x, z = side * dice.uniform(inner, outer), dice.uniform(6, 22)
        things.append(_cycle(dice, x, z, away=True, across=dice.chance(0.6), ridden=False))
    return things


def _houses(dice: Dice, side: int, front: float) -> list[Piece]:
    """The line of houses on one side, with what fills its gaps."""
    z, town = 2.0, dice.uniform(0.45, 0.95)
    pieces: list[Piece] = []
    typical = dice.uniform(6.5, 15)
    while z < FAR_END:
        if dice.chance(town):
            length = dice.uniform(8, 19)
            pieces.append(_house(dice, side * front, z, z + length, typical * dice.uniform(0.7, 1.35)))
        else:
            length = dice.uniform(6, 16)
            kind = dice.pick(tuple(GAPS))
            rgb = dice.pick(LEAVES) if kind == "hedge" else GAPS[kind]
            pieces.append(Piece(kind, side * front, z, z + length, dice.uniform(1.3, 2.4), dice.tint(rgb, 0.1)))
        z += length
    return pieces


def _house(dice: Dice, x: float, z: float, end: float, height: float) -> Piece:
    storey = dice.uniform(2.9, 3.5)
    return Piece(
        "building",
        x,
        z,
        end,
        height=max(2, round(height / storey)) * storey,
        rgb=dice.tint(dice.pick(PLASTERS), 0.08),
        trim=dice.tint((206, 200, 190), 0.06),
        roof=dice.tint(dice.pick(ROOFS), 0.1),
        pitched=dice.chance(0.6),
        storey=storey,
        spacing=dice.uniform(2.2, 3.1),
        shop=dice.chance(0.4),
        awning=dice.tint(dice.pick(AWNINGS), 0.1),
        chances=tuple(dice.unit() for _ in range(13)),
    )


def _garden(dice: Dice, piece: Piece) -> list[Thing]:
    """What grows behind a gap between houses."""
    if piece.kind in ("building", "crossing"):
        return []
    things = []
    for _ in range(dice.whole(1, 3)):
        z, x = dice.uniform(piece.z + 1, piece.end - 1), piece.x + piece.side * dice.uniform(3, 10)
        kind: Kind = "tree" if dice.chance(0.75) else "bush"
        leaf = dice.tint(dice.pick(LEAVES), 0.12)
        things.append(Thing(kind, x, z, dice.uniform(0.8, 1.4), leaf, phase=dice.unit()))
    return things
