"""DCGAN's training step as one would write it first: plain modules, eager, float32, contiguous, unfused Adam.

Radford et al. 2015 (arXiv 1511.06434), section 4, at 64 px. Written from the paper, apart from gesso.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT = 100


def _generator(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    sizes = [LATENT, 8 * width, 4 * width, 2 * width, width]
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        stride, pad = (1, 0) if i == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(before, after, 4, stride, pad, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


def _discriminator(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for before in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(before, 2 * before, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * before), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, bias=False), nn.Flatten(0))


class ReferenceDCGAN:
    def __init__(self, width: int = 64) -> None:
        self.G, self.D = _generator(width), _discriminator(width)
        self.optimizer_G, self.optimizer_D = (
            torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999)) for n in (self.G, self.D)
        )

    def train_step(self, real: Tensor) -> None:
        fake = self.G(torch.randn(len(real), LATENT, 1, 1, device=real.device))
        self.optimizer_D.zero_grad()
        judged = self.D(real)
        F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged)).backward()
        judged = self.D(fake.detach())
        F.binary_cross_entropy_with_logits(judged, torch.zeros_like(judged)).backward()
        self.optimizer_D.step()
        self.optimizer_G.zero_grad()
        judged = self.D(fake)
        F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged)).backward()
        self.optimizer_G.step()
