"""A server of worlds: it has imported everything, and forks the processes of a small training that run together.

What a launcher would put into their environment is set by hand, so a test costs no interpreter's start. The server
reads one JSON job a line on standard input and answers with a line when all processes are gone:

    {"size": 2, "out": folder, "arguments": ["train", …]}        `gesso train …` in each process
    {"size": 2, "out": folder, "call": "file:function", …}       function(job) of a file beside this one

and, to be killed, "kill": {"rank": 1, "log": path of a log.jsonl, "lines": so many}. What process N said is in
`out`/N.txt. The answer is {"codes": [exit code of each process]}.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from fork_server import ForkServer


class Worlds(ForkServer):
    """The server as the test sees it."""

    script = __file__

    def run(self, out: Path, size: int = 2, **job: Any) -> list[int]:
        """The exit codes of all processes."""
        out.mkdir(parents=True, exist_ok=True)
        codes: list[int] = self.ask({"out": str(out), "size": size, **job})["codes"]
        return codes

    def gesso(self, out: Path, *arguments: str, size: int = 2, **job: Any) -> list[str]:
        """What each process of `gesso ARGUMENTS` printed; all must end well."""
        codes = self.run(out, size, arguments=arguments, **job)
        said = [(out / f"{rank}.txt").read_text() for rank in range(size)]
        assert codes == [0] * size, said
        return said


def _serve() -> None:
    # What takes long, before the forks; the first optimizer of a process would import dynamo.
    import torch._dynamo  # noqa: F401

    import gesso.engine.score
    import gesso.engine.train  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [os.fork() or _live(job, rank, port) for rank in range(job["size"])]
        if kill := job.get("kill"):
            while _lines(Path(kill["log"])) < kill["lines"]:
                time.sleep(0.001)
            os.kill(children[kill["rank"]], signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps({"codes": codes}), flush=True)


def _live(job: dict[str, Any], rank: int, port: int) -> int:
    """In a child: run the job, and leave without what a normal exit would do: only a part of this process is ours."""
    with (Path(job["out"]) / f"{rank}.txt").open("wb", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    size = job["size"]
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = str(port)
    code = 1
    try:
        import torch

        from gesso.cli import main

        torch.set_num_threads(1)
        if "call" in job:
            file, function = job["call"].split(":")
            getattr(importlib.import_module(file), function)(job)
            code = 0
        else:
            code = main(job["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


if __name__ == "__main__":
    _serve()
