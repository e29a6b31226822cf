"""Distillation against the equations, written out by hand; and a teacher that teaches without changing."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import toy
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.models.base import Model
from gesso.models.distill import Made, feature_loss, output_loss
from gesso.networks import build_generator, macs
from gesso.recipe import Distillation, Generator, Taught
from gesso.recipes import RECIPES

STUDENTS = ["pix2pix-distill", "cyclegan-distill", "cyclegan-distill-mindspore"]


def ready(name: str, root: Path, **distill: Any) -> Model:
    """A student and a teacher of half as many filters again, with instance norm and without dropout."""
    recipe: Any = toy(name, root)
    generator = dataclasses.replace(recipe.generator, blocks=3, norm="instance", dropout=0.0, kind="resnet")
    recipe = dataclasses.replace(
        recipe,
        generator=generator,
        discriminator=dataclasses.replace(recipe.discriminator, norm="instance"),
        loss=dataclasses.replace(recipe.loss, order="GD"),  # the generator meets the old discriminator
        distill=dataclasses.replace(recipe.distill, **distill),
        taught=Taught(generator=dataclasses.replace(generator, ngf=6)),
    )
    torch.manual_seed(1)  # of the teacher's weights
    model = build_model(recipe)
    model.initialize(0)
    model.make_optimizers(fused=False)
    return model


def batch() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {role: torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1 for role in "AB"}


def step(model: Model) -> dict[str, Tensor]:
    return model.train_step(batch(), np.random.default_rng(0))


def layers(network: Any, image: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """The picture of a ResNet and what each of its layers gives."""
    found = {}
    for number, layer in enumerate(network.model):
        image = layer(image)
        found[number] = image.clone()
    return image, found


def features_by_hand(model: Any, generator: str, teacher: str, image: Tensor) -> Tensor:
    """Σ over model.9, 10, 11 and 12 (of 3 blocks) of the mean of (f(S) − T)²."""
    student, taught = layers(model.networks[generator], image)[1], layers(model.teachers[teacher], image)[1]
    total = torch.zeros(())
    for i, number in enumerate((9, 10, 11, 12)):
        f = model.networks[f"{generator}_map{i + 1}"]
        mapped = torch.einsum("oi,nihw->nohw", f.weight[:, :, 0, 0], student[number]) + f.bias[:, None, None]
        total = total + (mapped - taught[number]).pow(2).mean()
    return total


def test_pix2pix_student_reports_gan_compressions_losses_for_pairs(pairs: Path) -> None:
    model = ready("pix2pix-distill", pairs, lambda_features=0.5)
    data, n = batch(), model.networks
    with torch.no_grad():
        fake = n["G"](data["A"])
        expected = {
            "G_GAN": -n["D"](torch.cat([data["A"], fake], 1)).sigmoid().log().mean(),
            "G_L1": 100 * (fake - data["B"]).abs().mean(),  # the true picture, not the teacher's
            "G_features": 0.5 * features_by_hand(model, "G", "T", data["A"]),
        }
    losses = step(model)
    assert losses.keys() == expected.keys() | {"D_real", "D_fake"}
    for name, value in expected.items():
        assert torch.allclose(losses[name], value, rtol=1e-4), name


def test_cyclegan_student_reports_gan_compressions_losses_without_pairs(pairs: Path) -> None:
    model = ready("cyclegan-distill", pairs)
    data, n, t = batch(), model.networks, model.teachers
    with torch.no_grad():
        fake_B, fake_A = n["G_A"](data["A"]), n["G_B"](data["B"])
        expected = {
            "G_A": (n["D_A"](fake_B) - 1).pow(2).mean(),
            "G_B": (n["D_B"](fake_A) - 1).pow(2).mean(),
            "G_A_output": 10 * (fake_B - t["T_A"](data["A"])).abs().mean(),
            "G_B_output": 10 * (fake_A - t["T_B"](data["B"])).abs().mean(),
            "G_A_features": 0.01 * features_by_hand(model, "G_A", "T_A", data["A"]),
            "G_B_features": 0.01 * features_by_hand(model, "G_B", "T_B", data["B"]),
        }
    losses = step(model)
    assert losses.keys() == expected.keys() | {"D_A", "D_B"}  # and no cycles
    for name, value in expected.items():
        assert torch.allclose(losses[name], value, rtol=1e-4), name


def test_mindspores_student_adds_the_output_loss_to_all_of_cyclegans(pairs: Path) -> None:
    model = ready("cyclegan-distill-mindspore", pairs)
    data, n, t = batch(), model.networks, model.teachers
    with torch.no_grad():
        expected = {
            "G_A_output": 5 * 10 * (n["G_A"](data["A"]) - t["T_A"](data["A"])).abs().mean(),
            "G_B_output": 5 * 10 * (n["G_B"](data["B"]) - t["T_B"](data["B"])).abs().mean(),
        }
    losses = step(model)
    assert losses.keys() == expected.keys() | {"G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B", "D_A", "D_B"}
    for name, value in expected.items():
        assert torch.allclose(losses[name], value, rtol=1e-4), name


def test_losses_of_numbers_that_a_head_can_work_out() -> None:
    double = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(double.weight, 2.0)
    student = Made(torch.zeros(1, 1, 1, 2), [torch.tensor([[[[1.0, 3.0]]]])])
    teacher = Made(torch.tensor([[[[1.0, -3.0]]]]), [torch.tensor([[[[2.0, 2.0]]]])])
    assert output_loss(student, teacher) == 2.0  # (1 + 3) / 2
    assert feature_loss(student, teacher, [double]) == 8.0  # ((2 − 2)² + (6 − 2)²) / 2


@pytest.mark.parametrize("name", STUDENTS)
def test_a_step_leaves_the_teacher_as_it_was(name: str, pairs: Path) -> None:
    model = ready(name, pairs)
    before = {n: {k: v.clone() for k, v in t.state_dict().items()} for n, t in model.teachers.items()}
    for _ in range(2):
        step(model)
    for teacher, weights in before.items():
        network = model.teachers[teacher]
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in network.parameters())
        for key, value in network.state_dict().items():
            assert torch.equal(value, weights[key]), key
    trained = {id(p) for o in model.optimizers.values() for group in o.param_groups for p in group["params"]}
    assert trained == {id(p) for network in model.networks.values() for p in network.parameters()}


@pytest.mark.parametrize("name", STUDENTS)
def test_every_network_but_the_teacher_learns(name: str, pairs: Path) -> None:
    model = ready(name, pairs)
    before = {n: [p.detach().clone() for p in network.parameters()] for n, network in model.networks.items()}
    step(model)
    for n, network in model.networks.items():
        assert any(not torch.equal(a, b) for a, b in zip(before[n], network.parameters(), strict=True)), n


@pytest.mark.parametrize("kind", ["resnet", "unet"])
def test_taps_are_as_large_as_they_say(kind: Any) -> None:
    network = build_generator(Generator(kind=kind, ngf=4, blocks=9, depth=6), 3, 3)
    with torch.no_grad():
        picture, *found = network(torch.zeros(1, 3, 64, 64), True)
    assert len(found) == len(network.taps) == 4
    for tensor, tap in zip(found, network.taps, strict=True):
        assert tensor.shape == (1, tap.channels, 64 // tap.shrink, 64 // tap.shrink)
    assert torch.equal(picture, network(torch.zeros(1, 3, 64, 64)))


def test_a_resnet_is_tapped_where_the_paper_does() -> None:
    network = build_generator(Generator(ngf=4, blocks=9), 3, 3)
    image = batch()["A"]
    with torch.no_grad():
        _, *found = network(image, True)
        by_hand = layers(network, image)[1]
    for tensor, number in zip(found, (9, 12, 15, 18), strict=True):
        assert torch.equal(tensor, by_hand[number])


def test_half_the_filters_are_a_quarter_of_the_work() -> None:
    """Per layer: work goes with the product of its two widths, of which the image's 3 channels stay."""
    image = torch.empty(1, 3, 256, 256, device="meta")
    large, half, light = (
        build_generator(Generator(ngf=ngf, separable=separable), 3, 3)
        for ngf, separable in ((64, False), (32, False), (32, True))
    )
    assert macs(large, image) / macs(half, image) == pytest.approx(3.9, abs=0.1)
    ends = 2 * (7 * 7 * 3 * 32) * 256 * 256
    between = 2 * (9 * 32 * 64 * 128 * 128 + 9 * 64 * 128 * 64 * 64)  # transposed ones counted as the field does
    up = 9 * 64 * 32 * 256 * 256 + 9 * 128 * 64 * 128 * 128 - 9 * 32 * 64 * 128 * 128 - 9 * 64 * 128 * 64 * 64
    assert macs(light, image) == ends + between + up + 18 * (9 * 128 + 128 * 128) * 64 * 64


def test_a_student_of_half_width_has_the_parameters_that_its_layers_add_up_to() -> None:
    def resnet(n: int, block: int) -> int:
        down = (49 * 3 * n + n) + (9 * n * 2 * n + 2 * n) + (9 * 2 * n * 4 * n + 4 * n)
        up = (9 * 4 * n * 2 * n + 2 * n) + (9 * 2 * n * n + n) + (49 * n * 3 + 3)
        return down + 9 * 2 * block + up

    for n, separable in ((64, False), (32, False), (32, True)):
        c = 4 * n
        block = (9 * c + c) + (c * c + c) if separable else 9 * c * c + c
        network = build_generator(Generator(ngf=n, separable=separable), 3, 3)
        assert sum(p.numel() for p in network.parameters()) == resnet(n, block)
    assert resnet(64, 9 * 256 * 256 + 256) == 11_378_179  # the reference's 11.378 M


def test_nothing_to_learn_from_the_teacher_is_refused() -> None:
    recipe = dataclasses.replace(RECIPES["pix2pix-distill"](), distill=Distillation())  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"--distill.lambda-output 0 --distill.lambda-features 0: nothing"):
        recipe.checked()
