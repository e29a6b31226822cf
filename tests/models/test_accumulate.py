"""A batch in pieces: each phase's gradients are those of the whole batch, with one piece's graph in memory."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import toy
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.models.base import Batch, Model
from gesso.models.dcgan import DCGAN
from gesso.models.gan import Fakes
from gesso.recipe import CycleGANLoss, Pix2PixLoss, Recipe

PIECES = 2
NAMES = ["pix2pix", "cyclegan", "pix2pix-distill", "cyclegan-distill", "dcgan", "densenet-demo"]


def recipe_of(name: str, root: Path, accumulate: int, **changes: object) -> Recipe:
    """Without dropout, which no two ways of taking a batch could draw alike."""
    recipe: Any = toy(name, root, batch_size=4, accumulate=accumulate, **changes)
    if recipe.model.startswith("pix2pix"):
        recipe = dataclasses.replace(
            recipe,
            generator=dataclasses.replace(recipe.generator, norm="instance", dropout=0.0),
            discriminator=dataclasses.replace(recipe.discriminator, norm="instance"),
        )
    if name == "densenet-demo":
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=("dark", "light")))
    return recipe


def ready(recipe: Recipe) -> Model:
    torch.manual_seed(0)  # of a student's teacher, whose weights are not drawn by `initialize`
    model = build_model(recipe)
    model.initialize(0)
    model.make_optimizers(fused=False)
    return model


def batch_of(model: Model) -> Batch:
    """4 images, of which the second half repeats the first where there is batch norm, which then finds the same in each
    half."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(2, 4, 3, 32, 32, generator=rng) * 2 - 1
    if not hasattr(model, "translations"):
        images[:, 2:] = images[:, :2]
    if isinstance(model, DCGAN):
        noise = torch.randn(2, model.latent, generator=rng).repeat(2, 1)
        model.noise = lambda count, device: noise  # type: ignore[method-assign]
    return {"A": images[0], "B": images[1], "image": images[0], "label": torch.tensor([0, 1, 0, 1])}


def gradients(recipe: Recipe) -> tuple[list[list[Tensor]], dict[str, Tensor]]:
    """Of each update of one step, and the step's losses."""
    model = ready(recipe)
    seen: list[list[Tensor]] = []
    model.share_gradients = lambda found: seen.append([gradient.clone() for gradient in found])
    losses = model.train_step({k: v for k, v in batch_of(model).items() if k in roles(model)}, np.random.default_rng(0))
    return seen, losses


def roles(model: Model) -> str | tuple[str, ...]:
    return "AB" if hasattr(model, "translations") else ("image", "label")


def assert_same(recipe: Recipe) -> None:
    whole, whole_losses = gradients(dataclasses.replace(recipe, accumulate=1))
    parts, part_losses = gradients(recipe)
    assert len(whole) == len(parts)
    for ours, theirs in zip(parts, whole, strict=True):
        scale = max(float(gradient.abs().max()) for gradient in theirs)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5 * scale)
    torch.testing.assert_close(part_losses, whole_losses, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_pieces_are_those_of_the_batch(name: str, pairs: Path) -> None:
    assert_same(recipe_of(name, pairs, PIECES))


@pytest.mark.parametrize("order", ["GD", "DG"])
def test_pix2pix_in_either_order(order: Any, pairs: Path) -> None:
    assert_same(recipe_of("pix2pix", pairs, PIECES, loss=Pix2PixLoss(order=order)))


@pytest.mark.parametrize("order", ["GD", "DG"])
def test_cyclegan_in_either_order_with_its_pools(order: Any, pairs: Path) -> None:
    assert_same(recipe_of("cyclegan", pairs, PIECES, loss=CycleGANLoss(order=order, pool_size=3)))


def test_fakes_that_are_made_twice_are_the_same_though_there_is_dropout() -> None:
    G = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5))
    pieces = [{"A": torch.full((2, 3, 4, 4), float(i))} for i in range(3)]
    fakes = Fakes(pieces, lambda piece: (G(piece["A"]),), [G])
    (first,) = fakes.detached()
    for i, (piece, (again,)) in enumerate(fakes.with_graphs()):
        assert piece is pieces[i]
        assert again.requires_grad
        assert torch.equal(first[2 * i : 2 * i + 2], again)
    assert not torch.equal(first[:2] == 0, first[2:4] == 0)  # each piece has its own


def test_fakes_that_are_made_twice_move_the_running_statistics_once(pairs: Path) -> None:
    model = ready(toy("pix2pix", pairs, batch_size=4, accumulate=PIECES, loss=Pix2PixLoss(order="DG")))
    model.train_step({k: v for k, v in batch_of(model).items() if k in "AB"}, np.random.default_rng(0))
    counts = [int(n.num_batches_tracked) for n in model.networks["G"].modules() if isinstance(n, nn.BatchNorm2d)]
    assert counts and set(counts) == {PIECES}


class Held:
    """A tensor kept for the backward pass, counted while it is."""

    now = most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # or an output that is kept for its own backward pass would keep itself
        Held.now += tensor.numel()
        Held.most = max(Held.most, Held.now)

    def __del__(self) -> None:
        Held.now -= self.tensor.numel()


def most_held(recipe: Recipe) -> int:
    """The most numbers that a step keeps for its backward passes at once."""
    Held.now = Held.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        gradients(recipe)
    return Held.most


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_of_one_piece_alone_is_in_memory(name: str, pairs: Path) -> None:
    weights = sum(p.numel() for n in ready(recipe_of(name, pairs, 1)).networks.values() for p in n.parameters())
    whole, quarter = (most_held(recipe_of(name, pairs, pieces)) - weights for pieces in (1, 4))
    assert quarter < 0.5 * whole


def test_pieces_must_divide_the_batch(pairs: Path) -> None:
    with pytest.raises(UsageError, match="--accumulate 3: must divide --batch-size 4"):
        recipe_of("pix2pix", pairs, 3).checked()
