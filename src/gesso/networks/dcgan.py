"""The generator and the discriminator of DCGAN: a pyramid of 4×4 convolutions, and the same upside down.

Radford et al. 2015 (arXiv 1511.06434), section 3, with the layers and names of the pytorch/examples version of
it: one flat Sequential `main` whose convolutions in front of a batch norm carry no bias, so that its netG files
load here unchanged at 64 px.

The paper draws 64 px. The rule behind it, held here for 32 and 128 px too: the pyramid has 4×4 pixels at the
top whatever the size, each doubling of the side halves the width, and the last hidden layer has ngf (ndf)
filters. So 32 px starts from 4·ngf, 64 px from 8·ngf and 128 px from 16·ngf filters, and one more size is one
more layer, where a network of fixed top width would thin out instead.
"""

import math

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalized

from gesso.errors import UsageError

IMAGE_SIZES = (32, 64, 128)
TOP = 4


def _widths(image_size: int, width: int) -> list[int]:
    """Filters of the hidden layers, from `image_size` / 2 down to 4 pixels; UsageError for another size."""
    if image_size not in IMAGE_SIZES:
        sizes = ", ".join(map(str, IMAGE_SIZES))
        raise UsageError(f"image size {image_size}: DCGAN draws squares of {sizes} pixels; choose one of them")
    return [width * 2**level for level in range(int(math.log2(image_size // TOP)))]


class DCGANGenerator(nn.Module):
    """Noise to images: N×latent to N×channels×S×S in [-1, 1], S = image_size.

    image_size: 32, 64 or 128; UsageError for another.
    latent: numbers that an image is made of, drawn from N(0, 1) (the paper: uniform in [-1, 1]).
    ngf: filters of the last hidden layer. At 64 px with the defaults 3.577 M parameters.
    """

    def __init__(self, image_size: int = 64, latent: int = 100, channels: int = 3, ngf: int = 64) -> None:
        super().__init__()
        self.image_size, self.latent, self.channels = image_size, latent, channels
        *narrower, top = _widths(image_size, ngf)

        def normed(convolution: nn.Module, width: int) -> list[nn.Module]:
            return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]

        layers = normed(nn.ConvTranspose2d(latent, top, TOP, bias=False), top)
        for width in reversed(narrower):
            layers += normed(nn.ConvTranspose2d(2 * width, width, 4, 2, padding=1, bias=False), width)
        layers += [nn.ConvTranspose2d(ngf, channels, 4, 2, padding=1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """N×latent or N×latent×1×1 to N×C×S×S in [-1, 1]; ValueError for another shape."""
        if z.shape[1:] not in ((self.latent,), (self.latent, 1, 1)):
            raise ValueError(f"DCGANGenerator: noise of shape {tuple(z.shape)}; it must be N×{self.latent}")
        images: Tensor = self.main(z.view(-1, self.latent, 1, 1))
        return images


class DCGANDiscriminator(nn.Module):
    """Images to one score each: N×channels×S×S to N logits, S = image_size. BCE is taken with logits, so the
    sigmoid at the end of the original is left out; it has no weights, and the names do not change.

    image_size: 32, 64 or 128; UsageError for another.
    ndf: filters of the first layer. At 64 px with the defaults 2.766 M parameters.
    slope: of the leaky ReLUs, below zero.
    spectral_norm: every convolution's weight is divided by its largest singular value (Miyato et al. 2018,
        arXiv 1802.05957), one power iteration a forward pass in train mode. Batch norm stays. The weights are
        then named `main.0.parametrizations.weight.original` and so on.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        ndf: int = 64,
        slope: float = 0.2,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.image_size, self.channels = image_size, channels
        first, *wider = _widths(image_size, ndf)

        def halving(inputs: int, outputs: int) -> nn.Module:
            return bounded(nn.Conv2d(inputs, outputs, 4, 2, padding=1, bias=False))

        def bounded(convolution: nn.Module) -> nn.Module:
            return spectrally_normalized(convolution) if spectral_norm else convolution

        layers: list[nn.Module] = [halving(channels, first), nn.LeakyReLU(slope, inplace=True)]
        for width in wider:
            layers += [halving(width // 2, width), nn.BatchNorm2d(width), nn.LeakyReLU(slope, inplace=True)]
        layers.append(bounded(nn.Conv2d(wider[-1], 1, TOP, bias=False)))
        self.main = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """N×C×S×S in [-1, 1] to N logits; ValueError for another shape."""
        expected = (self.channels, self.image_size, self.image_size)
        if images.shape[1:] != expected:
            wanted = "×".join(map(str, expected))
            raise ValueError(f"DCGANDiscriminator: images of shape {tuple(images.shape)}; they must be N×{wanted}")
        logits: Tensor = self.main(images)
        return logits.flatten()  # N×1×1×1 to N
