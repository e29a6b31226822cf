"""The processor."""

import os
import shutil
import sys

import psutil
import torch

from gesso.devices.energy import rapl
from gesso.devices.row import Accelerator, Choice, nothing

if sys.platform != "win32":
    import resource

NOT_FOUND = "was not found; install it, or name one in"


def _precision(device: torch.device) -> Choice[str]:
    if torch.cpu.get_capabilities().get("avx512_bf16", False):
        return Choice("bf16", "this CPU has bfloat16 instructions (avx512_bf16)")
    return Choice("fp32", "this CPU has no bfloat16 instructions")


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
    limits="bf16 is slower than fp32 on a CPU without bfloat16 instructions.",
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
