"""One measurement: what it may hold, and how it is written."""

import dataclasses
import json
import math
from typing import Any

import pytest

from gesso.bench.results import Result
from measured import PLAIN, measured


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("recipe", "", "recipe is empty"),
        ("model", 5, "must be text"),
        ("machine", "a\0b", "cannot be shown"),
        ("device_name", "\ud800", "cannot be shown"),
        ("kind", "slow", "choose one of speed, converge"),
        ("mode", [], "choose one of train, forward"),
        ("batch_size", 0, "must be a whole number above 0"),
        ("devices", True, "must be a whole number above 0"),
        ("batch_size", 2**40, "must be a whole number above 0"),
        ("compiled", 1, "must be true or false"),
        ("started", "2026-01-02T03:04:05", "must name its time zone"),
        ("started", "yesterday", "must be a time such as"),
        ("recipe_json", "{", "recipe_json"),
        ("environment", {"a": math.nan}, "environment"),
        ("environment", {"a": object()}, "environment"),
        ("step_seconds", [0.1, math.nan], "finite and above 0"),
        ("step_seconds", [0.0], "finite and above 0"),
        ("step_seconds", "12", "must be numbers"),
        ("metrics", {"a": "fast"}, "metrics"),
    ],
)
def test_a_field_that_cannot_be_is_refused(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(measured(), **{field: value})


def test_a_time_is_written_in_utc_so_that_it_sorts_as_text() -> None:
    assert measured(started="2026-01-02T03:04:05+02:00").started == "2026-01-02T01:04:05.000000+00:00"


def test_json_and_back_loses_nothing_not_even_nan() -> None:
    result = measured(step_seconds=[0.1 + 0.2, 1e-9], metrics={"a": math.nan, "b": math.inf, "c": 1 / 3})
    again = Result.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    assert again.digest == result.digest
    assert again.step_seconds == (0.1 + 0.2, 1e-9)
    assert math.isnan(again.metrics["a"]) and again.metrics["b"] == math.inf and again.metrics["c"] == 1 / 3


def test_lines_are_standard_json() -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(measured().to_json(), parse_constant=refuse)


def test_what_holds_a_default_is_left_out_so_that_new_fields_keep_old_digests() -> None:
    plain = {k: v for k, v in PLAIN.items() if k not in ("recipe_json", "environment", "step_seconds", "metrics")}
    assert json.loads(Result(**plain).to_json()).keys() == plain.keys()


@pytest.mark.parametrize(("line", "says"), [("{", "not JSON"), ("[]", "not a JSON object"), ("{}", "kind.* missing")])
def test_what_is_no_result_is_refused(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Result.from_json(line)


def test_a_field_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="colour: no field of a result"):
        Result.from_json(json.dumps({**json.loads(measured().to_json()), "colour": "red"}))


def test_throughput_is_of_all_processes_at_the_median_step() -> None:
    result = measured(batch_size=4, devices=2, step_seconds=[0.1, 0.2, 9.0])
    assert result.samples_per_second == pytest.approx(40)
    assert math.isnan(measured(step_seconds=[]).samples_per_second)


def test_the_work_of_a_sample_tells_configurations_apart() -> None:
    small, large = (measured(metrics={"gmacs": gmacs}).configuration for gmacs in (1.0, 4.0))
    assert small != large
    assert small == measured(5, version="9", metrics={"gmacs": 1.0, "ms_median": 3}).configuration
