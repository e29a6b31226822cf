"""The yardstick: a plain, eager, float32 CycleGAN step, as a careful person would write it from the paper.

It shares no code with gesso, so that a speed-up or a gradient is compared with something independent. Layer
names follow the published reference, so that the same state_dict loads into both.
"""

import itertools
import random

import torch
from torch import Tensor, nn


class ResnetBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(dim, dim, 3),
            nn.InstanceNorm2d(dim),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(dim, dim, 3),
            nn.InstanceNorm2d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Resnet(nn.Module):
    def __init__(self, ngf: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, ngf, 7),
            nn.InstanceNorm2d(ngf),
            nn.ReLU(True),
        ]
        for i in range(2):
            width = ngf * 2**i
            layers += [
                nn.Conv2d(width, width * 2, 3, 2, 1),
                nn.InstanceNorm2d(width * 2),
                nn.ReLU(True),
            ]
        layers += [ResnetBlock(ngf * 4) for _ in range(blocks)]
        for i in range(2):
            width = ngf * 2 ** (2 - i)
            layers += [
                nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1),
                nn.InstanceNorm2d(width // 2),
                nn.ReLU(True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PatchGAN(nn.Module):
    def __init__(self, ndf: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for n in (1, 2, 3):
            layers += [
                nn.Conv2d(ndf * 2 ** (n - 1), ndf * 2**n, 4, 2 if n < 3 else 1, 1),
                nn.InstanceNorm2d(ndf * 2**n),
                nn.LeakyReLU(0.2, True),
            ]
        self.model = nn.Sequential(*layers, nn.Conv2d(ndf * 8, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Pool:
    """50 past fakes; half of the time an old one is returned and replaced."""

    def __init__(self, size: int = 50) -> None:
        self.size, self.images = size, []

    def __call__(self, images: Tensor) -> Tensor:
        chosen = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image)
                chosen.append(image)
            elif random.random() < 0.5:
                i = random.randrange(self.size)
                chosen.append(self.images[i])
                self.images[i] = image
            else:
                chosen.append(image)
        return torch.stack(chosen)


class ReferenceCycleGAN:
    """Generators A→B and B→A, two discriminators, lsgan, cycle and identity losses, pools, Adam."""

    def __init__(self, ngf: int, blocks: int) -> None:
        self.G_A, self.G_B = Resnet(ngf, blocks), Resnet(ngf, blocks)
        self.D_A, self.D_B = PatchGAN(ngf), PatchGAN(ngf)
        self.pool_A, self.pool_B = Pool(), Pool()
        generators = itertools.chain(self.G_A.parameters(), self.G_B.parameters())
        discriminators = itertools.chain(self.D_A.parameters(), self.D_B.parameters())
        self.optimizer_G = torch.optim.Adam(generators, 2e-4, betas=(0.5, 0.999))
        self.optimizer_D = torch.optim.Adam(discriminators, 2e-4, betas=(0.5, 0.999))
        self.l1, self.l2 = nn.L1Loss(), nn.MSELoss()

    def gan(self, prediction: Tensor, real: bool) -> Tensor:
        return self.l2(prediction, torch.full_like(prediction, float(real)))

    def train_step(self, real_A: Tensor, real_B: Tensor) -> dict[str, float]:
        fake_B = self.G_A(real_A)
        rec_A = self.G_B(fake_B)
        fake_A = self.G_B(real_B)
        rec_B = self.G_A(fake_A)

        for parameter in itertools.chain(self.D_A.parameters(), self.D_B.parameters()):
            parameter.requires_grad_(False)
        self.optimizer_G.zero_grad()
        idt_A = self.l1(self.G_A(real_B), real_B) * 5.0
        idt_B = self.l1(self.G_B(real_A), real_A) * 5.0
        gan_A, gan_B = self.gan(self.D_A(fake_B), True), self.gan(self.D_B(fake_A), True)
        cycle_A, cycle_B = self.l1(rec_A, real_A) * 10.0, self.l1(rec_B, real_B) * 10.0
        (gan_A + gan_B + cycle_A + cycle_B + idt_A + idt_B).backward()
        self.optimizer_G.step()

        for parameter in itertools.chain(self.D_A.parameters(), self.D_B.parameters()):
            parameter.requires_grad_(True)
        self.optimizer_D.zero_grad()
        for D, real, fake in (
            (self.D_A, real_B, self.pool_A(fake_B)),
            (self.D_B, real_A, self.pool_B(fake_A)),
        ):
            (0.5 * (self.gan(D(real), True) + self.gan(D(fake), False))).backward()
        self.optimizer_D.step()
        return {"G_A": gan_A.item(), "cycle_A": cycle_A.item()}
