"""How the processes of a world end in the tests of that."""

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from gesso import cli, endings
from gesso.errors import UsageError
from gesso.processes import joined


def stuck(job: dict[str, Any]) -> None:
    """Process 1 dies; process 0 never asks after it, as where it waits for a device."""
    endings.BEAT, endings.GRACE = 0.05, 0.1
    with joined("cpu") as world:
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


def busy(job: dict[str, Any]) -> None:
    """Process 0 is busy for many beats, in a call that lets none of its threads run; process 1 waits for it."""
    endings.BEAT, endings.GRACE = 0.01, 0.01
    with joined("cpu") as world, world.main_first():
        if world.main:
            sum(range(20_000_000))


def mistaken(job: dict[str, Any]) -> None:
    """Process 1 finds a mistake of the user's; process 0 waits for it. The launcher keeps their store."""
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", MASTER_PORT=str(job["port"]))

    def command(arguments: Any) -> int:
        with joined("cpu") as world:
            if world.rank == 1:
                raise UsageError("--flag: a mistake")
            world.meet()
        return 0

    _command(command)


ENDS = {"memory": MemoryError(), "disk": OSError(errno.ENOSPC, "No space left on device"), "bug": RuntimeError("a bug")}


def failing(job: dict[str, Any]) -> None:
    """Process 1 ends by what the job names, where process 0 waits for it, in a launcher that keeps their store."""
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", MASTER_PORT=str(job["port"]), **job.get("environment", {}))

    def command(arguments: Any) -> int:
        with joined("cpu") as world:
            if world.rank == 1:
                raise ENDS[job["error"]]
            world.meet()
        return 0

    _command(command)


def unable_to_meet(job: dict[str, Any]) -> None:
    """No process has the network interface that the user names."""
    os.environ.update(job["environment"])

    def command(arguments: Any) -> int:
        with joined("cpu"):
            return 0

    _command(command)


def not_torn_down(job: dict[str, Any]) -> None:
    """What tears the processes' group down fails: the watch ends nevertheless."""
    endings.BEAT = 0.05

    def torn_down() -> None:
        raise RuntimeError("torn")

    dist.destroy_process_group = torn_down
    with contextlib.suppress(RuntimeError), joined("cpu"):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]


def agreeing(job: dict[str, Any]) -> None:
    """Every process finds the same mistake."""
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", MASTER_PORT=str(job["port"]))

    def command(arguments: Any) -> int:
        with joined("cpu"):
            raise UsageError("--flag: a mistake")

    _command(command)


def meeting_where_it_is_taken(job: dict[str, Any]) -> None:
    """Come together at a port at which another program listens."""
    endings.MEETING = timedelta(seconds=0.5)
    os.environ["MASTER_PORT"] = str(job["port"])

    def command(arguments: Any) -> int:
        with joined("cpu"):
            return 0

    _command(command)


def two_trainings(job: dict[str, Any]) -> None:
    """The last question of a first training in a world is not answered in a second one."""
    with joined("cpu") as world:
        with joined("cpu"):
            assert not world.any(True)
        with joined("cpu"):
            assert not world.any(False)
            assert not world.any(True)
            assert world.any(False)


def _command(command: Any) -> None:
    """`command` as one of gesso's, which tells its mistakes."""
    cli.commands()["command"] = command
    code = cli.main(["command"])
    sys.stdout.flush()
    os._exit(code)
