"""What the recipes promise, and whose numbers it is."""

import dataclasses
import re

import pytest

from commands import Gesso, refused
from gesso.recipe import BUILTIN_STREETS
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


@pytest.mark.parametrize("recipe", ["pix2pix --data.load-size", "dcgan-msls --data.crop", "densenet121 --data.resize"])
@pytest.mark.parametrize(
    ("root", "most"), [("photos", "10000 pixels; for more raise --data"), ("", "4096 pixels for b")]
)
def test_a_side_that_would_fill_the_memory_is_refused(gesso: Gesso, recipe: str, root: str, most: str) -> None:
    side = recipe.split()[-1]
    said = gesso("train", *recipe.split(), 10**7, "--data.root", root or BUILTIN_STREETS)
    refused(said, f"{side} 10000000: must be at most {most}")


def test_longer_sides_need_a_higher_limit_of_pixels_and_a_lower_one_shortens_none() -> None:
    recipe = RECIPES["densenet121"]()
    for limit, side in ((400_000_000, 20_000), (1000, 10_000)):
        data = dataclasses.replace(recipe.data, root="photos", max_pixels=limit, resize=side)  # type: ignore[call-arg]
        assert dataclasses.replace(recipe, data=data).checked()


@pytest.mark.parametrize(
    ("words", "most"), [("pix2pix --tracking.sheet-images", "100"), ("dcgan --evaluation.images", "10000000; FID")]
)
def test_more_images_than_could_ever_be_made_are_refused(gesso: Gesso, words: str, most: str) -> None:
    flag = words.split()[-1]
    said = gesso("train", *words.split(), 10**12, "--data.root", "nowhere")
    refused(said, f"{flag} 1000000000000: must be at most {most}")
