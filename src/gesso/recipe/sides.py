"""How long the sides may be that a recipe gives its images: a few zeros too many would fill the memory unannounced."""

import math

from gesso.errors import UsageError, flag
from gesso.recipe.common import BUILTIN_STREETS, Data, positive

LARGEST_STREET = 4096
"""Pixels of a rendered street's side; to paint so large a one takes 2.4 GB."""


def sides(flags: dict[str, int], data: Data) -> None:
    """UsageError names the first flag whose value, a side in pixels, is not more than 0 or too long for `data`: for a
    rendered street, or else as a square that has more pixels than an image may have. A small limit of pixels is one of
    the files, which may well be enlarged, so that the limit's default is allowed in any case."""
    positive(flags)
    streets = data.root == BUILTIN_STREETS
    most = LARGEST_STREET if streets else math.isqrt(max(data.max_pixels, Data.max_pixels))
    limit = flag("data.max_pixels")
    why = f" for {BUILTIN_STREETS}" if streets else f"; for more raise {limit} {data.max_pixels}" if limit else ""
    for name, value in flags.items():
        if value > most:
            raise UsageError(f"{name} {value}: must be at most {most} pixels{why}")
