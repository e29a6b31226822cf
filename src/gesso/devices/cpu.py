"""The processor."""

import functools
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path

import psutil
import torch

from gesso.devices.energy import rapl
from gesso.devices.row import Accelerator, Choice, nothing

if sys.platform != "win32":
    import resource

CPUINFO = Path("/proc/cpuinfo")
NOT_FOUND = "was not found; install it, or name one in"


WORTHWHILE = 1.25
"""Least gain of bfloat16: casts take time too, so one that is hardly faster makes a slower step. Gains known are 0.5, 2
and 4: none so near that the noise of a measurement would give one machine now this arithmetic, now that."""


@functools.cache
def bf16_gain() -> float:
    """How many times as fast as in float32 this CPU multiplies matrices in bfloat16.

    Measured, as having the instructions does not tell: with AMX the gain is about 4, with avx512_bf16 alone it is 2 on
    some processors and below 1 on others (docs/log.md, 2026-11-22). 30 ms, once in a process; no random numbers.
    """
    fastest = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    matrices = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in fastest}
    for _ in range(5):
        for dtype, matrix in matrices.items():
            start = time.perf_counter()
            matrix @ matrix
            fastest[dtype] = min(fastest[dtype], time.perf_counter() - start)
    return fastest[torch.float32] / fastest[torch.bfloat16]


def _precision(device: torch.device) -> Choice[str]:
    if not torch.cpu.get_capabilities().get("avx512_bf16", False):
        return Choice("fp32", "this CPU has no bfloat16 instructions")
    gain = bf16_gain()
    measured = f"this CPU multiplies matrices in bfloat16 {gain:.1f} times as fast as in float32"
    return Choice("bf16" if gain >= WORTHWHILE else "fp32", measured)


def processor() -> str:
    """What the processor calls itself."""
    if CPUINFO.exists() and (named := re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE)):
        return named[1]
    return platform.processor() or platform.machine()


def _peak_memory(device: torch.device) -> int:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _compiler() -> Choice[bool]:
    """Inductor takes the compiler in CXX, or else this one; it does not look for another."""
    name = os.environ.get("CXX") or {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    found = shutil.which(name)
    return Choice(True, found) if found else Choice(False, f"no C++ compiler: {name} {NOT_FOUND} CXX")


CPU = Accelerator(
    kind="cpu",
    documentation="",
    needs="nothing more",
    limits="bf16 is slower than fp32 on a CPU without AMX or fast avx512_bf16 instructions.",
    host=True,
    numbered=True,
    count=lambda: 1,
    describe=lambda device: f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
    precisions=lambda device: ("fp32", "bf16"),
    best_precision=_precision,
    channels_last=Choice(False, "eager convolutions on this CPU run faster contiguous"),
    fused_optimizer=True,
    compiler=_compiler,
    compile_backend="inductor",
    synchronize=nothing,
    submit=nothing,
    pins_memory=False,
    peak_memory=_peak_memory,
    reset_peak_memory=nothing,
    free_memory=lambda device: int(psutil.virtual_memory().available),
    allow_tf32=nothing,
    select=nothing,
    collectives="gloo",
    nominal_flops=1.5e11,
    energy=rapl,
)
