"""The label→photo score of the pix2pix paper (the FCN-score): does a segmenter see in a photo what it was drawn from?

The paper's own FCN-8s is a Caffe network that is not to be had for most machines, and scores of different segmenters
cannot be compared. So the network is the user's, as one file that needs no code of its own: TorchScript or ONNX. What
it wants to be fed is written in the file itself (`gesso.json` among a TorchScript's extra files, `gesso` among an ONNX
model's metadata) or in a JSON beside it, NAME.json, which comes first:

    {"size": [512, 1024], "scale": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "RGB"}

The class ids that it gives go into `cityscapes.count`, in the convention of 19 classes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.errors import UsageError, flag
from gesso.metrics.paired import resized
from gesso.restoring import restore
from gesso.runtime import onnxruntime

CLASSES = 19
KEY = "gesso"
Run = Callable[[Tensor], Any]
"""1×3×H×W float32 to the network's own output."""


@dataclass(frozen=True)
class Feed:
    """What a segmenter is fed: 1×3×H×W float32, (photo · scale - mean) / std, the photo's channels in [0, 1].

    size: height and width; empty for those of the labels, as the paper does. order: RGB, or BGR as Caffe has it;
    mean and std are in this order.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    size: tuple[int, ...] = ()
    order: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise TypeError("mean and std are three numbers each, those of std not 0")
        if self.size and (len(self.size) != 2 or min(self.size) < 1):
            raise TypeError("size is a height and a width in pixels")

    def __call__(self, photos: Tensor, size: tuple[int, int]) -> Tensor:
        """N×3×H×W in [-1, 1] as the network wants them; bilinear, with antialiasing where it shrinks."""
        height, width = self.size or size
        fed = resized(photos.float(), (height, width)).clamp(-1, 1).add(1).mul(self.scale / 2)
        fed = fed.flip(1) if self.order == "BGR" else fed
        mean, std = (torch.tensor(values, device=fed.device).reshape(3, 1, 1) for values in (self.mean, self.std))
        return (fed - mean) / std


class Segmenter:
    """A network that names the class of each pixel of a photo. Made by `load_segmenter`."""

    def __init__(self, path: Path, run: Run, feed: Feed) -> None:
        self.feed = feed
        self._path, self._run = path, run

    @torch.inference_mode()
    def __call__(self, photos: Tensor, size: tuple[int, int]) -> Tensor:
        """Train ids N×H×W uint8 at the labels' `size` (H, W), of photos N×3×h×w in [-1, 1].

        Scores are enlarged bilinearly before the best is taken, ids by the nearest pixel. UsageError where the network
        fails or gives something other than 19 classes.
        """
        return torch.cat([self._classes(photo, size) for photo in torch.split(self.feed(photos, size), 1)])

    def _classes(self, photo: Tensor, size: tuple[int, int]) -> Tensor:
        try:
            given = self._run(photo)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a network that is not ours may raise
            shape = "×".join(map(str, photo.shape))
            raise _wrong(self._path, f"fails on an input of {shape} ({_reason(error)}); state its size") from None
        if isinstance(given, dict):
            given = given.get("out", next(iter(given.values()), None))
        elif isinstance(given, list | tuple):
            given = given[0] if given else None
        if not isinstance(given, Tensor):
            raise _wrong(self._path, f"gives no tensor but {type(given).__name__}")
        given = given.to(photo.device)
        if given.is_floating_point() and given.ndim == 4 and given.shape[:2] == (1, CLASSES):
            given = given if tuple(given.shape[2:]) == size else F.interpolate(given.float(), size, mode="bilinear")
            return given.argmax(1).to(torch.uint8)
        if given.is_floating_point() or given.ndim != 3 or len(given) != 1:
            shape = "×".join(map(str, given.shape))
            raise _wrong(self._path, f"gives {shape} {given.dtype}; needed are scores 1×{CLASSES}×H×W or ids 1×H×W")
        if not 0 <= int(given.min()) <= int(given.max()) < CLASSES:
            raise _wrong(self._path, f"gives class {int(given.max())}; needed are train ids 0 to {CLASSES - 1}")
        return F.interpolate(given[None].float(), size, mode="nearest-exact")[0].to(torch.uint8)


def load_segmenter(path: Path, device: torch.device) -> Segmenter:
    """The segmenter in a TorchScript (.pt, .pth, .ts) or ONNX (.onnx) file.

    TorchScript runs on `device`, ONNX on the processor. UsageError, in one line, where the file is missing, damaged or
    of another kind, does not say what to feed it, or onnxruntime is needed and not installed.
    """
    path = path.expanduser()
    if not path.is_file():
        raise _wrong(path, "no such file; name a TorchScript or ONNX segmenter of Cityscapes' 19 classes")
    run, told = _onnx(path) if path.suffix.lower() == ".onnx" else _torchscript(path, device)
    return Segmenter(path, run, _feed(path, told))


def _torchscript(path: Path, device: torch.device) -> tuple[Run, str]:
    told = {f"{KEY}.json": ""}
    try:
        network = torch.jit.load(path, map_location=device, _extra_files=told)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise _wrong(path, f"no TorchScript file, or a damaged one ({_reason(error)})") from None
    text: str | bytes = told[f"{KEY}.json"]
    return network.eval(), text.decode(errors="replace") if isinstance(text, bytes) else text


def _onnx(path: Path) -> tuple[Run, str]:
    try:
        runtime = onnxruntime()
    except ImportError:
        raise _wrong(path, "an ONNX file needs onnxruntime; install it with `pip install 'gesso[export]'`") from None
    try:
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions have no common base
        raise _wrong(path, f"no ONNX file, or a damaged one ({_reason(error)})") from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise _wrong(path, f"has {len(inputs)} inputs; needed is one, the photo")

    def run(photo: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {inputs[0].name: photo.cpu().numpy()})[0])

    return run, session.get_modelmeta().custom_metadata_map.get(KEY, "")


def _feed(path: Path, told: str) -> Feed:
    beside = path.with_suffix(".json")
    source = path
    try:
        if beside.is_file():
            source, told = beside, beside.read_text(encoding="utf-8")
        if told:
            feed = restore(Feed, json.loads(told))
            assert isinstance(feed, Feed)
            return feed
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _wrong(source, f"does not say what to feed the segmenter ({_reason(error)}); {_EXAMPLE}") from None
    raise _wrong(path, f"nothing says what to feed it; write {beside.name} beside it, {_EXAMPLE}")


_EXAMPLE = 'like {"size": [512, 1024], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'


def _wrong(path: Path, reason: str) -> UsageError:
    return UsageError(f"{flag('evaluation.segmenter')} {path}: {reason}")


def _reason(error: Exception) -> str:
    """The first line of what a library says, cut to a length for people."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
