"""The bench's own processes in the process of the test: starting one costs seconds of imports."""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from gesso.bench import worker
from gesso.cli import main


def run_inline(words: Sequence[str], out: Path | None = None) -> int:
    """What `gesso.bench.fresh.run_python` does with these words."""
    assert words[0] == "-m", shlex.join(words)
    if words[1] == worker.MODULE:
        return worker.main(Path(words[2]))
    with out.open("a") if out else contextlib.nullcontext(sys.stdout) as file, contextlib.redirect_stdout(file):
        return main(words[2:])
