"""DenseNet's training step as one would write it first: plain modules, eager, float32, contiguous, unfused SGD.

Huang et al. 2017 (arXiv 1608.06993), DenseNet-121. Written from the paper, apart from gesso.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Layer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], 1)


def densenet121(classes: int) -> nn.Sequential:
    width, growth = 64, 32
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for block, count in enumerate((6, 12, 24, 16)):
        for _ in range(count):
            layers.append(_Layer(width, growth))
            width += growth
        if block < 3:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*layers)


class ReferenceDenseNet:
    def __init__(self, classes: int) -> None:
        self.network = densenet121(classes)
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=2e-4)

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.network(images), labels).backward()
        self.optimizer.step()
