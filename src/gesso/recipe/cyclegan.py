"""The recipe of CycleGAN: images from images, learnt from two unpaired sets."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from gesso.errors import UsageError
from gesso.recipe.common import GANMode
from gesso.recipe.translation import TranslationRecipe


@dataclass(frozen=True)
class CycleGANLoss:
    """Zhu et al. 2017, equations 1 to 3 and the identity loss of section 5.2."""

    gan: GANMode = "lsgan"
    """lsgan: the paper's least squares; vanilla: eq. 1; hinge."""
    lambda_a: float = 10.0
    """Weight of the cycle A → B → A."""
    lambda_b: float = 10.0
    """Weight of the cycle B → A → B."""
    lambda_identity: float = 0.5
    """Weight of the identity loss; 0 leaves it out and saves its two forward passes."""
    identity_relative: bool = True
    """Multiply the identity loss by the cycle's weight too, as the reference does (0.5 then counts as 5)."""
    discriminator_factor: float = 0.5
    """Multiplier of the discriminators' loss, real plus fake."""
    order: Literal["GD", "DG"] = "GD"
    """Which networks are updated first in a step."""
    pool_size: int = 50
    """Images in the pool of past fakes that each discriminator sees; 0 is off."""
    pool_prefill: bool = False
    """Fill the pools with the untrained generators' images before the first step."""


@dataclass(frozen=True, kw_only=True)
class CycleGANRecipe(TranslationRecipe):
    """A ↔ B from unpaired images."""

    model: ClassVar[str] = "cyclegan"
    aligned: ClassVar[bool] = False

    loss: CycleGANLoss = field(default_factory=CycleGANLoss)

    def checked(self) -> Self:
        if self.data.channels_a != self.data.channels_b and self.loss.lambda_identity > 0:
            raise UsageError(
                f"--data.channels-a {self.data.channels_a} and --data.channels-b {self.data.channels_b}: the identity "
                "loss needs equal channels; leave it out with --loss.lambda-identity 0"
            )
        return super().checked()
