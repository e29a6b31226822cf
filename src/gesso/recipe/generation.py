"""What the recipes of all generators share: single images, and scores of made ones."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from gesso.errors import UsageError, flag
from gesso.recipe.common import Data, Evaluation, Kind, Recipe, channels, not_negative, share
from gesso.recipe.sides import sides

GenerationMetric = Literal["FID", "KID", "precision", "recall", "density", "coverage"]


@dataclass(frozen=True)
class ImageData(Data):
    """A folder of images, and how they become a batch."""

    half: Literal["whole", "left", "right"] = "whole"
    """Use one half of every image: the photos of a set of pairs."""
    image_size: int = 64
    """Side in pixels of the images that are made: 32, 64 or 128."""
    channels: int = 3
    """Channels of an image, 1 to 4."""
    preprocess: Literal["resize_and_crop", "shift_and_crop"] = "resize_and_crop"
    """resize_and_crop: shorter side to image_size, then the centre; shift_and_crop: the MSLS variant's."""
    crop: int = 256
    """shift_and_crop: side of the centre crop, before it is resized to image_size."""
    shift: float = 0.2
    """shift_and_crop: shift left or right at random, by at most this share of the width."""
    flip: bool = False
    """resize_and_crop: mirror images at random, left to right."""

    def checked(self) -> None:
        super().checked()
        channels({"--data.channels": self.channels})
        sides({"--data.crop": self.crop}, self)
        share({"--data.shift": self.shift})
        if self.image_size not in (32, 64, 128):
            raise UsageError(f"--data.image-size {self.image_size}: must be 32, 64 or 128")


MOST_OF_TRAINING = 10_000
"""Images to make and to compare with where the training split is scored and no number is asked for."""
MOST_SCORED = 10_000_000
"""Images that may be asked for: FID is mostly taken of 50,000, and scoring many more would never come to an end."""


@dataclass(frozen=True)
class GenerationEvaluation(Evaluation):
    """Scores of generated images during training."""

    metrics: tuple[GenerationMetric, ...] = ("FID", "KID")
    """Distances between made and real images, over the features of Inception."""
    images: int = 0
    """Images to make and to compare with at most; 0: as many as the split has, 10000 where it is the training's."""
    inception: str = ""
    """File of the Inception network; empty: the installed one (pip install 'gesso[fid]')."""


@dataclass(frozen=True, kw_only=True)
class GenerationRecipe(Recipe):
    """What the recipes of generators share."""

    kind: ClassVar[Kind] = "generator"
    smaller: ClassVar[str] = "--batch-size or --data.image-size"

    data: ImageData = field(default_factory=ImageData)
    evaluation: GenerationEvaluation = field(default_factory=GenerationEvaluation)

    def checked(self) -> Self:
        name, images = flag("evaluation.images"), self.evaluation.images
        not_negative({name: images})
        if images > MOST_SCORED:
            raise UsageError(f"{name} {images}: must be at most {MOST_SCORED}; FID is mostly taken of 50000")
        return super().checked()
