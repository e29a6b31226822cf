"""What it means to judge a model: its scores on a split beside baselines, a sheet to look at, a gallery to keep."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gesso.engine.judging.shard import WHOLE, Shard
from gesso.models.base import Model, Networks
from gesso.progress import Progress, silent

Row = dict[str, Any]
"""A line of the table: "direction" (may be empty), "method" (gesso or a baseline), and scores by name."""


class Judge(ABC):
    """A model and the images of one split that it is judged on.

    split      name of the split
    scored     every headline score it can give, and whether higher is better; empty where nothing can be scored
    preferred  the one that chooses the best checkpoint where the recipe names none
    """

    split: str
    scored: dict[str, bool]
    preferred: str | None

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    def rows(
        self,
        device: torch.device,
        networks: Networks | None = None,
        batch_size: int = 0,
        progress: Progress = silent,
        shard: Shard = WHOLE,
    ) -> list[Row]:
        """The table.

        networks    judged instead of the model's own, if given
        batch_size  images at once; 0: as many as their size allows. The scores do not depend on it beyond rounding.
        progress    is told (images done, in all) of those that this process scores
        shard       what this process scores; where there are several, all of them call this and get the same table
        """

    def headline(self, rows: list[Row]) -> dict[str, float]:
        """The model's own scores for curves, such as {"AtoB/L1": 0.12} or {"FID": 41.2}."""
        return {
            f"{row['direction']}/{name}" if row["direction"] else name: value
            for row in rows
            if row["method"] == OURS
            for name, value in row.items()
            if name not in ("direction", "method")
        }

    @abstractmethod
    def protocol(self) -> list[str]:
        """What is scored and how, in lines for people: data, preparation, the meaning of each score."""

    @abstractmethod
    def sheet(self, device: torch.device, images: int, networks: Networks | None = None) -> np.ndarray:
        """A picture of what the model does, H×W×3 uint8."""

    @abstractmethod
    def write_gallery(self, run: Path, device: torch.device) -> None:
        """Pictures for the report's lower part, in the run's `samples` folder."""

    def details(self) -> dict[str, Any]:
        """More than the table of the last `rows`, for metrics.json and the report: a confusion matrix, for example."""
        return {}


OURS = "gesso"


def columns(rows: list[Row]) -> list[str]:
    """Names of all scores in `rows`, in the order in which they first stand there."""
    return list(dict.fromkeys(name for row in rows for name in row if name not in ("direction", "method")))
