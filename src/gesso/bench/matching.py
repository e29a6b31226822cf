"""Which measurements of two sides are of the same thing, and what differs where they are not."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, TypeVar


class Named(Protocol):
    """A named tuple of all that must be equal, with a name for people."""

    @property
    def _fields(self) -> tuple[str, ...]: ...

    @property
    def label(self) -> str: ...

    @property
    def variant(self) -> str: ...


Key = TypeVar("Key", bound=Named)


def matched(base: Collection[Key], head: Collection[Key]) -> tuple[list[Key], list[str]]:
    """What both sides have, and a line for each that only one has, with what differs in the nearest of the other."""
    both = [key for key in base if key in head]
    mine, theirs = [key for key in base if key not in head], [key for key in head if key not in base]
    return both, _alone(mine, theirs, "base", "head") + _alone(theirs, mine, "head", "base")


def _alone(ours: Sequence[Key], theirs: Sequence[Key], name: str, other: str) -> list[str]:
    lines = []
    for key in ours:
        differing = min(([*_differing(key, there)] for there in theirs), key=len, default=[])
        but = "; ".join(differing) if 0 < len(differing) <= 2 else ""
        lines.append(f"{key.label}: only in {name}" + (f" ({but} from the nearest in {other})" if but else ""))
    return lines


def _differing(ours: Named, theirs: Named) -> Iterator[str]:
    """What is not equal, each in a few words; of variants their flags."""
    for field in ours._fields:
        if getattr(ours, field) != getattr(theirs, field):
            flags = " against ".join(filter(None, (ours.variant, theirs.variant)))
            yield f"variant differs by {flags}" if field == "variant" else f"{field} differs"
