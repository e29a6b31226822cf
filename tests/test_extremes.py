"""Numbers at the edge of what a network can be built of or a step be computed with: refused before the first step."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from commands import Gesso, refused
from conftest import toy
from gesso.engine.launch import step_flops
from gesso.errors import UsageError
from gesso.metrics.features import Inception
from gesso.models import build_model

SMALL = "--data.resize 32 --network.growth 4 --network.initial 8 -b 4 -e 0.5 --device cpu --compile off"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--data.image-size 1 --network.blocks 1 1", r"--data.image-size 1: with --network.blocks 1 1 an image needs"),
        (
            "--data.image-size 32 --network.blocks 1 1 1 1 1 1 1 1 1 1",
            r"--data.image-size 32: .* an image needs 2045 pixels",
        ),
        ("--data.image-size 7 --network.blocks 1 1 -b 1", r"--batch-size 1: images of 7 px, one at a time, leave"),
        ("--network.blocks 1 1 --network.compression 0.01", r"--network.compression 0.01: a transition keeps none"),
        ("--loss.mixup 1e-300", r"--loss.mixup 1e-300: must be 0, which is off, or lie in \[0.001, 1000\]"),
        ("--loss.cutmix inf", r"--loss.cutmix inf: must be 0, which is off, or lie in"),
        ("--loss.mixup -1", r"--loss.mixup -1: must be 0"),
    ],
)
def test_a_classifier_that_cannot_be(flags: str, told: str, gesso: Gesso, classes: Path, tmp_path: Path) -> None:
    words = ["--data.root", classes, "--runs", tmp_path / "runs", *SMALL.split(), *flags.split()]
    refused(gesso("train", "densenet-demo", *words), told)
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("recipe", "flag"), [("dcgan-demo", "--networks.slope"), ("pix2pix-demo", "--discriminator.slope")]
)
def test_a_leak_that_turns_the_sign(recipe: str, flag: str, gesso: Gesso, tmp_path: Path) -> None:
    refused(gesso("train", recipe, flag, "-0.2", "--runs", tmp_path / "runs"), rf"{flag} -0.2: must lie in \[0, 1\)")


def test_the_work_of_one_image_is_counted_where_one_pixel_is_left(classes: Path) -> None:
    recipe = toy("densenet-demo", classes)
    model = build_model(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=("dark", "light"))))
    smallest = torch.empty(1, 3, model.networks["net"].minimum, model.networks["net"].minimum, device="meta")
    model.inputs = lambda: {"net": smallest}  # type: ignore[method-assign]
    assert step_flops(model) > 0
    assert model.networks["net"].training


class Broken(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)).log()[:, : self.width]  # of a grey image: of less than 0


@pytest.mark.parametrize(("width", "told"), [(3, "are not finite numbers"), (0, "does not give one row of features")])
def test_a_network_without_features_scores_nothing(width: int, told: str, tmp_path: Path) -> None:
    torch.jit.script(Broken(width)).save(str(tmp_path / "broken.pt"))
    with pytest.raises(UsageError, match=rf"--evaluation.inception .*broken.pt: .*{told}"):
        Inception(tmp_path / "broken.pt", torch.device("cpu"))
