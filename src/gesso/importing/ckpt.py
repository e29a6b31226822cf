"""MindSpore's .ckpt, read without MindSpore.

It is a protobuf message (mindspore/ccsrc/utils/checkpoint.proto):

    Checkpoint   1: Value, repeated
    Value        1: tag, the parameter's name    2: TensorProto
    TensorProto  1: dims, repeated int64         2: tensor_type, such as "Float32"      3: tensor_content, bytes

A large parameter comes as several Values of one tag, each with the dims of the whole and the next part of its bytes.

A tensor is made of bytes that are there: what its dims claim is compared with them first.
"""

import math
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from gesso.engine.weights import check_file
from gesso.errors import CheckpointError
from gesso.protobuf import MalformedError, fields, varints

MOST_DIMS = 8
TYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
}
"""By the name of the type in lower case; newer files write mindspore.float32 for Float32."""


def read_ckpt(path: Path) -> dict[str, Tensor]:
    """The parameters in the file at `path` by name. CheckpointError where it is no such file, damaged or truncated."""
    check_file(path)
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        parts: dict[str, tuple[tuple[int, ...], str, list[memoryview]]] = {}
        for number, value in fields(content):
            if number != 1 or isinstance(value, int):
                continue
            tag, dims, kind, data = _value(value)
            shape, type_, pieces = parts.setdefault(tag, (dims, kind, []))
            if (shape, type_) != (dims, kind):
                raise MalformedError(f"{tag} comes twice, in other shapes")
            pieces.append(data)
        if not parts:
            raise MalformedError("there is no parameter in it")
        return {tag: _tensor(tag, *part) for tag, part in parts.items()}
    except MalformedError as error:
        raise CheckpointError(f"{path}: not a MindSpore checkpoint, or damaged: {error}") from None


def _value(content: memoryview) -> tuple[str, tuple[int, ...], str, memoryview]:
    """Name, shape, type and bytes of one Value."""
    tag, tensor = None, None
    for number, value in fields(content):
        if number == 1 and not isinstance(value, int):
            tag = _text(value)
        elif number == 2 and not isinstance(value, int):
            tensor = value
    if tag is None or tensor is None:
        raise MalformedError(f"{tag or 'a parameter'} has no {'tensor' if tag else 'name'}")
    dims: list[int] = []
    kind, data = "", memoryview(b"")
    for number, value in fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else islice(varints(value), MOST_DIMS + 1)
        elif number == 2 and not isinstance(value, int):
            kind = _text(value)
        elif number == 3 and not isinstance(value, int):
            data = value
        if len(dims) > MOST_DIMS:
            raise MalformedError(f"{tag} has more than {MOST_DIMS} dimensions")
    return tag, tuple(dims), kind, data


def _tensor(tag: str, shape: tuple[int, ...], kind: str, pieces: list[memoryview]) -> Tensor:
    type_ = TYPES.get(kind.lower().removeprefix("mindspore.").removesuffix("_"))
    if type_ is None:
        raise MalformedError(f"{tag} is of type {kind[:40]!r}")
    there = sum(map(len, pieces))
    if math.prod(shape) * type_.itemsize != there:
        raise MalformedError(f"{tag} claims to be {'×'.join(map(str, shape))} of {kind} and has {there} bytes")
    if not there:
        return torch.empty(shape, dtype=type_)
    return torch.frombuffer(bytearray(b"".join(pieces)), dtype=type_).reshape(shape)


def _text(content: memoryview) -> str:
    try:
        return bytes(content[:1000]).decode()
    except UnicodeDecodeError:
        raise MalformedError("a name that is not text") from None
