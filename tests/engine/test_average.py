"""Weight averaging: the half-life is counted in images, and the random start is soon forgotten."""

import pytest
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


def test_statistics_of_batch_norm_are_averaged_with_the_weights_and_counts_are_not() -> None:
    norm, live = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    nn.init.constant_(live.running_mean, 1.0)  # type: ignore[arg-type]
    nn.init.constant_(live.weight, 3.0)
    live.num_batches_tracked += 7  # type: ignore[operator]
    average = Average({"G": norm}, half_life=100, ramp=1.0)
    average.update({"G": live}, 100, 1_000_000)
    made = average.networks["G"].state_dict()
    assert made["running_mean"].tolist() == pytest.approx([0.5, 0.5])
    assert made["weight"].tolist() == pytest.approx([2.0, 2.0])
    assert made["num_batches_tracked"] == 7
