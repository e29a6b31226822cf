"""Weights out of files from elsewhere: .safetensors and PyTorch's.

No code in a file is run. A file of a few bytes may claim tensors of terabytes, by a compressed archive or by strides of
zero; one that claims more than it holds is refused before anything of that size is made.
"""

import pickle
import re
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from gesso.errors import CheckpointError, out_of_memory

WRAPPER = "state_dict"
"""Under this name training scripts keep the weights beside an optimizer and an epoch."""

# What torch says of a pickle that wants more than tensors: "GLOBAL posix.system was not an allowed global", "Trying to
# instantiate unsupported class x.Y", "Trying to call reduce for unrecognized function <built-in function eval>".
_WANTED = re.compile(
    r"GLOBAL (?P<a>\S+)|unsupported class (?P<b>\S+)|unrecognized function <(?:[\w-]+ )*?(?P<c>[\w.]+)(?: at \w+)?>"
)

_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What a file begins with that torch wrote before it made archives."""
_BROKEN = "cut off or damaged; get it anew"


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict from a .safetensors or a PyTorch file, its tensors on the CPU.

    CheckpointError where the file is not one, wants to run code, or claims more than it holds.
    """
    check_file(path)
    try:
        weights = load_tensors(path) if path.suffix == ".safetensors" else _unpickled(path)
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


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors file. SafetensorError where it is none; OSError where it cannot be read."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # such a path safetensors does not open
        return dict(load(path.read_bytes()))
    return dict(load_file(path))


def check_file(path: Path) -> None:
    """CheckpointError unless there is a file at `path`, and no pipe or device, which may never end."""
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder; name a file in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: {'not a regular file' if path.exists() else 'there is no such file'}")


def _unpickled(path: Path) -> object:
    """What a PyTorch file holds, if that is made of tensors and plain values."""
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    zipped = start.startswith(b"PK\x03\x04")
    if zipped:
        _check_archive(path)
    elif not start.startswith(b"\x80"):  # as every pickle since protocol 2
        raise CheckpointError(f"{path}: not a PyTorch file{'' if start else ', it is empty'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's, about what it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the content leads to
        reason = _reason(error, zipped=zipped, magic=start == _MAGIC)
        raise CheckpointError(f"{path}: not a file of weights that is safe to load: {reason}") from None


def _check_archive(path: Path) -> None:
    """CheckpointError unless the archive at `path` is whole, holds all that it claims, and is as torch writes it."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            claimed = sum(entry.file_size for entry in entries)
            checked = any(entry.CRC for entry in entries)  # torch can leave the sums out, and then all of them are 0
            fault = archive.testzip() if claimed <= size and checked else None
    except Exception:  # zipfile raises whatever the damage leads to
        raise CheckpointError(f"{path}: {_BROKEN}") from None
    if claimed > size:  # torch stores tensors as they are; only a trap is compressed
        raise CheckpointError(
            f"{path}: not a file of weights that is safe to load: it has {size} bytes and claims {claimed}"
        )
    if fault:
        raise CheckpointError(f"{path}: damaged, {fault} in it is not what was written; get it anew")
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        raise CheckpointError(f"{path}: not a PyTorch file, but an archive of something else")


def _reason(error: Exception, *, zipped: bool, magic: bool) -> str:
    """Why a file that torch refused is none; zipped, magic: whether it begins as an archive, or as torch once wrote."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and (match := _WANTED.search(text)):
        wanted = next(filter(None, match.groups())).rstrip(".,")
        return f"it wants to run {wanted}, and no code in a file is run; it must be a state_dict, of tensors alone"
    if out_of_memory(error):
        return "it wants more memory than there is"
    if magic:
        return _BROKEN
    kind = "it holds more than a state_dict" if zipped else "it is a pickle, but not as torch.save writes them"
    return f"{kind}; write it anew with torch.save(network.state_dict(), FILE)"


def _fault(tensor: Tensor) -> str:
    """Why `tensor` is none that a network's weights are made of; empty where it is."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
        return "is not a plain tensor"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        shape = "×".join(map(str, tensor.shape))
        return f"claims to be {shape} and has {tensor.untyped_storage().nbytes()} bytes"
    return ""
