"""Weight averaging: the half-life is counted in images, and the random start is soon forgotten."""

import pytest
import torch
from torch import nn

from gesso.engine.average import Average


def constant(value: float) -> nn.Module:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_half_of_the_way_is_left_after_a_half_life() -> None:
    average = Average({"G": constant(0.0)}, half_life=100, ramp=0.05)
    live = {"G": constant(1.0)}
    for seen in range(1_000_000, 1_000_100, 10):
        average.update(live, 10, seen)
    assert average.networks["G"].weight.item() == pytest.approx(0.5, abs=1e-5)


def test_batch_size_does_not_change_the_average() -> None:
    live = {"G": constant(1.0)}
    results = []
    for batch in (1, 4):
        average = Average({"G": constant(0.0)}, half_life=64, ramp=0.05)
        for seen in range(1_000_000, 1_000_032, batch):
            average.update(live, batch, seen)
        results.append(average.networks["G"].weight.item())
    assert results[0] == pytest.approx(results[1], abs=1e-5)


def test_start_is_forgotten_early_in_a_run() -> None:
    average = Average({"G": constant(100.0)}, half_life=10_000, ramp=0.05)
    live = {"G": constant(1.0)}
    for seen in range(1, 400):
        average.update(live, 1, seen)
    assert average.networks["G"].weight.item() == pytest.approx(1.0, abs=1e-3)


def test_buffers_are_copied() -> None:
    live = nn.BatchNorm2d(2)
    average = Average({"G": live}, half_life=100, ramp=0.05)
    live(torch.rand(2, 2, 4, 4))
    average.update({"G": live}, 1, 1)
    copied = average.networks["G"]
    assert isinstance(copied, nn.BatchNorm2d) and copied.running_mean is not None and live.running_mean is not None
    assert torch.equal(copied.running_mean, live.running_mean)
