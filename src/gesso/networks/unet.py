"""The U-Net generator of pix2pix: an encoder and a decoder with a skip connection at every size.

Ronneberger et al. 2015 (arXiv 1505.04597), as used by Isola et al. 2017, appendix 6.1.1: C64-C128-C256-C512-…
and back. It is built from the inside out, each level containing the next, because the nesting is what gives
the reference's names: `model.model.1.model.…`.
"""

import torch
from torch import Tensor, nn

from gesso.networks.normalize import Affine, Norm, NormKind
from gesso.networks.translator import Tap, Translator
from gesso.networks.upsample import ResizeConv2d, Upsample

MIN_DEPTH, MAX_DEPTH = 5, 10
TAPS = MIN_DEPTH - 1
"""Levels inside the outermost one that a U-Net of any depth has."""


class SkipBlock(nn.Module):
    """One level: halve, run the level inside (None at the bottom), double, join the input to the result.

    N×`outer`×H×W to N×2·`outer`×H×W: the activated input first, then what came up from below.

    `model.0` is the leaky ReLU. In the reference it works in place on the block's input, before the
    concatenation reads that input; so the skip connection carries the *activated* tensor, leaky_relu(x), and
    not x. Here this is written down in `forward` and no tensor changes under another's hands, which is also
    what a compiler wants.
    """

    def __init__(
        self,
        outer: int,
        width: int,
        norm: Norm,
        slope: float,
        inner: nn.Module | None,
        dropout: float = 0.0,
        upsample: Upsample = "transpose",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.LeakyReLU(slope),
            nn.Conv2d(outer, width, 4, 2, padding=1, bias=norm.conv_bias),
        ]
        if inner is not None:  # the bottom may be a single pixel, which cannot be normalised
            layers += [norm.layer(width), inner]
        below = width if inner is None else 2 * width
        layers += [
            nn.ReLU(),
            doubling(upsample, below, outer, norm.conv_bias),
            norm.layer(outer),
        ]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """N×outer×H×W to N×2·outer×H×W. `kept`: gets what this level and those inside give, the innermost first."""
        activate, *rest = self.model
        skip: Tensor = activate(x)
        below = skip
        for layer in rest:
            below = layer(below, kept) if isinstance(layer, SkipBlock) else layer(below)
        joined = torch.cat([skip, below], dim=1)
        if kept is not None:
            kept.append(joined)
        return joined


def doubling(upsample: Upsample, in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    """N×C_in×H×W to N×C_out×2H×2W."""
    if upsample == "resize":
        return ResizeConv2d(in_channels, out_channels, "zero", bias)
    return nn.ConvTranspose2d(in_channels, out_channels, 4, 2, padding=1, bias=bias)


class Outermost(nn.Module):
    """The level that meets the images: no norm, no skip, tanh at the end. `model.1` is the level inside."""

    def __init__(
        self, in_channels: int, out_channels: int, width: int, bias: bool, inner: nn.Module, upsample: Upsample
    ) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, width, 4, 2, padding=1, bias=bias),
            inner,
            nn.ReLU(),
            doubling(upsample, 2 * width, out_channels, bias=True),
            nn.Tanh(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """N×C_in×H×W to N×C_out×H×W in [-1, 1]."""
        output: Tensor = self.model(image)
        return output

    def tapped(self, image: Tensor) -> tuple[Tensor, ...]:
        """What `forward` gives, and behind it what the four outermost levels inside give, the innermost first."""
        first, inner, *last = self.model
        kept: list[Tensor] = []
        image = inner(first(image), kept)
        for layer in last:
            image = layer(image)
        return (image, *kept[-TAPS:])


class UNetGenerator(Translator):
    """Sides must be multiples of 2**depth.

    in_channels, out_channels: of the images, in [-1, 1].
    ngf: filters of the first layer; the widest have 8·ngf.
    depth: halvings, 5 to 10; 7 for 128 px, 8 for 256 and 9 for 512 take the image down to one pixel.
    dropout: probability, in the depth − 5 levels of 8·ngf filters above the bottom. The paper's only noise.
    slope: of the encoder's leaky ReLUs, below zero.
    upsample: transpose (the paper's transposed convolutions; of 4×4, same is no other) or resize (`ResizeConv2d`, its
        border zero). All names are the same, the shapes of the decoder's weights are not.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        ngf: int = 64,
        depth: int = 8,
        norm: NormKind = "batch",
        norm_affine: Affine = "auto",
        dropout: float = 0.0,
        slope: float = 0.2,
        upsample: Upsample = "transpose",
    ) -> None:
        if not MIN_DEPTH <= depth <= MAX_DEPTH:
            raise ValueError(f"UNetGenerator: depth {depth} must lie in {MIN_DEPTH} … {MAX_DEPTH}")
        choice = Norm(norm, norm_affine)

        block = SkipBlock(8 * ngf, 8 * ngf, choice, slope, inner=None, upsample=upsample)
        for _ in range(depth - MIN_DEPTH):
            block = SkipBlock(8 * ngf, 8 * ngf, choice, slope, block, dropout, upsample)
        for outer in (4 * ngf, 2 * ngf, ngf):
            block = SkipBlock(outer, 2 * outer, choice, slope, block, upsample=upsample)
        outermost = Outermost(in_channels, out_channels, ngf, choice.conv_bias, block, upsample)

        super().__init__(outermost, multiple=2**depth, minimum=2**depth)
        # Level i gives what it was given and what came up, ngf · 2ⁱ filters each, at an image's side / 2ⁱ⁺¹.
        self.taps = tuple(Tap(2 * ngf * 2**level, 2 ** (level + 1)) for level in reversed(range(TAPS)))

    def tapped(self, image: Tensor) -> tuple[Tensor, ...]:
        """The picture, and what the four outermost levels inside give: from the encoder and from the decoder."""
        outermost: Outermost = self.model  # type: ignore[assignment]
        return outermost.tapped(image)
