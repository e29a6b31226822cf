"""The order and the augmentation of data as pure functions of (seed, images seen).

A domain's images come as an endless stream of permutations laid end to end: position p of the stream is entry
p mod n of permutation p div n. Any rank can compute any position without having seen those before it, so a
resumed run continues in the middle of an epoch, every process takes its own positions of the same stream, and
each stretch of n positions that starts at a multiple of n holds every image exactly once.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gesso.errors import UsageError

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# Purposes keep random streams apart that share a seed.
ORDER, AUGMENT, STEP, WEIGHTS = range(4)


def checked_seed(seed: int) -> None:
    """UsageError unless `seed`, of a command that has --seed, is one that `random` takes."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"--seed {seed}: must lie in 0 … 2**64 - 1")


def random(seed: int, purpose: int, *counter: int) -> np.random.Generator:
    """A counter-based generator: the same arguments always give the same numbers. `seed` in [0, 2**64), at most 3
    counters."""
    # Philox is keyed with 128 bits; the last counter word counts the draws.
    words = [0, *counter, *[0] * (3 - len(counter))]
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=words))


@lru_cache(maxsize=8)
def _permutation(seed: int, stream: int, epoch: int, count: int) -> IntArray:
    return random(seed, ORDER, stream, epoch).permutation(count)


def indices(seed: int, stream: int, positions: IntArray, count: int) -> IntArray:
    """Which of `count` images stand at `positions` of domain `stream`. Positions and result: (N,)."""
    epochs, places = np.divmod(positions, count)
    return np.array(
        [_permutation(seed, stream, int(e), count)[i] for e, i in zip(epochs, places, strict=True)],
        dtype=np.int64,
    )


@dataclass(frozen=True)
class Window:
    """What is cut from an image: the crop's corner as a fraction of the room there is, and whether to mirror."""

    top: float
    left: float
    flip: bool


def windows(seed: int, stream: int, positions: IntArray, flip: bool) -> list[Window]:
    """The augmentation at each of `positions` of domain `stream`."""
    drawn = []
    for position in positions:
        rng = random(seed, AUGMENT, stream, int(position))
        top, left, mirror = rng.random(3)
        drawn.append(Window(float(top), float(left), bool(flip and mirror < 0.5)))
    return drawn
