"""LPIPS (Zhang et al. 2018): how different two images look, by a network that the user brings.

The libraries' LPIPS needs torchvision for its backbone, on which gesso does not depend. So the
whole distance is taken as one TorchScript file, made once wherever those libraries are installed:

    import lpips, torch
    images = torch.zeros(2, 3, 64, 64)
    torch.jit.trace(lpips.LPIPS(net="alex").eval(), (images, images)).save("lpips-alex.pt")
"""

from pathlib import Path

import torch
from torch import Tensor

from gesso.errors import UsageError, flag
from gesso.metrics.features import load_torchscript
from gesso.metrics.paired import as_channels

LPIPS_FIELD = "evaluation.lpips"
_TRIED = 64  # side in pixels of the images on which a network is tried


class Perceptual:
    """A distance between images, 0 for equal ones; lower is better."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Reads TorchScript that takes two N×3×H×W in [-1, 1], and tries it. UsageError where it does not fit."""
        if not path.is_file():
            raise UsageError(f"{flag(LPIPS_FIELD)} {path}: no such file; LPIPS needs its network as TorchScript")
        self._network, self.sha256 = load_torchscript(path, device, flag(LPIPS_FIELD))
        self._device = device
        self.name = f"LPIPS by {path.name} (sha256 {self.sha256})"
        problem = f"{flag(LPIPS_FIELD)} {path}: does not turn two N×3×H×W batches into N distances"
        images = torch.linspace(-1, 1, 2 * 3 * _TRIED**2).reshape(2, 3, _TRIED, _TRIED)
        try:
            distances = self(images, images)
        except (RuntimeError, AttributeError) as error:
            raise UsageError(problem) from error
        if distances.shape != (2,) or distances.abs().max() > 1e-4:
            raise UsageError(f"{problem} that are 0 for equal images")

    @torch.inference_mode()
    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Two N×C×H×W in [-1, 1], grey or colour, to (N,). One score an image, so that batches do not matter."""
        with torch.autocast(self._device.type, enabled=False):
            distances = self._network(*(as_channels(x.to(self._device), 3).float() for x in (images, targets))).float()
        return torch.as_tensor(distances.reshape(len(images), -1).squeeze(1)).to(images.device)
