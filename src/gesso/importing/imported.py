"""What every format takes and gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from torch import Tensor

from gesso.recipe import Direction, Recipe


@dataclass(frozen=True)
class Options:
    """What a file does not say. A format refuses what it has no use for, by a UsageError that names the flag.

    direction  of a lone generator
    dropout    probability of dropout in a U-Net or in MindSpore's networks, where no layer's name tells of it
    padding    border in the residual blocks, where they have one; None for reflect
    blocks     residual blocks, where MindSpore's file has one for all of them
    classes    of a classifier: a file with a name a line, or a folder of class folders
    """

    direction: Direction | None = None
    dropout: float | None = None
    padding: Literal["reflect", "replicate", "symmetric"] | None = None
    blocks: int | None = None
    classes: Path | None = None


@dataclass(frozen=True)
class Part:
    """The weights of one network, under the names that gesso has for them, and the file that they came from.

    zero_biases: a bias of a convolution that is not among them is zero, because the other program has none there.
    """

    path: Path
    weights: dict[str, Tensor]
    zero_biases: bool = False


@dataclass(frozen=True)
class Imported:
    """A model out of files.

    parts  by network; a network of the recipe's model that is not here was in no file
    found  what was found and what was supposed, in lines for people
    """

    recipe: Recipe
    parts: Mapping[str, Part]
    found: tuple[str, ...]


Format: TypeAlias = Callable[[tuple[str, ...], Options], Imported]
"""Takes FILE or NETWORK=FILE words. GessoError where they are not what the format has."""
