"""Where the windows of a large picture lie, how they share it, and how far a generator sees."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from gesso.networks import build_generator
from gesso.recipe import Generator

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Axis:
    """The windows along one side of a picture, in pixels.

    length  of the picture
    side    of each window; a multiple of what the network wants, so the last may end beyond the picture
    starts  of the windows, also multiples: so all windows share the network's grid of halvings
    ramp    over how many pixels a window fades into the next
    """

    length: int
    side: int
    starts: tuple[int, ...]
    ramp: int

    @property
    def padded(self) -> int:
        """Length with the mirrored border that the network wants."""
        return self.starts[-1] + self.side

    def share(self, i: int) -> npt.NDArray[np.float32]:
        """The weight of each pixel of window i, (side,) in 0 … 1; those of all windows at one place sum to one.

        Between two windows, one fades into the other around the middle of what they share. It is the difference of two
        such slopes, so the sum telescopes to one however many windows overlap.
        """
        at = self.starts[i] + np.arange(self.side) + 0.5
        return (self._slope(i, at) - self._slope(i + 1, at)).astype(np.float32)

    def _slope(self, i: int, at: Floats) -> Floats:
        """From 0 before window i to 1 in it. 1 everywhere for the first, 0 for the one behind the last."""
        if i in (0, len(self.starts)):
            return np.full_like(at, float(i == 0))
        middle = (self.starts[i - 1] + self.side + self.starts[i]) / 2
        across: Floats = ((at - middle) / max(self.ramp, 1) + 0.5).clip(0, 1)
        return across * across * (3 - 2 * across)


def lay(length: int, tile: int, overlap: int, reach: int, multiple: int, minimum: int) -> Axis:
    """Windows of `tile` pixels along `length`, as few as share `overlap` or more with the next, evenly spread.

    `tile` and `overlap` are multiples of `multiple`. Of what two windows share, the outer `reach` pixels of each are
    not used, because there the window's border shows; where `overlap` is too small for that, the outer quarters.
    """
    padded = max(-(-length // multiple) * multiple, minimum)
    if padded <= tile:
        return Axis(length, padded, (0,), 0)
    count = -(-(padded - overlap) // (tile - overlap))
    steps = (padded - tile) // multiple
    starts = tuple(i * steps // (count - 1) * multiple for i in range(count))
    unused = reach if 2 * reach <= overlap else overlap // 4
    return Axis(length, tile, starts, overlap - 2 * unused)


def reach(config: Generator) -> int:
    """Over how many pixels a border at a multiple of what a generator of `config` wants shows in its result, norms'
    statistics aside: as far as it sees to each side from there.

    Exact: NaN in a half of a picture spreads to what depends on that half. One filter and no norm do for that.
    """
    with torch.random.fork_rng([]), torch.no_grad():
        network = build_generator(dataclasses.replace(config, ngf=1, norm="none", dropout=0.0), 1, 1).eval()
        half = 4 * max(network.multiple, 32)
        while True:
            image = torch.zeros(1, 1, network.minimum, 2 * half)
            image[..., :half] = torch.nan
            spread = [int(network(side).isnan().any(2).sum()) - half for side in (image, image.flip(3))]
            if max(spread) < half:
                return max(spread)
            half *= 2
