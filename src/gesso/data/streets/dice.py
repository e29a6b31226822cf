"""Random numbers that depend on (seed, index, stream) alone.

Philox is a counter-based generator: seed and index are its key and the stream is the top word of its counter,
so scenes are independent without hashing and any scene can be drawn without drawing those before it. Numbers
are taken in blocks because one call of numpy costs more than the number.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from gesso.data.streets.canvas import RGB, scaled

T = TypeVar("T")


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """A generator for `stream` of scene `index`; seed and index in [0, 2**64)."""
    key, counter = np.array([seed, index], np.uint64), np.array([0, 0, 0, stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Dice:
    """Single draws from one stream."""

    def __init__(self, seed: int, index: int, stream: int) -> None:
        self._generator = generator(seed, index, stream)
        self._block: list[float] = []

    def unit(self) -> float:
        """A number in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(256).tolist()
        return self._block.pop()

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def whole(self, low: int, high: int) -> int:
        """An integer in low … high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, all alike."""
        return choices[int(self.unit() * len(choices))]

    def weighted(self, weights: dict[T, float]) -> T:
        """A key of `weights`, with a probability in proportion to its value."""
        choices = list(weights)
        left = self.unit() * sum(weights.values())
        while len(choices) > 1 and left >= weights[choices[0]]:
            left -= weights[choices.pop(0)]
        return choices[0]

    def tint(self, rgb: RGB, spread: float) -> RGB:
        """`rgb` (0 … 255), lighter or darker by up to `spread` (a fraction)."""
        return scaled(rgb, self.uniform(1 - spread, 1 + spread))
