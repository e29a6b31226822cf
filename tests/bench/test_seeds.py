"""What `bench compare` says of seeds: known answers of the tests it uses, and how often chance alone fails it."""

import json

import numpy as np
import pytest

from gesso.bench import bootstrap
from gesso.bench.comparing import compare, shown
from gesso.bench.results import Result
from gesso.bench.seeds import CHANCE, ENOUGH, Count, Outcome, chance_of_fewer, difference_of, mean_of
from gesso.errors import UsageError
from measured import measured


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)


def study(converged: int, seeds: int, scores: list[float] | None = None, **changes: object) -> list[Result]:
    """Seeds of which the first so many converged."""
    plain = {"kind": "converge", "data": "real", "step_seconds": [], "environment": {"criterion": "finite"}, **changes}
    return [
        measured(
            seed,
            **plain,
            metrics={"seed": seed, "converged": seed < converged, "score/L1": scores[seed] if scores else 0.1},
        )
        for seed in range(seeds)
    ]


def only(base: list[Result], head: list[Result], below: float = 1.0) -> Outcome:
    (outcome,) = compare(base, head, 0, below).outcomes
    return outcome


def test_the_chance_of_the_lady_tasting_tea_is_fishers() -> None:
    assert chance_of_fewer(Count(3, 4), Count(1, 4)) == pytest.approx(17 / 70)
    assert chance_of_fewer(Count(4, 4), Count(0, 4)) == pytest.approx(1 / 70)
    assert chance_of_fewer(Count(20, 20), Count(20, 20)) == 1


def test_the_interval_of_a_share_is_wilsons() -> None:
    """81 of 263 is the example of Newcombe, Statistics in Medicine 17, 1998, table I."""
    assert Count(81, 263).interval(0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert Count(10, 10).interval(0.95) == pytest.approx((10 / (10 + 1.959964**2), 1.0))


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95])
@pytest.mark.parametrize("seeds", [(20, 20), (10, 40), (100, 100)])
def test_the_same_code_fails_in_less_than_one_comparison_of_a_hundred(share: float, seeds: tuple[int, int]) -> None:
    generator, tries = np.random.default_rng(0), 4000
    counts = zip(*(generator.binomial(count, share, tries).tolist() for count in seeds), strict=True)
    failed = [chance_of_fewer(Count(base, seeds[0]), Count(head, seeds[1])) < CHANCE for base, head in counts]
    assert sum(failed) / tries < CHANCE


def test_a_state_that_converges_in_half_of_the_seeds_is_seen() -> None:
    found = compare(study(20, 20), study(10, 20), 0, 1)
    assert found.outcomes[0].verdict == "TOO FEW"
    assert found.too_few == ["pix2pix converge -b 4 fp32 -e 2"]


@pytest.mark.parametrize(("head", "verdict"), [(13, "TOO FEW"), (14, "unsure"), (20, "same")])
def test_of_20_seeds_a_fall_from_all_to_two_in_three_is_sure(head: int, verdict: str) -> None:
    assert only(study(20, ENOUGH), study(head, ENOUGH)).verdict == verdict


@pytest.mark.parametrize(("below", "verdict"), [(0.0, "fewer"), (0.5, "fewer"), (0.9, "TOO FEW")])
def test_fewer_than_allowed_fails_and_what_is_allowed_is_only_told(below: float, verdict: str) -> None:
    assert only(study(20, 20), study(11, 20), below).verdict == verdict


def test_more_seeds_that_converge_are_told() -> None:
    assert only(study(5, 20), study(18, 20)).verdict == "more"


def test_several_rows_share_the_chance_to_fail() -> None:
    """12 of 18 against 18 of 18 is improbable enough for one row (0.0095), not for two."""
    one = compare(study(18, 18), study(12, 18), 0, 1)
    two = compare(*(study(n, 18) + study(18, 18, recipe="dcgan") for n in (18, 12)), 0, 1)
    assert [o.verdict for o in one.outcomes] == ["TOO FEW"]
    assert [o.verdict for o in two.outcomes] == ["unsure", "same"]


@pytest.mark.parametrize(("seeds", "told"), [(3, True), (4, False), (20, False)])
def test_too_few_seeds_to_fail_anything_are_told(seeds: int, told: bool) -> None:
    lines = shown(compare(study(seeds, seeds), study(0, 5), 0, 1))
    assert any(line.startswith("Too few seeds") for line in lines) is told


def test_a_mean_has_an_interval_unless_it_is_of_one_seed() -> None:
    mean = mean_of([1.0, 2.0, 3.0, 4.0], 0.95)
    assert mean.value == 2.5 and mean.interval is not None
    assert mean.interval[0] < 1.5 < 3.5 < mean.interval[1]  # Student's is 0.45 to 4.55
    assert mean_of([1.0], 0.95).interval is None
    assert difference_of([1.0], [2.0, 3.0], 0.95).interval is None


@pytest.mark.parametrize("sizes", [(5, 5), (20, 20), (5, 40)])
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says(sizes: tuple[int, int]) -> None:
    generator, held = np.random.default_rng(0), 0
    for _ in range(200):
        base, head = generator.normal(0, 1, sizes[0]), generator.normal(0.5, 2, sizes[1])
        ends = difference_of(base.tolist(), head.tolist(), 0.95).interval
        assert ends is not None
        held += ends[0] <= 0.5 <= ends[1]
    assert held >= 182  # 190 expected, 3 standard deviations less


def test_scores_are_means_over_seeds_and_fail_nothing() -> None:
    found = compare(study(5, 5, [0.1, 0.11, 0.09, 0.1, 0.1]), study(5, 5, [0.2, 0.21, 0.19, 0.2, 0.2]), 1, 1)
    (figure,) = found.outcomes[0].figures
    assert (figure.name, figure.base.value, figure.head.value) == ("L1", pytest.approx(0.1), pytest.approx(0.2))
    assert figure.difference.value == pytest.approx(0.1) and figure.differs
    assert not found.too_few and not found.too_slow
    assert any(line.startswith("L1 ") and line.endswith("differs") for line in shown(found))


def test_a_loss_that_is_not_finite_is_in_no_mean() -> None:
    base = study(2, 2, [0.1, float("nan")])
    assert only(base, base).figures[0].base.value == 0.1


def test_a_seed_that_was_trained_twice_counts_once() -> None:
    again = [measured(30 + seed, **vars_of(result)) for seed, result in enumerate(study(0, 5))]
    assert only(study(5, 5) + again, study(5, 5)).base == Count(0, 5)


def vars_of(result: Result) -> dict[str, object]:
    return {name: value for name, value in vars(result).items() if name != "started"}


def test_another_machine_is_compared_and_another_criterion_is_not() -> None:
    found = compare(study(5, 5), study(5, 5, machine="attic", device="cuda", device_name="a GPU"), 0, 1)
    assert found.outcomes[0].machines == "lab → attic"
    with pytest.raises(UsageError, match=r"only in base \(criterion differs from the nearest in head\)"):
        compare(study(5, 5), study(5, 5, environment={"criterion": "L1 at most 0.1"}), 0, 1)


def test_recipes_that_were_not_alike_are_told() -> None:
    recipes = [
        json.dumps({"epochs": 2, "seed": seed, "loss": {"gan": gan}}) for seed, gan in ((1, "lsgan"), (2, "hinge"))
    ]
    alike = {"environment": {"criterion": "finite", "variant": ""}}  # of one command: a default changed in between
    found = compare(*(study(5, 5, recipe_json=recipe, **alike) for recipe in recipes), 0, 1)
    assert found.outcomes[0].differing == ["loss.gan"]
    assert "pix2pix converge -b 4 fp32 -e 2: not all were trained alike, the recipes differ in loss.gan." in shown(
        found
    )


def test_variants_are_studies_of_their_own() -> None:
    variant = study(0, 5, recipe_json='{"epochs": 2, "loss": {"gan": "hinge"}}')
    found = compare(study(5, 5) + variant, study(5, 5) + variant, 0, 1)
    assert [(o.training.label, o.base.converged) for o in found.outcomes] == [
        ("pix2pix converge -b 4 fp32 -e 2", 5),
        ("pix2pix converge -b 4 fp32 -e 2 --loss.gan hinge", 0),
    ]


def test_speed_and_seeds_are_compared_side_by_side() -> None:
    speed = [measured(40 + run, step_seconds=[0.1 + 1e-5 * (run + step) for step in range(20)]) for run in range(5)]
    lines = shown(compare(study(20, 20) + speed, study(19, 20) + speed, 0.95, 1))
    assert any(line.startswith("pix2pix train synthetic -b 4 fp32 ") for line in lines)
    assert any("20 of 20" in line and "84 to 100 %" in line and "19 of 20" in line for line in lines)
