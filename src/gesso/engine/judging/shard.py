"""Scoring in several processes: each scores a part of the split, and all parts together make the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gesso.processes import World

T = TypeVar("T")


class Gather(Protocol):
    """Every process calls it at the same time with its own part, picklable and on the CPU."""

    def __call__(self, part: T, /) -> Sequence[T]:
        """The parts of all processes, in the order of their ranks, the same in each process."""


def alone(part: T, /) -> Sequence[T]:
    """The `Gather` of a process that scores everything itself."""
    return [part]


@dataclass(frozen=True)
class Shard:
    """The part of a split that process `rank` of `world` scores, and how it comes by the parts of the others.

    Parts are stretches, one after the other in the order of ranks: together they have every image once, and what is
    merged in that order is as if one process had seen all of it.
    """

    rank: int = 0
    world: int = 1
    gather: Gather = alone

    def of(self, count: int) -> range:
        """Of `count` images those of this process; empty where there are fewer images than processes."""
        return range(count * self.rank // self.world, count * (self.rank + 1) // self.world)


WHOLE = Shard()


def shard_of(world: World) -> Shard:
    """The part of this process among those that train together."""
    return Shard(world.rank, world.size, world.gather)
