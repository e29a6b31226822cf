"""What the recipes promise, and whose numbers it is."""

import re

import pytest

from gesso.recipes import RECIPES


def promised(name: str) -> dict[str, str]:
    """The entries of a recipe's docstring: {"cost": …, "expected": …}."""
    text = re.sub(r"\n {10,}", " ", RECIPES[name].__doc__ or "")
    return dict(re.findall(r"^ {4}(\w+) +(.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("entry", ["cost", "expected"])
def test_a_recipe_says_whether_its_numbers_were_measured(name: str, entry: str) -> None:
    assert re.search(r"\b(measured:|not measured)", promised(name)[entry])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("entry", ["cost", "expected"])
def test_a_published_number_says_whose_it_is(name: str, entry: str) -> None:
    _, published, whose = promised(name)[entry].partition("published: ")
    assert not published or " by " in whose


def test_a_recipe_that_watches_the_test_split_chooses_nothing_by_it() -> None:
    watching = [make() for make in RECIPES.values() if getattr(make().data, "evaluate_split", "") == "test"]
    assert [(recipe.recipe, recipe.checkpoints.best) for recipe in watching] == [("densenet-bc-cifar", "none")]
