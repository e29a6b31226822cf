"""The ResNet generator of CycleGAN: two halvings, n residual blocks, two doublings.

Johnson et al. 2016 (arXiv 1603.08155), as used by Zhu et al. 2017, appendix 7.2: c7s1-64, d128, d256, R256 ×
n, u128, u64, c7s1-3. One flat Sequential, because its indices are the names in the reference's files:
`model.1` is the first convolution (`model.0` pads), `model.10` the first residual block, and with 9 blocks
`model.26` is the last convolution.
"""

from collections.abc import Callable, Iterator
from typing import Literal

from torch import Tensor, nn

from gesso.networks.normalize import Affine, Norm, NormKind
from gesso.networks.pad import ReflectionPad2d, ReplicationPad2d, SymmetricPad2d
from gesso.networks.translator import Tap, Translator
from gesso.networks.upsample import Padding, ResizeConv2d, SameConvTranspose2d, Upsample

HALVINGS = 2
TRUNK = 10
"""Number of the first residual block among the layers."""

Ends = Literal["reflect", "zero", "symmetric"]

# The border of one pixel that a residual block adds. zero is left to the convolution and has no layer of its
# own, which is how the reference numbers them. Mirroring one pixel with the edge itself (symmetric) is
# repeating the edge.
BORDERS: dict[Padding, type[nn.Module] | None] = {
    "reflect": ReflectionPad2d,
    "replicate": ReplicationPad2d,
    "symmetric": ReplicationPad2d,
    "zero": None,
}

# The border of three pixels before the 7×7 convolutions. It is always a layer of its own.
WIDE_BORDERS: dict[Ends, Callable[[int], nn.Module]] = {
    "reflect": ReflectionPad2d,
    "zero": nn.ZeroPad2d,
    "symmetric": SymmetricPad2d,
}


class SeparableConv2d(nn.Module):
    """A 3×3 convolution in two: of each channel by itself, then 1×1 over all of them, a norm between the two.

    Howard et al. 2017 (arXiv 1704.04861), as in the "mobile" ResNet of Li et al. 2020 (arXiv 2003.08941); but the norm
    between is the network's own, which there is always instance norm. N×`channels`×H×W to the same, or without
    `padding` 2 less in height and width. 9·C + C² weights in place of 9·C².
    """

    def __init__(self, channels: int, norm: Norm, padding: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=padding, groups=channels, bias=norm.conv_bias),
            norm.layer(channels),
            nn.Conv2d(channels, channels, 1, bias=norm.conv_bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×C×H'×W'."""
        made: Tensor = self.conv(x)
        return made


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), both convolutions 3×3. No ReLU after the sum.

    N×`channels`×H×W to the same; H and W at least 2 with reflect padding. separable: `SeparableConv2d` in their place.
    """

    def __init__(
        self,
        channels: int,
        norm: Norm,
        padding: Padding = "reflect",
        dropout: float = 0.0,
        separable: bool = False,
    ) -> None:
        super().__init__()
        border = BORDERS[padding]
        inside = int(border is None)

        def convolution() -> Iterator[nn.Module]:
            if border is not None:
                yield border(1)
            if separable:
                yield SeparableConv2d(channels, norm, inside)
            else:
                yield nn.Conv2d(channels, channels, 3, padding=inside, bias=norm.conv_bias)
            yield norm.layer(channels)

        middle: list[nn.Module] = [nn.ReLU(inplace=True)]
        if dropout > 0:
            middle.append(nn.Dropout(dropout))
        self.conv_block = nn.Sequential(*convolution(), *middle, *convolution())

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×C×H×W."""
        residual: Tensor = self.conv_block(x)
        return x + residual


class ResNetGenerator(Translator):
    """Sides must be multiples of 4, and at least 8 so that the trunk has pixels to mirror.

    in_channels, out_channels: of the images, in [-1, 1].
    ngf: filters of the first layer; the trunk has 4·ngf.
    blocks: residual blocks, 0 or more; 6 at 128 px and 9 from 256 px in the paper.
    padding: border in the residual blocks, and before the convolutions of resize. symmetric is replicate: only
        wider borders differ.
    ends: border of the 7×7 convolutions at both ends; the reference always reflects.
    dropout: probability, between the two convolutions of a block. 0 leaves the layer out; as in the
        reference, this changes the name of the second convolution.
    upsample: transpose (the paper's transposed convolutions), resize (`ResizeConv2d`) or same
        (`SameConvTranspose2d`). All names are the same, the shapes of resize's two weights are not: a file of one
        kind does not load into the other.
    slope: of the ReLUs outside the residual blocks, below zero. 0 but in MindSpore's networks, whose is 0.2.
    separable: depthwise-separable convolutions in the residual blocks: about a ninth of their weights and work.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        ngf: int = 64,
        blocks: int = 9,
        norm: NormKind = "instance",
        norm_affine: Affine = "auto",
        padding: Padding = "reflect",
        dropout: float = 0.0,
        upsample: Upsample = "transpose",
        ends: Ends = "reflect",
        slope: float = 0.0,
        separable: bool = False,
    ) -> None:
        if blocks < 0:
            raise ValueError(f"ResNetGenerator: {blocks} blocks; there cannot be fewer than 0")
        choice = Norm(norm, norm_affine)
        bias = choice.conv_bias

        def normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
            activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
            return [convolution, choice.layer(channels), activation]

        def doubling(channels: int) -> nn.Module:
            if upsample == "resize":
                return ResizeConv2d(2 * channels, channels, padding, bias)
            if upsample == "same":
                return SameConvTranspose2d(2 * channels, channels, bias)
            return nn.ConvTranspose2d(2 * channels, channels, 3, 2, padding=1, output_padding=1, bias=bias)

        widths = [ngf * 2**level for level in range(HALVINGS + 1)]  # ngf, 2·ngf, 4·ngf
        layers: list[nn.Module] = [WIDE_BORDERS[ends](3)]
        layers += normed(nn.Conv2d(in_channels, ngf, 7, bias=bias), ngf)
        for width in widths[:-1]:
            layers += normed(nn.Conv2d(width, 2 * width, 3, 2, padding=1, bias=bias), 2 * width)
        layers += [ResidualBlock(widths[-1], choice, padding, dropout, separable) for _ in range(blocks)]
        for width in reversed(widths[:-1]):
            layers += normed(doubling(width), width)
        layers += [WIDE_BORDERS[ends](3), nn.Conv2d(ngf, out_channels, 7), nn.Tanh()]

        super().__init__(nn.Sequential(*layers), multiple=2**HALVINGS, minimum=2 * 2**HALVINGS)
        # Before the trunk, after each third of it, and behind it: model.9, 12, 15 and 18 with 9 blocks.
        self._tapped = sorted({TRUNK - 1 + blocks * third // 3 for third in range(4)})
        self.taps = (Tap(widths[-1], 2**HALVINGS),) * len(self._tapped)

    def tapped(self, image: Tensor) -> tuple[Tensor, ...]:
        """The picture, and what goes into the trunk, through a third and two thirds of it, and out of it."""
        kept = []
        for number, layer in enumerate(self.model.children()):
            image = layer(image)
            if number in self._tapped:
                kept.append(image)
        return (image, *kept)
