"""The recipe of pix2pix: images from images, learnt from pairs."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from gesso.recipe.common import GANMode
from gesso.recipe.translation import Direction, TranslationRecipe


@dataclass(frozen=True)
class Pix2PixLoss:
    """Isola et al. 2017, equations 1 to 4."""

    gan: GANMode = "vanilla"
    """vanilla: eq. 1; lsgan: least squares; hinge."""
    lambda_l1: float = 100.0
    """Weight of the L1 term, eq. 4."""
    discriminator_factor: float = 0.5
    """The discriminator's loss is divided by 2 to slow it down (section 3.3)."""
    order: Literal["DG", "GD"] = "DG"
    """Which network is updated first in a step."""
    pool_size: int = 0
    """Images in the pool of past fakes that the discriminator sees; 0 is off."""


@dataclass(frozen=True, kw_only=True)
class Pix2PixRecipe(TranslationRecipe):
    """A → B from pairs."""

    model: ClassVar[str] = "pix2pix"

    direction: Direction = "AtoB"
    """Which half is the source: BtoA draws photos from labels in facades and Cityscapes."""
    loss: Pix2PixLoss = field(default_factory=Pix2PixLoss)
