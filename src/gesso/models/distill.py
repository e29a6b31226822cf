"""Distillation: a small translator learns from a large one as well as from data.

Li, Lin, Ding, Liu, Zhu & Han 2020, "GAN Compression", arXiv 2003.08941, section 3.1; and the MindSpore model zoo's
CycleGAN (`kd`). Both train the student with its model's own losses, and add

    output      ‖G(x) − T(x)‖₁, the student's picture as the teacher's T
    features    Σ_t ‖f_t(G_t(x)) − T_t(x)‖², four inner layers as the teacher's; f_t are 1×1 convolutions from the
                student's channels to the teacher's, which are trained with G and not used afterwards

each times its weight. Where there are pairs, gan-compression has the true picture in the place of the output loss's
T(x), which is pix2pix's own L1; without pairs it leaves the cycles out. Its discriminators begin with the teacher's
weights.

The teacher is as it was trained: in evaluation mode, never changed, asked without gradients.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesso.models.base import Batch, Loss, Networks
from gesso.models.cyclegan import CycleGAN
from gesso.models.pix2pix import Pix2Pix
from gesso.models.translation import Translator, adam
from gesso.networks import build_generator
from gesso.networks import translator as network
from gesso.recipe import CycleGANDistillRecipe, DistillRecipe, Pix2PixDistillRecipe


class Made(NamedTuple):
    """What a generator makes of images: pictures, N×C×H×W in [-1, 1], and its inner layers; none where not asked."""

    pictures: Tensor
    features: Sequence[Tensor]


def output_loss(student: Made, teacher: Made) -> Tensor:
    """‖G(x) − T(x)‖₁, the mean over all numbers."""
    return F.l1_loss(student.pictures, teacher.pictures)


def feature_loss(student: Made, teacher: Made, maps: Sequence[nn.Module]) -> Tensor:
    """Σ_t ‖f_t(G_t(x)) − T_t(x)‖², of each layer the mean over all numbers; `maps` are the f_t."""
    each = [
        F.mse_loss(f(mine), theirs) for f, mine, theirs in zip(maps, student.features, teacher.features, strict=True)
    ]
    return torch.stack(each).sum()


def frozen_teacher(config: DistillRecipe, in_channels: int, out_channels: int) -> nn.Module:
    """The teacher's network; its weights are to be loaded."""
    return build_generator(config.taught.generator, in_channels, out_channels).eval().requires_grad_(False)


class Student(Translator):
    """What the students of all models share: teachers, the maps between their layers, and two more losses.

    Of the generator NAME the maps are the networks NAME_map1 to NAME_map4, where the features have a weight.
    discriminators: names of the networks that may begin with the teacher's weights.
    """

    recipe: DistillRecipe
    discriminators: tuple[str, ...]

    def be_taught(self, teachers: Networks) -> None:
        """Take `teachers`, one for each of `used`, and make the maps."""
        self.teachers = teachers
        if self.recipe.distill.lambda_features:
            for name in self.used:
                taps = zip(self._generator(name).taps, self._teacher(name).taps, strict=True)
                maps = {f"{name}_map{i + 1}": nn.Conv2d(s.channels, t.channels, 1) for i, (s, t) in enumerate(taps)}
                self.networks = {**self.networks, **maps}

    def _generator(self, name: str) -> network.Translator:
        found = self.networks[name]
        assert isinstance(found, network.Translator)
        return found

    def _teacher(self, name: str) -> network.Translator:
        found = list(self.teachers.values())[self.used.index(name)]
        assert isinstance(found, network.Translator)
        return found

    def _map_names(self, generator: str) -> list[str]:
        return [name for name in self.networks if name.startswith(f"{generator}_map")]

    def make_optimizers(self, fused: bool) -> None:
        super().make_optimizers(fused)  # type: ignore[safe-super]
        trained = [self.networks[name] for g in self.used for name in (g, *self._map_names(g))]
        self.optimizers["G"] = adam(trained, self.recipe.optimizer, self.recipe.optimizer.generator_lr, fused)

    def made_by(self, asked: nn.Module, images: Tensor) -> Made:
        """What a generator or a teacher makes of `images`, with its inner layers where they have a weight."""
        if not self.recipe.distill.lambda_features:
            return Made(asked(images), ())
        pictures, *features = asked(images, True)
        return Made(pictures, features)

    def lessons(self, name: str, images: Tensor, student: Made) -> dict[str, Tensor]:
        """The two losses of generator `name`, for what it made of `images`, each times its weight."""
        config = self.recipe.distill
        with torch.no_grad():
            teacher = self.made_by(self._teacher(name), images)
        losses = {}
        if config.lambda_output:
            losses[f"{name}_output"] = output_loss(student, teacher) * config.lambda_output
        if config.lambda_features:
            maps = [self.networks[each] for each in self._map_names(name)]
            losses[f"{name}_features"] = feature_loss(student, teacher, maps) * config.lambda_features
        return losses

    def inputs(self) -> dict[str, Tensor]:
        found = super().inputs()
        found |= {teacher: found[name] for name, teacher in zip(self.used, self.teachers, strict=False)}
        for name in self.used:
            height, width = found[name].shape[2:]
            for each, tap in zip(self._map_names(name), self._generator(name).taps, strict=False):
                found[each] = torch.empty(1, tap.channels, height // tap.shrink, width // tap.shrink, device="meta")
        return found

    def forward_passes(self) -> dict[str, float]:
        maps: dict[str, float] = {name: 3 for generator in self.used for name in self._map_names(generator)}
        asked: dict[str, float] = dict.fromkeys(self.teachers, 1)
        return super().forward_passes() | maps | asked  # type: ignore[safe-super]


class Pix2PixDistill(Student, Pix2Pix):
    """pix2pix with a teacher T of its G."""

    discriminators = ("D",)
    recipe: Pix2PixDistillRecipe

    def __init__(self, recipe: Pix2PixDistillRecipe) -> None:
        super().__init__(recipe)
        channels = {"A": recipe.data.channels_a, "B": recipe.data.channels_b}
        self.be_taught({"T": frozen_teacher(recipe, channels[self.source], channels[self.target])})

    def generate(self, piece: Batch) -> tuple[Tensor, ...]:
        made = self.made_by(self.networks["G"], piece[self.source])
        return (made.pictures, *made.features)

    def generator_losses(self, piece: Batch, fake: Tensor, *others: Tensor) -> Loss:
        """pix2pix's, and those of the teacher."""
        own = super().generator_losses(piece, fake)
        taught = self.lessons("G", piece[self.source], Made(fake, others))
        return Loss(own.total + torch.stack(list(taught.values())).sum(), own.told | taught)


class CycleGANDistill(Student, CycleGAN):
    """CycleGAN with a teacher of each generator: T_A of G_A, T_B of G_B."""

    discriminators = ("D_A", "D_B")
    recipe: CycleGANDistillRecipe

    def __init__(self, recipe: CycleGANDistillRecipe) -> None:
        super().__init__(recipe)
        a, b = recipe.data.channels_a, recipe.data.channels_b
        self.be_taught({"T_A": frozen_teacher(recipe, a, b), "T_B": frozen_teacher(recipe, b, a)})

    def generate(self, piece: Batch) -> tuple[Tensor, ...]:
        of_A = self.made_by(self.networks["G_A"], piece["A"])
        of_B = self.made_by(self.networks["G_B"], piece["B"])
        return (of_A.pictures, of_B.pictures, *of_A.features, *of_B.features)

    def generator_losses(self, piece: Batch, fake_B: Tensor, fake_A: Tensor, *others: Tensor) -> Loss:
        """CycleGAN's, and those of the teachers."""
        own = super().generator_losses(piece, fake_B, fake_A)
        half = len(others) // 2
        taught = self.lessons("G_A", piece["A"], Made(fake_B, others[:half]))
        taught |= self.lessons("G_B", piece["B"], Made(fake_A, others[half:]))
        return Loss(own.total + torch.stack(list(taught.values())).sum(), own.told | taught)
