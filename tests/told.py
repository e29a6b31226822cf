"""Commands run in a process of their own, with what each said and the memory that it took.

libtiff and libjpeg may bring a process down, and memory can be measured only of a whole process. (libtiff writes lines
of its own to standard error; nothing can be done about that.)
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LIMIT = 2 * 2**30
PATIENCE = 400  # seconds for all commands of a process; they take about 15 on an idle core

# Runs commands one after another; tells of each its exit code (1: it raised), its streams, the run's peak memory.
DRIVER = """
import contextlib, io, json, resource, sys, traceback
from gesso.cli import main
for words in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), 1
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except BaseException:
            traceback.print_exc()
    told = {"code": code, "out": out.getvalue().splitlines(), "err": err.getvalue().splitlines()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({**told, "peak": peak}), flush=True)
"""


@dataclass(frozen=True)
class Told:
    """What one command left."""

    code: int
    out: list[str]
    err: list[str]
    peak: int


def commands(cache: Path, *lines: list[object]) -> list[Told]:
    """Each of `lines` as a command, with the user's cache in `cache`."""
    words = json.dumps([[str(word) for word in line] for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, words],
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"},
    )
    return [Told(**json.loads(line)) for line in done.stdout.splitlines()]


def calm(told: Told) -> None:
    """It ended without a traceback and within the memory."""
    assert not [line for line in [*told.out, *told.err] if "Traceback" in line]
    assert told.peak < LIMIT
