"""Mirrored and repeated borders that also compile right.

Inductor's CPU backward of reflection padding gives NaN in bfloat16 for some shapes (a ResNet of 9 blocks at
64 px, torch 2.13), and its backward of replication padding fails on channels_last. Built of slices and
concatenations the same border has a gradient that compiles right; eager code keeps the faster kernels.
"""

import torch
from torch import Tensor, nn


class ReflectionPad2d(nn.ReflectionPad2d):
    """`nn.ReflectionPad2d`: the border mirrors what lies inside, without the edge itself."""

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W to N×C×(H+2p)×(W+2p)."""
        if not torch.compiler.is_compiling():
            return super().forward(input)
        p = self.padding[0]
        for dim in (2, 3):
            size = input.shape[dim]
            before = input.narrow(dim, 1, p).flip(dim)
            after = input.narrow(dim, size - 1 - p, p).flip(dim)
            input = torch.cat([before, input, after], dim)
        return input


class ReplicationPad2d(nn.ReplicationPad2d):
    """`nn.ReplicationPad2d` of one pixel: the border repeats the edge."""

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W to N×C×(H+2)×(W+2)."""
        if not torch.compiler.is_compiling():
            return super().forward(input)
        assert self.padding == (1, 1, 1, 1)
        for dim in (2, 3):
            before, after = input.narrow(dim, 0, 1), input.narrow(dim, input.shape[dim] - 1, 1)
            input = torch.cat([before, input, after], dim)
        return input


class SymmetricPad2d(nn.Module):
    """The border mirrors what lies inside, with the edge itself."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W to N×C×(H+2p)×(W+2p); H and W are at least p."""
        p = self.padding
        for dim in (2, 3):
            before = input.narrow(dim, 0, p).flip(dim)
            after = input.narrow(dim, input.shape[dim] - p, p).flip(dim)
            input = torch.cat([before, input, after], dim)
        return input
