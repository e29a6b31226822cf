"""What launchers leave in a process's environment, as far as it is read where torch is not to be imported.

`__main__` imports this before anything else, so that it imports next to nothing itself.
"""

import os

RESTARTS = "GESSO_RESTARTS"
"""The variable in which `launching.launch` counts how often it has started the processes anew."""


def launched() -> bool:
    """Whether torch's elastic agent started this process, by gesso's own launcher or torchrun."""
    return "RANK" in os.environ


def one_of_several() -> bool:
    """Whether this process may be one of several. What all of them find is told once, by `processes.joined`."""
    return launched() or "SLURM_PROCID" in os.environ


def tells() -> bool:
    """Whether this process is the one to tell of what happens to all that a launcher started: an interrupt."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"
