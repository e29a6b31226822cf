"""What is chosen for a run, and that it is chosen from the recipe and the machine alone."""

import dataclasses

import pytest

from gesso.engine.launch import choose
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.recipe import Recipe, TranslationData
from gesso.recipes import RECIPES


def long_run(**changes: object) -> Recipe:
    recipe = RECIPES["cyclegan"]()
    small = dataclasses.replace(recipe.generator, ngf=4, blocks=1)
    return dataclasses.replace(recipe, device="cpu", generator=small, **changes)


def compiled(recipe: Recipe, images: float) -> tuple[bool, str]:
    choice = choose(recipe, build_model(recipe), images, {}).compile
    return choice.value, choice.reason


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


def test_short_runs_stay_eager_and_long_ones_compile() -> None:
    recipe = long_run(data=TranslationData(load_size=64, crop_size=64))
    assert not compiled(recipe, 10)[0]
    assert compiled(recipe, 1e9)[0]


def test_uncropped_pictures_are_not_compiled_size_by_size() -> None:
    value, reason = compiled(long_run(data=TranslationData(preprocess="none", crop_size=64)), 1e9)
    assert not value and "sizes" in reason


def test_what_was_asked_for_is_done() -> None:
    assert compiled(long_run(compile="on", data=TranslationData(preprocess="none", crop_size=64)), 10) == (
        True,
        "asked for",
    )


def test_no_compiler_no_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    value, reason = compiled(long_run(data=TranslationData(load_size=64, crop_size=64)), 1e9)
    assert not value and "compiler" in reason


def test_resumed_run_keeps_what_it_began_with() -> None:
    recipe = long_run(data=TranslationData(load_size=64, crop_size=64))
    before = {"device": {"value": "cpu"}, "precision": {"value": "fp32"}, "compile": {"value": "False"}}
    choices = choose(recipe, build_model(recipe), 1e9, before)
    assert (choices.precision.value, choices.compile.value) == ("fp32", False)


LEFT = {"device": {"value": "cpu"}, "precision": {"value": "tf32"}, "compile": {"value": "False"}}
"""The choices of a run that began on a machine whose device has a precision that this one's has not."""


def test_a_precision_that_this_machine_has_not_is_chosen_again_with_a_word() -> None:
    recipe = long_run()
    precision = choose(recipe, build_model(recipe), 10, LEFT).precision
    assert precision.value in ("bf16", "fp32")
    assert precision.reason.startswith("the run began in tf32, which cpu has not: ")


def test_a_precision_that_was_asked_for_and_that_this_machine_has_not_is_refused() -> None:
    recipe = long_run(precision="tf32")
    with pytest.raises(UsageError, match="--precision tf32: cpu has "):
        choose(recipe, build_model(recipe), 10, LEFT)


COMPILED = {"device": {"value": "cpu"}, "precision": {"value": "fp32"}, "compile": {"value": "True"}}


def test_a_run_that_began_compiled_goes_on_eager_with_a_word_where_there_is_no_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    recipe = long_run()
    choice = choose(recipe, build_model(recipe), 10, COMPILED).compile
    assert not choice.value
    assert choice.reason.startswith("the run began compiled; no C++ compiler: ")


def test_a_run_that_was_asked_to_be_compiled_is_refused_where_there_is_no_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    recipe = long_run(compile="on")
    with pytest.raises(UsageError, match="--compile on: no C"):
        choose(recipe, build_model(recipe), 10, COMPILED)
