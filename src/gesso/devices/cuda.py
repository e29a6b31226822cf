"""NVIDIA's and AMD's GPUs, both of which torch calls "cuda": a build of torch is for one of the two."""

import os
import shutil
from dataclasses import replace
from importlib.util import find_spec

import torch

from gesso.devices.cpu import NOT_FOUND
from gesso.devices.energy import nvml
from gesso.devices.row import Accelerator, Choice, nothing


def _for_amd() -> bool:
    return torch.version.hip is not None


def triton_compiler() -> Choice[bool]:
    """Inductor writes Triton for GPUs, and Triton compiles the launchers of its kernels with a C compiler."""
    if not find_spec("triton"):
        return Choice(False, "no compiler: the package triton is not installed")
    found = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if found:
        return Choice(True, f"Triton and {found}")
    return Choice(False, f"no C compiler: Triton needs gcc or clang, which {NOT_FOUND} CC")


def _allow_tf32(allow: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allow
    torch.backends.cudnn.allow_tf32 = allow


def _precisions(device: torch.device) -> tuple[str, ...]:
    newer = torch.cuda.get_device_capability(device) >= (8, 0)
    return ("fp32", "tf32", "bf16", "fp16") if newer else ("fp32", "fp16")


def _precision(device: torch.device) -> Choice[str]:
    if "bf16" in _precisions(device):
        return Choice("bf16", "tensor cores multiply bfloat16 (compute capability 8.0 or newer)")
    return Choice("fp32", "this GPU is older than compute capability 8.0; from 7.0 on fp16 is faster, if asked for")


CUDA = Accelerator(
    kind="cuda",
    documentation="PyTorch: CUDA semantics",
    needs="an NVIDIA GPU, its driver, and a torch built for CUDA",
    limits="GPUs older than compute capability 8.0 have neither bf16 nor tf32; fp16 must be asked for.",
    host=False,
    numbered=True,
    count=lambda: 0 if _for_amd() else torch.cuda.device_count(),
    describe=lambda device: torch.cuda.get_device_name(device),
    precisions=_precisions,
    best_precision=_precision,
    channels_last=Choice(True, "tensor cores read channels_last without a transpose"),
    fused_optimizer=True,
    compiler=triton_compiler,
    compile_backend="inductor",
    synchronize=lambda device: torch.cuda.synchronize(device),
    submit=nothing,
    pins_memory=True,
    peak_memory=lambda device: torch.cuda.max_memory_allocated(device),
    reset_peak_memory=lambda device: torch.cuda.reset_peak_memory_stats(device),
    free_memory=lambda device: torch.cuda.mem_get_info(device)[0],
    allow_tf32=_allow_tf32,
    select=lambda device: torch.cuda.set_device(device),
    collectives="nccl",
    nominal_flops=2e13,
    energy=nvml,
)

ROCM = replace(
    CUDA,
    documentation="PyTorch: HIP (ROCm) semantics",
    needs="an AMD GPU, its driver, and a torch built for ROCm",
    limits="TF32 is not offered, which only some of these GPUs have; channels_last is left off.",
    count=lambda: torch.cuda.device_count() if _for_amd() else 0,
    # As torch.cuda.is_bf16_supported says of every GPU under ROCm. Compute capabilities are NVIDIA's and say nothing.
    precisions=lambda device: ("fp32", "bf16", "fp16"),
    best_precision=lambda device: Choice("bf16", "torch has bfloat16 on every GPU that ROCm supports"),
    channels_last=Choice(False, "MIOpen was not measured to gain from channels_last"),
    energy=lambda device: {},
)
