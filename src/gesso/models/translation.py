"""What the models of image translation share: directions, and pictures whose sizes must suit the networks."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.models.base import Batch, Model, Networks, parameters_of, remember_rates
from gesso.networks.anysize import crop, pad
from gesso.networks.initialize import initialize
from gesso.recipe import Adam, Direction, TranslationRecipe


@dataclass(frozen=True)
class Translation:
    """One direction in which a model translates: the domains' names and the network that does it."""

    source: str
    target: str
    network: str


class Translator(Model):
    """A model that translates images.

    translations  by direction
    `used` names the generators; every other network judges.
    """

    recipe: TranslationRecipe
    translations: dict[str, Translation]

    @property
    def aligned(self) -> bool:
        """Whether A and B of a batch must belong together."""
        return self.recipe.aligned

    @property
    def mode(self) -> str:
        return self.recipe.generator.test_mode

    @property
    def uncompilable(self) -> str:
        uncropped = "uncropped pictures have many sizes, and each would be compiled anew"
        return "" if self.recipe.data.cropped else uncropped

    def chosen(self, direction: Direction | None) -> dict[str, Translation]:
        """Its translation `direction`, or for None every one, the first being the usual. UsageError where it was not
        trained for that one."""
        if direction is None:
            return dict(self.translations)
        if direction not in self.translations:
            trained = " and ".join(self.translations)
            raise UsageError(f"--direction {direction}: this {self.recipe.model} was trained {trained} only")
        return {direction: self.translations[direction]}

    def initialize_network(self, name: str, network: nn.Module, rng: torch.Generator) -> None:
        config = self.recipe.generator if name in self.used else self.recipe.discriminator
        initialize(network, config.init, config.init_gain, rng)

    def inputs(self) -> dict[str, Tensor]:
        side = self.recipe.data.crop_size
        sizes = {
            name: next(parameter.shape[1] for parameter in network.parameters() if parameter.dim() == 4)
            for name, network in self.networks.items()
        }
        return self.padded({name: torch.empty(1, c, side, side, device="meta") for name, c in sizes.items()})

    def padded(self, batch: Batch) -> Batch:
        """`batch` with mirrored borders at the right and the bottom, until its sizes fit every network."""
        multiple = max(getattr(network, "multiple", 1) for network in self.networks.values())
        minimum = max(getattr(network, "minimum", 1) for network in self.networks.values())
        minimum = -(-minimum // multiple) * multiple
        return {role: pad(images, multiple, minimum) for role, images in batch.items()}

    def translate(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        """`predict` for images of any size. Call inside `using`."""
        height, width = next(iter(batch.values())).shape[2:]
        return {
            name: crop(images, (height, width)) for name, images in self.predict(self.padded(batch), networks).items()
        }


def adam(networks: Iterable[nn.Module], config: Adam, lr: float, fused: bool) -> torch.optim.Optimizer:
    """Adam over the parameters of `networks`."""
    parameters = parameters_of(networks)
    return remember_rates(torch.optim.Adam(parameters, lr=lr, betas=(config.beta1, config.beta2), fused=fused))
