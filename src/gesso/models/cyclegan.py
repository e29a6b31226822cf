"""CycleGAN: A ↔ B from unpaired images. Zhu, Park, Isola & Efros 2017, arXiv 1703.10593.

Names are the reference code's: G_A translates A → B and D_A judges images of domain B, G_B and D_B the other
way round.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.models.base import Batch, Loss, Networks, frozen, untracked, using
from gesso.models.gan import Fakes, ImagePool, fake_loss, fooling_loss, real_loss
from gesso.models.translation import Translation, Translator, adam
from gesso.networks import build_discriminator, build_generator
from gesso.recipe import CycleGANLoss, CycleGANRecipe


@dataclass(frozen=True)
class Translated:
    """A batch and all that the two generators make of it in a step. rec, idt: None where their losses weigh nothing."""

    real_A: Tensor
    real_B: Tensor
    fake_B: Tensor
    rec_A: Tensor | None
    fake_A: Tensor
    rec_B: Tensor | None
    idt_A: Tensor | None
    idt_B: Tensor | None


def cycle_loss(loss: CycleGANLoss, t: Translated) -> dict[str, Tensor]:
    """L_cyc = ‖G_B(G_A(a)) − a‖₁ + ‖G_A(G_B(b)) − b‖₁ (eq. 2), each times its λ."""
    losses = {}
    if t.rec_A is not None:
        losses["cycle_A"] = F.l1_loss(t.rec_A, t.real_A) * loss.lambda_a
    if t.rec_B is not None:
        losses["cycle_B"] = F.l1_loss(t.rec_B, t.real_B) * loss.lambda_b
    return losses


def identity_loss(loss: CycleGANLoss, t: Translated) -> dict[str, Tensor]:
    """L_identity = ‖G_A(b) − b‖₁ + ‖G_B(a) − a‖₁ (section 5.2).

    The weight is λ_idt, times the cycle's λ where `identity_relative`: two conventions that differ tenfold.
    """
    if t.idt_A is None or t.idt_B is None:
        return {}
    by_a, by_b = (loss.lambda_a, loss.lambda_b) if loss.identity_relative else (1.0, 1.0)
    return {
        "idt_A": F.l1_loss(t.idt_A, t.real_B) * (loss.lambda_identity * by_b),
        "idt_B": F.l1_loss(t.idt_B, t.real_A) * (loss.lambda_identity * by_a),
    }


class CycleGAN(Translator):
    """Two generators, two discriminators, a pool of past fakes for each."""

    used = ("G_A", "G_B")
    translations = {"AtoB": Translation("A", "B", "G_A"), "BtoA": Translation("B", "A", "G_B")}  # noqa: RUF012
    discriminator_losses = ("D_A", "D_B")
    recipe: CycleGANRecipe

    def __init__(self, recipe: CycleGANRecipe) -> None:
        a, b = recipe.data.channels_a, recipe.data.channels_b
        super().__init__(
            recipe,
            {
                "G_A": build_generator(recipe.generator, a, b),
                "G_B": build_generator(recipe.generator, b, a),
                "D_A": build_discriminator(recipe.discriminator, b),
                "D_B": build_discriminator(recipe.discriminator, a),
            },
        )
        self.pools = {"D_A": ImagePool(recipe.loss.pool_size), "D_B": ImagePool(recipe.loss.pool_size)}

    def make_optimizers(self, fused: bool) -> None:
        n, config = self.networks, self.recipe.optimizer
        self.optimizers = {
            "G": adam([n["G_A"], n["G_B"]], config, config.generator_lr, fused),
            "D": adam([n["D_A"], n["D_B"]], config, config.discriminator_lr, fused),
        }

    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        batch, G_A, G_B = self.padded(batch), self.networks["G_A"], self.networks["G_B"]
        fakes = Fakes(self.pieces(batch), self.generate, [G_A, G_B])
        losses: dict[str, Tensor] = {}
        for phase in self.recipe.loss.order:
            losses |= self._generator_phase(fakes) if phase == "G" else self._discriminator_phase(batch, fakes, rng)
        self.made = fakes.detached()
        return losses

    def generate(self, piece: Batch) -> tuple[Tensor, ...]:
        """The fakes of a piece of the batch, fake_B and fake_A, and behind them what else their losses are made of."""
        return self.networks["G_A"](piece["A"]), self.networks["G_B"](piece["B"])

    def _generator_phase(self, fakes: Fakes) -> dict[str, Tensor]:
        with frozen(self.networks["D_A"], self.networks["D_B"]):
            each = (self.generator_losses(piece, *made) for piece, made in fakes.with_graphs())
            return self.descend("G", each, self.recipe.optimizer.clip_norm)

    def generator_losses(self, piece: Batch, fake_B: Tensor, fake_A: Tensor, *others: Tensor) -> Loss:
        """L(G_A, G_B) of eq. 3 for what `generate` made of a piece: both adversarial losses, cycles, identities."""
        D_A, D_B, loss = self.networks["D_A"], self.networks["D_B"], self.recipe.loss
        t = self._translated(piece["A"], piece["B"], fake_B, fake_A)
        losses = {
            "G_A": fooling_loss(loss.gan, D_A(t.fake_B)),
            "G_B": fooling_loss(loss.gan, D_B(t.fake_A)),
            **cycle_loss(loss, t),
            **identity_loss(loss, t),
        }
        return Loss(torch.stack(list(losses.values())).sum(), losses)

    def _translated(self, real_A: Tensor, real_B: Tensor, fake_B: Tensor, fake_A: Tensor) -> Translated:
        G_A, G_B, loss = self.networks["G_A"], self.networks["G_B"], self.recipe.loss
        identity = loss.lambda_identity > 0
        # What is translated later are real images of the source: batch norm's running statistics are theirs alone.
        with untracked(G_A, G_B):
            return Translated(
                real_A=real_A,
                real_B=real_B,
                fake_B=fake_B,
                rec_A=G_B(fake_B) if loss.lambda_a else None,
                fake_A=fake_A,
                rec_B=G_A(fake_A) if loss.lambda_b else None,
                idt_A=G_A(real_B) if identity else None,
                idt_B=G_B(real_A) if identity else None,
            )

    def _discriminator_phase(self, batch: Batch, fakes: Fakes, rng: np.random.Generator) -> dict[str, Tensor]:
        """L(D_A) and L(D_B) of eq. 1 or of section 4's least squares, on real images and on pooled fakes."""
        fake_B, fake_A = fakes.detached()
        past = {"fake_B": self.pools["D_A"].exchange(fake_B, rng), "fake_A": self.pools["D_B"].exchange(fake_A, rng)}

        def of_piece(piece: Batch) -> Loss:
            losses = {
                "D_A": self._judge("D_A", piece["B"], piece["fake_B"]),
                "D_B": self._judge("D_B", piece["A"], piece["fake_A"]),
            }
            return Loss(losses["D_A"] + losses["D_B"], losses)

        return self.descend("D", map(of_piece, self.pieces({**batch, **past})), self.recipe.optimizer.clip_norm)

    def _judge(self, name: str, real: Tensor, fake: Tensor) -> Tensor:
        D, loss = self.networks[name], self.recipe.loss
        return (real_loss(loss.gan, D(real)) + fake_loss(loss.gan, D(fake))) * loss.discriminator_factor

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Fill the pools with what the untrained generators make (the Gaudi origin's prefill)."""
        if not self.recipe.loss.pool_prefill:
            return
        rng = np.random.default_rng(0)  # a pool that is not full draws nothing
        while any(len(pool.images) < pool.size for pool in self.pools.values()):
            batch = self.padded(next(batches))
            with using(self.networks, "eval"):
                made = self.predict({role: batch[role] for role in "AB"})
            for name, fake in (("D_A", made["fake_B"]), ("D_B", made["fake_A"])):
                room = self.pools[name].size - len(self.pools[name].images)
                self.pools[name].exchange(fake[:room], rng)

    def predict(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        n = networks or self.networks
        made: dict[str, Tensor] = {}
        if "A" in batch:
            made["fake_B"] = n["G_A"](batch["A"])
            made["rec_A"] = n["G_B"](made["fake_B"])
        if "B" in batch:
            made["fake_A"] = n["G_B"](batch["B"])
            made["rec_B"] = n["G_A"](made["fake_A"])
        return made

    def forward_passes(self) -> dict[str, float]:
        # G: translate, cycle and identity; D: see pix2pix.
        loss = self.recipe.loss
        G = 3 * (1 + (loss.lambda_identity > 0))
        G_A, G_B = G + 3 * (loss.lambda_b != 0), G + 3 * (loss.lambda_a != 0)
        return {"G_A": G_A, "G_B": G_B, "D_A": 2 + 2 * 3, "D_B": 2 + 2 * 3}

    def state_dict(self) -> dict[str, Any]:
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = next(self.networks["G_A"].parameters()).device
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name], device)
