"""Normalisation layers, and whether the convolution before one carries a bias.

Two faults of torch's CPU kernels are kept away here. The backward of `nn.InstanceNorm2d` is silently wrong
(relative error above 1) when the batch is one image and the incoming gradient is channels_last; group norm
with one channel a group is the same mathematics and right. The channels_last kernel of group norm in turn
takes the variance as E[x²] − E[x]², which is noise where a channel is nearly flat, and its backward is slow
in bf16; the contiguous kernel is neither.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NormKind = Literal["instance", "batch", "none"]
Affine = Literal["auto", "on", "off"]


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al. 2016, arXiv 1607.08022): every channel of every image to zero
    mean and unit variance. eps 1e-5 keeps flat images finite. Parameters and state_dict are those of
    `nn.InstanceNorm2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W of any float type to the same, in the memory format of the input.

        ValueError for one image of one pixel, which has no variance.
        """
        channels_last = not input.is_contiguous() and input.is_contiguous(memory_format=torch.channels_last)
        if channels_last and not torch.compiler.is_compiling():  # compiled code has its own, accurate kernels
            return self._normalize(input.contiguous()).contiguous(memory_format=torch.channels_last)
        return self._normalize(input)

    def _normalize(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_features, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class Norm:
    """A choice of normalisation; `layer(channels)` makes one."""

    kind: NormKind
    affine: Affine = "auto"

    @property
    def learned(self) -> bool:
        """Has a learned scale and shift. auto: batch has, instance has not, as in the reference."""
        if self.affine == "auto":
            return self.kind == "batch"
        return self.affine == "on" and self.kind != "none"

    @property
    def conv_bias(self) -> bool:
        """A convolution before this norm has a bias: without a norm, and before a plain instance norm.

        The instance norm takes that bias away again, but the reference has it, and so have its files.
        """
        return self.kind == "none" or (self.kind == "instance" and not self.learned)

    def layer(self, channels: int) -> nn.Module:
        """A new layer for N×`channels`×H×W. none is an Identity: the layers after it keep their index."""
        if self.kind == "instance":
            return InstanceNorm2d(channels, affine=self.learned)
        if self.kind == "batch":
            return nn.BatchNorm2d(channels, affine=self.learned)
        return nn.Identity()
