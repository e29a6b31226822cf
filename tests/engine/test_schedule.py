"""Learning rates against the papers' formulas, written out by hand."""

import math

import pytest

from gesso.engine.schedule import rate
from gesso.recipe import Schedule
from gesso.recipes import RECIPES

N = 1000


def reference_rule(epoch: int) -> float:
    """junyanz: 100 epochs constant, 100 linear, counted from 1."""
    return 1.0 - max(0, epoch + 1 - 100) / (100 + 1)


def gaudi_rule(epoch: int) -> float:
    """The Gaudi origin's: quadratic over 25 epochs, constant to 100, cosine to 200."""
    if epoch < 25:
        return ((epoch + 1) / 26) ** 2
    return 1.0 if epoch <= 100 else 0.5 * (math.cos(math.pi * (epoch - 100) / 100) + 1)


@pytest.mark.parametrize(
    ("recipe", "rule"),
    [("pix2pix", reference_rule), ("cyclegan", reference_rule), ("cyclegan-gaudi", gaudi_rule)],
)
def test_recipes_follow_their_source_in_every_epoch(recipe: str, rule) -> None:  # type: ignore[no-untyped-def]
    config = RECIPES[recipe]()
    for epoch in range(200):
        for images in (epoch * N, epoch * N + N - 1):
            assert rate(config.schedule, config.epochs, N, images) == pytest.approx(rule(epoch), abs=1e-12)


def test_steps_multiply_at_each_milestone() -> None:
    schedule = Schedule(decay="step", milestones=(30, 60, 80), factor=0.1)
    rates = [rate(schedule, 90, N, epoch * N) for epoch in (0, 29, 30, 59, 60, 79, 80, 89)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_linear_warmup_by_step_rises_evenly_from_zero() -> None:
    schedule = Schedule(decay="constant", warmup="linear", warmup_epochs=5, granularity="step")
    assert [rate(schedule, 90, N, images) for images in (0, 2500, 5000)] == pytest.approx([0, 0.5, 1])


def test_linear_decay_by_step_ends_in_zero() -> None:
    schedule = Schedule(decay="linear", granularity="step")
    assert rate(schedule, 10, N, 10 * N) == pytest.approx(0)
    assert rate(schedule, 10, N, 7500) == pytest.approx(0.5)


def test_constant_stays() -> None:
    assert {rate(Schedule(decay="constant"), 10, N, i * 777) for i in range(14)} == {1.0}


def test_delay_of_half_the_run_follows_a_shorter_run() -> None:
    assert rate(Schedule(), 20, N, 9 * N) == 1.0
    assert rate(Schedule(), 20, N, 10 * N) == pytest.approx(1 - 1 / 11)
