"""The decision of `bench compare`, on noise of several shapes, of which the truth is known."""

from collections.abc import Callable

import numpy as np
import pytest

from gesso.bench import bootstrap, comparing
from gesso.bench.comparing import Array, compare, shown, throughput_ratio
from gesso.bench.results import Result
from gesso.errors import UsageError
from measured import measured

STEPS = 60
Noise = Callable[[np.random.Generator, int], Array]
"""Of a run: the logarithms by which its steps are slower than they should be, given its number."""


def _white(generator: np.random.Generator, run: int) -> Array:
    return generator.normal(0, 0.005) + generator.normal(0, 0.03, STEPS)


def _wandering(generator: np.random.Generator, run: int) -> Array:
    """Neighbours are alike: 0.8 of a step's disturbance goes on to the next."""
    noise = np.zeros(STEPS)
    for step in range(1, STEPS):
        noise[step] = 0.8 * noise[step - 1] + generator.normal(0, 0.012)
    return noise


def _spikes(generator: np.random.Generator, run: int) -> Array:
    """One step in ten takes twice as long or more."""
    return generator.normal(0, 0.01, STEPS) + (generator.random(STEPS) < 0.1) * generator.exponential(1, STEPS)


def _drift(generator: np.random.Generator, run: int) -> Array:
    """Each run gets slower, by up to 4 % at its end, as a machine does that grows warm."""
    return generator.normal(0, 0.01, STEPS) + np.linspace(0, generator.uniform(0, 0.04), STEPS)


def _drift_between(generator: np.random.Generator, run: int) -> Array:
    """Each run is half a percent slower than the one before."""
    return 0.005 * run + generator.normal(0, 0.01, STEPS)


def _two_speeds(generator: np.random.Generator, run: int) -> Array:
    """Clocked in two ways, 3 % apart, changing now and then."""
    return generator.normal(0, 0.01, STEPS) + 0.03 * (np.cumsum(generator.random(STEPS) < 0.1) % 2)


NOISES = (_white, _wandering, _spikes, _drift, _drift_between, _two_speeds)
each_noise = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.__name__.strip("_"))


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)


def runs(noise: Noise, seed: int, count: int = 5, slowed: float = 1.0) -> list[Array]:
    generator = np.random.default_rng([seed, round(100 * slowed), NOISES.index(noise)])
    return [0.1 * slowed * np.exp(noise(generator, run)) for run in range(count)]


@each_noise
def test_the_same_speed_is_failed_in_none_of_20_tries(noise: Noise) -> None:
    ratios = [throughput_ratio(runs(noise, seed), runs(noise, seed + 100)) for seed in range(20)]
    assert [ratio.high >= 0.95 for ratio in ratios] == [True] * 20


@each_noise
def test_a_step_slower_by_a_tenth_is_failed_in_20_of_20_tries(noise: Noise) -> None:
    ratios = [throughput_ratio(runs(noise, seed), runs(noise, seed, slowed=1.1)) for seed in range(20)]
    assert [ratio.high < 0.95 for ratio in ratios] == [True] * 20


@pytest.mark.parametrize("count", [3, 10])
def test_the_interval_holds_the_truth_as_often_as_it_says(count: int) -> None:
    held = 0
    for seed in range(200):
        ratio = throughput_ratio(runs(_white, seed, count), runs(_white, seed, count, slowed=1.05))
        held += ratio.low <= 1 / 1.05 <= ratio.high
    assert 180 <= held <= 199  # 190 expected


def test_a_wide_noise_widens_the_interval_instead_of_failing() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        sides = [[np.exp(generator.normal(0, 0.2)) * np.ones(STEPS) for _ in range(5)] for _ in range(2)]
        assert throughput_ratio(*sides).high >= 0.95


def slowed(count: int, disturbed: int, seconds: float = 0.1) -> list[Result]:
    """`count` runs, of which as many as `disturbed` took half as long again."""
    return [measured(n, step_seconds=[seconds * (1.5 if n < disturbed else 1 + 0.001 * n)] * 20) for n in range(count)]


def test_a_disturbed_run_is_left_out_and_told() -> None:
    same = compare(slowed(5, 0), slowed(5, 1), 0.95)
    assert (same.rows[0].verdict, same.rows[0].head.runs, same.rows[0].head.disturbed) == ("same", 4, 1)
    assert "Runs left out as disturbed, each far from the others of its side: 1." in shown(same)


def test_a_slowdown_is_seen_behind_a_disturbed_run() -> None:
    assert compare(slowed(5, 1), slowed(5, 1, 0.11), 0.95).too_slow


@pytest.mark.parametrize("disturbed", [2, 3])
def test_runs_that_are_often_disturbed_are_how_the_machine_is(disturbed: int) -> None:
    found = compare(slowed(5, 0), slowed(5, disturbed), 0.95)
    assert found.rows[0].head.runs == 5
    assert not found.too_slow


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_few_runs_none_is_left_out(count: int) -> None:
    assert compare(slowed(5, 0), slowed(count, 1), 0.95).rows[0].head.runs == count


def test_a_single_run_is_never_surer_than_runs_are_alike() -> None:
    still = [np.full(STEPS, 0.1)]
    ratio = throughput_ratio(still, still)
    assert ratio.value == 1
    assert ratio.low < 1 - 2 * comparing.ASSUMED < 1 + 2 * comparing.ASSUMED < ratio.high


def test_a_comparison_gives_the_same_answer_each_time() -> None:
    sides = runs(_white, 0), runs(_white, 1)
    assert throughput_ratio(*sides) == throughput_ratio(*sides)


def repeats(count: int, seconds: float, **changes: object) -> list[Result]:
    return [
        measured(each, step_seconds=[seconds + 1e-5 * (each + s) for s in range(20)], **changes)
        for each in range(count)
    ]


def test_a_slower_head_is_too_slow_and_a_faster_one_is_not() -> None:
    slower = compare(repeats(5, 0.1), repeats(5, 0.112), 0.95)
    assert [row.verdict for row in slower.rows] == ["TOO SLOW"]
    assert slower.rows[0].ratio.value == pytest.approx(0.1 / 0.112, rel=0.01)
    assert [row.verdict for row in compare(repeats(5, 0.1), repeats(5, 0.09), 0.95).rows] == ["faster"]
    assert not compare(repeats(5, 0.1), repeats(5, 0.102), 0.95).too_slow


def test_what_noise_may_explain_is_unsure_and_does_not_fail() -> None:
    noisy = [measured(each, step_seconds=[0.1 * (1 + 0.08 * each)] * 20) for each in range(3)]
    found = compare(repeats(3, 0.1), noisy, 0.95)
    assert [row.verdict for row in found.rows] == ["unsure"]
    assert not found.too_slow
    assert any(line.startswith("unsure: below 0.95") for line in shown(found))


def test_what_only_one_side_has_is_named_with_what_differs() -> None:
    base = repeats(2, 0.1) + repeats(2, 0.1, machine="a", recipe="dcgan")
    head = repeats(2, 0.1) + repeats(2, 0.1, machine="b", recipe="dcgan")
    text = "\n".join(shown(compare(base, head, 0.95)))
    assert (
        "not compared: dcgan train synthetic -b 4 fp32: only in base (machine differs from the nearest in head)" in text
    )
    assert "only in head (machine differs from the nearest in base)" in text


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nothing was measured in the same configuration.*batch_size differs"):
        compare(repeats(2, 0.1), repeats(2, 0.1, batch_size=8), 0.95)


def test_runs_of_few_steps_are_not_compared() -> None:
    found = compare([*repeats(2, 0.1), measured(8, step_seconds=[1.0] * 9)], repeats(2, 0.1), 0.95)
    assert found.rows[0].base.runs == 2
    assert found.unmatched == ["a run of pix2pix train synthetic -b 4 fp32 in base: 9 steps, 10 needed"]


@pytest.mark.parametrize(("count", "says"), [(1, "Too few repeats"), (3, "Few repeats: 3 runs"), (5, "")])
def test_too_few_repeats_are_told(count: int, says: str) -> None:
    lines = shown(compare(repeats(5, 0.1), repeats(count, 0.1), 0.95))
    assert [line.startswith(says) for line in lines if "epeats" in line] == [True] * bool(says)
