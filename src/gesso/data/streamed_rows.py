"""What the readers and writers of pictures by rows share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gesso.data.decoding import Array
from gesso.data.images import blaming

PIECE = 2**20
"""Pixels that are decoded at once, about, where the file leaves a choice."""
NOT_STREAMED = "save it as a TIFF with tiles, which is read piece by piece"


@dataclass(frozen=True)
class Shown:
    """How a picture is to be shown: its ICC profile, empty for none; pixels an inch in x and y, None where unknown."""

    profile: bytes = b""
    dpi: tuple[float, float] | None = None

    def with_channels(self, channels: int) -> "Shown":
        """The same for a picture of `channels`: without a profile of another colour space, such as that of inks."""
        fits = self.profile[16:20] == (b"RGB " if channels >= 3 else b"GRAY")
        return self if fits else Shown(b"", self.dpi)


class Rows(ABC):
    """An open picture that is read by rows, mostly forward.

    path           of the file, for messages
    height, width  of the picture in pixels
    dtype          np.uint8, or np.uint16 where the file has 16 bits a sample
    shown          its profile and resolution
    """

    def __init__(self, path: Path, height: int, width: int, dtype: np.dtype[Any], shown: Shown) -> None:
        self.path, self.height, self.width, self.dtype, self.shown = path, height, width, dtype, shown
        self._kept, self._top = np.empty((0, 0, 0), dtype), 0

    def read(self, top: int, bottom: int) -> Array:
        """Rows top … bottom − 1 as H×W×C, not to be written to. They are held until others are asked for, so that what
        overlaps is decoded once. BadImage for what cannot be read."""
        assert 0 <= top < bottom <= self.height
        end = self._top + len(self._kept)
        if not self._top <= top < end:
            self._kept, end = np.empty((0, 0, 0), self.dtype), top  # let go before more is asked for
            kept = self._kept
        else:
            kept = self._kept[top - self._top :]
        if bottom > end:
            with blaming(self.path):
                new = self._decode(end, bottom)
            kept = np.concatenate([kept, new]) if len(kept) else new
        self._kept, self._top = kept, top
        return kept[: bottom - top]

    @abstractmethod
    def _decode(self, top: int, bottom: int) -> Array:
        """Rows top … bottom − 1, H×W×C."""
