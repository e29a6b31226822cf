"""Time of day and weather, as what they do to colours."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gesso.data.streets.canvas import RGB
from gesso.data.streets.dice import Dice

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hour:
    """A time of day under a clear sky. `ambient`, `sun`: gains of a colour; sky colours in 0 … 255."""

    likely: float
    ambient: RGB
    sun: RGB
    zenith: RGB
    horizon: RGB
    grey: RGB  # the sky behind clouds
    lamps: float  # 0 off … 1 the only light


@dataclass(frozen=True, slots=True)
class Weather:
    """What lies between the sun and the street."""

    likely: float
    direct: float  # share of the sun that comes through
    diffuse: float  # gain of the ambient light
    grey: float  # 0 blue … 1 grey sky
    cover: float  # 0 … 1 of the sky under clouds
    sight: float  # metres at which half of a colour is left
    wet: float = 0.0
    snow: float = 0.0


HOURS: Final[dict[str, Hour]] = {
    "day": Hour(0.72, (0.72, 0.75, 0.81), (0.38, 0.35, 0.29), (92, 140, 198), (190, 208, 224), (190, 196, 204), 0.0),
    "dusk": Hour(0.14, (0.46, 0.43, 0.52), (0.50, 0.28, 0.13), (70, 80, 128), (240, 172, 116), (126, 116, 126), 0.7),
    "night": Hour(0.14, (0.27, 0.29, 0.39), (0.0, 0.0, 0.0), (14, 18, 40), (44, 48, 70), (36, 38, 50), 1.0),
}  # fmt: skip

WEATHERS: Final[dict[str, Weather]] = {
    "clear": Weather(0.42, direct=1.0, diffuse=1.0, grey=0.0, cover=0.36, sight=420),
    "overcast": Weather(0.28, direct=0.0, diffuse=1.16, grey=0.92, cover=0.95, sight=320),
    "rain": Weather(0.1, direct=0.0, diffuse=0.94, grey=1.0, cover=0.9, sight=130, wet=1.0),
    "fog": Weather(0.1, direct=0.0, diffuse=1.1, grey=1.0, cover=0.0, sight=28),
    "snow": Weather(0.1, direct=0.0, diffuse=1.16, grey=0.95, cover=0.5, sight=110, snow=1.0),
}


@dataclass(frozen=True, slots=True)
class Light:
    """The light of one scene."""

    weather: str
    hour: str
    faces: Floats  # (5, 3): gain by the way a surface faces, in the canvas's order
    shade: Floats  # (3,): gain of ground in a cast shadow
    sun_side: int  # -1 the sun is on the left, 1 on the right
    reach: float  # metres of shadow per metre of height; 0 casts none
    sun: tuple[float, float] | None  # where sun or moon stand: share of the width, share of the sky's height
    zenith: Floats
    horizon: Floats
    clouds: Floats
    cover: float
    haze: Floats
    sight: float
    lamps: float
    wet: float
    snow: float


def draw_light(seed: int, index: int, weather: str | None, hour: str | None) -> Light:
    """The light of (seed, index), with weather and time of day as given or, where None, drawn.

    They have a stream of their own and are drawn even if given, so a scene stands alike under every light.
    """
    dice = Dice(seed, index, 1)
    drawn_weather = dice.weighted({name: row.likely for name, row in WEATHERS.items()})
    drawn_hour = dice.weighted({name: row.likely for name, row in HOURS.items()})
    weather, hour = weather or drawn_weather, hour or drawn_hour
    air, time = WEATHERS[weather], HOURS[hour]
    side, reach = (1 if dice.chance(0.5) else -1), dice.uniform(0.2, 0.5)
    exposure = dice.uniform(0.96, 1.04)
    place = 0.5 + side * dice.uniform(0.12, 0.34), dice.uniform(0.12, 0.4)
    ambient = np.array(time.ambient, np.float32) * np.float32(air.diffuse * exposure)
    sun = np.array(time.sun, np.float32) * np.float32(air.direct * exposure)
    flat = np.float32(0.9 if air.direct else 1.0)
    faces = np.stack(
        [
            ambient * np.float32(1.06) + sun * np.float32(0.95),
            ambient * flat + sun * np.float32(0.4),
            ambient * (flat if side > 0 else np.float32(1.0)) + sun * np.float32(0.8 if side < 0 else 0.08),
            ambient * (flat if side < 0 else np.float32(1.0)) + sun * np.float32(0.8 if side > 0 else 0.08),
            np.ones(3, np.float32),
        ]
    )
    blue, pale, grey = (np.array(rgb, np.float32) for rgb in (time.zenith, time.horizon, time.grey))
    zenith = blue + (grey * np.float32(0.94) - blue) * np.float32(air.grey)
    horizon = pale + (grey * np.float32(1.06) - pale) * np.float32(air.grey)
    bright = np.array((250, 250, 252), np.float32)
    clouds = grey + (bright - grey) * np.float32(0.8 * air.direct) if hour == "day" else grey * np.float32(1.12)
    return Light(
        weather=weather,
        hour=hour,
        faces=faces,
        shade=ambient * np.float32(1.06) / faces[0],
        sun_side=side,
        reach=reach * (1.8 if hour == "dusk" else 1.0) if air.direct and time.lamps < 1 else 0.0,
        sun=place if air.direct else None,
        zenith=zenith,
        horizon=horizon,
        clouds=clouds if air.direct else grey * np.float32(0.86),
        cover=air.cover,
        haze=horizon * np.float32(0.96),
        sight=air.sight,
        lamps=time.lamps,
        wet=air.wet,
        snow=air.snow,
    )
