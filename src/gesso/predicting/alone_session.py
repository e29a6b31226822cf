"""An exported model in onnxruntime: opened without trusting the file, and run."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gesso.errors import CheckpointError, UsageError
from gesso.exported import IMAGE, LOGITS, MADE, NOISE, PROBABILITIES, Exported, read_sealed
from gesso.runtime import onnxruntime

Array = npt.NDArray[Any]
COMMANDS = {"translator": "translate", "generator": "sample", "classifier": "classify"}


class Session:
    """The model in the file at `path`, which must be a `kind`. `about` is what it says of itself.

    UsageError where it is of another kind or onnxruntime is not installed; CheckpointError where the file is damaged,
    not of gesso, or onnxruntime cannot load it.
    """

    def __init__(self, path: Path, kind: Literal["translator", "generator", "classifier"], provider: str) -> None:
        content = read_sealed(path)
        try:
            runtime = onnxruntime()
        except ImportError as error:
            raise UsageError(f"{path}: needs onnxruntime: pip install onnxruntime ({error})") from None
        there = runtime.get_available_providers()
        if provider not in there:
            raise UsageError(f"--provider {provider}: this onnxruntime has {', '.join(there)}")
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what it finds wrong is raised, and becomes one line
        try:
            # Without fallback, which tells of itself on standard output and computes elsewhere than was asked.
            self._session = runtime.InferenceSession(content, options, providers=[provider], enable_fallback=0)
            texts = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # its classes of errors have nothing but Exception in common
            raise CheckpointError(f"{path}: onnxruntime cannot load it: {_first_line(error)}") from None
        self.path, self.about = path, Exported.of(texts, path)
        if self.about.kind != kind:
            raise UsageError(
                f"{path}: a {self.about.model}, which is used with `gesso {COMMANDS[self.about.kind]}`, not with "
                f"`gesso {COMMANDS[kind]}`"
            )
        self._input, self._output = {
            "translator": (IMAGE, MADE),
            "generator": (NOISE, MADE),
            "classifier": (IMAGE, PROBABILITIES),
        }[kind]
        names = {each.name for each in self._session.get_outputs()} - {LOGITS}
        if [each.name for each in self._session.get_inputs()] != [self._input] or names != {self._output}:
            raise CheckpointError(f"{path}: its inputs and outputs are not those of a {kind}")

    def run(self, inputs: Array, shape: tuple[int, ...]) -> Array:
        """What the model makes of `inputs`. ValueError, its text for people, where onnxruntime fails or gives another
        `shape`."""
        try:
            made: Array = self._session.run([self._output], {self._input: inputs})[0]
        except Exception as error:  # as above
            raise ValueError(f"onnxruntime cannot run it: {_first_line(error)}") from None
        if made.shape != shape:
            raise ValueError(f"the model gives the shape {made.shape} and not {shape}")
        return made


def number(samples: Array) -> npt.NDArray[np.float32]:
    """uint8 or uint16 to float32 in [-1, 1], as `data.batches.normalize`."""
    return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max / 2) - np.float32(1)


def bytes_of(samples: Array) -> npt.NDArray[np.uint8]:
    """uint8 as it is; uint16 rounded to 8 bits, 65535 to 255."""
    return samples if samples.dtype == np.uint8 else np.round(samples / 257).astype(np.uint8)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
