"""A process of its own for each measurement and each training: what one of them left in memory, in caches of compiled
code or in a device's state must not change the next."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType


def run_python(words: Sequence[str], out: Path | None = None) -> int:
    """The exit code of `python WORDS`, negative where a signal killed it.

    On an interrupt or SIGTERM it is told to stop and waited for, so that a training is saved, and KeyboardInterrupt is
    raised; a second one kills it.

    out: its standard output is appended to this file, instead of to that of this process.
    """
    with contextlib.ExitStack() as closing:
        stdout = closing.enter_context(out.open("ab")) if out else None
        closing.enter_context(_termination_interrupts())
        # In a session of its own: a terminal's Ctrl-C would reach it besides our own signal, and twice is "at once".
        process = subprocess.Popen([sys.executable, *words], stdout=stdout, start_new_session=True)
        try:
            return process.wait()
        except KeyboardInterrupt:
            try:
                process.send_signal(signal.SIGINT)  # a second interrupt may come before this returns
                process.wait()
            except KeyboardInterrupt:
                process.kill()
                process.wait()
            raise


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Inside, SIGTERM does what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
