"""What a recipe's flags make of a measurement: a configuration of its own, or the same one whose default changed."""

import dataclasses
import json
from typing import Any

import pytest

from gesso.bench.comparing import Comparison, compare, shown
from gesso.bench.reporting import as_text, lines_of
from gesso.bench.results import Result
from gesso.bench.variants import changes, variant_of
from gesso.errors import UsageError
from gesso.recipes import RECIPES
from measured import measured

PLAIN: Any = RECIPES["pix2pix"]()


def recipe(**values: Any) -> str:
    """The named recipe with other values, as a result has it."""
    return dataclasses.replace(PLAIN, **values).to_json()


def runs(recipe_json: str, variant: str | None, seconds: float = 0.1, first: int = 0) -> list[Result]:
    """5 repeat runs; without a variant as a gesso kept them that did not write it down."""
    environment = {} if variant is None else {"variant": variant}
    timed = [[seconds + 1e-5 * (number + step) for step in range(20)] for number in range(5)]
    held = {"recipe_json": recipe_json, "environment": environment}
    return [measured(first + number, step_seconds=steps, **held) for number, steps in enumerate(timed)]


def test_the_named_recipe_is_no_variant() -> None:
    assert [name for name, made in RECIPES.items() if variant_of(name, made().to_json())] == []


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"accumulate": 2}, "--accumulate 2"),
        ({"ema": 500.0, "sync_batch_norm": True}, "--sync-batch-norm --ema 500"),
        ({"guard": dataclasses.replace(PLAIN.guard, enabled=False)}, "--guard.no-enabled"),
        ({"loss": dataclasses.replace(PLAIN.loss, gan="hinge")}, "--loss.gan hinge"),
        ({"optimizer": dataclasses.replace(PLAIN.optimizer, clip_norm=1.0)}, "--optimizer.clip-norm 1"),
    ],
)
def test_what_changes_a_step_is_in_the_variant(values: dict[str, Any], flags: str) -> None:
    assert variant_of("pix2pix", recipe(**values)) == flags


def test_what_a_configuration_says_anyway_or_no_step_feels_makes_no_variant() -> None:
    other = recipe(
        batch_size=8,
        precision="bf16",
        compile="on",
        device="cpu",
        seed=3,
        epochs=1,
        data=dataclasses.replace(PLAIN.data, root="somewhere"),
        schedule=dataclasses.replace(PLAIN.schedule, decay="constant"),
        evaluation=dataclasses.replace(PLAIN.evaluation, every=1.0),
        checkpoints=dataclasses.replace(PLAIN.checkpoints, every=1.0),
        tracking=dataclasses.replace(PLAIN.tracking, log_every=1),
    )
    assert variant_of("pix2pix", other) == ""


@pytest.mark.parametrize("recipe_json", ["{}", "[]", '{"model": "pix2pix", "long_gone": 3, "loss": 5}'])
def test_recipes_of_another_gesso_are_read(recipe_json: str) -> None:
    assert variant_of("pix2pix", recipe_json) == variant_of("pix9pix", recipe_json) == ""


def test_a_field_that_only_one_gesso_knows_is_no_change() -> None:
    assert changes('{"ema": 0.0, "old": 1}', '{"ema": 500.0, "new": 2}') == ["--ema 500 (was 0)"]


def test_characters_that_steer_a_terminal_are_not_in_a_label() -> None:
    for result in (runs(json.dumps({"ema": "\x1b[2J"}), None)[0], runs(recipe(), "\x1b[2J")[0]):
        assert result.configuration.label.isprintable()


def test_a_report_has_a_line_for_each_variant() -> None:
    plain, pieces = runs(recipe(), ""), runs(recipe(accumulate=2), "--accumulate 2", first=5)
    assert [line.runs for line in lines_of(plain + pieces)] == [5, 5]
    assert "pix2pix train synthetic -b 4 fp32 --accumulate 2 " in as_text(pieces)


def compared(base: list[Result], head: list[Result]) -> tuple[Comparison, str]:
    found = compare(base, head, 0.95)
    return found, "\n".join(shown(found))


@pytest.mark.parametrize("kept", [True, False])
def test_a_variant_is_not_compared_with_the_plain_recipe(kept: bool) -> None:
    plain = runs(recipe(), "" if kept else None)
    pieces = runs(recipe(accumulate=2), "--accumulate 2" if kept else None, seconds=0.2)
    with pytest.raises(UsageError, match=r"only in base \(variant differs by --accumulate 2 from the nearest in head"):
        compare(plain, pieces, 0.95)


@pytest.mark.parametrize("kept", [True, False])
def test_results_from_before_variants_were_kept_match_those_after(kept: bool) -> None:
    found, text = compared(runs(recipe(ema=500.0), None), runs(recipe(ema=500.0), "--ema 500" if kept else None))
    assert [row.configuration.variant for row in found.rows] == ["--ema 500"]
    assert "the recipe itself changed" not in text


def test_a_default_that_changed_is_told_and_the_same_command_still_compared() -> None:
    found, text = compared(runs(recipe(ema=500.0), ""), runs(recipe(), "", seconds=0.12))
    assert found.too_slow == ["pix2pix train synthetic -b 4 fp32"]
    assert (
        "pix2pix train synthetic -b 4 fp32: the recipe itself changed from base to head, --ema 0 (was 500); "
        "the ratio has this in it."
    ) in text


def test_a_default_that_changed_since_older_results_is_named_and_not_compared() -> None:
    both = runs(recipe(), "", first=10)
    other = [dataclasses.replace(result, precision="bf16") for result in both]
    _, text = compared(runs(recipe(ema=500.0), None) + other, both + other)
    assert (
        "not compared: pix2pix train synthetic -b 4 fp32 --ema 500: only in base "
        "(variant differs by --ema 500 from the nearest in head)"
    ) in text
