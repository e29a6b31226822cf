"""What people see while they wait: a bar with rate and time left, and lines beside it.

One rule for the two streams, on a terminal or not. Standard output has what a command is for, so that it can be
piped and searched: the log of a training (its choices, losses and scores) and every command's results.
Standard error has the rest: this bar, or where it is no terminal that can draw one a line a minute, and warnings and
errors.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

Say = Callable[[str], None]
"""Takes one line for people."""
Progress = Callable[[int, int], None]
"""Is told (done, in all)."""


def silent(done: int, total: int) -> None:
    """A Progress that tells nobody."""


_muted = False


@contextlib.contextmanager
def mute() -> Iterator[None]:
    """Inside, no bar is drawn and no line said: of several processes that do the same, one tells of it."""
    global _muted
    before, _muted = _muted, True
    try:
        yield
    finally:
        _muted = before


def say(line: str) -> None:
    """A line for people on standard error, so that standard output stays what a command was asked for."""
    if not _muted:
        print(line, file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """A line of a training's log, on standard output, before there is a bar to make room for."""
    if not _muted:
        print(line, flush=True)


Unit = Literal["images", "tiles", "MB"]
SIZES: Final[dict[Unit, float]] = {"images": 1, "tiles": 1, "MB": 1e6}
"""How much of what a bar counts, images, tiles or bytes, is one of its unit."""


LINE_EVERY = 60.0
"""Seconds between the lines that stand for a bar where none can be drawn."""


class Rate(ProgressColumn):
    """Images or megabytes a second."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self._unit: Unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed / SIZES[self._unit]:.1f} {self._unit}/s" if task.speed else "")


class Bar:
    """A bar over `total` images (or bytes, shown in MB), `done` of which were there before. A context manager, or to
    be closed.

    logged  what it shows is told in a log besides, so no lines stand for it
    """

    def __init__(
        self, what: str, total: float = 1, done: float = 0, unit: Unit = "images", *, logged: bool = False
    ) -> None:
        self._console = Console(stderr=True)
        self._lines = not (logged or self._console.is_interactive)
        self._what, self._total, self._unit, self._told = what, total, unit, time.monotonic()
        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            Rate(unit),
            TimeRemainingColumn(),
            console=self._console,
            redirect_stdout=False,  # rich would print what belongs on standard output beside the bar
            disable=_muted or not self._console.is_interactive,
        )
        self._task = self._progress.add_task(what, total=total, completed=int(done))
        self._progress.start()

    def update(self, done: float, total: float | None = None) -> None:
        self._progress.update(self._task, completed=done, total=total)
        self._total = self._total if total is None else total
        if self._lines and time.monotonic() - self._told >= LINE_EVERY:
            self._told = time.monotonic()
            of, size = max(self._total, 1), SIZES[self._unit]
            say(f"{self._what}: {done / of:.0%}, {done / size:,.0f} of {of / size:,.0f} {self._unit}")

    def say(self, line: str) -> None:
        """One line on standard output; a bar on the same screen makes room for it."""
        if _muted:
            return
        live = self._progress.live
        in_the_way = live.is_started and sys.stdout.isatty()
        if in_the_way:
            live.transient = True  # stopping erases it
            live.stop()
        print(line, flush=True)
        if in_the_way:
            live.transient = False
            live.start(refresh=True)

    def close(self) -> None:
        self._progress.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
