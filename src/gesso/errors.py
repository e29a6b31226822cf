"""The exceptions a user may see.

    GessoError                    anything that a user, a file or a machine did wrong
    ├── UsageError                a flag or a combination of flags
    ├── DataError                 a data set: missing, empty, of the wrong layout
    │   └── BadImage              one image file: unreadable, truncated, too large
    ├── CheckpointError           a checkpoint: not one, damaged, of another model
    ├── DiskError                 the disk: full, read-only
    ├── DivergenceError           a training that diverges, however often it goes back
    ├── MeetingError              processes that are to train together cannot reach one another
    └── ProcessError              another process of the same training has ended

The command line prints the message on one line and exits with its `exit_code`. So each message names the flag or
the file, and how to mend it. Our own mistakes are `assert`s and keep their traceback.
"""

import contextlib
import difflib
import errno
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

from gesso.launched import RESTARTS

_SPELT: ContextVar[Mapping[str, str]] = ContextVar("flags", default={})  # noqa: B039 - never written to


def flag(field: str) -> str:
    """The flag that sets a recipe's `field` in the command that is running: of evaluation.lpips --evaluation.lpips for
    `gesso train`, but --lpips for `gesso evaluate`, which says so by `spelling`. Empty where the command has none."""
    name = _SPELT.get().get(field, field)
    return f"--{name.replace('_', '-')}" if name else ""


@contextlib.contextmanager
def spelling(names: Mapping[str, str]) -> Iterator[None]:
    """Inside, the flags of recipes' fields have these `names` in messages, the empty one where there is no such flag.
    `data.ahead` and `data.Stream` take it into their threads; another process has to say it there."""
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


class MeetingError(GessoError):
    """Processes that are to train together cannot reach one another: a network, its interface or its driver."""


class ProcessError(GessoError):
    """Another process of the same training has ended; what it said of itself, if anything, is the reason."""

    exit_code = 1


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device. torch has no type for the host's own."""
    host = "can't allocate memory" in str(error)
    return host or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


INTERRUPTED = 130
"""The exit code of a process that an interrupt ended."""
TERMINATED = 143
"""The exit code of a process that SIGTERM ended. `__main__` makes the same KeyboardInterrupt of it, whose argument is
the signal's number."""
AGAIN = 75
"""The exit code, between a process and `launching.launch`, of what may be over at another start: see `passing`."""
_LASTING = {
    errno.EACCES, errno.EPERM, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EFBIG,
}  # fmt: skip
"""What a system refuses because of how a file is named or guarded, and will refuse again."""


def passing(error: BaseException) -> bool:
    """Whether the machine brought `error` about and not the user, so that it may be over at another try: memory that
    ran out, a disk that is full or gone, a network."""
    refusal = error.__cause__ if isinstance(error, DiskError) else error
    if isinstance(refusal, OSError) and refusal.errno:
        return refusal.errno not in _LASTING
    return isinstance(error, DiskError | MeetingError) or out_of_memory(error)


def exit_code(error: BaseException) -> int:
    """The exit code of a process that `error` ends: of what the command line tells in a line, or 1 with a traceback.

    Where gesso's own launcher started the process, it is AGAIN in place of 2 for what is `passing`; the launcher itself
    then ends with 2.
    """
    if isinstance(error, KeyboardInterrupt):
        return TERMINATED if signal.SIGTERM in error.args else INTERRUPTED
    if isinstance(error, BrokenPipeError):  # the reader of our output had enough
        return 0
    if RESTARTS in os.environ and passing(error):
        return AGAIN
    if isinstance(error, GessoError):
        return error.exit_code
    return GessoError.exit_code if out_of_memory(error) or (isinstance(error, OSError) and error.errno) else 1
