"""Perspective painting into an index image.

Every stroke carries an *ink*: a row of a table that says what the stroke is (label, instance) and how it looks
(colour, which way it faces, texture, light of its own, depth). Strokes are drawn once, from far to near, as ink
numbers; labels, photo and depth are then look-ups in the table. So label map and photo have the same geometry
by construction, and light and weather are applied to some hundred inks instead of to every pixel.

Metres: x to the right, y up, z away from the camera; the road is y = 0. Pixels: of a raster that is SUPERSAMPLE times
finer than the picture, so that the photo is antialiased while its labels are not.
"""

import math
from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gesso.data.streets.classes import SKY

SUPERSAMPLE: Final = 2
FOCAL: Final = 0.9  # focal length over the picture's geometric mean side: 58° wide for a square
NEAR: Final = 0.8  # metres; nothing closer is drawn
FAR: Final = 400.0

UP, FRONT, LEFT, RIGHT, SELF = range(5)
"""Which way a surface faces. LEFT is seen on the right side of the street. SELF shines: light does not change it."""

RGB = tuple[float, float, float]
Point = tuple[float, float]
Plane = tuple[float, float, float]
BLACK: Final[RGB] = (0.0, 0.0, 0.0)

LABEL, INSTANCE, COLOUR, FACE, GLOW, ROUGH, MOTTLE, PLANE = 0, 1, slice(2, 5), 5, slice(6, 9), 9, 10, slice(11, 14)
COLUMNS: Final = 14
"""The columns of an ink, in the order that `Canvas.ink` writes them."""


def scaled(rgb: RGB, gain: float) -> RGB:
    """A lighter or darker colour."""
    return rgb[0] * gain, rgb[1] * gain, rgb[2] * gain


class Canvas:
    """A picture being painted, of width × height pixels."""

    def __init__(self, width: int, height: int, eye: tuple[float, float], shift: float, horizon: float) -> None:
        """`eye` (x, y) in metres; `shift`: vanishing point right of the middle, in focal lengths; `horizon`: its
        height from the top, as a fraction."""
        self.width, self.height = width * SUPERSAMPLE, height * SUPERSAMPLE
        self.focal = FOCAL * math.sqrt(self.width * self.height)
        self.cx = 0.5 * self.width + shift * self.focal
        self.cy = horizon * self.height
        self.eye_x, self.eye_y = eye
        self.ground: Plane = (0.0, 1 / (self.focal * self.eye_y), -self.cy / (self.focal * self.eye_y))
        self.halos: list[tuple[float, float, float, int]] = []
        self._image = Image.new("I", (self.width, self.height), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._inks = array("f")
        self.ink(SKY, BLACK, SELF, self.front(FAR))  # ink 0, which all is until it is painted

    # planes: 1 / z = a * px + b * py + c, which is exact for any plane under perspective

    def front(self, z: float) -> Plane:
        """The plane that faces the camera at z."""
        return (0.0, 0.0, 1 / z)

    def side(self, x: float) -> Plane:
        """The plane along the street at x."""
        across = (x - self.eye_x) * self.focal
        return (1 / across, 0.0, -self.cx / across)

    def ink(
        self,
        label: int,
        rgb: RGB,
        face: int,
        plane: Plane,
        *,
        rough: float = 0.03,
        mottle: float = 0.03,
        glow: RGB = BLACK,
        instance: int = 0,
    ) -> int:
        """A new ink. Colours in 0 … 255; `rough`, `mottle`: amplitude of fine and coarse texture as a fraction of the
        colour; `glow`: what it shines at night; `instance`: 0, or the n-th of its class plus 1."""
        self._inks.extend((label, instance, *rgb, face, *glow, rough, mottle, *plane))
        return len(self._inks) // COLUMNS - 1

    def scale(self, z: float) -> float:
        """Pixels of the picture (not of the raster) per metre at z."""
        return self.focal / (z * SUPERSAMPLE)

    def at(self, x: float, y: float, z: float) -> Point:
        """Where a point in metres is on the raster."""
        scale = self.focal / (z if z > NEAR else NEAR)
        return self.cx + (x - self.eye_x) * scale, self.cy - (y - self.eye_y) * scale

    def across(self, x: float, z: float) -> float:
        """The raster column of x at depth z."""
        return self.cx + (x - self.eye_x) * self.focal / (z if z > NEAR else NEAR)

    def sees(self, x: float, end: float, reach: float = 3.5) -> bool:
        """Whether something within `reach` of x, whose far end is at `end`, can be in the picture: what runs along
        the street comes closer to the middle with distance, so its far end is the last to leave."""
        margin = reach * self.focal / (end if end > NEAR else NEAR)
        return -margin < self.across(x, end) < self.width + margin

    def polygon(self, points: Sequence[Point], ink: int) -> None:
        """A polygon of raster points."""
        self._draw.polygon(points, fill=ink)

    def shape(self, points: Sequence[Point], z: float, ink: int) -> None:
        """A polygon of (x, y) metres that faces the camera at z."""
        scale = self.focal / z
        left, base = self.cx - self.eye_x * scale, self.cy + self.eye_y * scale
        self._draw.polygon([(left + x * scale, base - y * scale) for x, y in points], fill=ink)

    def rect(self, x0: float, x1: float, y0: float, y1: float, z: float, ink: int) -> None:
        """A rectangle that faces the camera at z; y0 < y1."""
        if x1 < x0:
            x0, x1 = x1, x0
        scale = self.focal / z
        left, base = self.cx - self.eye_x * scale, self.cy + self.eye_y * scale
        # a pixel belongs to what covers its left and top edge; the last one only if it is begun
        r, b = left + x1 * scale - 1, base - y0 * scale - 1
        lft, top = left + x0 * scale, base - y1 * scale
        self._draw.rectangle((lft, top, r if r > lft else lft, b if b > top else top), fill=ink)

    def disc(self, x: float, y: float, z: float, radius: float, ink: int, stretch: float = 1.0) -> None:
        """An ellipse that faces the camera at z, `stretch` times as tall as wide."""
        scale = self.focal / z
        px, py = self.cx + (x - self.eye_x) * scale, self.cy - (y - self.eye_y) * scale
        rx, ry = radius * scale, radius * stretch * scale
        self._draw.ellipse((px - rx, py - ry, px + rx, py + ry), fill=ink)

    def ring(self, x: float, y: float, z: float, radius: float, thick: float, ink: int, narrow: float) -> None:
        """A wheel seen from the side (narrow = 1) or turned towards the camera (narrow < 1)."""
        scale = self.focal / z
        px, py = self.cx + (x - self.eye_x) * scale, self.cy - (y - self.eye_y) * scale
        rx, ry = radius * narrow * scale, radius * scale
        pen = max(1, round(thick * scale))
        self._draw.ellipse((px - rx, py - ry, px + rx, py + ry), outline=ink, width=pen)

    def rod(self, a: Point, b: Point, z: float, thick: float, ink: int) -> None:
        """A bar between two (x, y) in metres, facing the camera at z."""
        pen = max(1, round(thick * self.focal / z))
        self._draw.line((self.at(*a, z), self.at(*b, z)), fill=ink, width=pen)

    def floor(self, x0: float, x1: float, z0: float, z1: float, ink: int) -> None:
        """A rectangle on the ground."""
        near, far = self.focal / (z0 if z0 > NEAR else NEAR), self.focal / (z1 if z1 > NEAR else NEAR)
        cx, left, right = self.cx, x0 - self.eye_x, x1 - self.eye_x
        front, back = self.cy + self.eye_y * near, self.cy + self.eye_y * far
        corners = (cx + left * near, front, cx + right * near, front, cx + right * far, back, cx + left * far, back)
        self._draw.polygon(corners, fill=ink)

    def flank(self, x: float, z0: float, z1: float, y0: float, y1: float, ink: int) -> None:
        """A rectangle along the street at x."""
        near, far = self.focal / (z0 if z0 > NEAR else NEAR), self.focal / (z1 if z1 > NEAR else NEAR)
        cy, low, high = self.cy, y0 - self.eye_y, y1 - self.eye_y
        front, back = self.cx + (x - self.eye_x) * near, self.cx + (x - self.eye_x) * far
        corners = (front, cy - low * near, front, cy - high * near, back, cy - high * far, back, cy - low * far)
        self._draw.polygon(corners, fill=ink)

    def profile(self, x: float, points: Sequence[Point], ink: int) -> None:
        """A polygon of (z, y) metres along the street at x."""
        at = self.at
        self._draw.polygon([at(x, y, z) for z, y in points], fill=ink)

    def halo(self, x: float, y: float, z: float, radius: float, ink: int) -> None:
        """At night, the light of `ink` spills this far (metres) around the point, where the point is in sight."""
        px, py = self.at(x, y, z)
        self.halos.append((px / SUPERSAMPLE, py / SUPERSAMPLE, radius * self.scale(z), ink))

    def finish(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The raster of ink numbers (2H, 2W) and the inks' table (K, COLUMNS)."""
        table = np.frombuffer(self._inks, np.float32).reshape(-1, COLUMNS)
        return np.asarray(self._image), table
