"""Accelerators that come to torch with their vendor's package: Intel Gaudi, Huawei Ascend, Cambricon MLU.

Such a package adds a module to torch that is shaped like torch.cuda (`torch.hpu`, `torch.npu`, `torch.mlu`) and a
backend for torch.distributed. It is imported only where it is installed, when a device is looked for. The rows were
written from the vendors' documents and from what Accelerate calls; nobody of this project has run one.
"""

import os
import warnings
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from gesso.devices.cuda import triton_compiler
from gesso.devices.row import Accelerator, Choice, nothing

LAZY = "PT_HPU_LAZY_MODE"
"""Gaudi's environment variable: 1 records operations and runs them as graphs; otherwise they run at once."""


@lru_cache
def loaded(package: str, module: str) -> bool:
    """Whether `module` of `package` is installed and was imported. Where it does not import, a warning says why."""
    if not find_spec(package):
        return False
    try:
        import_module(module)
    except Exception as error:  # a driver that is missing or too old shows itself in many ways
        warnings.warn(f"{package} is installed but does not load: {error}", stacklevel=2)
        return False
    return True


def _count(kind: str, package: str, module: str) -> int:
    if not loaded(package, module):
        return 0
    there = torch.get_device_module(kind)
    return int(there.device_count()) if there.is_available() else 0


def _of(device: torch.device) -> Any:
    """The module that the vendor's package added to torch."""
    return torch.get_device_module(device)


def _precisions(device: torch.device) -> tuple[str, ...]:
    return ("fp32", "bf16", "fp16") if _of(device).is_bf16_supported() else ("fp32", "fp16")


def _best(device: torch.device) -> Choice[str]:
    if "bf16" in _precisions(device):
        return Choice("bf16", "its software says that this device multiplies bfloat16")
    return Choice("fp32", "its software says that this device has no bfloat16")


def _hpu_is_lazy() -> bool:
    return os.environ.get(LAZY) == "1"


def _hpu_compiler() -> Choice[bool]:
    if _hpu_is_lazy():
        return Choice(False, f"{LAZY}=1 makes graphs of its own, and torch.compile needs {LAZY}=0")
    return Choice(True, "Gaudi's graph compiler")


def _hpu_submit() -> None:
    if _hpu_is_lazy():
        import_module("habana_frameworks.torch.core").mark_step()


def _npu_allow_hf32(allow: bool) -> None:
    """HF32 is Ascend's TF32. Its convolutions use it unless they are told not to."""
    npu = torch.get_device_module("npu")
    npu.matmul.allow_hf32 = allow
    npu.conv.allow_hf32 = allow


HPU = Accelerator(
    kind="hpu",
    documentation="Intel Gaudi: PyTorch Gaudi Theory of Operations, mark_step, PyTorch Support Matrix",
    needs="an Intel Gaudi, its driver, and the package habana_frameworks",
    limits="Gaudi's software brings a torch of its own, which must be 2.11 or newer for gesso; several processes were "
    "not tried.",
    host=False,
    numbered=False,
    count=lambda: _count("hpu", "habana_frameworks", "habana_frameworks.torch"),
    describe=lambda device: str(_of(device).get_device_name()),
    precisions=lambda device: ("fp32", "bf16"),
    best_precision=lambda device: Choice("bf16", "every Gaudi multiplies bfloat16"),
    channels_last=Choice(False, "Gaudi's graph compiler chooses the layout"),
    fused_optimizer=False,
    compiler=_hpu_compiler,
    compile_backend="hpu_backend",
    synchronize=lambda device: _of(device).synchronize(),
    submit=_hpu_submit,
    pins_memory=False,
    peak_memory=lambda device: int(_of(device).max_memory_allocated()),
    reset_peak_memory=lambda device: _of(device).reset_peak_memory_stats(),
    free_memory=lambda device: int(_of(device).mem_get_info()[0]),
    allow_tf32=nothing,
    select=nothing,
    collectives="hccl",
    nominal_flops=1e13,
)

NPU = Accelerator(
    kind="npu",
    documentation="Ascend Extension for PyTorch (torch_npu): README, API reference",
    needs="a Huawei Ascend, its driver and CANN, and a torch_npu of torch's version",
    limits="fp16 must be asked for; HF32 is not offered, and is turned off; torch_npu's own fused optimizers are not "
    "used.",
    host=False,
    numbered=True,
    count=lambda: _count("npu", "torch_npu", "torch_npu"),
    describe=lambda device: str(_of(device).get_device_name(device)),
    precisions=_precisions,
    best_precision=_best,
    channels_last=Choice(False, "CANN has layouts of its own"),
    fused_optimizer=False,
    compiler=triton_compiler,
    compile_backend="inductor",
    synchronize=lambda device: _of(device).synchronize(device),
    submit=nothing,
    pins_memory=False,
    peak_memory=lambda device: int(_of(device).max_memory_allocated(device)),
    reset_peak_memory=lambda device: _of(device).reset_peak_memory_stats(device),
    free_memory=lambda device: int(_of(device).mem_get_info(device)[0]),
    allow_tf32=_npu_allow_hf32,
    select=lambda device: _of(device).set_device(device),
    collectives="hccl",
    nominal_flops=2e13,
)

MLU = replace(
    NPU,  # whose calls torch_mlu has under its own name
    kind="mlu",
    documentation="none that is public: as Accelerate and DeepSpeed call torch_mlu",
    needs="a Cambricon MLU, its driver, and a torch_mlu of torch's version",
    limits="Whether float32 is rounded to TF32 is left as torch_mlu has it.",
    count=lambda: _count("mlu", "torch_mlu", "torch_mlu"),
    channels_last=Choice(False, "MLU was not measured to gain from channels_last"),
    allow_tf32=nothing,
    collectives="cncl",
    nominal_flops=1e13,
)
