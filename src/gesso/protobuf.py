"""Protobuf messages, read field by field and without their schema.

MindSpore's checkpoints and ONNX's files are such messages. The protobuf package is a compiled extension, which what
runs exported models must do without, and reading takes two functions (protobuf.dev/programming-guides/encoding). They
are bounded: a length that is written in a message is compared with what is left of it before anything is done with it,
so no number in a file can ask for memory.
"""

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""Wire types. 3 and 4 are groups, which nobody has written for many years; they are refused as unknown."""


class MalformedError(ValueError):
    """What is wrong with the bytes, in words for whoever has the file."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field of `message`, in its order: an int, or the bytes of what has a length.

    MalformedError where the bytes are no message, when that place is reached.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire == BYTES:
            length, place = _varint(message, place)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if wire == EIGHT_BYTES else 4
        else:
            raise MalformedError(f"a field of an unknown kind at byte {place}")
        if length > len(message) - place:
            raise MalformedError(f"a field claims {length} bytes and {len(message) - place} are left")
        yield number, message[place : place + length]
        place += length


def varints(content: memoryview) -> Iterator[int]:
    """The numbers of a repeated field that is packed: one behind the other. MalformedError as in `fields`."""
    place = 0
    while place < len(content):
        value, place = _varint(content, place)
        yield value


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, seven bits a byte with the lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            raise MalformedError("it ends within a number")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise MalformedError("a number of more than 64 bits")
