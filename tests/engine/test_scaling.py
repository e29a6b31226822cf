"""fp16's loss scale, and what the guard makes of a step that overflowed."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import toy
from gesso.engine.guard import Fault, Guard
from gesso.engine.scaling import FIRST, GROWS_AFTER, MOST, LossScale
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.models.base import Batch, Model
from gesso.processes import World
from gesso.recipe import DCGANLoss, DCGANRecipe
from gesso.recipe import Guard as Limits

CPU = torch.device("cpu")
YES, NO = torch.tensor(True), torch.tensor(False)


def test_the_scale_halves_where_gradients_overflow_and_doubles_after_many_good_steps() -> None:
    scale = LossScale(CPU)
    scale.follow(NO)
    assert float(scale.value) == FIRST / 2
    for _ in range(GROWS_AFTER):
        scale.follow(YES)
    assert float(scale.value) == FIRST


def test_a_bad_step_begins_the_count_of_good_ones_anew() -> None:
    scale = LossScale(CPU)
    for finite in [YES] * (GROWS_AFTER - 1) + [NO] + [YES] * (GROWS_AFTER - 1):
        scale.follow(finite)
    assert float(scale.value) == FIRST / 2


def test_the_scale_stays_within_its_bounds() -> None:
    scale = LossScale(CPU)
    for _ in range(40):
        scale.follow(NO)
    assert float(scale.value) == 1
    scale.load_state_dict({"value": MOST, "good": GROWS_AFTER - 1})
    scale.follow(YES)
    assert float(scale.value) == MOST


def model_of(root: Path, **changes: object) -> Model:
    recipe: Any = toy("pix2pix", root, **changes)
    recipe = dataclasses.replace(recipe, generator=dataclasses.replace(recipe.generator, dropout=0.0))
    model = build_model(recipe)
    model.initialize(0)
    model.make_optimizers(fused=True)
    return model


def batch() -> Batch:
    rng = torch.Generator().manual_seed(0)
    return {role: torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1 for role in "AB"}


def weights(model: Model) -> list[Tensor]:
    return [p.detach().clone() for network in model.networks.values() for p in network.parameters()]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_scaled_step_is_the_step_without_scale(accumulate: int, pairs: Path) -> None:
    after = []
    for fp16 in (False, True):
        model = model_of(pairs, accumulate=accumulate)
        Guard(Limits(), model, World(), fp16=fp16)
        model.train_step(batch(), np.random.default_rng(0))
        after.append(weights(model))
    # Powers of two scale without rounding.
    assert all(torch.equal(a, b) for a, b in zip(*after, strict=True))


def test_a_step_that_overflows_changes_nothing_but_the_scale(pairs: Path) -> None:
    model = model_of(pairs)
    guard = Guard(Limits(), model, World(), fp16=True)
    before = weights(model)
    model.loss_scales["G"].fill_(3e38)
    model.train_step(batch(), np.random.default_rng(0))
    generator = len(list(model.networks["G"].parameters()))
    assert all(torch.equal(a, b) for a, b in zip(before[:generator], weights(model)[:generator], strict=True))
    scales = guard.state_dict()["scales"]
    assert scales["G"]["value"] < 3e38
    assert scales["D"] == {"value": FIRST, "good": 1.0}


def test_in_half_precision_a_small_gradient_survives_only_with_the_scale() -> None:
    """1e-9 is nothing in fp16, whose least number is 6e-8."""
    weight = torch.full((1,), 1e-4, requires_grad=True)
    found = []
    for scale in (1.0, FIRST):
        weight.grad = None
        with torch.autocast("cpu", torch.float16):
            (torch.nn.functional.linear(torch.full((1, 1), 1e-4), weight[None]).float().sum() * 1e-5 * scale).backward()
        assert weight.grad is not None
        found.append(float(weight.grad) / scale)
    assert found[0] == 0
    assert found[1] == pytest.approx(1e-9, rel=1e-2)


def test_the_scale_is_remembered(pairs: Path) -> None:
    guard = Guard(Limits(), model_of(pairs), World(), fp16=True)
    state = guard.state_dict()
    state["scales"]["G"] = {"value": 8.0, "good": 5.0}
    model = model_of(pairs)
    other = Guard(Limits(), model, World(), fp16=True)
    other.load_state_dict(state)
    assert other.state_dict()["scales"] == state["scales"]
    assert float(model.loss_scales["G"]) == 8


def test_overflows_that_only_tune_the_scale_are_not_counted_as_discarded(pairs: Path) -> None:
    model = model_of(pairs)
    guard = Guard(Limits(discards=0), model, World(), fp16=True)
    for _ in range(3):
        model.loss_scales["G"].fill_(3e38)
        guard.watch(model.train_step(batch(), np.random.default_rng(0)))
    assert guard.settle() is None
    assert guard.notes() == ["fp16: a step of G overflowed and was left out, its loss scale halved"] * 3


def test_gradients_that_are_not_finite_at_the_least_scale_are_counted(pairs: Path) -> None:
    model = model_of(pairs)
    guard = Guard(Limits(discards=0), model, World(), fp16=True)
    model.share_gradients = lambda gradients: gradients[0].fill_(torch.nan)
    model.loss_scales["G"].fill_(1)
    guard.watch(model.train_step(batch(), np.random.default_rng(0)))
    fault = guard.settle()
    assert fault and "G's gradients not finite" in fault.reason


def loss_of_nan(model: Model, gradients_too: bool) -> Fault | None:
    """What the guard makes of a step whose losses were not finite, with its gradients or without."""
    guard = Guard(Limits(), model, World())
    share = model.share_gradients

    def spoiled(gradients: list[Tensor]) -> None:
        share(gradients)
        if gradients_too:
            gradients[0].fill_(torch.nan)

    model.share_gradients = spoiled
    losses = model.train_step(batch(), np.random.default_rng(0))
    guard.watch(losses | {"G_L1": torch.tensor(torch.nan)})
    return guard.settle()


def test_a_loss_that_is_not_finite_is_borne_where_the_step_was_discarded(pairs: Path) -> None:
    assert loss_of_nan(model_of(pairs), gradients_too=True) is None


def test_a_loss_that_is_not_finite_is_a_fault_where_the_step_was_taken(pairs: Path) -> None:
    assert loss_of_nan(model_of(pairs), gradients_too=False) == Fault("G_L1 is nan")


def test_a_loss_that_is_not_finite_is_a_fault_where_running_statistics_are_spoiled(pairs: Path) -> None:
    model = model_of(pairs)
    next(b for b in model.networks["G"].buffers() if b.is_floating_point()).fill_(torch.nan)
    assert loss_of_nan(model, gradients_too=True) == Fault("G_L1 is nan")


def test_fp16_needs_the_guard(pairs: Path) -> None:
    with pytest.raises(UsageError, match=r"--precision fp16 --guard\.no-enabled"):
        toy("pix2pix", pairs, precision="fp16", guard=Limits(enabled=False)).checked()


def test_fp16_and_the_gradient_penalty_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="--precision fp16: the R1 penalty"):
        DCGANRecipe(recipe="dcgan", precision="fp16", loss=DCGANLoss(r1=10.0)).checked()
