"""pix2pix: A → B from pairs. Isola, Zhu, Zhou & Efros 2017, arXiv 1611.07004."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.models.base import Batch, Loss, Networks, frozen
from gesso.models.gan import Fakes, ImagePool, fake_loss, fooling_loss, real_loss
from gesso.models.translation import Translation, Translator, adam
from gesso.networks import build_discriminator, build_generator
from gesso.recipe import Pix2PixLoss, Pix2PixRecipe


@dataclass(frozen=True)
class GeneratorLoss:
    """G* = arg min_G max_D L_cGAN(G, D) + λ L_L1(G) (eq. 4), the generator's side of it."""

    G_GAN: Tensor
    G_L1: Tensor

    @property
    def total(self) -> Tensor:
        return self.G_GAN + self.G_L1


def generator_loss(loss: Pix2PixLoss, judged_fake: Tensor, fake_B: Tensor, real_B: Tensor) -> GeneratorLoss:
    """`judged_fake`: D(A, G(A)). The L1 term is eq. 3, times λ."""
    return GeneratorLoss(
        G_GAN=fooling_loss(loss.gan, judged_fake),
        G_L1=F.l1_loss(fake_B, real_B) * loss.lambda_l1,
    )


class Pix2Pix(Translator):
    """One generator, and one discriminator that sees the source beside the real or the fake target (eq. 1).

    A batch's A is what the generator reads. `direction` BtoA swaps the domains before anything else sees them.
    """

    used = ("G",)
    discriminator_losses = ("D_real", "D_fake")
    recipe: Pix2PixRecipe

    def __init__(self, recipe: Pix2PixRecipe) -> None:
        data = recipe.data
        self.source, self.target = ("A", "B") if recipe.direction == "AtoB" else ("B", "A")
        channels = {"A": data.channels_a, "B": data.channels_b}
        source, target = channels[self.source], channels[self.target]
        super().__init__(
            recipe,
            {
                "G": build_generator(recipe.generator, source, target),
                "D": build_discriminator(recipe.discriminator, source + target),
            },
        )
        self.translations = {recipe.direction: Translation(self.source, self.target, "G")}
        self.pool = ImagePool(recipe.loss.pool_size)

    def make_optimizers(self, fused: bool) -> None:
        adam_ = self.recipe.optimizer
        self.optimizers = {
            "G": adam([self.networks["G"]], adam_, adam_.generator_lr, fused),
            "D": adam([self.networks["D"]], adam_, adam_.discriminator_lr, fused),
        }

    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        batch, G = self.padded(batch), self.networks["G"]
        fakes = Fakes(self.pieces(batch), self.generate, [G])
        losses: dict[str, Tensor] = {}
        for phase in self.recipe.loss.order:
            losses |= self._discriminator_phase(batch, fakes, rng) if phase == "D" else self._generator_phase(fakes)
        self.made = fakes.detached()
        return losses

    def generate(self, piece: Batch) -> tuple[Tensor, ...]:
        """The fake of a piece of the batch, and behind it what else its loss is made of."""
        return (self.networks["G"](piece[self.source]),)

    def _generator_phase(self, fakes: Fakes) -> dict[str, Tensor]:
        with frozen(self.networks["D"]):
            each = (self.generator_losses(piece, *made) for piece, made in fakes.with_graphs())
            return self.descend("G", each, self.recipe.optimizer.clip_norm)

    def generator_losses(self, piece: Batch, fake: Tensor, *others: Tensor) -> Loss:
        """What the generator pays for what `generate` made of a piece."""
        judged = self.networks["D"](torch.cat([piece[self.source], fake], 1))
        found = generator_loss(self.recipe.loss, judged, fake, piece[self.target])
        return Loss(found.total, {"G_GAN": found.G_GAN, "G_L1": found.G_L1})

    def _discriminator_phase(self, batch: Batch, fakes: Fakes, rng: np.random.Generator) -> dict[str, Tensor]:
        (fake,) = fakes.detached()
        past = self.pool.exchange(torch.cat([batch[self.source], fake], 1), rng)
        each = map(self._discriminator_loss, self.pieces({**batch, "past": past}))
        return self.descend("D", each, self.recipe.optimizer.clip_norm)

    def _discriminator_loss(self, piece: Batch) -> Loss:
        D, loss = self.networks["D"], self.recipe.loss
        D_fake = fake_loss(loss.gan, D(piece["past"]))
        D_real = real_loss(loss.gan, D(torch.cat([piece[self.source], piece[self.target]], 1)))
        return Loss((D_real + D_fake) * loss.discriminator_factor, {"D_real": D_real, "D_fake": D_fake})

    def predict(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        G = (networks or self.networks)["G"]
        return {f"fake_{self.target}": G(batch[self.source])}

    def forward_passes(self) -> dict[str, float]:
        # D: forward and backward to its input for G; forward and both backwards on real and on fake for itself.
        return {"G": 3, "D": 2 + 2 * 3}

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pool.load_state_dict(state["pool"], next(self.networks["G"].parameters()).device)
