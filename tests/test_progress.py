"""One rule for the two streams: lines on standard output, the bar on standard error, on a terminal or not."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gesso.progress import Bar, Rate

pty = pytest.importorskip("pty")

LINES = ["first line: 1.000", "a line that is much longer than the terminal is wide " * 4, "[bold]not markup[/bold]"]
CODE = f"""
import time
from gesso.progress import Bar
with Bar("working", 100) as bar:
    for done, line in enumerate({LINES!r}):
        bar.update(30 * done)
        bar.say(line)
    time.sleep(0.3)  # the bar draws itself four times a second
    bar.update(100)
bar.say("after the bar")
"""
SAID = [*LINES, "after the bar"]


def run(out: str, err: str) -> tuple[str, str]:
    """What the code writes to its two streams, each a "pipe", a "terminal", or (both) the "same" terminal."""
    ends = {name: pty.openpty() if kind != "pipe" else os.pipe() for name, kind in (("out", out), ("err", err))}
    if err == "same":
        ends["err"] = ends["out"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=ends["out"][1], stderr=ends["err"][1], env=environment
    ) as process:
        for end in {pair[1] for pair in ends.values()}:
            os.close(end)
        texts = {end: read(end) for end in {pair[0] for pair in ends.values()}}
    assert process.returncode == 0
    return texts[ends["out"][0]], texts[ends["err"][0]]


def read(end: int) -> str:
    """All that comes, until the other end is closed (which a terminal tells as an error)."""
    chunks = []
    try:
        while chunk := os.read(end, 65536):
            chunks.append(chunk)
    except OSError:
        pass
    os.close(end)
    return b"".join(chunks).decode()


def screen(text: str) -> list[str]:
    """What a terminal of 80 columns shows in the end."""
    rows: dict[int, dict[int, str]] = {}
    x = y = 0
    for code, letter in re.findall(r"\x1b\[([?\d;]*[A-Za-z])|([^\x1b])", text):
        if code == "1A":
            y -= 1
        elif code == "2K":
            rows[y] = {}
        elif letter == "\r":
            x = 0
        elif letter == "\n":
            y += 1
        elif letter:
            if x == 80:
                x, y = 0, y + 1
            rows.setdefault(y, {})[x] = letter
            x += 1
    return ["".join(row.get(i, " ") for i in range(80)).rstrip() for _, row in sorted(rows.items())]


@pytest.mark.parametrize("err", ["pipe", "terminal"])
@pytest.mark.parametrize("out", ["pipe", "terminal"])
def test_lines_are_on_standard_output_and_nowhere_else(out: str, err: str) -> None:
    written, beside = run(out, err)
    assert written.splitlines() == SAID
    assert not any(line[:20] in beside for line in SAID)


@pytest.mark.parametrize("out", ["pipe", "terminal"])
def test_the_bar_is_on_standard_error_where_that_is_a_terminal(out: str) -> None:
    assert "working" in run(out, "terminal")[1]
    assert run(out, "pipe")[1] == ""


def test_on_one_terminal_the_lines_stand_above_one_bar() -> None:
    shown = [row for row in screen(run("terminal", "same")[0]) if row]
    text = "\n".join(shown)
    assert shown[0] == LINES[0]
    assert [text.count(line[:40]) for line in (LINES[0], LINES[2], "after the bar")] == [1, 1, 1]
    assert text.count("working") == 1  # no copy of the bar is left between the lines
    assert "working" in shown[-2] and "100 %" in shown[-2] and shown[-1] == "after the bar"


def test_a_dumb_terminal_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CODE", "import os; os.environ['TERM'] = 'dumb'\n" + CODE)
    assert run("pipe", "terminal")[1] == ""


def test_rate_is_told_in_the_bars_unit() -> None:
    fast: Any = SimpleNamespace(speed=2_500_000)
    assert [Rate(unit).render(fast).plain for unit in ("images", "MB")] == ["2500000.0 images/s", "2.5 MB/s"]


def test_where_no_bar_can_be_drawn_a_line_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gesso.progress.LINE_EVERY", 0)
    for bar in (Bar("packing", 4_000_000, unit="MB"), Bar("a training, which has a log", 10, logged=True)):
        with bar:
            bar.update(1_000_000)
    assert capsys.readouterr().err == "packing: 25%, 1 of 4 MB\n"


def test_what_is_done_in_a_minute_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("reading", 10) as bar:
        bar.update(5)
    assert capsys.readouterr().err == ""
