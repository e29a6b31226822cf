"""What the models that make images from noise share."""

import torch
from torch import Tensor

from gesso.models.base import Model
from gesso.recipe import GenerationRecipe


class Generator(Model):
    """A model that makes images from latent vectors.

    latent  numbers in a latent vector, drawn from N(0, 1)
    `predict` takes {"z": N×latent} and gives {"image": N×C×S×S} in [-1, 1], S and C as the recipe's data say.
    """

    recipe: GenerationRecipe
    latent: int

    def noise(self, count: int, device: torch.device) -> Tensor:
        """Latent vectors from torch's global generator: count×latent, N(0, 1)."""
        return torch.randn(count, self.latent, device=device)
