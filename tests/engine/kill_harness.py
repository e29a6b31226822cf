"""A server of killable trainings: it has imported everything, and forks a child for each life of a run.

A new interpreter costs seconds before its first step; a fork costs milliseconds, so dozens of kills fit into a
test. The server runs no torch operation itself, because a child forked after one could inherit a pool of threads
without its threads. It reads one JSON job a line on standard input, and answers with one line when the child is
gone:

    {"recipe": JSON of the recipe, "runs": folder, "name": name, "kill": [when, seconds] or null, …}

The child is killed with SIGKILL so many seconds after what `when` says. These are events and not times, so that a
busy machine is killed at the same stages of its work as an idle one:

    log           the log has grown by job["lines"] lines; 0: at once, while the run is being opened
    checkpoint    a checkpoint's hidden folder is there: it is being written
    cache         a cache's hidden folder is there: images are being decoded into it
    finish        the checkpoint at job["images"] is there: the final scores, pictures and report are being made

The answer is {"killed": bool, "hit": bool}; hit: the kill left what was being waited for unfinished.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fork_server import ForkServer

POLL = 0.0005
"""Seconds between looks at the folder; the child shares the core, so it must be more than none."""


class Server(ForkServer):
    """The server as the test sees it."""

    script = __file__

    def live(self, job: dict[str, Any]) -> dict[str, Any]:
        """One life of a run, to its end or to the kill that the job asks for."""
        return self.ask(job)


def serve() -> None:
    # What takes long, before the forks; the first optimizer of a process would import dynamo.
    import torch._dynamo  # noqa: F401

    import gesso.engine.train  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _train(job)
        print(json.dumps(_watch(child, job)), flush=True)


def _train(job: dict[str, Any]) -> None:
    """In the child: train, and leave without what a normal exit would do, as only a part of this process is ours."""
    with (Path(job["runs"]) / f"{job['name']}.out").open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        import torch

        from gesso.engine.train import train
        from gesso.recipe import from_json

        torch.set_num_threads(1)
        train(from_json(job["recipe"]), runs=job["runs"], name=job["name"])
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _watch(child: int, job: dict[str, Any]) -> dict[str, Any]:
    if job["kill"] is None:
        return {"killed": False, "hit": False, "code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
    when, seconds = job["kill"]
    run, recipe = Path(job["runs"]) / job["name"], json.loads(job["recipe"])
    last = run / "checkpoints" / f"{job['images']:09d}"
    log = run / "log.jsonl"
    enough = _lines(log) + job["lines"]
    signs: dict[str, Callable[[], list[Path]]] = {
        "log": lambda: [run.parent] if _lines(log) >= enough else [],
        "checkpoint": lambda: _hidden(run / "checkpoints", f".{child}.tmp"),
        "cache": lambda: list((Path(recipe["data"]["cache_dir"]) / "images").glob("*.tmp")),
        "finish": lambda: [last] if last.exists() else [],
    }
    status = 0
    while not (sign := signs[when]()):
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            return {"killed": False, "hit": False, "code": os.waitstatus_to_exitcode(status)}
        time.sleep(POLL)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # it is not waited for yet, so the number is still its own
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed = code == -signal.SIGKILL
    return {"killed": killed, "hit": killed and sign[0].exists(), "code": code}


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _hidden(checkpoints: Path, end: str) -> list[Path]:
    """Folders of checkpoints that are being written: .NNN.PID.tmp, and not .NNN.PID.old.tmp or .latest.PID.tmp."""
    return [path for path in checkpoints.glob(f".*{end}") if path.name[1 : -len(end)].isdecimal()]


if __name__ == "__main__":
    serve()
