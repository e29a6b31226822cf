"""Runs to export: toy models whose weights are drawn, without a training."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from gesso.engine import checkpoint
from gesso.models import build_model
from gesso.models.base import Model
from gesso.recipe import Recipe


def drawn(recipe: Recipe) -> Model:
    """The model of `recipe` with weights that make its output depend on all of its input."""
    model = build_model(recipe)
    for place, network in enumerate(model.networks.values()):
        rng = torch.Generator().manual_seed(place)
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                spread = torch.rand(tensor.shape, generator=rng)
                if name.endswith("running_var"):
                    tensor.copy_(0.5 + spread)
                elif tensor.dim() > 1:
                    tensor.copy_((spread * 2 - 1) * (3 / tensor[0].numel()) ** 0.5)
                else:
                    tensor.copy_(spread + (0.5 if name.endswith("weight") else -0.5))
    return model


def make_run(path: Path, recipe: Recipe) -> Path:
    """A run of `recipe` at `path` with one checkpoint of a `drawn` model."""
    model = drawn(recipe)
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(recipe.to_json())
    weights = {name: network.state_dict() for name, network in model.networks.items()}
    found = checkpoint.save(path, 8, recipe.model, weights, {}, {}, recipe.to_json())
    checkpoint.mark_best(path, found)
    return path


def changed(recipe: Any, part: str, **changes: object) -> Any:
    """`recipe` with other fields in one of its parts."""
    return dataclasses.replace(recipe, **{part: dataclasses.replace(getattr(recipe, part), **changes)})
