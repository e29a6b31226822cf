"""DCGAN: images from noise. Radford, Metz & Chintala 2015, arXiv 1511.06434."""

import numpy as np
import torch
from torch import Tensor, nn

from gesso.models.base import Batch, Loss, Networks, frozen, parameters_of, remember_rates
from gesso.models.diffaugment import augment
from gesso.models.gan import Fakes, fake_loss, fooling_loss, real_loss
from gesso.models.generation import Generator
from gesso.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gesso.networks.initialize import initialize
from gesso.recipe import DCGANRecipe, GANOptimizer

INIT_STD = 0.02
"""Standard deviation of the initial weights (section 4)."""

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def gradient_penalty(images: Tensor, judged: Tensor) -> Tensor:
    """R1 = ½·E‖∇D(x)‖² on real images (Mescheder et al. 2018, eq. 9, γ = 1). `judged`: D(images), N numbers."""
    (gradient,) = torch.autograd.grad(judged.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean() / 2


class DCGAN(Generator):
    """One generator and one discriminator; every option beyond the paper is off in the recipe `dcgan`."""

    recipe: DCGANRecipe
    gains_from_channels_last = True
    used = ("G",)
    discriminator_losses = ("Loss_D",)

    def __init__(self, recipe: DCGANRecipe) -> None:
        data, config = recipe.data, recipe.networks
        self.latent = config.latent
        super().__init__(
            recipe,
            {
                "G": DCGANGenerator(data.image_size, config.latent, data.channels, config.ngf),
                "D": DCGANDiscriminator(data.image_size, data.channels, config.ndf, config.slope, config.spectral_norm),
            },
        )

    def initialize_network(self, name: str, network: nn.Module, rng: torch.Generator) -> None:
        initialize(network, "normal", INIT_STD, rng)

    def make_optimizers(self, fused: bool) -> None:
        config = self.recipe.optimizer
        self.optimizers = {
            "G": _optimizer(self.networks["G"], config, config.generator_lr, fused),
            "D": _optimizer(self.networks["D"], config, config.discriminator_lr, fused),
        }

    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        G, real = self.networks["G"], batch["image"]
        z = self.noise(len(real), real.device)
        fakes = Fakes(self.pieces({"z": z}), lambda piece: (G(piece["z"]),), [G])
        (fake,) = self.made = fakes.detached()
        return self._discriminator_phase({"image": real, "fake": fake}, rng) | self._generator_phase(fakes)

    def _discriminator_phase(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        loss = self.recipe.loss
        # Lazily: one step in r1_every on the average, at so many times the weight. Drawn, so that no count is kept.
        penalised = loss.r1 > 0 and rng.random() < 1 / loss.r1_every
        each = (self._discriminator_loss(piece, penalised) for piece in self.pieces(batch))
        return self.descend("D", each, self.recipe.optimizer.clip_norm)

    def _discriminator_loss(self, piece: Batch, penalised: bool) -> Loss:
        """Real and fake images in batches of their own, for batch norm; the gradients of both add up."""
        D, loss = self.networks["D"], self.recipe.loss
        real = augment(piece["image"], loss.augment)
        if penalised:
            real = real.detach().requires_grad_()
        judged_real, judged_fake = D(real), D(augment(piece["fake"], loss.augment))
        total = real_loss(loss.gan, judged_real) + fake_loss(loss.gan, judged_fake)
        penalty = gradient_penalty(real, judged_real) * (loss.r1 * loss.r1_every) if penalised else total.new_zeros(())
        told = {"Loss_D": total, "D(x)": _belief(judged_real), "D(G(z))_1": _belief(judged_fake)}
        return Loss(total + penalty, told | ({"R1": penalty} if loss.r1 else {}))

    def _generator_phase(self, fakes: Fakes) -> dict[str, Tensor]:
        D = self.networks["D"]
        with frozen(D):
            each = (self._generator_loss(fake) for _, (fake,) in fakes.with_graphs())
            return self.descend("G", each, self.recipe.optimizer.clip_norm)

    def _generator_loss(self, fake: Tensor) -> Loss:
        judged = self.networks["D"](augment(fake, self.recipe.loss.augment))
        fooled = fooling_loss(self.recipe.loss.gan, judged)
        return Loss(fooled, {"Loss_G": fooled, "D(G(z))_2": _belief(judged)})

    def predict(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        """{"z": N×latent} to {"image": N×C×S×S}."""
        return {"image": (networks or self.networks)["G"](batch["z"])}

    def inputs(self) -> dict[str, Tensor]:
        data = self.recipe.data
        image = torch.empty(1, data.channels, data.image_size, data.image_size, device="meta")
        return {"G": torch.empty(1, self.latent, device="meta"), "D": image}

    def forward_passes(self) -> dict[str, float]:
        # D: forward and backward to its input for G; forward and both backwards on real and on fake for itself.
        return {"G": 3, "D": 2 + 2 * 3}

    @property
    def uncompilable(self) -> str:
        return "the R1 penalty needs second derivatives, which compiled networks lack" if self.recipe.loss.r1 else ""


def _belief(judged: Tensor) -> Tensor:
    """The mean probability of being real that the discriminator gives."""
    return judged.detach().float().sigmoid().mean()


def _optimizer(network: nn.Module, config: GANOptimizer, lr: float, fused: bool) -> torch.optim.Optimizer:
    betas = (config.beta1, config.beta2)
    kind = OPTIMIZERS[config.kind]
    return remember_rates(
        kind(parameters_of([network]), lr=lr, betas=betas, weight_decay=config.weight_decay, fused=fused)
    )
