"""A process that has imported everything and forks what tests ask for: one JSON job a line in, one JSON answer out.

A new interpreter costs seconds before its first step; a fork costs milliseconds.
"""

import json
import os
import subprocess
import sys
from typing import Any, ClassVar, Self


class ForkServer:
    """The server as the test sees it. A context manager. `script` is the file that serves."""

    script: ClassVar[str]

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, self.script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to `job`."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
