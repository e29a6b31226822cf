"""The facts of each accelerator, in one table.

Everything that gesso knows about a device by name stands in `ACCELERATORS`, a row for each kind, written in the files
of this package: how it is found, which precisions it has and which is best, whether it gains from channels_last and
from a fused optimizer, what it needs to compile, how to wait for it and how to read its memory. No other file names a
device. Every automatic choice is a `Choice`: a value and the reason for it, which is printed, recorded in the run, and
used again when the run is resumed.
"""

import time

import torch

from gesso.devices.cpu import CPU, processor
from gesso.devices.cuda import CUDA, ROCM
from gesso.devices.mps import MPS
from gesso.devices.plugins import HPU, MLU, NPU
from gesso.devices.row import Accelerator, Choice
from gesso.devices.xpu import XPU
from gesso.errors import UsageError
from gesso.recipe import Precision, Switch

__all__ = [
    "ACCELERATORS",
    "DTYPES",
    "Accelerator",
    "Choice",
    "choose_compile",
    "choose_device",
    "choose_precision",
    "facts",
    "hardware",
    "measure_matmul_peak",
]

ACCELERATORS: dict[str, Accelerator] = {
    "cuda": CUDA,
    "rocm": ROCM,
    "mps": MPS,
    "xpu": XPU,
    "hpu": HPU,
    "npu": NPU,
    "mlu": MLU,
    "cpu": CPU,
}
"""By the names that `--device` takes, in the order in which `--device auto` looks for them."""
DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Of the networks' tensors in each precision. tf32's are float32: only a backend's switch tells it from fp32."""


def facts(device: torch.device) -> Accelerator:
    """The table's row of `device`."""
    return _row(device.type)


def _row(kind: str) -> Accelerator:
    """The row of what torch calls `kind`; of two such rows the second where its devices are here."""
    first, *others = (row for row in ACCELERATORS.values() if row.kind == kind)
    return next((row for row in others if row.count()), first)


def choose_device(flag: str, number: int | None = None) -> Choice[torch.device]:
    """The device for `--device flag`; UsageError where it is not there.

    number: which of its kind is this process's own, where several processes of this machine take one each.
    """
    if flag == "auto":
        row = next(row for row in ACCELERATORS.values() if row.count())
        reason = "no accelerator was found" if row.host else "the first accelerator found"
        return Choice(_own(torch.device(row.kind), number), reason)
    name = flag.partition(":")[0]
    if name not in ACCELERATORS:
        raise UsageError(f"--device {flag}: {_unknown(flag)}")
    row = ACCELERATORS[name]
    if row.kind == name:  # what torch calls so, in whatever build it is
        row = _row(name)
    count = row.count()
    if not count:
        raise UsageError(
            f"--device {flag}: not found on this machine; it needs {row.needs}; see `gesso doctor`, "
            "or use --device auto"
        )
    try:
        device = torch.device(flag.replace(name, row.kind, 1))
    except RuntimeError:
        raise UsageError(f"--device {flag}: {_unknown(flag)}") from None
    if (device.index or 0) >= count:
        last = f" to {name}:{count - 1}" if count > 1 else ""
        raise UsageError(f"--device {flag}: this machine has {name}:0{last}; see `gesso doctor`")
    return Choice(_own(device, number), "asked for")


def _unknown(flag: str) -> str:
    """What is wrong with a name that is not in the table."""
    names = ", ".join(ACCELERATORS)
    try:
        torch.device(flag)
    except RuntimeError:
        return f"not a device; choose one of auto, {names}"
    return f"gesso knows {names}"


def _own(device: torch.device, number: int | None) -> torch.device:
    """The device of `device`'s kind with that number; the processor serves any number of processes."""
    row = facts(device)
    if number is None or row.host:
        return device
    if ":" in str(device):
        raise UsageError(f"--device {device}: several processes take one device each; use --device {device.type}")
    if number >= row.count():
        raise UsageError(f"--devices: this machine has {row.count()} of {device.type}, one for each process")
    return torch.device(device.type, number) if row.numbered else device


def choose_precision(flag: Precision, device: torch.device) -> Choice[str]:
    """Arithmetic of the networks on `device`; UsageError where the device has it not. On a CPU that of "auto" may be
    measured; a run records it and goes on in it."""
    row = facts(device)
    if flag == "auto":
        return row.best_precision(device)
    if flag not in row.precisions(device):
        raise UsageError(f"--precision {flag}: {device} has {', '.join(row.precisions(device))}")
    return Choice(flag, "asked for")


def choose_compile(flag: Switch, device: torch.device, step_flops: float, steps: float) -> Choice[bool]:
    """Whether to compile networks that do `step_flops` floating point operations in each of `steps` steps.

    Decided from an estimate and not from a timing, so that the same recipe on the same machine always gets the
    same arithmetic and a resumed run stays bit-identical. UsageError where it is asked for and cannot be.
    """
    compiler = facts(device).compiler()
    if flag == "on" and not compiler.value:
        raise UsageError(f"--compile on: {compiler.reason}")
    if flag != "auto":
        return Choice(flag == "on", "asked for")
    if not compiler.value:
        return compiler
    seconds = steps * step_flops / facts(device).nominal_flops
    if seconds < COMPILE_PAYS_AFTER:
        return Choice(False, f"about {seconds:.0f} s of arithmetic would not pay for a minute of compiling")
    return Choice(True, f"about {seconds / 60:.0f} min of arithmetic pay for a minute of compiling")


COMPILE_PAYS_AFTER = 600.0
"""Seconds of estimated arithmetic from which a minute of compiling is won back several times."""


def hardware(device: torch.device) -> str:
    """`device` for people: its row's description, with the processor's name before it on a CPU. Results are matched by
    the description alone, so the name is not in it."""
    row = facts(device)
    return f"{processor()}, {row.describe(device)}" if row.host else row.describe(device)


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
