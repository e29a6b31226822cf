"""Batch norm over the images of all processes that train together."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose statistics in training are those of all processes' batches, which are equally large.

    Without gradients it is `nn.BatchNorm2d`: networks are also used in train mode, by one process alone or by each on
    as many images as it has.

    Parameters, buffers and state_dict are `nn.BatchNorm2d`'s. (torch's own SyncBatchNorm refuses to run on a CPU.)
    """

    def forward(self, input: Tensor) -> Tensor:
        """N×C×H×W to the same; with gradients, every process must call it at the same place of its step."""
        if not self.training or not torch.is_grad_enabled() or not dist.is_initialized():
            return super().forward(input)
        mean, variance = _moments(input.float())
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach(), input.numel() // input.shape[1] * dist.get_world_size())
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], input, scale[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


def _moments(input: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (over N) of each channel over the images of all processes, with their gradients: each (C,).

    Each process sends its own mean and variance in one message; the spread of the means adds to the variance, which
    loses nothing to cancellation as E[x²] − E[x]² would.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    variance, mean = torch.var_mean(input, (0, 2, 3), unbiased=False)
    own = torch.stack([mean, variance])
    parts: Tensor = all_reduce(  # type: ignore[no-untyped-call]
        torch.stack([own if i == rank else torch.zeros_like(own) for i in range(size)])
    )
    means, variances = parts.unbind(1)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def synchronize(network: nn.Module) -> None:
    """Put a `SynchronizedBatchNorm2d` in the place of every `nn.BatchNorm2d` of `network`, with its parameters."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                norm = SynchronizedBatchNorm2d(child.num_features, child.eps, child.momentum, affine=child.affine)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
