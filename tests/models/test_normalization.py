"""What the classifier's network sees: images less the mean of a data set, over its deviation."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import toy
from gesso.errors import UsageError
from gesso.models.densenet import DenseNet
from gesso.recipes import RECIPES


def normalizing(kind: str, **data: Any) -> Any:
    recipe = toy("densenet121", Path("nowhere"))
    return dataclasses.replace(
        recipe, data=dataclasses.replace(recipe.data, normalization=kind, names=("a", "b"), **data)
    )


@pytest.mark.parametrize(
    ("kind", "mean", "std"),
    [
        ("imagenet", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # the well-known ones, of 0 … 255
        ("cifar", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
        ("half", (127.5,) * 3, (127.5,) * 3),
    ],
)
def test_the_mean_becomes_0_and_a_deviation_more_becomes_1(
    kind: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    middle, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    model = DenseNet(normalizing(kind))
    assert torch.allclose(model.normalized(middle / 127.5 - 1), torch.zeros(1, 3, 1, 1), atol=1e-5)
    assert torch.allclose(model.normalized((middle + spread) / 127.5 - 1), torch.ones(1, 3, 1, 1), atol=1e-5)


def test_cifar_is_normalised_by_its_own_mean_as_in_the_paper() -> None:
    assert RECIPES["densenet-bc-cifar"]().data.normalization == "cifar"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["imagenet", "cifar"])
def test_a_set_of_three_channels_has_no_mean_for_one(kind: str) -> None:
    with pytest.raises(UsageError, match=f"--data.channels 1: the mean of {kind} has 3; use --data.normalization half"):
        normalizing(kind, channels=1).checked()
