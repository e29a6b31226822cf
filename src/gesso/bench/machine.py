"""The machine that a measurement was made on: a name that is the same each time, and all that can change a result."""

import hashlib
import os
import re
from typing import Any

import psutil
import torch

from gesso.devices import ACCELERATORS, facts
from gesso.devices.cpu import processor
from gesso.engine.launch import Choices
from gesso.engine.runs import command, versions

VARIABLES = re.compile(r"(OMP|KMP|GOMP|MKL|OPENBLAS|CUDA|NVIDIA|NCCL|HIP|ROCR|PYTORCH|TORCH|TRITON|LD_PRELOAD)(_|$)")
"""Variables of the environment that can change how fast torch runs."""


def kind_of(device: torch.device) -> str:
    """The name of the device's row in the table of accelerators."""
    return next(name for name, row in ACCELERATORS.items() if row is facts(device))


def fingerprint(device: torch.device) -> str:
    """A label such as h200-1-3f9a02: the device, how many of its kind there are, and a digest of both, the processor,
    its cores and the memory.

    Without the host's name, which is another one in every container: machines that are built alike have one label.
    """
    row = facts(device)
    hardware = processor() if row.host else row.describe(device)
    count = os.cpu_count() if row.host else row.count()
    gibibytes = round(psutil.virtual_memory().total / 2**30)
    digest = hashlib.sha256(repr((hardware, count, processor(), os.cpu_count(), gibibytes)).encode()).hexdigest()
    words = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)", "", hardware.lower())).strip("-")
    return f"{words}-{count}-{digest[:6]}"


def environment(choices: Choices, peak: float) -> dict[str, Any]:
    """All that can change a result, as JSON can hold it. `peak`: the measured rate of a matrix product, FLOP/s."""
    return {
        **versions(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": torch.get_num_threads(),
        "load_average": list(psutil.getloadavg()),
        "matmul_flops_per_second": peak,
        "choices": {name: {"value": str(c.value), "reason": c.reason} for name, c in choices.as_dict().items()},
        "variables": {name: value for name, value in sorted(os.environ.items()) if VARIABLES.match(name)},
        "torch_build": torch.__config__.show(),
        "command": command(),
    }
