"""The facts of each accelerator, in one table.

Everything that gesso knows about a device by name stands in `ACCELERATORS`: how it is found, which precisions
it has and which is best, whether it gains from channels_last and from a fused optimizer, how to wait for it and
how to read its memory. No other file names a device. Every automatic choice is a `Choice`: a value and the
reason for it, which is printed, recorded in the run, and used again when the run is resumed.
"""

import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import psutil
import torch

from gesso.errors import UsageError
from gesso.recipe import Precision, Switch

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """An automatic choice: what, and why."""

    value: T
    reason: str


@dataclass(frozen=True)
class Accelerator:
    """One kind of device. `best_precision` and `precisions` may look at the hardware."""

    host: bool
    """Whether it is the processor itself, whose memory and random numbers every process has."""
    available: Callable[[], bool]
    describe: Callable[[], str]
    precisions: Callable[[], tuple[str, ...]]
    best_precision: Callable[[], Choice[str]]
    channels_last: Choice[bool]
    fused_optimizer: bool
    synchronize: Callable[[], None]
    peak_memory: Callable[[], int]
    """Bytes at the highest point of this process."""
    reset_peak_memory: Callable[[], None]
    free_memory: Callable[[], int]
    """Bytes that an allocation could still have."""
    allow_tf32: Callable[[bool], None]
    nominal_flops: float
    """A usual float32 rate of this kind in FLOP/s, for estimates that must not vary from call to call."""


def _nothing() -> None:
    pass


def _cpu_has_bf16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _cpu_precision() -> Choice[str]:
    if _cpu_has_bf16():
        return Choice("bf16", "this CPU has bfloat16 instructions (avx512_bf16)")
    return Choice("fp32", "this CPU has no bfloat16 instructions")


def _cpu_peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cuda_allow_tf32(allow: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allow
    torch.backends.cudnn.allow_tf32 = allow


def _cuda_precisions() -> tuple[str, ...]:
    return ("fp32", "tf32", "bf16") if torch.cuda.get_device_capability() >= (8, 0) else ("fp32",)


def _cuda_precision() -> Choice[str]:
    if "bf16" in _cuda_precisions():
        return Choice("bf16", "tensor cores multiply bfloat16 (compute capability 8.0 or newer)")
    return Choice("fp32", "this GPU is older than compute capability 8.0")


ACCELERATORS: dict[str, Accelerator] = {
    "cuda": Accelerator(
        host=False,
        available=torch.cuda.is_available,
        describe=lambda: torch.cuda.get_device_name(),
        precisions=_cuda_precisions,
        best_precision=_cuda_precision,
        channels_last=Choice(True, "tensor cores read channels_last without a transpose"),
        fused_optimizer=True,
        synchronize=torch.cuda.synchronize,
        peak_memory=torch.cuda.max_memory_allocated,
        reset_peak_memory=torch.cuda.reset_peak_memory_stats,
        free_memory=lambda: torch.cuda.mem_get_info()[0],
        allow_tf32=_cuda_allow_tf32,
        nominal_flops=2e13,
    ),
    "mps": Accelerator(
        host=False,
        available=torch.backends.mps.is_available,
        describe=lambda: "Apple GPU",
        precisions=lambda: ("fp32",),
        best_precision=lambda: Choice("fp32", "bfloat16 on MPS was not tried"),
        channels_last=Choice(False, "MPS was not measured to gain from channels_last"),
        fused_optimizer=False,
        synchronize=torch.mps.synchronize,
        peak_memory=lambda: torch.mps.driver_allocated_memory(),
        reset_peak_memory=_nothing,
        free_memory=lambda: torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(),
        allow_tf32=lambda allow: None,
        nominal_flops=4e12,
    ),
    "cpu": Accelerator(
        host=True,
        available=lambda: True,
        describe=lambda: f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        precisions=lambda: ("fp32", "bf16"),
        best_precision=_cpu_precision,
        channels_last=Choice(False, "eager convolutions on this CPU run faster contiguous"),
        fused_optimizer=True,
        synchronize=_nothing,
        peak_memory=_cpu_peak_memory,
        reset_peak_memory=_nothing,
        free_memory=lambda: int(psutil.virtual_memory().available),
        allow_tf32=lambda allow: None,
        nominal_flops=1.5e11,
    ),
}


def facts(device: torch.device) -> Accelerator:
    """The table's row of `device`."""
    return ACCELERATORS[device.type]


def choose_device(flag: str) -> Choice[torch.device]:
    """The device for `--device flag`; UsageError where it is not there."""
    if flag == "auto":
        kind = next(kind for kind, row in ACCELERATORS.items() if row.available())
        reason = "no accelerator was found" if kind == "cpu" else "the first accelerator found"
        return Choice(torch.device(kind), reason)
    try:
        device = torch.device(flag)
    except RuntimeError:
        raise UsageError(f"--device {flag}: not a device; choose one of auto, {_kinds()}") from None
    if device.type not in ACCELERATORS:
        raise UsageError(f"--device {flag}: gesso knows {_kinds()}")
    if not facts(device).available():
        raise UsageError(f"--device {flag}: not found on this machine; see `gesso doctor`, or use --device auto")
    return Choice(device, "asked for")


def _kinds() -> str:
    return ", ".join(ACCELERATORS)


def choose_precision(flag: Precision, device: torch.device) -> Choice[str]:
    """Arithmetic of the networks on `device`; UsageError where the device has it not."""
    row = facts(device)
    if flag == "auto":
        return row.best_precision()
    if flag not in row.precisions():
        raise UsageError(f"--precision {flag}: {device.type} has {', '.join(row.precisions())}")
    return Choice(flag, "asked for")


def choose_compile(flag: Switch, device: torch.device, step_flops: float, steps: float) -> Choice[bool]:
    """Whether to compile networks that do `step_flops` floating point operations in each of `steps` steps.

    Decided from an estimate and not from a timing, so that the same recipe on the same machine always gets the
    same arithmetic and a resumed run stays bit-identical.
    """
    if flag != "auto":
        return Choice(flag == "on", "asked for")
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return Choice(False, "no C++ compiler (g++ or clang++) was found")
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
    row.synchronize()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        row.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
