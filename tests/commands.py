"""Running gesso's command line in this process, on a toy, and what it said."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Flags that shrink any recipe to a few steps of a toy.
SIZES = "--data.load-size 36 --data.crop-size 32 --generator.ngf 4 --generator.depth 5 --generator.blocks 1"
COSTS = "--discriminator.ndf 4 --discriminator.layers 2 -b 2 -e 0.25 -d fp32 --device cpu --compile off"
TINY = [*SIZES.split(), *COSTS.split(), "--tracking.sheet-images", "2"]


class Said(NamedTuple):
    """What a command left: its exit code, and the lines of its two streams."""

    code: int
    out: list[str]
    err: list[str]


Gesso = Callable[..., Said]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(said: Said, pattern: str) -> None:
    """One line on standard error that says `pattern`, exit code 2."""
    assert said.code == 2
    assert len(said.err) == 1, said.err
    assert said.err[0].startswith("gesso: ")
    assert re.search(pattern, said.err[0]), said.err[0]
    assert "Traceback" not in "\n".join([*said.out, *said.err])


def train_words(root: object, *more: object) -> list[str]:
    return ["train", "pix2pix", "--data.root", str(root), *TINY, *(str(word) for word in more)]
