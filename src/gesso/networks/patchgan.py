"""Discriminators that judge patches: one score for every patch of an image, and no verdict on the whole.

Isola et al. 2017, section 3.2 and appendix 6.1.2. With 3 strided convolutions a score sees 70×70 pixels; the
pixel discriminator sees one. Scores are logits: the losses apply what they need.
"""

from torch import Tensor, nn

from gesso.networks.normalize import Affine, Norm, NormKind

MAX_WIDENING = 8


class PatchGAN(nn.Module):
    """N×in_channels×H×W to N×1×h×w logits, h = ⌊H / 2**layers⌋ − 2 and w likewise.

    in_channels: of all that is joined; for a conditional discriminator, source and target.
    ndf: filters of the first layer, doubled by each further one up to 8·ndf.
    layers: convolutions of stride 2, at least 1. A score of 1 to 5 layers sees 16, 34, 70, 142, 286 px.
    slope: of the leaky ReLUs, below zero.
    """

    def __init__(
        self,
        in_channels: int = 3,
        ndf: int = 64,
        layers: int = 3,
        norm: NormKind = "instance",
        norm_affine: Affine = "auto",
        slope: float = 0.2,
    ) -> None:
        if layers < 1:
            raise ValueError(f"PatchGAN: {layers} layers; there must be at least 1")
        super().__init__()
        choice = Norm(norm, norm_affine)
        widths = [ndf * min(2**level, MAX_WIDENING) for level in range(layers + 1)]

        modules: list[nn.Module] = [
            nn.Conv2d(in_channels, ndf, 4, 2, padding=1),
            nn.LeakyReLU(slope, inplace=True),
        ]
        for level in range(1, layers + 1):
            stride = 1 if level == layers else 2
            modules += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, padding=1, bias=choice.conv_bias),
                choice.layer(widths[level]),
                nn.LeakyReLU(slope, inplace=True),
            ]
        modules.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.model = nn.Sequential(*modules)
        self._layers = layers

    @property
    def minimum(self) -> int:
        """Smallest height and width in pixels: those of one score."""
        return 3 * int(2**self._layers)

    def forward(self, image: Tensor) -> Tensor:
        """N×C×H×W in [-1, 1] to N×1×h×w logits; ValueError where the image is smaller than `minimum`."""
        height, width = image.shape[-2:]
        if min(height, width) < self.minimum:
            raise ValueError(f"PatchGAN: {height}×{width} is too small; the sides need {self.minimum} pixels")
        logits: Tensor = self.model(image)
        return logits


class PixelGAN(nn.Module):
    """N×in_channels×H×W to N×1×H×W logits: the 1×1 PatchGAN, which judges colour alone."""

    def __init__(
        self,
        in_channels: int = 3,
        ndf: int = 64,
        norm: NormKind = "instance",
        norm_affine: Affine = "auto",
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        choice = Norm(norm, norm_affine)
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, ndf, 1),
            nn.LeakyReLU(slope, inplace=True),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=choice.conv_bias),
            choice.layer(2 * ndf),
            nn.LeakyReLU(slope, inplace=True),
            nn.Conv2d(2 * ndf, 1, 1, bias=choice.conv_bias),
        )

    def forward(self, image: Tensor) -> Tensor:
        """N×C×H×W in [-1, 1] to N×1×H×W logits."""
        logits: Tensor = self.net(image)
        return logits
