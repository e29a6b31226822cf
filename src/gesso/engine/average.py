"""An exponential moving average of the generators' weights (Karras et al. 2018, section 5; Polyak averaging)."""

import copy

import torch
from torch import nn


class Average:
    """Follows `networks` with a half-life counted in images, so that it does not change with the batch size.

    Early in a run the half-life is shorter, at most `ramp` times the images seen: else the random weights of the
    start would weigh for long (Karras et al. 2020, stylegan2-ada's ema_rampup of 0.05).
    Made before the networks are wrapped for precision and compilation; `networks` are plain copies.
    """

    def __init__(self, networks: dict[str, nn.Module], half_life: float, ramp: float) -> None:
        self.networks = {name: copy.deepcopy(network).requires_grad_(False) for name, network in networks.items()}
        self._half_life, self._ramp = half_life, ramp

    @torch.no_grad()
    def update(self, networks: dict[str, nn.Module], images: int, seen: int) -> None:
        """Move towards `networks`, which have seen `images` more images, `seen` in all."""
        weight = 1 - 0.5 ** (images / min(self._half_life, self._ramp * seen))
        for name, average in self.networks.items():
            live = networks[name]
            torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), weight)
            for kept, new in zip(average.buffers(), live.buffers(), strict=True):
                # Averaged weights need the statistics of averaged weights; a count is no mean of anything.
                kept.lerp_(new, weight) if kept.is_floating_point() else kept.copy_(new)
