"""What adversarial models share: the three GAN losses and the pool of past fakes.

The losses are pure functions of the discriminator's output, N×1×H×W without a sigmoid, one number a patch.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.models.base import Batch, seeded, untracked
from gesso.recipe import GANMode


def real_loss(mode: GANMode, prediction: Tensor) -> Tensor:
    """What the discriminator pays for `prediction` on real images.

    vanilla  −log σ(x)        Goodfellow et al. 2014, eq. 1
    lsgan    (x − 1)²         Mao et al. 2017, eq. 2, without its ½
    hinge    max(0, 1 − x)    Lim & Ye 2017
    """
    if mode == "vanilla":
        return F.softplus(-prediction).mean()
    if mode == "lsgan":
        return (prediction - 1).square().mean()
    return F.relu(1 - prediction).mean()


def fake_loss(mode: GANMode, prediction: Tensor) -> Tensor:
    """What the discriminator pays for `prediction` on fakes: −log(1 − σ(x)), x², or max(0, 1 + x)."""
    if mode == "vanilla":
        return F.softplus(prediction).mean()
    if mode == "lsgan":
        return prediction.square().mean()
    return F.relu(1 + prediction).mean()


def fooling_loss(mode: GANMode, prediction: Tensor) -> Tensor:
    """What the generator pays when its fakes got `prediction`: they should pass for real (non-saturating)."""
    return -prediction.mean() if mode == "hinge" else real_loss(mode, prediction)


class Fakes:
    """What the generators make of a batch in one step, piece by piece.

    The generators' phase needs it with its graph, the discriminators' without. Of a batch in one piece it is made once,
    for both. Of several pieces only one may have its graph in memory: where the discriminators come first, their fakes
    are made first and their graphs dropped, and made again, alike, when it is the generators' turn.

    generate: gives a fake for each of the generators; what it may give behind them is for `with_graphs` alone.
    """

    def __init__(
        self,
        pieces: Sequence[Batch],
        generate: Callable[[Batch], tuple[Tensor, ...]],
        generators: Sequence[nn.Module],
    ) -> None:
        self._pieces, self._generate, self._generators = pieces, generate, generators
        self._whole = generate(pieces[0]) if len(pieces) == 1 else None
        self._detached: list[tuple[Tensor, ...]] = []
        self._joined: list[Tensor] = []
        # Of each piece, so that dropout is the same both times.
        self._seeds = torch.randint(2**31, (len(pieces),)).tolist() if len(pieces) > 1 else []
        if self._whole:
            self._keep(self._whole)

    def with_graphs(self) -> Iterator[tuple[Batch, tuple[Tensor, ...]]]:
        """Each piece of the batch and its fakes."""
        if self._whole:
            yield self._pieces[0], self._whole
            return
        again = bool(self._detached)
        for piece, seed in zip(self._pieces, self._seeds, strict=True):
            # The running statistics of batch norm have moved when the fakes were made first.
            with seeded(self._generators, seed), untracked(*self._generators) if again else contextlib.nullcontext():
                made = self._generate(piece)
            if not again:
                self._keep(made)
            yield piece, made

    def detached(self) -> list[Tensor]:
        """The fakes of the whole batch, one tensor for each generator, without graphs."""
        if not self._detached:
            for piece, seed in zip(self._pieces, self._seeds, strict=True):
                with seeded(self._generators, seed):
                    self._keep(self._generate(piece))  # with gradients: without them no batch norm is synchronised
        if not self._joined:
            each = zip(*self._detached, strict=True)
            self._joined = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in each]
        return self._joined

    def _keep(self, made: tuple[Tensor, ...]) -> None:
        self._detached.append(tuple(fake.detach() for fake in made[: len(self._generators)]))


class ImagePool:
    """Past fakes for the discriminator (Shrivastava et al. 2017, section 2.3).

    Once `size` images are there, each new one is, with probability ½, kept in place of a random old one, which
    is returned for it. The random numbers come with the call, so that the pool's only state is its images.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise UsageError(f"--loss.pool-size {size}: must be 0 or more")
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, fakes: Tensor, rng: np.random.Generator) -> Tensor:
        """N×C×H×W fakes in, as many out; nothing here carries a gradient."""
        if self.size == 0:
            return fakes.detach()
        chosen = []
        for fake in fakes.detach():
            if len(self.images) < self.size:
                self.images.append(fake.clone())
            elif rng.random() < 0.5:
                place = int(rng.integers(self.size))
                fake, self.images[place] = self.images[place], fake.clone()
            chosen.append(fake)
        return torch.stack(chosen)

    def state_dict(self) -> list[Tensor]:
        """The images, each C×H×W; where nothing is cropped they differ in size."""
        return list(self.images)

    def load_state_dict(self, images: list[Tensor], device: torch.device) -> None:
        self.images = [image.to(device) for image in images]
