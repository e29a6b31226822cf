"""What the recipes of all classifiers share: images with classes, and tensors of single steps."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import tyro

from gesso.errors import UsageError, flag
from gesso.recipe.common import Data, Kind, Recipe, channels, not_negative
from gesso.recipe.sides import sides


@dataclass(frozen=True)
class ClassData(Data):
    """A folder a class or tar shards, and how their images become a batch."""

    train_split: str = "train"
    """Name of the split to train on: a folder of class folders, or of shards."""
    evaluate_split: str = "val"
    """Name of the split that is scored."""
    synthetic: bool = False
    """Random images and classes instead of files, to measure speed alone."""
    classes: int = 0
    """Classes of synthetic images; elsewhere the data set says how many there are."""
    names: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Names of the classes, in the order of the network's outputs; a run writes them down."""
    image_size: int = 224
    """Side in pixels of what the network sees."""
    channels: int = 3
    """Channels of an image, 1 to 4."""
    preprocess: Literal["area_crop", "pad_crop"] = "area_crop"
    """area_crop: a random part of the image, resized; pad_crop: a random square of the image with a border of 0."""
    area: tuple[float, float] = (0.6, 1.0)
    """area_crop: least and largest share of the image's area."""
    aspect: tuple[float, float] = (0.75, 1.33)
    """area_crop: least and largest width over height."""
    pad: int = 4
    """pad_crop: border in pixels."""
    resize: int = 224
    """Scoring: the shorter side is resized to this before the centre is cropped; 256 is common too."""
    flip: bool = True
    """Mirror images at random, left to right."""
    normalization: Literal["half", "imagenet", "cifar"] = "imagenet"
    """What the network sees: imagenet, cifar: less that set's mean, over its deviation; half: values in [-1, 1]."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each of the network's outputs; numbers where the images are synthetic."""
        return self.names or tuple(str(i) for i in range(self.classes))

    def checked(self) -> None:
        super().checked()
        channels({"--data.channels": self.channels})
        sides({"--data.image-size": self.image_size, flag("data.resize"): self.resize}, self)
        not_negative({"--data.pad": self.pad, "--data.classes": self.classes})
        if self.resize < self.image_size:
            raise UsageError(f"{flag('data.resize')} {self.resize}: smaller than --data.image-size {self.image_size}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UsageError(f"--data.area {self.area[0]:g} {self.area[1]:g}: must rise and lie in (0, 1]")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise UsageError(f"--data.aspect {self.aspect[0]:g} {self.aspect[1]:g}: must rise and be more than 0")
        if self.synthetic and self.classes < 2:
            raise UsageError("--data.synthetic: say how many classes with --data.classes")
        if self.normalization != "half" and self.channels != 3:
            raise UsageError(
                f"--data.channels {self.channels}: the mean of {self.normalization} has 3; "
                "use --data.normalization half"
            )


@dataclass(frozen=True)
class Dumping:
    """Tensors written for comparing two machines with `gesso compare-dumps`."""

    steps: tuple[int, ...] = ()
    """Steps, counted from 0, in which named layers' outputs, gradients and weights before the step are written down."""
    layers: tuple[str, ...] = ()
    """Modules by name, such as features.conv0; empty: every layer that has weights of its own."""


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """What the recipes of classifiers share."""

    kind: ClassVar[Kind] = "classifier"
    smaller: ClassVar[str] = "--batch-size or --data.image-size"

    data: ClassData = field(default_factory=ClassData)
    dump: Dumping = field(default_factory=Dumping)

    def checked(self) -> Self:
        if any(step < 0 for step in self.dump.steps):
            raise UsageError("--dump.steps: steps are counted from 0")
        return super().checked()
