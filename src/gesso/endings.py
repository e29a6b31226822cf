"""How processes that train together end: where one of them fails all do, with one exit code, and one of them tells.

A failure is noticed at once by its closed connections; where a process waits for a device, by `Watch`. Where the
launcher keeps a store that outlives the processes, the first that fails leaves its `Cause` there.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import NoReturn

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from gesso.errors import DivergenceError, ProcessError, exit_code

PATIENCE = timedelta(days=2)
"""How long a process waits for the others, one of which may be decoding a large data set. One that died is noticed at
once, by its closed connection; where the wait is a device's, by `Watch`."""
MEETING = timedelta(minutes=30)
"""How long the processes, which a launcher starts together, wait for one another to come together at first."""
BEAT = 1.0
"""Seconds between two words of the processes' watches to one another."""
GRACE = 300.0
"""Seconds that a process has to notice by itself that another has ended: to finish a save, or a long step."""

_GONE = "another process of this training has ended; what it said, if anything, is why"


class Cause:
    """What ended these processes: the rank of the one that failed first and its exit code, in a store of the launcher.

    The first process to fail leaves it there before its connections close, and those that fail for want of it leave
    with the same code: whichever of them the launcher sees end first, it learns what to do.

    start: a word that the processes of one start have in common, and no others that the store has met or will meet.
    """

    def __init__(self, store: Store, rank: int, start: str = "") -> None:
        self._store, self._rank, self._key = store, rank, f"cause {start}"

    def leave(self, code: int) -> bool:
        """Leave exit code `code`. Whether this process is the first to, and so the one to tell why."""
        mine = f"{self._rank} {code}"
        with contextlib.suppress(RuntimeError):  # the launcher may be gone too
            return bool(self._store.compare_set(self._key, "", mine).decode() == mine)
        return True

    def code(self) -> int | None:
        """The exit code of the process that failed first; None where none has said so."""
        with contextlib.suppress(RuntimeError):
            if self._store.check([self._key]):
                return int(self._store.get(self._key).split()[1])
        return None


def code_without_a_word(error: BaseException, main: bool, cause: Cause | None) -> int | None:
    """The exit code with which this process leaves silently, since another one tells of the `error` that ends it; None
    where it is for this one to tell.

    cause: of these processes, where the launcher keeps it. Without, the main process tells of what all notice.
    """
    if isinstance(error, ProcessError):
        code = cause.code() if cause else None
        if code is not None:
            return code
    elif cause:
        first = cause.leave(exit_code(error))
        # The command line knows by itself which process tells of an interrupt.
        return None if first or isinstance(error, KeyboardInterrupt) else cause.code()
    return exit_code(error) if isinstance(error, ProcessError | DivergenceError) and not main else None


class Watch:
    """Ends this process where another one has ended and this one does not notice.

    What waits on the host fails as soon as a peer's connection closes. A device's collective need not: NCCL's kernel
    may wait for the peer without end, and the host for the kernel. So a thread meets with those of the other processes
    every BEAT, in a group of their own on the host. No clock decides that a process is gone: one that is slow, busy or
    stopped delays the meeting, and is waited for; one that has ended fails it. This process then has GRACE to notice,
    tell and leave by itself; after that the thread does so for it. A whole machine that vanishes, with no word to those
    that are connected to it, is noticed after PATIENCE alone, or by the launcher.
    """

    def __init__(self, main: bool, cause: Cause | None) -> None:
        self._main, self._cause = main, cause
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer: this process has left its world."""
        self._left.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._left.wait(BEAT):
                work = dist.barrier(group=self._group, async_op=True)
                while not work.is_completed():  # waiting inside could not be ended by `stop`
                    if self._left.wait(BEAT):
                        return
                work.wait()  # raises what ended it
        except (RuntimeError, ValueError):  # the latter where the group is destroyed already
            if not self._left.wait(GRACE):
                gone = ProcessError(_GONE)
                code = code_without_a_word(gone, self._main, self._cause)
                _leave(gone.exit_code if code is None else code, _GONE if code is None else "")


def _leave(code: int, told: str = "") -> NoReturn:
    """End this process from a thread, whatever its main thread waits for; with the line `told`, if there is one."""
    if told:
        print(f"gesso: {told}", file=sys.stderr, flush=True)
    os._exit(code)


@contextlib.contextmanager
def limited(address: str) -> Iterator[None]:
    """End this process where the block, coming together at `address`, takes longer than MEETING. A connection to
    another program that happens to listen at the port would wait without end."""
    minutes = MEETING.total_seconds() / 60
    late = f"{address}: not all processes came there within {minutes:.0f} minutes; what the others said is why"
    timer = threading.Timer(MEETING.total_seconds(), _leave, (ProcessError.exit_code, late))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def talking() -> Iterator[None]:
    """What fails inside fails because another process is gone: backends say so with a plain RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(_GONE) from error
