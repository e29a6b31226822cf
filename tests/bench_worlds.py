"""What the processes of a world do for tests/bench/test_bench_processes.py."""

from pathlib import Path
from typing import Any

from gesso.bench import worker


def work(job: dict[str, Any]) -> None:
    """Measure the job in a file, as each process that a launcher started."""
    assert worker.main(Path(job["job"])) == 0
