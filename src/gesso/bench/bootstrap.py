"""How far a mean may lie from the truth, told from the few values that it is a mean of.

A bootstrap over the values. With n of them it spreads too little by √((n-1)/n), which is undone; and that few values
tell their own spread only roughly is paid for as Student did, by dividing each draw by √(χ²/ν).

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 12.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 4000


def deviations(values: Array, generator: np.random.Generator) -> Array:
    """DRAWS × how far the mean of `values`, at least two, may lie from what was measured."""
    count = len(values)
    drawn: Array = values[generator.integers(count, size=(DRAWS, count))].mean(axis=1)
    return (drawn - float(values.mean())) * math.sqrt(count / (count - 1))


def ends(spread: Array, freedom: int, confidence: float, generator: np.random.Generator) -> tuple[float, float]:
    """The ends of the interval around 0 in which the truth lies.

    Args:
        spread: DRAWS deviations.
        freedom: ν, the values that told the spread less the means that were taken of them; 0 where none told it.
        confidence: Of both ends together.
    """
    if freedom:
        spread = spread / np.sqrt(generator.chisquare(freedom, DRAWS) / freedom)
    tail = (1 - confidence) / 2
    low, high = np.quantile(spread, [tail, 1 - tail])
    return float(low), float(high)
