"""Cityscapes' classes: label ids, names, colours and train ids, as its label files use them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

IGNORED: Final = 255

# label id: (name, palette RGB, train id); train id 255 is left out of training and scores
CLASSES: Final[dict[int, tuple[str, tuple[int, int, int], int]]] = {
    0: ("unlabeled", (0, 0, 0), IGNORED),
    1: ("ego vehicle", (0, 0, 0), IGNORED),
    2: ("rectification border", (0, 0, 0), IGNORED),
    3: ("out of roi", (0, 0, 0), IGNORED),
    4: ("static", (0, 0, 0), IGNORED),
    5: ("dynamic", (111, 74, 0), IGNORED),
    6: ("ground", (81, 0, 81), IGNORED),
    7: ("road", (128, 64, 128), 0),
    8: ("sidewalk", (244, 35, 232), 1),
    9: ("parking", (250, 170, 160), IGNORED),
    10: ("rail track", (230, 150, 140), IGNORED),
    11: ("building", (70, 70, 70), 2),
    12: ("wall", (102, 102, 156), 3),
    13: ("fence", (190, 153, 153), 4),
    14: ("guard rail", (180, 165, 180), IGNORED),
    15: ("bridge", (150, 100, 100), IGNORED),
    16: ("tunnel", (150, 120, 90), IGNORED),
    17: ("pole", (153, 153, 153), 5),
    18: ("polegroup", (153, 153, 153), IGNORED),
    19: ("traffic light", (250, 170, 30), 6),
    20: ("traffic sign", (220, 220, 0), 7),
    21: ("vegetation", (107, 142, 35), 8),
    22: ("terrain", (152, 251, 152), 9),
    23: ("sky", (70, 130, 180), 10),
    24: ("person", (220, 20, 60), 11),
    25: ("rider", (255, 0, 0), 12),
    26: ("car", (0, 0, 142), 13),
    27: ("truck", (0, 0, 70), 14),
    28: ("bus", (0, 60, 100), 15),
    29: ("caravan", (0, 0, 90), IGNORED),
    30: ("trailer", (0, 0, 110), IGNORED),
    31: ("train", (0, 80, 100), 16),
    32: ("motorcycle", (0, 0, 230), 17),
    33: ("bicycle", (119, 11, 32), 18),
}

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE = 7, 8, 11, 12, 13, 17
TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = 19, 20, 21, 22, 23
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 24, 25, 26, 27, 28, 31, 32, 33

TRAIN_LABELS: Final = tuple(label for label, (_, _, train_id) in CLASSES.items() if train_id != IGNORED)
"""The 19 label ids that are trained on and scored, in the order of their train ids."""

PALETTE: Final[NDArray[np.uint8]] = np.zeros((256, 3), np.uint8)
"""(256, 3) RGB by label id; black where there is no class."""
PALETTE[: len(CLASSES)] = [rgb for _, rgb, _ in CLASSES.values()]
PALETTE.setflags(write=False)


def colour(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label ids (H, W) as Cityscapes' palette colours (H, W, 3)."""
    return PALETTE[labels]
