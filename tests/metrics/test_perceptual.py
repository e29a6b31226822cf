"""A perceptual distance that the user brings as TorchScript."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.metrics.perceptual import Perceptual

CPU = torch.device("cpu")


class Squares(nn.Module):
    """Stands in for LPIPS: the mean squared difference, N×1×1×1 as LPIPS gives it."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3), keepdim=True)


class Sum(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b).square().mean((1, 2, 3))


class One(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean()


class Pair(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, b


def saved(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), str(path))
    return path


@pytest.fixture
def distance(tmp_path: Path) -> Perceptual:
    return Perceptual(saved(Squares(), tmp_path / "squares.pt"), CPU)


def test_distance_is_the_networks_one_per_image(distance: Perceptual) -> None:
    a, b = torch.rand(3, 3, 16, 20), torch.rand(3, 3, 16, 20)
    assert torch.allclose(distance(a, b), (a - b).square().mean((1, 2, 3)))


def test_one_image_gives_one_distance(distance: Perceptual) -> None:
    assert distance(torch.ones(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)).tolist() == [4.0]


def test_grey_is_seen_as_three_equal_channels(distance: Perceptual) -> None:
    grey, other = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    colour = distance(grey.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1))
    assert torch.equal(distance(grey, other), colour)


def test_name_tells_the_file_by_its_digest(distance: Perceptual) -> None:
    assert distance.sha256 in distance.name and "squares.pt" in distance.name


@pytest.mark.parametrize("network", [Sum(), One(), Pair()])
def test_network_that_is_no_distance_is_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--evaluation\.lpips .*wrong\.pt: does not turn two"):
        Perceptual(saved(network, tmp_path / "wrong.pt"), CPU)


def test_missing_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--evaluation\.lpips .*none\.pt: no such file"):
        Perceptual(tmp_path / "none.pt", CPU)


def test_file_that_is_not_torchscript_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"not TorchScript")
    with pytest.raises(UsageError, match=r"weights\.pt: not a TorchScript file"):
        Perceptual(tmp_path / "weights.pt", CPU)
