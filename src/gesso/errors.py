"""The exceptions a user may see.

    GessoError                    anything that a user, a file or a machine did wrong
    ├── UsageError                a flag or a combination of flags
    ├── DataError                 a data set: missing, empty, of the wrong layout
    │   └── BadImage              one image file: unreadable, truncated, too large
    ├── CheckpointError           a checkpoint: not one, damaged, of another model
    ├── DiskError                 the disk: full, read-only
    ├── DivergenceError           a training that diverges, however often it goes back
    └── ProcessError              another process of the same training has ended

The command line prints the message on one line and exits with `exit_code`. So each message names the flag or
the file, and how to mend it. Our own mistakes are `assert`s and keep their traceback.
"""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

_SPELT: ContextVar[Mapping[str, str]] = ContextVar("flags", default={})  # noqa: B039 - never written to


def flag(field: str) -> str:
    """The flag that sets a recipe's `field` in the command that is running: of evaluation.lpips --evaluation.lpips for
    `gesso train`, but --lpips for `gesso evaluate`, which says so by `spelling`. Empty where the command has none."""
    name = _SPELT.get().get(field, field)
    return f"--{name.replace('_', '-')}" if name else ""


@contextlib.contextmanager
def spelling(names: Mapping[str, str]) -> Iterator[None]:
    """Inside, the flags of recipes' fields have these `names` in messages, the empty one where there is no such flag.
    What runs in another thread or process has to say it there."""
    token = _SPELT.set(names)
    try:
        yield
    finally:
        _SPELT.reset(token)


def perhaps(word: str, known: Iterable[str]) -> str:
    """For a message, what may have been meant by `word`: ", perhaps you meant …", or nothing where none is like it."""
    like = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f", perhaps you meant {like[0]}" if like else ""


class GessoError(Exception):
    """What a user can mend. `str(error)` is one line that says how."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(GessoError):
    """A flag, or a combination of flags, that cannot work."""


class DataError(GessoError):
    """A data set that is missing, empty or laid out in a way that gesso does not know."""


class BadImage(DataError):  # noqa: N818 - it names a thing that is there
    """One image file that cannot be used. `path` names it, `reason` says why in a few words."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self._named = str(path)  # a Path would fold the slashes of https://
        self.reason = " ".join(reason.split())
        super().__init__(f"{path}: {self.reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # survives the way back from a worker process
        return type(self), (self._named, self.reason)


class CheckpointError(GessoError):
    """A checkpoint that is missing, damaged, or of another model."""


class DiskError(GessoError):
    """The disk is full, read-only or gone. What was there before is untouched."""


class DivergenceError(GessoError):
    """A training that diverges, however often it goes back to a good checkpoint."""

    exit_code = 3


class ProcessError(GessoError):
    """Another process of the same training has ended; what it said of itself, if anything, is the reason."""

    exit_code = 1


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device. torch has no type for the host's own."""
    host = "can't allocate memory" in str(error)
    return host or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
