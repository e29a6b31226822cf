"""What the processes of a world do in the tests of gradients: one step each, on their part of a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gesso.devices import Choice
from gesso.engine.launch import Choices, prepare
from gesso.models import build_model
from gesso.models.dcgan import DCGAN
from gesso.models.translation import Translator
from gesso.processes import World, joined
from gesso.recipe import Recipe, from_json

BATCH = 4


def part(job: dict[str, Any]) -> None:
    """The gradients of one process among several, as they are after sharing, to OUT/RANK.pt."""
    with joined("cpu") as world:
        torch.save(gradients(from_json(job["recipe"]), world), Path(job["out"]) / f"{world.rank}.pt")


def gradients(recipe: Recipe, world: World) -> dict[str, list[Tensor]]:
    """Of one step on this process's part of a batch of 4, by the order of the optimizers' steps; and the running
    statistics of batch norm after it."""
    model = build_model(recipe)
    model.initialize(0)
    device = Choice(torch.device("cpu"), "test")
    choices = Choices(device, Choice("fp32", "test"), Choice(False, "test"), Choice(False, "test"))
    prepare(model, None, choices, train=True, world=world)
    mine = slice(world.rank * BATCH // world.size, (world.rank + 1) * BATCH // world.size)
    rng = torch.Generator().manual_seed(1)
    images = torch.rand(2, BATCH, 3, 32, 32, generator=rng) * 2 - 1
    batch = {"A": images[0], "B": images[1]}
    if not isinstance(model, Translator):
        batch = {"image": images[0], "label": torch.tensor([0, 1, 1, 0])}
    if isinstance(model, DCGAN):
        noise = torch.randn(BATCH, model.config.networks.latent, generator=rng)
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
