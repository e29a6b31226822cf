"""ImageNet's ground truth for the validation images, and the names of its classes, from whichever file has them.

The authors' development kit counts classes by an id of its own, and tells what each id means in a MATLAB file only.
So the little of that format that it uses is read here (MAT-file 5, "MAT-File Format", MathWorks), without scipy.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesso.data.prepare.tree import open_tree
from gesso.errors import DataError

TRUTH, META = "data/ILSVRC2012_validation_ground_truth.txt", "data/meta.mat"
_LARGEST = 2**26
_SYNSET = re.compile(r"n\d{8}")
_COMPRESSED, _MATRIX = 15, 14
_STRUCT, _CHAR, _CELL = 2, 4, 1
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q", 16: "B"}


@dataclass(frozen=True)
class Truth:
    """synsets: the class of each validation image by its name without suffix. names: of each synset, if known."""

    synsets: Mapping[str, str]
    names: Mapping[str, str]


def read_truth(path: Path, images: Sequence[str], classes: Sequence[str]) -> Truth:
    """The classes of `images` (names without suffix) from the development kit, or from a text file with

        ILSVRC2012_val_00000001 n01751748     a name (with or without suffix), blanks or a comma, and a synset
        ILSVRC2012_val_00000001.JPEG 65       or the number of the class among `classes`, counted from 0
        n01751748                             or only a synset, one line for each image in the order of their names

    DataError where a line is none of these, or an image or a class is missing.
    """
    if path.name.endswith((".tar.gz", ".tgz", ".tar")) or path.is_dir():
        return _devkit(path, images)
    lines = [line.strip() for line in _text(path).splitlines()]
    if lines and lines[0].replace(" ", "").lower().startswith("imageid,"):
        del lines[0]  # the heading of Kaggle's table
    while lines and not lines[-1]:
        lines.pop()
    if all(_SYNSET.fullmatch(line) for line in lines):
        return Truth(_in_order(path, images, lines), {})
    synsets: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        parts = re.split(r"[\s,]+", line)
        if len(parts) < 2 or not (_SYNSET.fullmatch(parts[1]) or re.fullmatch("[0-9]{1,9}", parts[1])):
            raise DataError(
                f"{path}, line {number}: not the name of an image and its class, such as ILSVRC2012_val_00000001 "
                "n01751748; the ids of the development kit need the whole ILSVRC2012_devkit_t12.tar.gz"
            )
        class_ = parts[1]
        if not class_.startswith("n"):
            if int(class_) >= len(classes):
                raise DataError(f"{path}, line {number}: class {class_} of {len(classes)}, counted from 0")
            class_ = classes[int(class_)]
        synsets[parts[0].rpartition("/")[2].partition(".")[0]] = class_
    if missing := next((image for image in images if image not in synsets), None):
        raise DataError(f"{path}: no class for {missing}")
    return Truth(synsets, {})


def read_names(path: Path) -> dict[str, str]:
    """The names of synsets from lines like `n01440764 tench, Tinca tinca`."""
    names: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        synset, _, name = line.strip().replace("\t", " ").partition(" ")
        if line.strip() and not synset:
            raise DataError(f"{path}, line {number}: not a class and its name, such as n01440764 tench")
        if synset:
            names[synset] = name.strip()
    return names


def _devkit(path: Path, images: Sequence[str]) -> Truth:
    with open_tree(path, largest=_LARGEST) as tree:
        files = {part: next((name for name in tree.names() if name.endswith(part)), "") for part in (TRUTH, META)}
        if absent := next((part for part, name in files.items() if not name), ""):
            raise DataError(
                f"{path}: no {absent} in it; it should be ILSVRC2012_devkit_t12.tar.gz, or a list of synsets"
            )
        truth, meta = tree.read(files[TRUTH]), tree.read(files[META])
    try:
        synset_of: dict[int, str] = {}
        names: dict[str, str] = {}
        for entry in read_mat(meta)["synsets"]:
            synset_of[int(entry["ILSVRC2012_ID"][0])] = entry["WNID"]
            names[entry["WNID"]] = entry["words"]
        return Truth(_in_order(path, images, [synset_of[int(line)] for line in truth.split()]), names)
    except (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error, RecursionError):
        raise DataError(f"{path}: {META} or {TRUTH} is damaged; download it again") from None


def _in_order(path: Path, images: Sequence[str], synsets: Sequence[str]) -> dict[str, str]:
    if len(synsets) != len(images):
        raise DataError(f"{path}: classes for {len(synsets)} images, but there are {len(images)} validation images")
    return dict(zip(sorted(images), synsets, strict=True))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: too large for a list of classes")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise DataError(f"{path}: not a text file") from None


def read_mat(data: bytes) -> dict[str, Any]:
    """The variables of a MAT-file 5: numbers as tuples, text as str, structs as lists of dicts, cells as lists.

    On damaged bytes it raises ValueError, KeyError, struct.error or zlib.error.
    """
    order = {b"IM": "<", b"MI": ">"}[data[126:128]]
    return {name: value for kind, body in _elements(data[128:], order) for name, value in _variables(kind, body, order)}


def _variables(kind: int, body: bytes, order: str) -> Iterator[tuple[str, Any]]:
    if kind == _COMPRESSED:
        inflated = zlib.decompressobj().decompress(body, _LARGEST)
        for inner, content in _elements(inflated, order):
            if inner == _MATRIX:
                yield _matrix(content, order)
    elif kind == _MATRIX:
        yield _matrix(body, order)


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of the data elements one after the other: §1, "Data Element Format"."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # the small format: size and type share a word, and four bytes follow
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + size if kind == _COMPRESSED else start + size + -size % 8
        if start + size > len(data):
            raise ValueError("an element ends beyond the file")
        yield kind, data[start : start + size]
        at = end


def _matrix(data: bytes, order: str) -> tuple[str, Any]:
    """(name, value) of an array: its flags, dimensions and name come first."""
    parts = list(_elements(data, order))
    if not parts:
        return "", ()
    class_ = struct.unpack_from(order + "I", parts[0][1])[0] & 0xFF
    name = parts[2][1].decode("latin-1")
    rest = parts[3:]
    if class_ == _STRUCT:
        (width,) = struct.unpack(order + "i", rest[0][1])
        titles = [rest[1][1][i : i + width].split(b"\0")[0].decode() for i in range(0, len(rest[1][1]), max(1, width))]
        values = [_matrix(body, order)[1] for _, body in rest[2:]]
        return name, [dict(zip(titles, row, strict=True)) for row in _rows(values, len(titles))]
    if class_ == _CELL:
        return name, [_matrix(body, order)[1] for _, body in rest]
    kind, body = rest[0] if rest else (2, b"")
    if class_ == _CHAR:
        return name, body.decode({4: "utf-16-le" if order == "<" else "utf-16-be"}.get(kind, "utf-8"))
    letter = _NUMBERS[kind]
    return name, struct.unpack(f"{order}{len(body) // struct.calcsize(letter)}{letter}", body)


def _rows(values: list[Any], width: int) -> Iterator[list[Any]]:
    if not width or len(values) % width:
        raise ValueError("a struct lacks fields")
    return (values[i : i + width] for i in range(0, len(values), width))
