"""The noise that generators are shown with: the same pictures for the same seed, wherever they are drawn."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def latents(seed: int, indices: Sequence[int], size: int) -> Tensor:
    """Latent vectors from N(0, 1), N×size of torch's default type; the one of index i depends on `seed` and i alone."""
    drawn = [np.random.default_rng([seed, i]).standard_normal(size, np.float32) for i in indices]
    return torch.from_numpy(np.stack(drawn)).to(torch.get_default_dtype())
