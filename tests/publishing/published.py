"""Runs to publish, and what was published."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from conftest import toy
from gesso.data.images import read_image
from gesso.engine import checkpoint
from gesso.engine.average import Average
from gesso.engine.state import weights_of
from gesso.models import build_model

USE = ("--device", "cpu", "-d", "fp32")


def _classes(root: Path) -> Any:
    recipe = toy("densenet121", root)
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=("dark", "light")))


RECIPES: dict[str, Callable[[Path], Any]] = {
    "pix2pix": lambda root: toy("pix2pix", root),
    "cyclegan": lambda root: toy("cyclegan", root),
    "dcgan": lambda root: toy("dcgan", root),
    "densenet": _classes,
}


def untrained(path: Path, recipe: Any, averaged: bool = False, seen: int = 24) -> Path:
    """A run of `recipe` with one checkpoint of untrained networks; averaged ones differ from the others."""
    model = build_model(recipe)
    model.initialize(1)
    average = None
    if averaged:
        average = Average({name: model.networks[name] for name in model.used}, 1.0, 1.0)
        for network in average.networks.values():
            for tensor in network.parameters():
                tensor.data.mul_(0.5)
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(recipe.to_json())
    saved = checkpoint.save(path, seen, recipe.model, weights_of(model, average), {}, {}, recipe.to_json())
    checkpoint.mark_best(path, saved)
    return path


def pictures(folder: Path) -> dict[str, bytes]:
    """The pixels of every picture below `folder`, by name."""
    return {path.relative_to(folder).as_posix(): read_image(path).tobytes() for path in sorted(folder.rglob("*.png"))}


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
