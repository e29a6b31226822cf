"""The reference's architectures, written down a second time for the tests: torch's own norms, in-place activations.

After the papers and the layer names of the reference's files. `norm` is "instance" (no scale and shift), "batch" or
"affine" (instance norm with scale and shift).
"""

import torch
from torch import Tensor, nn

NORMS = {
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
    "affine": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "none": lambda channels: nn.Identity(),
}
PADS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}


def has_bias(norm: str) -> bool:
    return norm in ("instance", "none")


class ReferenceBlock(nn.Module):
    def __init__(self, width: int, norm: str, padding: str, dropout: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for half in (0, 1):
            if padding in PADS:
                layers.append(PADS[padding](1))
            zeros = 1 if padding == "zero" else 0
            layers += [nn.Conv2d(width, width, 3, padding=zeros, bias=has_bias(norm)), NORMS[norm](width)]
            if half == 0:
                layers.append(nn.ReLU(True))
                if dropout:
                    layers.append(nn.Dropout(0.5))
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ReferenceResNet(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, f: int, blocks: int, norm: str, padding: str = "reflect", dropout=False
    ) -> None:
        super().__init__()
        bias = has_bias(norm)
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(inputs, f, 7, bias=bias),
            NORMS[norm](f),
            nn.ReLU(True),
            nn.Conv2d(f, 2 * f, 3, stride=2, padding=1, bias=bias),
            NORMS[norm](2 * f),
            nn.ReLU(True),
            nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1, bias=bias),
            NORMS[norm](4 * f),
            nn.ReLU(True),
            *[ReferenceBlock(4 * f, norm, padding, dropout) for _ in range(blocks)],
            nn.ConvTranspose2d(4 * f, 2 * f, 3, stride=2, padding=1, output_padding=1, bias=bias),
            NORMS[norm](2 * f),
            nn.ReLU(True),
            nn.ConvTranspose2d(2 * f, f, 3, stride=2, padding=1, output_padding=1, bias=bias),
            NORMS[norm](f),
            nn.ReLU(True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(f, outputs, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class ReferenceSkip(nn.Module):
    """The in-place LeakyReLU at model.0 changes x before the concatenation reads it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class ReferenceUNet(nn.Module):
    def __init__(self, inputs: int, outputs: int, f: int, depth: int, norm: str, dropout=False) -> None:
        super().__init__()
        bias = has_bias(norm)

        def down(a: int, b: int) -> nn.Module:
            return nn.Conv2d(a, b, 4, stride=2, padding=1, bias=bias)

        def up(a: int, b: int) -> nn.Module:
            return nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=bias)

        w = 8 * f
        block = ReferenceSkip(nn.LeakyReLU(0.2, True), down(w, w), nn.ReLU(True), up(w, w), NORMS[norm](w))
        for outer, inner, noisy in [(w, w, dropout)] * (depth - 5) + [
            (4 * f, 8 * f, False),
            (2 * f, 4 * f, False),
            (f, 2 * f, False),
        ]:
            block = ReferenceSkip(
                nn.LeakyReLU(0.2, True),
                down(outer, inner),
                NORMS[norm](inner),
                block,
                nn.ReLU(True),
                up(2 * inner, outer),
                NORMS[norm](outer),
                *([nn.Dropout(0.5)] if noisy else []),
            )
        top = nn.Module()
        top.model = nn.Sequential(
            down(inputs, f), block, nn.ReLU(True), nn.ConvTranspose2d(2 * f, outputs, 4, 2, 1), nn.Tanh()
        )
        self.model = top

    def forward(self, x: Tensor) -> Tensor:
        return self.model.model(x)


class ReferencePatchGAN(nn.Module):
    def __init__(self, inputs: int, f: int, layers: int, norm: str) -> None:
        super().__init__()
        stack: list[nn.Module] = [nn.Conv2d(inputs, f, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        width = f
        for n in range(1, layers + 1):
            wider = f * min(2**n, 8)
            stride = 2 if n < layers else 1
            conv = nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=has_bias(norm))
            stack += [conv, NORMS[norm](wider), nn.LeakyReLU(0.2, True)]
            width = wider
        self.model = nn.Sequential(*stack, nn.Conv2d(width, 1, 4, stride=1, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class ReferencePixelGAN(nn.Module):
    def __init__(self, inputs: int, f: int, norm: str) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(inputs, f, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(f, 2 * f, 1, bias=has_bias(norm)),
            NORMS[norm](2 * f),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * f, 1, 1, bias=has_bias(norm)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
