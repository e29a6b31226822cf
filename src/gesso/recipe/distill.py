"""The recipes of distillation: a small translator that learns from a large one of the same kind as well as from data.

One set of weights covers what is known as two methods: the losses of the model's own paper, an output loss and a
feature loss, each with a weight that may be 0. `recipes/distill.py` has the methods.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

import tyro

from gesso.errors import UsageError
from gesso.recipe.common import as_flag, as_value, not_negative
from gesso.recipe.cyclegan import CycleGANRecipe
from gesso.recipe.pix2pix import Pix2PixRecipe
from gesso.recipe.translation import Direction, Discriminator, Generator, TranslationData, TranslationRecipe


@dataclass(frozen=True)
class Distillation:
    """What a student learns from its teacher, beside the losses of its model."""

    lambda_output: float = 0.0
    """Weight of the L1 between the student's pictures and the teacher's; 0 leaves it out."""
    lambda_features: float = 0.0
    """Weight of the squared error of four inner layers, the student's through 1x1 convolutions; 0 leaves it out."""
    discriminator: Literal["teacher", "new"] = "teacher"
    """Weights with which the discriminators begin: the teacher's, or random ones."""


@dataclass(frozen=True)
class Taught:
    """What a run writes down of its teacher as it begins. Nobody types it.

    With it a recipe says by itself which networks it has, and whether the student fits its teacher.
    """

    digest: str = ""
    """SHA-256 of the teacher's weights, hexadecimal; empty while no teacher was read."""
    direction: Direction = "AtoB"
    preprocess: str = TranslationData.preprocess
    load_size: int = TranslationData.load_size
    crop_size: int = TranslationData.crop_size
    channels_a: int = TranslationData.channels_a
    channels_b: int = TranslationData.channels_b
    generator: Generator = field(default_factory=Generator)
    discriminator: Discriminator = field(default_factory=Discriminator)


OWN = ("ngf", "separable", "dropout", "init", "init_gain", "test_mode")
"""Fields of a generator in which a student may differ from its teacher."""


@dataclass(frozen=True, kw_only=True)
class DistillRecipe(TranslationRecipe):
    """What the recipes of students share."""

    teachers: ClassVar[tuple[str, ...]]
    """Names of the models that can teach this one."""
    smaller: ClassVar[str] = "--batch-size or --generator.ngf"

    teacher: str = ""
    """The run, or one of its checkpoints, that teaches; what the command does not say is as the teacher was trained."""
    compare: str = ""
    """A run of the same small network, trained without a teacher, for the table at the end; empty: none."""
    distill: Distillation = field(default_factory=Distillation)
    taught: Annotated[Taught, tyro.conf.Suppress] = field(default_factory=Taught)

    def checked(self) -> Self:
        distill = self.distill
        not_negative(
            {
                "--distill.lambda-output": distill.lambda_output,
                "--distill.lambda-features": distill.lambda_features,
            }
        )
        if not (distill.lambda_output or distill.lambda_features):
            raise UsageError(
                "--distill.lambda-output 0 --distill.lambda-features 0: nothing would be learnt from the teacher; "
                "give one of them a weight"
            )
        if self.compare and not self.evaluation.wanted:
            raise UsageError(f"--compare {self.compare}: with --evaluation.split none there is no table to stand in")
        if self.taught.digest:
            self._check_fit()
        return super().checked()

    def _check_fit(self) -> None:
        """UsageError names the first field that must be as the teacher's, and is not."""
        taught = self.taught
        must = {f"data.{name}": (getattr(self.data, name), getattr(taught, name)) for name in _DATA}
        if isinstance(self, Pix2PixRecipe):
            must["direction"] = (self.direction, taught.direction)
        must |= _pairs("generator", self.generator, taught.generator, OWN)
        for name, (ours, theirs) in must.items():
            if ours != theirs:
                raise UsageError(
                    f"{as_flag(name, ours)}: the teacher's is {as_value(theirs)}, and a student's must be the same; "
                    "leave it out"
                )
        if self.distill.discriminator == "teacher":
            for name, (ours, theirs) in _pairs("discriminator", self.discriminator, taught.discriminator).items():
                if ours != theirs:
                    raise UsageError(
                        f"{as_flag(name, ours)}: the teacher's is {as_value(theirs)}, and its weights are to be begun "
                        "with; leave it out, or begin with others by --distill.discriminator new"
                    )


_DATA = ("channels_a", "channels_b", "preprocess", "load_size", "crop_size")


def _pairs(group: str, ours: Any, theirs: Any, but: tuple[str, ...] = ()) -> dict[str, tuple[Any, Any]]:
    """By field of a group of fields, its values in two recipes."""
    return {f"{group}.{name}": (value, vars(theirs)[name]) for name, value in vars(ours).items() if name not in but}


@dataclass(frozen=True, kw_only=True)
class Pix2PixDistillRecipe(DistillRecipe, Pix2PixRecipe):
    """A small pix2pix, taught by a large one."""

    model: ClassVar[str] = "pix2pix-distill"
    teachers: ClassVar[tuple[str, ...]] = ("pix2pix", "pix2pix-distill")


@dataclass(frozen=True, kw_only=True)
class CycleGANDistillRecipe(DistillRecipe, CycleGANRecipe):
    """A small CycleGAN, taught by a large one."""

    model: ClassVar[str] = "cyclegan-distill"
    teachers: ClassVar[tuple[str, ...]] = ("cyclegan", "cyclegan-distill")
