"""Doubling an image's sides: the papers' transposed convolutions, or a resize that leaves no checkerboard."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = Literal["reflect", "zero", "replicate", "symmetric"]
Upsample = Literal["transpose", "resize", "same"]

# By the names that nn.Conv2d has for them. Mirroring one pixel with the edge itself is repeating the edge.
PADDING_MODES: dict[Padding, Literal["reflect", "replicate", "zeros"]] = {
    "reflect": "reflect",
    "replicate": "replicate",
    "symmetric": "replicate",
    "zero": "zeros",
}


class ResizeConv2d(nn.Conv2d):
    """Doubling without checkerboards (Odena et al. 2016, distill.pub/2016/deconv-checkerboard):
    nearest-neighbour resize, then a 3×3 convolution. N×C_in×H×W to N×C_out×2H×2W.

    One layer with the parameter names of the transposed convolution that it replaces, so no index shifts.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: Padding, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias, padding_mode=PADDING_MODES[padding])

    def forward(self, input: Tensor) -> Tensor:
        """N×C_in×H×W to N×C_out×2H×2W."""
        return super().forward(F.interpolate(input, scale_factor=2.0, mode="nearest"))


class SameConvTranspose2d(nn.ConvTranspose2d):
    """The 3×3 transposed convolution of stride 2 as MindSpore and TensorFlow align it where their padding is "same".

    What is too much is cut off at the right and the bottom alone, so pictures lie one pixel beside PyTorch's.
    N×C_in×H×W to N×C_out×2H×2W, with the weights of the layer that it replaces.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, 2, bias=bias)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """N×C_in×H×W to N×C_out×2H×2W."""
        assert output_size is None
        made = super().forward(input)
        # Cut off, a tensor is dense in no memory format, and norms choose their kernel by that.
        channels_last = not made.is_contiguous() and made.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return made[..., :-1, :-1].contiguous(memory_format=layout)  # from 2H+1 and 2W+1
