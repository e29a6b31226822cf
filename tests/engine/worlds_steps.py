"""What the processes of a world do in the tests of gradients: one step each, on their part of a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gesso.devices import Choice
from gesso.engine.guard import Guard
from gesso.engine.launch import Choices, prepare
from gesso.models import build_model
from gesso.models.base import Model, using
from gesso.models.dcgan import DCGAN
from gesso.models.translation import Translator
from gesso.processes import World, joined
from gesso.recipe import Guard as Limits
from gesso.recipe import Recipe, from_json

BATCH = 4


def part(job: dict[str, Any]) -> None:
    """The gradients of one process among several, as they are after sharing, to OUT/RANK.pt."""
    with joined("cpu") as world:
        found = gradients(from_json(job["recipe"]), world, twice=job.get("twice", False))
        torch.save(found, Path(job["out"]) / f"{world.rank}.pt")


def meeting(job: dict[str, Any]) -> None:
    """Come together, say who is there, and part."""
    with joined("cpu") as world:
        ranks = world.gather(world.rank)
        if world.main:
            with (Path(job["out"]) / "met").open("a") as met:
                met.write("".join(map(str, ranks)))


def spoiled(job: dict[str, Any]) -> None:
    """Whether a step changed the weights where process 1 alone had gradients that are not finite, to OUT/RANK.pt."""
    with joined("cpu") as world:
        model = ready(from_json(job["recipe"]), world)
        Guard(Limits(), model, world)
        share = model.share_gradients

        def worse(found: list[Tensor]) -> None:
            if world.rank == 1:
                found[0].fill_(torch.nan)
            share(found)

        model.share_gradients = worse
        before = [parameter.detach().clone() for parameter in model.networks["G"].parameters()]
        images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(world.rank)) * 2 - 1
        model.train_step({"A": images[0], "B": images[1]}, np.random.default_rng(0))
        after = model.networks["G"].parameters()
        same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        torch.save({"same": same}, Path(job["out"]) / f"{world.rank}.pt")


def alone(job: dict[str, Any]) -> None:
    """The main process uses a network in train mode, as for a sheet; then all of them meet."""
    with joined("cpu") as world:
        model = ready(from_json(job["recipe"]), world)
        if world.main:
            with using(model.networks, "train"):
                model.networks["D"](torch.zeros(2, 3, 32, 32))
        assert world.gather(world.rank) == [0, 1]


def twice(job: dict[str, Any]) -> None:
    """Come together, part, and come together again."""
    for _ in range(2):
        meeting(job)


def ready(recipe: Recipe, world: World) -> Model:
    model = build_model(recipe)
    model.initialize(0)
    device = Choice(torch.device("cpu"), "test")
    choices = Choices(device, Choice("fp32", "test"), Choice(False, "test"), Choice(False, "test"))
    prepare(model, None, choices, train=True, world=world)
    return model


def gradients(recipe: Recipe, world: World, *, twice: bool = False) -> dict[str, list[Tensor]]:
    """Of one step on this process's part of a batch of 4, by the order of the optimizers' steps; and the running
    statistics of batch norm after it.

    twice: the batch is two images, each twice in a row.
    """
    model = ready(recipe, world)
    mine = slice(world.rank * BATCH // world.size, (world.rank + 1) * BATCH // world.size)
    rng = torch.Generator().manual_seed(1)
    images = torch.rand(2, BATCH, 3, 32, 32, generator=rng) * 2 - 1
    if twice:
        images[:, 1::2] = images[:, ::2]
    batch = {"A": images[0], "B": images[1]}
    if not isinstance(model, Translator):
        batch = {"image": images[0], "label": torch.tensor([0, 1, 1, 0])}
    if isinstance(model, DCGAN):
        noise = torch.randn(BATCH, model.recipe.networks.latent, generator=rng)
        if twice:
            noise[1::2] = noise[::2]
        model.noise = lambda count, device: noise[mine]  # type: ignore[method-assign]
    share, seen = model.share_gradients, []

    def watched(found: list[Tensor]) -> None:
        share(found)
        seen.append([gradient.clone() for gradient in found])

    model.share_gradients = watched
    model.train_step({role: values[mine] for role, values in batch.items()}, np.random.default_rng(0))
    statistics = [b for n in model.networks.values() for b in n.buffers() if b.is_floating_point()]
    world.average(statistics)
    return {**{f"step {i}": found for i, found in enumerate(seen)}, "statistics": statistics}
