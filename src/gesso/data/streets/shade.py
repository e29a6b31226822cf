"""From a painted canvas to a photo: light on the inks, then sky, shadow, texture, haze, wet and falling weather.

What can be done to an ink is done to the table; only what changes from pixel to pixel is done to pixels. Only
sums, products and quotients here: they round alike on every machine, which sines and powers need not.
"""

import itertools
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gesso.data.streets.canvas import COLOUR, FACE, GLOW, INSTANCE, LABEL, MOTTLE, PLANE, ROUGH, SUPERSAMPLE, UP, Canvas
from gesso.data.streets.classes import ROAD, SIDEWALK, VEGETATION
from gesso.data.streets.dice import Dice, generator
from gesso.data.streets.light import Floats, Light
from gesso.data.streets.plan import Piece, Plan

TILE: Final = 512  # side of the texture that all scenes cut from
SUN: Final = np.array((250, 244, 222), np.float32)[:, None, None]
SNOW: Final = np.array((232, 236, 242), np.float32)
Bytes = NDArray[np.uint8]


@cache
def _tile() -> Image.Image:
    """A (TILE, TILE) texture in 8 bits: mean 128, deviation 40, with detail from 2 to TILE / 4 pixels."""
    rng = np.random.Generator(np.random.Philox(key=np.array([0x67, 0x65], np.uint64)))
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(2, 9):
        side = 2**octave
        grid = Image.fromarray(rng.random((side, side), np.float32) - np.float32(0.5))
        total += np.asarray(grid.resize((TILE, TILE), Image.Resampling.BICUBIC)) * np.float32(0.86**octave)
    total *= 40 / total.std()
    total += 128 - total.mean()
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


@lru_cache(maxsize=8)
def _scaled_tile(width: int, height: int) -> Bytes:
    """The tile at another size. Scenes of one size all cut from the same few."""
    return np.asarray(_tile().resize((width, height), Image.Resampling.BILINEAR))


def _texture(dice: Dice, width: int, height: int, span: float, tall: float = 1.0) -> Floats:
    """A cut of the tile, (height, width) of mean 0 and deviation 1: about `span` tile pixels for the picture's mean
    side, `tall` times as many from top to bottom."""
    aspect = (width / height) ** 0.5
    across, down = min(span * aspect, TILE), min(span * tall / aspect, TILE)
    tile = _scaled_tile(round(width * TILE / across), round(height * TILE / down))
    x, y = int(dice.unit() * (tile.shape[1] - width)), int(dice.unit() * (tile.shape[0] - height))
    cut = tile[y : y + height, x : x + width].astype(np.float32)
    cut -= np.float32(128)
    cut *= np.float32(1 / 40)
    return cut


def develop(canvas: Canvas, plan: Plan, light: Light, seed: int, index: int) -> tuple[Bytes, Bytes, NDArray[np.int32]]:
    """The photo (H, W, 3), its label ids (H, W) and its instance ids (H, W) in Cityscapes' convention.

    Colours are kept as planes, (3, H, W), while they are worked on: numpy is several times faster so.
    """
    dice = Dice(seed, index, 2)
    raster, inks = canvas.finish()
    height, width = raster.shape[0] // SUPERSAMPLE, raster.shape[1] // SUPERSAMPLE
    fine = raster.astype(np.intp)
    at = fine[SUPERSAMPLE // 2 :: SUPERSAMPLE, SUPERSAMPLE // 2 :: SUPERSAMPLE].copy()
    columns = np.ascontiguousarray(inks.T)
    kind, nth = columns[LABEL].astype(np.int32), columns[INSTANCE].astype(np.int32)
    labels = kind.astype(np.uint8)[at]
    instances = np.where(nth > 0, kind * 1000 + nth - 1, kind).astype(np.int32)[at]
    planes = _antialiased(_lit(inks, light), fine)
    photo, solid = planes[:3], planes[3]

    slope_x, slope_y, level = columns[PLANE]
    ground = (slope_x == 0) & (slope_y > 0)
    photo *= _grain(dice, columns, at)
    if light.reach:
        cast = _shadows(canvas, plan, light, width, height) * ground[at]
        photo *= 1 - cast * (1 - light.shade[:, None, None])
    if light.lamps:
        catch = np.where(ground, 1.5, 0.5).astype(np.float32)[at]
        photo *= 1 + light.lamps * catch * _pools(canvas, plan, width, height)
    across = (np.arange(width, dtype=np.float32) * SUPERSAMPLE + 1)[None, :]
    down = (np.arange(height, dtype=np.float32) * SUPERSAMPLE + 1)[:, None]
    near = slope_x[at] * across + slope_y[at] * down + level[at]  # 1 / z
    near *= near
    clear = near / (near + np.float32(light.sight**-2))
    photo *= clear
    photo += light.haze[:, None, None] * ((1 - clear) * solid)
    horizon = min(height, max(1, int(canvas.cy / SUPERSAMPLE) + 1))
    photo[:, :horizon] += _sky(dice, light, width, horizon, height) * (1 - solid[:horizon])
    if light.wet:
        _reflect(photo, horizon, labels, _texture(dice, width, height, 72, 3))
    if light.lamps:
        _halos(photo, canvas, inks, at, light)
    _fall(photo, dice, light)
    noise = np.frombuffer(generator(seed, index, 3).bytes(photo.size), np.uint8).reshape(photo.shape) >> 5
    photo += noise  # 0 … 7: sensor noise
    photo -= np.float32(3.5)
    np.clip(photo, 0, 255, out=photo)
    return np.stack(list(photo.astype(np.uint8)), axis=-1), labels, instances


def _grain(dice: Dice, columns: Floats, at: NDArray[np.intp]) -> Floats:
    """The texture of every surface as a gain, (H, W); the coarse one is pressed flat, as on a road."""
    height, width = at.shape
    gain: Floats = columns[ROUGH][at] * _texture(dice, width, height, 250)
    gain += columns[MOTTLE][at] * _texture(dice, width, height, 110, 3)
    gain += np.float32(1)
    return gain


def _lit(inks: Floats, light: Light) -> Floats:
    """The colour of every ink under the light, and 1 for what is solid: (K, 4). The sky is 0."""
    label, face = inks[:, LABEL], inks[:, FACE].astype(np.intp)
    rgb = inks[:, COLOUR] * light.faces[face]
    if light.snow:
        cover = np.where(
            face == UP,
            np.where(label == ROAD, 0.45, np.where(label == VEGETATION, 0.5, 0.82)),
            np.where(label == VEGETATION, 0.3, 0.04),
        )
        rgb += (SNOW * light.faces[UP] - rgb) * (light.snow * cover).astype(np.float32)[:, None]
    if light.wet:
        rgb *= np.where(face == UP, 0.72, 0.9).astype(np.float32)[:, None]
    rgb += inks[:, GLOW] * np.float32(light.lamps)
    rgba = np.ones((len(inks), 4), np.float32)
    rgba[:, :3] = np.clip(rgb, 0, 255)
    rgba[0] = 0
    return rgba


def _antialiased(rgba: Floats, fine: NDArray[np.intp]) -> Floats:
    """The mean colour of the raster pixels in each pixel, as planes (4, H, W).

    The four channels of an ink travel as the 16-bit lanes of one integer: one look-up and three sums for all of
    them. 64 steps a grey level still leave room for the sum of four.
    """
    assert SUPERSAMPLE == 2
    steps = np.array((64, 64, 64, 64 * 255), np.float32)
    lanes = np.ascontiguousarray((rgba * steps).astype(np.uint16)).view(np.uint64)[:, 0]
    picked = lanes.take(fine, mode="clip")
    total = picked[::2, ::2] + picked[::2, 1::2]
    total += picked[1::2, ::2]
    total += picked[1::2, 1::2]
    height, width = total.shape
    planes = total.view(np.uint16).reshape(-1, 4).T.astype(np.float32, order="C").reshape(4, height, width)
    planes *= (1 / (4 * steps))[:, None, None]
    return planes


def _sky(dice: Dice, light: Light, width: int, rows: int, height: int) -> Floats:
    """The upper `rows` of the sky, (3, rows, width)."""
    down = (np.arange(rows, dtype=np.float32) / np.float32(rows))[:, None]
    zenith, horizon = light.zenith[:, None, None], light.horizon[:, None, None]
    sky = np.repeat(zenith + (horizon - zenith) * (down * down), width, axis=2)
    across = (np.arange(width, dtype=np.float32) / np.float32(width))[None, :]
    if light.sun:
        x, y = light.sun
        far = (across - x) ** 2 * np.float32(width / height) + (down - y) ** 2 * np.float32((rows / height) ** 2)
        night = light.lamps == 1
        shine = (
            np.float32(0.0006) / (far + np.float32(0.0006)) if night else np.float32(0.006) / (far + np.float32(0.006))
        )
        disc = far < (0.0005 if night else 0.0009)
        sky += (SUN - sky) * np.maximum(shine * np.float32(0.7), disc)
    clouds = _texture(dice, width, height // 2 + 1, 150, 2.4)[:rows]
    if light.cover:
        veil = np.clip((clouds + np.float32(3.2 * light.cover - 1.9)) * np.float32(0.7), 0, np.float32(0.85))
        sky += (light.clouds[:, None, None] - sky) * (veil * (1 - np.float32(0.5) * down))
    return sky


def _shadows(canvas: Canvas, plan: Plan, light: Light, width: int, height: int) -> Floats:
    """Where the ground lies in a cast shadow, 0 … 1."""
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)

    def patch(x0: float, x1: float, z0: float, z1: float, skew: float) -> None:
        corners = ((x0, z0), (x1, z0 + skew), (x1, z1 + skew), (x0, z1))
        points = [canvas.at(x, 0, z) for x, z in corners]
        draw.polygon([(px / SUPERSAMPLE, py / SUPERSAMPLE) for px, py in points], fill=255)

    for back in plan.backs:
        if isinstance(back, Piece) and back.side == light.sun_side and back.kind != "crossing":
            throw = back.height * light.reach
            patch(back.x, back.x - back.side * throw, back.z, back.end, 0.3 * throw)
    for thing in plan.things:
        throw = light.reach * {"car": 1.4, "truck": 3.2, "bus": 3.1, "train": 3.4}.get(thing.kind, 0.0)
        if throw:
            patch(thing.x, thing.x - light.sun_side * (throw + 0.9), thing.z, thing.z + 4.3, 0.3 * throw)
        elif thing.kind == "tree":
            px, py = canvas.at(thing.x - light.sun_side * 4.7 * thing.size * light.reach, 0, thing.z + 1.5)
            r = 2.0 * thing.size * canvas.scale(thing.z + 1.5)
            flat = r * canvas.eye_y / thing.z
            px, py = px / SUPERSAMPLE, py / SUPERSAMPLE
            draw.ellipse((px - r, py - flat, px + r, py + flat), fill=255)
    return np.asarray(mask).astype(np.float32) * np.float32(1 / 255)


def _pools(canvas: Canvas, plan: Plan, width: int, height: int) -> Floats:
    """The light of street lamps and of the camera's own headlights on the ground, 0 … 1 and a little more."""
    scale = max(4, int((width * height) ** 0.5) // 48)  # coarse, then smoothed as it is enlarged
    mask = Image.new("L", (max(1, width // scale), max(1, height // scale)), 0)
    draw = ImageDraw.Draw(mask)
    spots = [(thing.x * 0.75, thing.z, 5.5) for thing in plan.things if thing.kind == "lamp"]
    spots.append((canvas.eye_x, 9.0, 4.0))
    rings = ((1.1, 35), (0.95, 75), (0.8, 115), (0.65, 160), (0.45, 205))
    for (share, value), (x, z, r) in itertools.product(rings, spots):  # outer rings first, so the brighter shows
        reach = r * share
        (left, _), (right, _) = canvas.at(x - reach, 0, z), canvas.at(x + reach, 0, z)
        _, top = canvas.at(x, 0, z + reach)
        _, bottom = canvas.at(x, 0, max(z - reach, 1.5))
        draw.ellipse(tuple(edge / SUPERSAMPLE / scale for edge in (left, top, right, bottom)), fill=value)
    return np.asarray(mask.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32) * np.float32(1 / 255)


def _reflect(photo: Floats, horizon: int, labels: Bytes, puddles: Floats) -> None:
    """A wet road mirrors what is above the horizon, smeared from top to bottom, in patches."""
    height, width = labels.shape
    rows = height - horizon
    if rows < 8:
        return
    source = np.clip(2 * horizon - 1 - np.arange(horizon, height), 0, horizon - 1)
    share = np.clip(0.3 + 0.11 * puddles[horizon:], 0.08, 0.6) * np.where(labels[horizon:] == ROAD, 1.0, 0.35)
    share = (share * (labels[horizon:] <= SIDEWALK)).astype(np.float32)
    for plane in photo:
        mirrored = Image.fromarray(plane[source]).resize((width, max(2, rows // 6)), Image.Resampling.BOX)
        smeared = np.asarray(mirrored.resize((width, rows), Image.Resampling.BILINEAR))
        plane[horizon:] += (smeared - plane[horizon:]) * share


def _halos(photo: Floats, canvas: Canvas, inks: Floats, at: NDArray[np.intp], light: Light) -> None:
    """Light that spills around every lamp whose own ink is in sight."""
    height, width = at.shape
    for px, py, radius, ink in canvas.halos:
        row, column = int(py), int(px)
        if not (0 <= px < width and 0 <= py < height) or at[row, column] != ink:
            continue
        reach = int(3 * radius) + 2
        top, left = max(0, row - reach), max(0, column - reach)
        window = photo[:, top : row + reach + 1, left : column + reach + 1]
        down = (np.arange(top, top + window.shape[1], dtype=np.float32) - np.float32(py)) ** 2
        across = (np.arange(left, left + window.shape[2], dtype=np.float32) - np.float32(px)) ** 2
        far = (down[:, None] + across[None, :]) / np.float32(radius * radius)
        spill = np.clip((9 - far) / (9 + 12 * far), 0, 1) * np.float32(0.55 * light.lamps)
        window += spill * inks[ink, GLOW, None, None]


def _fall(photo: Floats, dice: Dice, light: Light) -> None:
    """Rain as faint streaks, snow as flakes; where they are does not depend on the size."""
    if not (light.wet or light.snow):
        return
    height, width = photo.shape[1:]
    side = (height * width) ** 0.5
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(90 if light.wet else 150):
        x, y, size = dice.unit() * width, dice.unit() * height, dice.unit()
        if light.wet:
            draw.line((x, y, x + 0.008 * side, y - (0.03 + 0.05 * size) * side), fill=40 + int(40 * size))
        else:
            r = (0.001 + 0.006 * size * size) * side
            draw.ellipse((x - r, y - r, x + r, y + r), fill=110 + int(120 * size))
    share = np.asarray(mask).astype(np.float32) * np.float32(1 / 255)
    drops = SNOW * light.faces[UP] + 60 * light.lamps if light.snow else light.horizon * np.float32(1.05) + 12
    photo += (drops[:, None, None].astype(np.float32) - photo) * share
