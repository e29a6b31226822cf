"""Weights out of files from elsewhere: .safetensors and PyTorch's.

No code in a file is run. A file of a few bytes may claim tensors of terabytes, by a compressed archive or by strides of
zero; one that claims more than it holds is refused before anything of that size is made.
"""

import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gesso.errors import CheckpointError

WRAPPER = "state_dict"
"""Under this name training scripts keep the weights beside an optimizer and an epoch."""

# What torch says of a pickle that wants more than tensors: "GLOBAL posix.system was not an allowed global", "Trying to
# instantiate unsupported class x.Y", "Trying to call reduce for unrecognized function <built-in function eval>".
_WANTED = re.compile(
    r"GLOBAL (?P<a>\S+)|unsupported class (?P<b>\S+)|unrecognized function <(?:[\w-]+ )*?(?P<c>[\w.]+)(?: at \w+)?>"
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict from a .safetensors or a PyTorch file, its tensors on the CPU.

    CheckpointError where the file is not one, wants to run code, or claims more than it holds.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        weights = dict(load_file(path)) if path.suffix == ".safetensors" else _unpickled(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    if isinstance(weights, dict) and isinstance(weights.get(WRAPPER), dict):
        weights = weights[WRAPPER]
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise CheckpointError(f"{path}: not a state_dict, a plain dict of tensors")
    for name, tensor in weights.items():
        if fault := _fault(tensor):
            raise CheckpointError(f"{path}: not a file of weights: {name} {fault}")
    return {name: tensor.detach() for name, tensor in weights.items()}


def _unpickled(path: Path) -> object:
    """What a PyTorch file holds, if that is made of tensors and plain values."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                claimed = sum(entry.file_size for entry in archive.infolist())
            if claimed > path.stat().st_size:  # torch stores tensors as they are; only a trap is compressed
                raise CheckpointError(
                    f"{path}: not a file of weights that is safe to load: it has {path.stat().st_size} bytes and "
                    f"claims {claimed}"
                )
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises whatever the content leads to
        raise CheckpointError(f"{path}: not a file of weights that is safe to load: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and (match := _WANTED.search(text)):
        wanted = next(filter(None, match.groups())).rstrip(".,")
        return f"it wants to run {wanted}, and no code in a file is run; it must be a state_dict, of tensors alone"
    if isinstance(error, pickle.UnpicklingError):
        text = text.rsplit("WeightsUnpickler error: ", 1)[-1]  # what stands before it is advice for programmers
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def _fault(tensor: Tensor) -> str:
    """Why `tensor` is none that a network's weights are made of; empty where it is."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
        return "is not a plain tensor"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        shape = "×".join(map(str, tensor.shape))
        return f"claims to be {shape} and has {tensor.untyped_storage().nbytes()} bytes"
    return ""
