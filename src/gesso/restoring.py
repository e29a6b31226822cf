"""Values that JSON gave, as the types that an annotation promises: how a saved recipe becomes one again."""

import dataclasses
import typing
from typing import Any, Literal


def restore(kind: Any, value: Any) -> Any:
    """`value` from JSON as an instance of the annotated type `kind`; TypeError where it is not one.

    Knows what recipes are made of: dataclasses, Literal, tuple[X, ...], str, int, float and bool.
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is not an object with fields")
        hints = typing.get_type_hints(kind)
        unknown = set(value) - {f.name for f in dataclasses.fields(kind)}
        if unknown:
            raise TypeError(f"unknown field {sorted(unknown)[0]!r}")
        return typing.cast(type, kind)(**{key: restore(hints[key], item) for key, item in value.items()})
    origin = typing.get_origin(kind)
    if origin is Literal:
        if value not in typing.get_args(kind):
            raise TypeError(f"{value!r} is not one of {typing.get_args(kind)}")
        return value
    if origin is tuple and isinstance(value, list):
        first, *others = typing.get_args(kind)
        kinds = [first] * len(value) if others == [...] else [first, *others]
        if len(value) != len(kinds):
            raise TypeError(f"{value!r} has not {len(kinds)} values")
        return tuple(restore(each, item) for each, item in zip(kinds, value, strict=True))
    kind = origin or kind
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise TypeError("a whole number that is too large for a float") from None
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, its keys joined by dots: a recipe's flags and their values."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        flattened |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flattened


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """The nested dicts that `flat` made flat; empty ones, of which it keeps nothing, are gone."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return found
