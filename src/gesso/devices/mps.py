"""Apple's GPUs."""

import torch

from gesso.devices.row import Accelerator, Choice, nothing

MPS = Accelerator(
    kind="mps",
    documentation="PyTorch: MPS backend",
    needs="a Mac with Apple silicon",
    limits="fp16 must be asked for; bfloat16 was not tried; no float64; one process.",
    host=False,
    numbered=True,
    count=lambda: int(torch.backends.mps.is_available()),
    describe=lambda device: "Apple GPU",
    precisions=lambda device: ("fp32", "fp16"),
    best_precision=lambda device: Choice("fp32", "bfloat16 on MPS was not tried"),
    channels_last=Choice(False, "MPS was not measured to gain from channels_last"),
    fused_optimizer=False,
    compiler=lambda: Choice(True, "Metal compiles its own"),
    compile_backend="inductor",
    synchronize=lambda device: torch.mps.synchronize(),
    submit=nothing,
    pins_memory=False,
    peak_memory=lambda device: torch.mps.driver_allocated_memory(),
    reset_peak_memory=nothing,
    free_memory=lambda device: torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(),
    allow_tf32=nothing,
    select=nothing,
    collectives="",
    nominal_flops=4e12,
)
