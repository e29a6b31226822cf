"""Initial weights, as a function of a random generator alone.

Building a network draws from torch's global generator; what it drew is overwritten here from the caller's, so
the weights of a run depend on its seed and on nothing that was built before.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

InitKind = Literal["normal", "xavier", "kaiming", "orthogonal"]
Fill = Callable[[Tensor, float, torch.Generator | None], Tensor]

POWER_ITERATIONS = 15


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
    Where spectral norm divides a weight, the weight before the division is filled.
    Biases: 0. Learned batch norms: scale N(1, gain²), shift 0. Learned instance norms: scale 1, shift 0.

    generator: source of the random numbers, on the network's device; None is torch's global one.
    """
    fill = INITS[kind]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fill(_stored_weight(module), gain, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            _settle(module, generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.InstanceNorm2d):
            module.reset_parameters()


@torch.no_grad()
def initialize_classifier(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Fill the weights of a classifier in place, in the order of its modules, as Huang et al. 2017 do.

    Convolutions: N(0, 2 / fan in) (He et al. 2015, eq. 10), biases 0. Batch norms: scale 1, shift 0. Linear
    layers: uniform within ±1/√(fan in), which is torch's own default, and bias 0.

    generator: source of the random numbers, on the network's device; None is torch's global one.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
            else:
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def _stored_weight(module: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """The parameter behind `module.weight`, which a parametrization such as spectral norm computes from it."""
    if not parametrize.is_parametrized(module, "weight"):
        return module.weight
    original: Tensor = module.get_parameter("parametrizations.weight.original")
    return original


def _settle(module: nn.Module, generator: torch.Generator | None) -> None:
    """Spectral norm's singular vectors for a weight that was filled anew: random, then a few power iterations."""
    if not parametrize.is_parametrized(module, "weight"):
        return
    for name, vector in module.named_buffers():
        if name.endswith(("_u", "_v")):
            vector.copy_(nn.functional.normalize(vector.normal_(generator=generator), dim=0))
    was = module.training
    module.train()
    for _ in range(POWER_ITERATIONS):
        getattr(module, "weight")  # noqa: B009 - each reading of the weight in train mode is one iteration
    module.train(was)
