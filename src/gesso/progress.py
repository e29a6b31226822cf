"""The progress bar: rate and time left on standard error, and nothing at all where that is not a terminal."""

from collections.abc import Callable
from typing import Self

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


class Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


class Bar:
    """A bar over `total` images, `done` of which were there before. A context manager, or to be closed."""

    def __init__(self, what: str, total: float = 1, done: float = 0) -> None:
        self._console = Console(stderr=True)
        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            Rate(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=total, completed=int(done))
        self._progress.start()

    def update(self, done: float, total: float | None = None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def say(self, line: str) -> None:
        """One line for people: above the bar where there is one, else on standard output."""
        if self._progress.disable:
            print(line, flush=True)
        else:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
