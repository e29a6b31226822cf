"""Toys for judging: networks as TorchScript files that answer by simple rules, and a set of photos and label maps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gesso.data.streets import PALETTE, TRAIN_LABELS
from gesso.models import build_model
from gesso.models.translation import Translator
from gesso.recipe import TranslationRecipe

CPU = torch.device("cpu")
COLOURS = PALETTE[list(TRAIN_LABELS)]


class Means(nn.Module):
    """In Inception's place: mean and mean square of each channel, six features an image."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.square().mean((2, 3))], 1)


class Squares(nn.Module):
    """In LPIPS's place."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3), keepdim=True)


class ByColour(nn.Module):
    """In a segmenter's place: the nearer a pixel, in [0, 1], to a class's colour, the higher its score."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("colours", torch.tensor(COLOURS) / 255)

    def forward(self, photos: Tensor) -> Tensor:
        return -(photos[:, None] - self.colours[None, :, :, None, None]).square().sum(2)


def saved(network: nn.Module, path: Path) -> str:
    torch.jit.save(torch.jit.script(network), str(path))
    return str(path)


def saved_segmenter(path: Path) -> str:
    path.with_suffix(".json").write_text('{"mean": [0, 0, 0], "std": [1, 1, 1]}')
    return saved(ByColour(), path)


def write_streets(root: Path, counts: dict[str, int], label_size: int = 32, photo_size: int = 32) -> Path:
    """A/ photos of noise and B/ label maps of random blocks in the palette of the 19 classes, matched by name."""
    for split, count in counts.items():
        for role in "AB":
            (root / role / split).mkdir(parents=True)
        for i in range(count):
            rng = np.random.default_rng([i, len(split)])
            classes = rng.integers(0, 19, (8, 8)).repeat(label_size // 8, 0).repeat(label_size // 8, 1)
            Image.fromarray(COLOURS[classes]).save(root / "B" / split / f"{i}.png")
            noise = rng.integers(0, 256, (photo_size, photo_size, 3), np.uint8)
            Image.fromarray(noise).save(root / "A" / split / f"{i}.png")
    return root


def answering(recipe: TranslationRecipe, answer: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Any:
    """A model of `recipe` whose predictions are `answer`'s."""
    model = build_model(recipe)
    assert isinstance(model, Translator)
    model.predict = lambda batch, networks=None: answer(batch)  # type: ignore[method-assign]
    return model


def quiet(line: str) -> None:
    """A Say that nobody hears."""
