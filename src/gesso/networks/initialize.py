"""Initial weights, as a function of a random generator alone.

Building a network draws from torch's global generator; what it drew is overwritten here from the caller's, so
the weights of a run depend on its seed and on nothing that was built before.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

InitKind = Literal["normal", "xavier", "kaiming", "orthogonal"]
Fill = Callable[[Tensor, float, torch.Generator | None], Tensor]


def _normal(weight: Tensor, gain: float, generator: torch.Generator | None) -> Tensor:
    return nn.init.normal_(weight, 0.0, gain, generator=generator)


def _xavier(weight: Tensor, gain: float, generator: torch.Generator | None) -> Tensor:
    return nn.init.xavier_normal_(weight, gain, generator=generator)


def _kaiming(weight: Tensor, gain: float, generator: torch.Generator | None) -> Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_in", generator=generator)


def _orthogonal(weight: Tensor, gain: float, generator: torch.Generator | None) -> Tensor:
    return nn.init.orthogonal_(weight, gain, generator=generator)


INITS: dict[InitKind, Fill] = {
    "normal": _normal,
    "xavier": _xavier,
    "kaiming": _kaiming,
    "orthogonal": _orthogonal,
}


@torch.no_grad()
def initialize(
    network: nn.Module,
    kind: InitKind = "normal",
    gain: float = 0.02,
    generator: torch.Generator | None = None,
) -> None:
    """Fill the weights of `network` in place, in the order of its modules.

    Convolutions, by kind: normal, N(0, gain²), the papers' with gain 0.02; xavier (Glorot & Bengio 2010) and
    orthogonal (Saxe et al. 2014), scaled by gain; kaiming (He et al. 2015), fan in, √2 and no gain.
    Biases: 0. Learned batch norms: scale N(1, gain²), shift 0. Learned instance norms: scale 1, shift 0.

    generator: source of the random numbers, on the network's device; None is torch's global one.
    """
    fill = INITS[kind]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fill(module.weight, gain, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.InstanceNorm2d):
            module.reset_parameters()
