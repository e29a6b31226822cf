"""The facts of each accelerator, in one table.

Everything that gesso knows about a device by name stands in `ACCELERATORS`: how it is found, which precisions
it has and which is best, whether it gains from channels_last and from a fused optimizer, what it needs to compile,
how to wait for it and how to read its memory. No other file names a device. Every automatic choice is a `Choice`:
a value and the reason for it, which is printed, recorded in the run, and used again when the run is resumed.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Generic, TypeVar

import psutil
import torch

from gesso.errors import UsageError
from gesso.recipe import Precision, Switch

if sys.platform != "win32":
    import resource

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """An automatic choice: what, and why."""

    value: T
    reason: str


@dataclass(frozen=True)
class Accelerator:
    """One kind of device. What is asked of one device takes it as its argument: `cuda:1` may differ from `cuda:0`."""

    host: bool
    """Whether it is the processor itself, whose memory and random numbers every process has."""
    count: Callable[[], int]
    """How many there are, 0 where there is none. They are numbered from 0."""
    describe: Callable[[torch.device], str]
    precisions: Callable[[torch.device], tuple[str, ...]]
    best_precision: Callable[[torch.device], Choice[str]]
    channels_last: Choice[bool]
    fused_optimizer: bool
    compiler: Callable[[], Choice[bool]]
    """Whether torch.compile finds what it needs here, and what that is."""
    synchronize: Callable[[torch.device], None]
    peak_memory: Callable[[torch.device], int]
    """Bytes at the highest point of this process."""
    reset_peak_memory: Callable[[torch.device], None]
    free_memory: Callable[[torch.device], int]
    """Bytes that an allocation could still have."""
    allow_tf32: Callable[[bool], None]
    select: Callable[[torch.device], None]
    """Make it the one that is meant where none is named, in this process."""
    collectives: str
    """torch.distributed's backend between such devices; empty where there is none."""
    nominal_flops: float
    """A usual float32 rate of this kind in FLOP/s, for estimates that must not vary from call to call."""


def _nothing(device: torch.device) -> None:
    pass


def _cpu_has_bf16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _cpu_precision(device: torch.device) -> Choice[str]:
    if _cpu_has_bf16():
        return Choice("bf16", "this CPU has bfloat16 instructions (avx512_bf16)")
    return Choice("fp32", "this CPU has no bfloat16 instructions")


def _cpu_peak_memory(device: torch.device) -> int:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cpu_compiler() -> Choice[bool]:
    """Inductor takes the compiler in CXX, or else this one; it does not look for another."""
    name = os.environ.get("CXX") or {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    found = shutil.which(name)
    return Choice(True, found) if found else Choice(False, f"no C++ compiler: {name} {_NOT_FOUND} CXX")


def _cuda_compiler() -> Choice[bool]:
    """Inductor writes Triton, and Triton compiles the launchers of its kernels with a C compiler."""
    if not find_spec("triton"):
        return Choice(False, "no compiler: the package triton is not installed")
    found = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if found:
        return Choice(True, f"Triton and {found}")
    return Choice(False, f"no C compiler: Triton needs gcc or clang, which {_NOT_FOUND} CC")


_NOT_FOUND = "was not found; install it, or name one in"


def _cuda_allow_tf32(allow: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allow
    torch.backends.cudnn.allow_tf32 = allow


def _cuda_precisions(device: torch.device) -> tuple[str, ...]:
    return ("fp32", "tf32", "bf16") if torch.cuda.get_device_capability(device) >= (8, 0) else ("fp32",)


def _cuda_precision(device: torch.device) -> Choice[str]:
    if "bf16" in _cuda_precisions(device):
        return Choice("bf16", "tensor cores multiply bfloat16 (compute capability 8.0 or newer)")
    return Choice("fp32", "this GPU is older than compute capability 8.0")


ACCELERATORS: dict[str, Accelerator] = {
    "cuda": Accelerator(
        host=False,
        count=torch.cuda.device_count,
        describe=lambda device: torch.cuda.get_device_name(device),
        precisions=_cuda_precisions,
        best_precision=_cuda_precision,
        channels_last=Choice(True, "tensor cores read channels_last without a transpose"),
        fused_optimizer=True,
        compiler=_cuda_compiler,
        synchronize=lambda device: torch.cuda.synchronize(device),
        peak_memory=lambda device: torch.cuda.max_memory_allocated(device),
        reset_peak_memory=lambda device: torch.cuda.reset_peak_memory_stats(device),
        free_memory=lambda device: torch.cuda.mem_get_info(device)[0],
        allow_tf32=_cuda_allow_tf32,
        select=lambda device: torch.cuda.set_device(device),
        collectives="nccl",
        nominal_flops=2e13,
    ),
    "mps": Accelerator(
        host=False,
        count=lambda: int(torch.backends.mps.is_available()),
        describe=lambda device: "Apple GPU",
        precisions=lambda device: ("fp32",),
        best_precision=lambda device: Choice("fp32", "bfloat16 on MPS was not tried"),
        channels_last=Choice(False, "MPS was not measured to gain from channels_last"),
        fused_optimizer=False,
        compiler=lambda: Choice(True, "Metal compiles its own"),
        synchronize=lambda device: torch.mps.synchronize(),
        peak_memory=lambda device: torch.mps.driver_allocated_memory(),
        reset_peak_memory=_nothing,
        free_memory=lambda device: torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(),
        allow_tf32=lambda allow: None,
        select=_nothing,
        collectives="",
        nominal_flops=4e12,
    ),
    "cpu": Accelerator(
        host=True,
        count=lambda: 1,
        describe=lambda device: f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        precisions=lambda device: ("fp32", "bf16"),
        best_precision=_cpu_precision,
        channels_last=Choice(False, "eager convolutions on this CPU run faster contiguous"),
        fused_optimizer=True,
        compiler=_cpu_compiler,
        synchronize=_nothing,
        peak_memory=_cpu_peak_memory,
        reset_peak_memory=_nothing,
        free_memory=lambda device: int(psutil.virtual_memory().available),
        allow_tf32=lambda allow: None,
        select=_nothing,
        collectives="gloo",
        nominal_flops=1.5e11,
    ),
}


def facts(device: torch.device) -> Accelerator:
    """The table's row of `device`."""
    return ACCELERATORS[device.type]


def choose_device(flag: str, number: int | None = None) -> Choice[torch.device]:
    """The device for `--device flag`; UsageError where it is not there.

    number: which of its kind is this process's own, where several processes of this machine take one each.
    """
    if flag == "auto":
        kind = next(kind for kind, row in ACCELERATORS.items() if row.count())
        reason = "no accelerator was found" if kind == "cpu" else "the first accelerator found"
        return Choice(_own(torch.device(kind), number), reason)
    try:
        device = torch.device(flag)
    except RuntimeError:
        raise UsageError(f"--device {flag}: not a device; choose one of auto, {_kinds()}") from None
    if device.type not in ACCELERATORS:
        raise UsageError(f"--device {flag}: gesso knows {_kinds()}")
    count = facts(device).count()
    if not count:
        raise UsageError(f"--device {flag}: not found on this machine; see `gesso doctor`, or use --device auto")
    if (device.index or 0) >= count:
        last = f" to {device.type}:{count - 1}" if count > 1 else ""
        raise UsageError(f"--device {flag}: this machine has {device.type}:0{last}; see `gesso doctor`")
    return Choice(_own(device, number), "asked for")


def _own(device: torch.device, number: int | None) -> torch.device:
    """The device of `device`'s kind with that number; the processor serves any number of processes."""
    row = facts(device)
    if number is None or row.host:
        return device
    if ":" in str(device):
        raise UsageError(f"--device {device}: several processes take one device each; use --device {device.type}")
    if number >= row.count():
        raise UsageError(f"--devices: this machine has {row.count()} of {device.type}, one for each process")
    return torch.device(device.type, number)


def _kinds() -> str:
    return ", ".join(ACCELERATORS)


def choose_precision(flag: Precision, device: torch.device) -> Choice[str]:
    """Arithmetic of the networks on `device`; UsageError where the device has it not."""
    row = facts(device)
    if flag == "auto":
        return row.best_precision(device)
    if flag not in row.precisions(device):
        raise UsageError(f"--precision {flag}: {device} has {', '.join(row.precisions(device))}")
    return Choice(flag, "asked for")


def choose_compile(flag: Switch, device: torch.device, step_flops: float, steps: float) -> Choice[bool]:
    """Whether to compile networks that do `step_flops` floating point operations in each of `steps` steps.

    Decided from an estimate and not from a timing, so that the same recipe on the same machine always gets the
    same arithmetic and a resumed run stays bit-identical.
    """
    if flag != "auto":
        return Choice(flag == "on", "asked for")
    compiler = facts(device).compiler()
    if not compiler.value:
        return compiler
    seconds = steps * step_flops / facts(device).nominal_flops
    if seconds < COMPILE_PAYS_AFTER:
        return Choice(False, f"about {seconds:.0f} s of arithmetic would not pay for a minute of compiling")
    return Choice(True, f"about {seconds / 60:.0f} min of arithmetic pay for a minute of compiling")


COMPILE_PAYS_AFTER = 600.0
"""Seconds of estimated arithmetic from which a minute of compiling is won back several times."""


def measure_matmul_peak(device: torch.device, dtype: torch.dtype, side: int = 2048, seconds: float = 1.0) -> float:
    """FLOP/s of the best of repeated square matrix products of `side`, timed for about `seconds`."""
    row = facts(device)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    a @ b
    row.synchronize(device)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        row.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
