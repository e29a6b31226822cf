"""The recipe of DCGAN: images from noise."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from gesso.errors import UsageError
from gesso.recipe.common import GANMode, not_negative, positive, share
from gesso.recipe.generation import GenerationRecipe

Policy = Literal["color", "translation", "cutout"]


@dataclass(frozen=True)
class DCGANNetworks:
    """Radford et al. 2015, section 3 and figure 1."""

    latent: int = 100
    """Numbers in a latent vector, drawn from N(0, 1)."""
    ngf: int = 64
    """Filters of the generator's last hidden layer."""
    ndf: int = 64
    """Filters of the discriminator's first layer."""
    slope: float = 0.2
    """Slope of the discriminator's leaky ReLU below zero."""
    spectral_norm: bool = False
    """Spectral normalisation in the discriminator (Miyato et al. 2018)."""


@dataclass(frozen=True)
class DCGANLoss:
    """Goodfellow et al. 2014, and what was found since against collapse."""

    gan: GANMode = "vanilla"
    """vanilla: binary cross-entropy, non-saturating; lsgan; hinge."""
    r1: float = 0.0
    """Weight of the gradient penalty on real images, γ/2·‖∇D‖² (Mescheder et al. 2018); 0 is off."""
    r1_every: int = 16
    """Steps between penalties, each of so many times the weight (Karras et al. 2020, lazy regularisation)."""
    augment: tuple[Policy, ...] = ()
    """Differentiable augmentation of all that the discriminator sees (Zhao et al. 2020), for small data sets."""


@dataclass(frozen=True)
class GANOptimizer:
    """Adam or AdamW with its own rate for generator and discriminator."""

    kind: Literal["adam", "adamw"] = "adam"
    """adam: Kingma & Ba 2015; adamw: decoupled weight decay (Loshchilov & Hutter 2019)."""
    generator_lr: float = 2e-4
    """Learning rate of the generator, before the schedule."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator, before the schedule."""
    beta1: float = 0.5
    """Decay of the first moment."""
    beta2: float = 0.999
    """Decay of the second moment."""
    weight_decay: float = 0.0
    """Weight decay."""
    clip_norm: float = 0.0
    """Clip the gradient's norm to this in each phase; 0 does not clip."""


@dataclass(frozen=True, kw_only=True)
class DCGANRecipe(GenerationRecipe):
    """Images from noise."""

    model: ClassVar[str] = "dcgan"
    smaller: ClassVar[str] = "--batch-size, --data.image-size or --networks.ngf"

    networks: DCGANNetworks = field(default_factory=DCGANNetworks)
    optimizer: GANOptimizer = field(default_factory=GANOptimizer)
    loss: DCGANLoss = field(default_factory=DCGANLoss)

    def checked(self) -> Self:
        networks, optimizer = self.networks, self.optimizer
        positive(
            {
                "--networks.latent": networks.latent,
                "--networks.ngf": networks.ngf,
                "--networks.ndf": networks.ndf,
                "--optimizer.generator-lr": optimizer.generator_lr,
                "--optimizer.discriminator-lr": optimizer.discriminator_lr,
                "--loss.r1-every": self.loss.r1_every,
            }
        )
        not_negative(
            {
                "--optimizer.weight-decay": optimizer.weight_decay,
                "--optimizer.clip-norm": optimizer.clip_norm,
                "--loss.r1": self.loss.r1,
            }
        )
        share(
            {
                "--networks.slope": networks.slope,
                "--optimizer.beta1": optimizer.beta1,
                "--optimizer.beta2": optimizer.beta2,
            }
        )
        if self.loss.r1 and self.compile == "on":
            raise UsageError("--compile on: the R1 penalty needs second derivatives, which compiled networks lack")
        if self.loss.r1 and self.precision == "fp16":
            raise UsageError("--precision fp16: the R1 penalty's second derivatives vanish in it; use bf16 or fp32")
        return super().checked()
