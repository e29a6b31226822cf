"""Start the processes of one training on this machine, by torch's elastic agent, the one inside torchrun.

The agent gives each process its place in the environment (see processes.py), passes on a signal, and ends all of them
where one ends. With restarts another agent then starts them anew, and they go on from the run's last checkpoint: an
agent's own restarts would repeat a mistake and a divergence too, which only happen again.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from gesso.devices import choose_device
from gesso.errors import AGAIN, INTERRUPTED, DivergenceError, ProcessError, UsageError
from gesso.launched import RESTARTS
from gesso.processes import place

THREADS = "OMP_NUM_THREADS"
PARTING = 600
"""Seconds that the processes have, after an interrupt, to end their step or their scores and save."""
FINAL = frozenset({UsageError.exit_code, DivergenceError.exit_code, INTERRUPTED})
"""Exit codes of what would only happen again, and of a process that was asked to stop."""


def launch(arguments: Sequence[str], devices: int, max_restarts: int, module: str = "gesso") -> int:
    """Run `gesso ARGUMENTS` in `devices` processes that train together. The exit code of the first that failed.

    max_restarts: how often all are started anew after one was killed or failed, other than by a user's mistake, by
    diverging or by an interrupt. module: run with `python -m`, in place of gesso's command line.
    """
    # Each failure has told its reason already, in the process that failed. The agent's loggers have levels of their
    # own, so that a level up here would not hold for them.
    agents = logging.getLogger("torch.distributed.elastic")
    agents.addHandler(logging.NullHandler())
    agents.propagate = False
    os.environ.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // devices)))
    code = 0
    for restart in range(max_restarts + 1):
        os.environ[RESTARTS] = str(restart)
        try:
            elastic_launch(_config(devices), sys.executable)("-m", module, *arguments)
        except ChildFailedError as error:
            code = _told(sorted((rank, failure.exitcode) for rank, failure in error.failures.items()), devices)
        except SignalException:
            return INTERRUPTED
        else:
            return 0
        finally:
            del os.environ[RESTARTS]  # it is said of the processes, not of this one
        if code in FINAL:
            break
    return UsageError.exit_code if code == AGAIN else code


def _config(devices: int) -> LaunchConfig:
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
    )
    if hasattr(config, "shutdown_timeout"):  # torch 2.11 has none, and 30 seconds
        config.shutdown_timeout = PARTING
    return config


def _told(codes: list[tuple[int, int]], devices: int) -> int:
    """One exit code for those of the processes that failed; what nobody else can tell of is told here.

    Where one failed the others end for want of it, with the code of ProcessError, or by the agent's SIGTERM.
    """
    for _, code in codes:
        if code in FINAL:
            return code
    for rank, code in codes:
        if code < 0 and -code != signal.SIGTERM:
            name = signal.Signals(-code).name
            print(f"gesso: process {rank} of {devices} was killed by {name}", file=sys.stderr)
            return ProcessError.exit_code
    return next((code for _, code in codes if code > 0 and code != ProcessError.exit_code), ProcessError.exit_code)


def starts(devices: int, max_restarts: int, device: str) -> bool:
    """Whether this process is to `launch` others, rather than being one of them or training alone.

    UsageError where this machine has not so many devices of the kind that `--device` asks for.
    """
    if devices < 1:
        raise UsageError(f"--devices {devices}: must be 1 or more")
    if max_restarts < 0:
        raise UsageError(f"--max-restarts {max_restarts}: must be 0 or more")
    here = place(os.environ)
    if here.size > 1:
        if devices not in (1, here.size):
            raise UsageError(f"--devices {devices}: a launcher started {here.size} processes already; leave it out")
        return False
    if devices == 1:
        if max_restarts:
            raise UsageError("--max-restarts: only several processes are restarted; give --devices too")
        return False
    choose_device(device, devices - 1)
    return True
