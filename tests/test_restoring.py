"""Nested dicts made flat and nested again."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.recipes import RECIPES
from gesso.restoring import flat, nested

NAMES = st.text("abc_", min_size=1, max_size=3)
GROUPS = st.recursive(
    st.integers() | st.lists(st.booleans(), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def test_keys_are_joined_by_dots() -> None:
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": (3,)}}}) == {"a": 1, "b.c": 2, "b.d.e": (3,)}


@given(st.dictionaries(NAMES, GROUPS, max_size=3))
def test_what_was_made_flat_is_nested_again(values: dict[str, Any]) -> None:
    assert nested(flat(values)) == values


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_comes_back_from_its_flags(name: str) -> None:
    values = dataclasses.asdict(RECIPES[name]())
    assert nested(flat(values)) == values
