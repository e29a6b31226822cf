"""Intel's GPUs, which torch has without another package."""

import torch

from gesso.devices.cuda import triton_compiler
from gesso.devices.row import Accelerator, Choice, nothing


def _precisions(device: torch.device) -> tuple[str, ...]:
    """As torch.xpu.is_tf32_supported and is_bf16_supported decide, but of the device that is asked about."""
    has = torch.xpu.get_device_properties(device)
    tf32 = ("tf32",) if has.has_subgroup_matrix_multiply_accumulate else ()
    bf16 = ("bf16",) if has.has_bfloat16_conversions else ()
    fp16 = ("fp16",) if has.has_fp16 else ()
    return ("fp32", *tf32, *bf16, *fp16)


def _precision(device: torch.device) -> Choice[str]:
    if "bf16" in _precisions(device):
        return Choice("bf16", "this GPU converts to bfloat16 in hardware")
    return Choice("fp32", "this GPU only emulates bfloat16")


def _allow_tf32(allow: bool) -> None:
    torch.backends.mkldnn.allow_tf32 = allow  # type: ignore[assignment]  # oneDNN multiplies on these GPUs too


XPU = Accelerator(
    kind="xpu",
    documentation="PyTorch: Getting Started on Intel GPU",
    needs="an Intel GPU, its driver, and a torch built for XPU",
    limits="Several processes need a torch with XCCL, which the builds for Linux have; channels_last is left off.",
    host=False,
    numbered=True,
    count=lambda: torch.xpu.device_count(),
    describe=lambda device: torch.xpu.get_device_name(device),
    precisions=_precisions,
    best_precision=_precision,
    channels_last=Choice(False, "XPU was not measured to gain from channels_last"),
    fused_optimizer=True,
    compiler=triton_compiler,
    compile_backend="inductor",
    synchronize=lambda device: torch.xpu.synchronize(device),
    submit=nothing,
    pins_memory=True,
    peak_memory=lambda device: torch.xpu.max_memory_allocated(device),
    reset_peak_memory=lambda device: torch.xpu.reset_peak_memory_stats(device),
    free_memory=lambda device: torch.xpu.mem_get_info(device)[0],
    allow_tf32=_allow_tf32,
    select=lambda device: torch.xpu.set_device(device),
    collectives="xccl",
    nominal_flops=1e13,
)
