"""The models' mathematics against the papers' equations, written out by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import toy
from gesso.models import build_model
from gesso.models.base import Model, using
from gesso.models.gan import Fakes, ImagePool, fake_loss, fooling_loss, real_loss
from gesso.recipe import CycleGANLoss, Pix2PixLoss, Recipe

X = torch.tensor([[-2.0, -0.3], [0.4, 3.0]])


def test_vanilla_losses_are_cross_entropy_of_the_sigmoid() -> None:
    one, zero = torch.ones_like(X), torch.zeros_like(X)
    assert torch.allclose(real_loss("vanilla", X), F.binary_cross_entropy(X.sigmoid(), one))
    assert torch.allclose(fake_loss("vanilla", X), F.binary_cross_entropy(X.sigmoid(), zero))
    assert torch.allclose(fooling_loss("vanilla", X), F.binary_cross_entropy(X.sigmoid(), one))


def test_least_squares_losses_aim_at_one_and_zero() -> None:
    assert torch.allclose(real_loss("lsgan", X), F.mse_loss(X, torch.ones_like(X)))
    assert torch.allclose(fake_loss("lsgan", X), F.mse_loss(X, torch.zeros_like(X)))
    assert torch.allclose(fooling_loss("lsgan", X), F.mse_loss(X, torch.ones_like(X)))


def test_hinge_losses_stop_at_the_margin() -> None:
    assert torch.allclose(real_loss("hinge", X), (3 + 1.3 + 0.6 + 0) / torch.tensor(4.0))
    assert torch.allclose(fake_loss("hinge", X), (0 + 0.7 + 1.4 + 4) / torch.tensor(4.0))
    assert torch.allclose(fooling_loss("hinge", X), -X.mean())


def ready(recipe: Recipe) -> Model:
    model = build_model(recipe)
    model.initialize(0)
    model.make_optimizers(fused=False)
    return model


def batch(seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {role: torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1 for role in "AB"}


def test_cyclegan_step_reports_the_equations(pairs: Path) -> None:
    model = ready(toy("cyclegan", pairs, loss=CycleGANLoss(lambda_a=7, lambda_b=3)))
    data = batch()
    n = model.networks
    with torch.no_grad():
        fake_B, fake_A = n["G_A"](data["A"]), n["G_B"](data["B"])
        expected = {
            "G_A": (n["D_A"](fake_B) - 1).pow(2).mean(),
            "G_B": (n["D_B"](fake_A) - 1).pow(2).mean(),
            "cycle_A": (n["G_B"](fake_B) - data["A"]).abs().mean() * 7,
            "cycle_B": (n["G_A"](fake_A) - data["B"]).abs().mean() * 3,
            "idt_A": (n["G_A"](data["B"]) - data["B"]).abs().mean() * 0.5 * 3,
            "idt_B": (n["G_B"](data["A"]) - data["A"]).abs().mean() * 0.5 * 7,
            "D_A": ((n["D_A"](data["B"]) - 1).pow(2).mean() + n["D_A"](fake_B).pow(2).mean()) / 2,
            "D_B": ((n["D_B"](data["A"]) - 1).pow(2).mean() + n["D_B"](fake_A).pow(2).mean()) / 2,
        }
    losses = model.train_step(data, np.random.default_rng(0))
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        assert torch.allclose(value, expected[name], atol=1e-5), name


def test_identity_weight_has_both_conventions(pairs: Path) -> None:
    relative = ready(toy("cyclegan", pairs)).train_step(batch(), np.random.default_rng(0))
    absolute = ready(toy("cyclegan", pairs, loss=CycleGANLoss(identity_relative=False))).train_step(
        batch(), np.random.default_rng(0)
    )
    assert torch.allclose(relative["idt_A"], absolute["idt_A"] * 10, rtol=1e-5)


def test_no_identity_weight_no_identity_loss(pairs: Path) -> None:
    losses = ready(toy("cyclegan", pairs, loss=CycleGANLoss(lambda_identity=0))).train_step(
        batch(), np.random.default_rng(0)
    )
    assert "idt_A" not in losses


def test_pix2pix_step_reports_the_equations(pairs: Path) -> None:
    recipe = toy("pix2pix-resnet9", pairs)
    recipe = dataclasses.replace(recipe, generator=dataclasses.replace(recipe.generator, dropout=0, norm="instance"))
    recipe = dataclasses.replace(recipe, discriminator=dataclasses.replace(recipe.discriminator, norm="instance"))
    recipe = dataclasses.replace(recipe, loss=Pix2PixLoss(order="GD"))  # the generator meets the old discriminator
    model = ready(recipe)
    data = batch()
    G, D = model.networks["G"], model.networks["D"]
    with torch.no_grad():
        fake = G(data["A"])
        judged_fake, judged_real = D(torch.cat([data["A"], fake], 1)), D(torch.cat([data["A"], data["B"]], 1))
        expected = {
            "G_GAN": -judged_fake.sigmoid().log().mean(),
            "G_L1": 100 * (fake - data["B"]).abs().mean(),
            "D_fake": -(1 - judged_fake.sigmoid()).log().mean(),
            "D_real": -judged_real.sigmoid().log().mean(),
        }
    losses = model.train_step(data, np.random.default_rng(0))
    for name, value in losses.items():
        assert torch.allclose(value, expected[name], atol=1e-4), name


def test_direction_swaps_the_domains(pairs: Path) -> None:
    model = ready(toy("pix2pix", pairs, direction="BtoA"))
    assert list(model.predict({"B": batch()["B"]})) == ["fake_A"]
    assert model.translations["BtoA"].source == "B"


def test_generator_phase_leaves_the_discriminator_without_gradients(pairs: Path) -> None:
    model = ready(toy("pix2pix", pairs, loss=Pix2PixLoss(order="GD")))
    G, D = model.networks["G"], model.networks["D"]
    fakes = Fakes([batch()], lambda piece: (G(piece["A"]),), [G])
    model._generator_phase(fakes)  # type: ignore[attr-defined]
    assert all(parameter.grad is None for parameter in D.parameters())
    assert all(parameter.grad is not None for parameter in G.parameters())
    assert all(parameter.requires_grad for parameter in D.parameters())


def test_clipping_bounds_the_step(pairs: Path) -> None:
    recipe = toy("cyclegan", pairs)
    recipe = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, clip_norm=1e-3))
    model = ready(recipe)
    model.train_step(batch(), np.random.default_rng(0))
    norm = torch.cat([p.grad.flatten() for p in model.networks["G_A"].parameters() if p.grad is not None]).norm()
    assert norm <= 1.001e-3


def test_pool_returns_new_images_until_it_is_full() -> None:
    pool, rng = ImagePool(4), np.random.default_rng(0)
    fakes = torch.arange(4.0).reshape(4, 1, 1, 1)
    assert torch.equal(pool.exchange(fakes, rng), fakes)
    assert len(pool.images) == 4


def test_full_pool_returns_an_old_image_half_of_the_time_and_keeps_the_new_one() -> None:
    pool, rng = ImagePool(50), np.random.default_rng(0)
    pool.exchange(torch.zeros(50, 1, 1, 1), rng)
    old = 0
    for n in range(1, 1001):
        given = pool.exchange(torch.full((1, 1, 1, 1), float(n)), rng)
        old += int(given.item() != n)
        kept = any(image.item() == n for image in pool.images)
        assert kept == (given.item() != n)
    assert 430 < old < 570


def test_pool_of_nothing_is_the_identity() -> None:
    fakes = torch.rand(2, 3, 4, 4, requires_grad=True)
    given = ImagePool(0).exchange(fakes, np.random.default_rng(0))
    assert torch.equal(given, fakes) and not given.requires_grad


def test_pool_comes_back_from_its_state() -> None:
    pool, other = ImagePool(5), ImagePool(5)
    pool.exchange(torch.rand(3, 1, 2, 2), np.random.default_rng(0))
    other.load_state_dict(pool.state_dict(), torch.device("cpu"))
    assert len(other.images) == 3 and all(torch.equal(a, b) for a, b in zip(pool.images, other.images, strict=True))


def test_prefill_fills_both_pools_exactly(pairs: Path) -> None:
    model = ready(toy("cyclegan", pairs, loss=CycleGANLoss(pool_size=7, pool_prefill=True)))
    model.prepare(iter([batch(i) for i in range(10)]))
    assert {name: len(pool.images) for name, pool in model.pools.items()} == {"D_A": 7, "D_B": 7}  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_translating_changes_nothing_and_repeats(mode: str, pairs: Path) -> None:
    model = ready(toy("pix2pix", pairs))
    G = model.networks["G"]
    before = {key: value.clone() for key, value in G.state_dict().items()}
    random_state = torch.random.get_rng_state()
    results = []
    for _ in range(2):
        with using(model.networks, mode):
            results.append(model.predict({"A": batch()["A"][:1]})["fake_B"])
    assert torch.equal(*results)
    assert all(torch.equal(before[key], value) for key, value in G.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert G.training


def test_train_mode_translates_with_dropout(pairs: Path) -> None:
    model = ready(toy("pix2pix-resnet9", pairs))
    results = []
    for seed in (0, 1):
        with using(model.networks, "train", seed):
            results.append(model.predict({"A": batch()["A"][:1]})["fake_B"])
    assert not torch.equal(*results)
