"""Protobuf messages: the encoding's own examples, and bytes that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.protobuf import MalformedError, fields, varints


def read(message: bytes) -> list[tuple[int, int | bytes]]:
    return [(number, bytes(v) if isinstance(v, memoryview) else v) for number, v in fields(memoryview(message))]


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("", []),
        ("08 96 01", [(1, 150)]),
        ("12 07 74 65 73 74 69 6e 67", [(2, b"testing")]),
        ("1a 03 08 96 01", [(3, b"\x08\x96\x01")]),
        ("0d 01 02 03 04", [(1, b"\x01\x02\x03\x04")]),
        ("09 01 02 03 04 05 06 07 08", [(1, b"\x01\x02\x03\x04\x05\x06\x07\x08")]),
        ("08 ff ff ff ff ff ff ff ff ff 01", [(1, 2**64 - 1)]),
        ("08 01 08 02 12 00", [(1, 1), (1, 2), (2, b"")]),
    ],
)
def test_fields_come_in_order_with_number_and_value(message: str, found: list[tuple[int, int | bytes]]) -> None:
    assert read(bytes.fromhex(message)) == found


def test_packed_numbers_come_one_by_one() -> None:
    assert [*varints(memoryview(bytes.fromhex("03 8e 02 9e a7 05")))] == [3, 270, 86942]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("08", "ends within a number"),
        ("08 96", "ends within a number"),
        ("12 05 74", "claims 5 bytes and 1 are left"),
        ("0d 01 02", "claims 4 bytes and 2 are left"),
        ("0b", "unknown kind at byte 1"),
        ("08" + " ff" * 11, "more than 64 bits"),
    ],
)
def test_bytes_that_are_no_message_are_told(message: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        read(bytes.fromhex(message))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_malformed(content: bytes) -> None:
    try:
        found = read(content)
    except MalformedError:
        return
    held = sum(len(value) if isinstance(value, bytes) else 1 for _, value in found)
    assert held <= len(content)
    assert all(number >= 0 for number, _ in found)
