"""Weights from elsewhere: torchvision's released DenseNet files, which are older than the names of its modules."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import toy
from gesso.engine.state import start_from
from gesso.errors import CheckpointError
from gesso.models import build_model
from gesso.models.densenet import DenseNet

FIRST = "features.denseblock1.denselayer1"


def released() -> dict[str, Tensor]:
    """What torchvision's first file would hold for blocks of 1 and 1 layers, k = 4, 8 filters first and 2 classes."""
    shapes: dict[str, tuple[int, ...]] = {"features.conv0.weight": (8, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):  # and no num_batches_tracked
            shapes[f"{name}.{part}"] = (channels,)

    norm("features.norm0", 8)
    for block, channels in ((1, 8), (2, 6)):
        layer = f"features.denseblock{block}.denselayer1"
        norm(f"{layer}.norm.1", channels)
        shapes[f"{layer}.conv.1.weight"] = (16, channels, 1, 1)
        norm(f"{layer}.norm.2", 16)
        shapes[f"{layer}.conv.2.weight"] = (4, 16, 3, 3)
        if block == 1:
            norm("features.transition1.norm", 12)
            shapes["features.transition1.conv.weight"] = (6, 12, 1, 1)
    norm("features.norm5", 10)
    shapes |= {"classifier.weight": (2, 10), "classifier.bias": (2,)}
    rng = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=rng) for name, shape in shapes.items()}


def network() -> DenseNet:
    recipe = toy("densenet121", Path("nowhere"))
    model = build_model(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=("dark", "light"))))
    assert isinstance(model, DenseNet)
    return model


def test_torchvisions_released_files_load_whole(tmp_path: Path) -> None:
    file, model = released(), network()
    torch.save(file, tmp_path / "densenet.pth")
    start_from(model, None, (f"net={tmp_path / 'densenet.pth'}",))
    loaded = model.networks["net"].state_dict()
    assert torch.equal(loaded[f"{FIRST}.norm1.running_var"], file[f"{FIRST}.norm.1.running_var"])
    assert torch.equal(loaded[f"{FIRST}.conv2.weight"], file[f"{FIRST}.conv.2.weight"])
    values = [tensor for name, tensor in loaded.items() if not name.endswith("num_batches_tracked")]
    assert len(values) == len(file)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(values, file.values(), strict=True))


def test_todays_names_load_as_before(tmp_path: Path) -> None:
    given, model = network(), network()
    given.initialize(1)
    torch.save(given.networks["net"].state_dict(), tmp_path / "densenet.pth")
    start_from(model, None, (f"net={tmp_path / 'densenet.pth'}",))
    expected = given.networks["net"].state_dict()
    assert all(torch.equal(expected[name], value) for name, value in model.networks["net"].state_dict().items())


def test_a_tensor_that_is_missing_is_still_named(tmp_path: Path) -> None:
    file = released()
    del file[f"{FIRST}.norm.2.bias"]
    torch.save(file, tmp_path / "densenet.pth")
    with pytest.raises(CheckpointError, match=rf"it lacks {FIRST}.norm2.bias"):
        start_from(network(), None, (f"net={tmp_path / 'densenet.pth'}",))
