"""What an exported model says of itself, and the ONNX file that carries it.

Whoever writes such a file and whoever runs it share this module, so it needs nothing but the standard library.

The file is sealed: its last field is the SHA-256 of all bytes before it. So a file that was cut off, damaged or edited
is told from a whole one before a runtime parses it. The seal keeps accidents out, not forgers; against those stands
that nothing in the file may name another file (`refuse_external_data`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from gesso import protobuf
from gesso.errors import CheckpointError
from gesso.restoring import restore

PREFIX = "gesso."
"""Of every key of ours in a file's metadata."""
SEAL = b"gesso.sha256"
LARGEST = 2**31 - 1
"""Bytes of the largest file: what protobuf can hold."""
DEEPEST = 32
"""Graphs inside graphs that are looked into; a model of gesso's has one."""
IMAGE, NOISE = "image", "z"
"""Names of what a model takes: a picture, or a latent vector."""
LOGITS, PROBABILITIES = "logits", "probabilities"
MADE = "made"
"""Name of what a translator or a generator gives: a picture."""


@dataclass(frozen=True)
class Exported:
    """One exported network. It takes `image`, N×channels_in×H×W, or `z`, N×latent, and gives `made`,
    N×channels_out×H×W, or `logits` and `probabilities`, N×classes. Pictures are float32 in [-1, 1], or uint8 where
    `uint8` says so; the network pads, crops and normalizes by itself.

    name        as the user calls it
    kind        what it does; model, recipe: what it is and how it was trained
    direction   of a translator, AtoB or BtoA; empty for others
    precision   arithmetic inside; what goes in and comes out does not change with it
    size        side in pixels of the squares that it was trained on, or that it makes
    resize      of a classifier: the shorter side is resized to this, then the middle `size` is taken
    classes     of a classifier: their names, in the order of the outputs
    together    False where a picture's result depends on the others in its batch: batch norm by the batch's statistics
    checkpoint  name of the checkpoint, the number of images seen; averaged: whether the weights are averaged ones
    digest      SHA-256 of the checkpoint's manifest, hexadecimal
    licence     of the weights, as the user gave it
    gesso       version that exported it
    """

    name: str
    kind: Literal["translator", "generator", "classifier"]
    model: str
    recipe: str
    direction: str
    precision: str
    uint8: bool
    channels_in: int
    channels_out: int
    size: int
    resize: int
    latent: int
    classes: tuple[str, ...]
    together: bool
    checkpoint: str
    averaged: bool
    digest: str
    licence: str
    gesso: str

    def texts(self) -> dict[str, str]:
        """As metadata: texts as they are, other values as JSON."""
        return {
            PREFIX + name: value if isinstance(value, str) else json.dumps(value)
            for name, value in asdict(self).items()
        }

    @staticmethod
    def of(texts: Mapping[str, str], path: Path) -> "Exported":
        """What `texts` gave. CheckpointError, naming the file at `path`, where it is no metadata of ours."""
        try:
            values = {}
            for field in fields(Exported):
                text = texts[PREFIX + field.name]
                values[field.name] = text if field.type in (str, "str") or field.name == "kind" else json.loads(text)
            found: Exported = restore(Exported, values)
            if min(value for value in values.values() if isinstance(value, int)) < 0:
                raise ValueError
        except (KeyError, ValueError, TypeError, RecursionError):
            raise CheckpointError(f"{path}: {NOT_OURS}") from None
        return found


NOT_OURS = "not a model that this gesso exported; write one with gesso export RUN --format onnx"


def sealed(content: bytes) -> bytes:
    """The ONNX file `content` with its seal, one more entry of the model's metadata (ModelProto.metadata_props)."""
    return content + _seal(content)


def _seal(content: bytes) -> bytes:
    value = hashlib.sha256(content).hexdigest().encode()
    entry = b"\x0a" + bytes([len(SEAL)]) + SEAL + b"\x12" + bytes([len(value)]) + value  # key = 1, value = 2
    return b"\x72" + bytes([len(entry)]) + entry  # metadata_props = 14


def read_sealed(path: Path) -> bytes:
    """The bytes of the ONNX file at `path`. CheckpointError where it is not whole, not ours or names other files."""
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    if path.stat().st_size > LARGEST:
        raise CheckpointError(f"{path}: larger than 2 GB, which no ONNX file in one piece is")
    content = path.read_bytes()
    length = len(_seal(b""))
    body, seal = content[:-length], content[-length:]
    if SEAL not in seal:
        raise CheckpointError(f"{path}: cut off, or {NOT_OURS}")
    if seal != _seal(body):
        raise CheckpointError(f"{path}: damaged or edited since it was exported; export it again")
    try:
        refuse_external_data(memoryview(body), path)
    except protobuf.MalformedError as error:
        raise CheckpointError(f"{path}: damaged, it is not in ONNX's format: {error}") from None
    return content


# Where a tensor can be in an ONNX file (onnx.proto): message, number of the field, message that it holds.
_HOLDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_EXTERNAL, _LOCATION = 13, 14
"""Fields of a tensor that lies in another file: where, and that it does."""


def refuse_external_data(data: memoryview, path: Path, kind: str = "Model", depth: int = 0) -> None:
    """CheckpointError where any tensor of the protobuf message `data`, a `kind` of ONNX's, lies in another file, which
    could be any file of this machine. MalformedError where the bytes are no such message."""
    if depth > 3 * DEEPEST:  # a graph inside another lies three messages deeper
        raise CheckpointError(f"{path}: graphs inside graphs, {DEEPEST} deep; no model that gesso exports has them")
    for number, value in protobuf.fields(data):
        if kind == "Tensor":
            if number == _EXTERNAL or (number == _LOCATION and value != 0):
                raise CheckpointError(f"{path}: keeps weights in another file; use a file that holds all of them")
        elif (inner := _HOLDS[kind].get(number)) is not None:
            if isinstance(value, int):
                raise protobuf.MalformedError("a number where a message must be")
            refuse_external_data(value, path, inner, depth + 1)
