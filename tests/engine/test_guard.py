"""A run that diverges is noticed, mended where that can be, and else stopped with a diagnosis."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from conftest import toy
from gesso.cli import main
from gesso.engine import checkpoint, going_back
from gesso.engine import guard as guarding
from gesso.engine.guard import Fault, Guard
from gesso.engine.judging.translation import TranslationJudge
from gesso.engine.runlog import read_log
from gesso.engine.track import Meter
from gesso.engine.train import train
from gesso.errors import DivergenceError
from gesso.models.base import Loss, Model
from gesso.progress import say
from gesso.recipe import Checkpoints, Recipe
from gesso.recipe import Guard as Limits
from gesso.recipes import RECIPES

Spoil = Callable[[int, str, Sequence[Tensor]], None]


def spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    """From here on `spoil(step, optimizer, gradients)` has its way with the gradients before the guard sees them."""
    counts: dict[str, int] = {}
    original = Guard.inspect

    def inspect(self: Guard, name: str, optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor]) -> None:
        spoil(counts.get(name, 0), name, gradients)
        counts[name] = counts.get(name, 0) + 1
        original(self, name, optimizer, gradients)

    monkeypatch.setattr(Guard, "inspect", inspect)


def nan_at(steps: Sequence[int], optimizer: str) -> Spoil:
    def spoil(step: int, name: str, gradients: Sequence[Tensor]) -> None:
        if step in steps and name == optimizer:
            gradients[0].fill_(torch.nan)

    return spoil


def notes(run: Path) -> list[str]:
    return [record["text"] for record in read_log(run / "log.jsonl") if record["kind"] == "note"]


def finite(run: Path) -> bool:
    last = max((run / "checkpoints").glob("0*"))
    return all(bool(t.isfinite().all()) for file in last.glob("*.safetensors") for t in load_file(file).values())


@pytest.mark.parametrize(
    ("name", "optimizer"), [("cyclegan", "G"), ("pix2pix", "D"), ("dcgan", "G"), ("densenet-demo", "net")]
)
def test_a_step_whose_gradients_are_not_finite_is_discarded_and_named(
    name: str, optimizer: str, pairs: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, nan_at((3, 9, 17), optimizer))
    run = train(toy(name, classes if name == "densenet-demo" else pairs), runs=tmp_path, name="run").path
    assert finite(run)
    discarded = [note for note in notes(run) if "discarded" in note]
    assert discarded == [
        f"guard: a step was discarded, {optimizer}'s gradients not finite ({count} of the last 100)"
        for count in (1, 2, 3)
    ]


def test_a_discarded_last_step_is_told_of(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, nan_at([23], "G"))
    run = train(toy("pix2pix", pairs), runs=tmp_path, name="run").path
    assert "guard: a step was discarded, G's gradients not finite (1 of the last 100)" in notes(run)


def test_a_discarded_step_leaves_weights_and_moments_as_they_were(pairs: Path, tmp_path: Path) -> None:
    for kind in ("sgd", "adam", "adamw", "rmsprop"):
        weight = torch.nn.Parameter(torch.ones(3))
        model: Model = Bare(weight, kind)
        for gradient in (1.0, torch.nan):
            before = weight.detach().clone()
            weight.grad = torch.full((3,), gradient)
            model.inspect("net", model.optimizers["net"], [weight.grad])
            model.optimizers["net"].step()
        assert torch.equal(weight, before), kind


def test_a_first_step_that_is_discarded_leaves_no_momentum_behind() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    model: Model = Bare(weight, "sgd")
    torch.use_deterministic_algorithms(True)  # fills memory that is not written with nan
    try:
        for gradient in (torch.nan, 1.0, 1.0):
            weight.grad = torch.full((3,), gradient)
            model.inspect("net", model.optimizers["net"], [weight.grad])
            model.optimizers["net"].step()
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(weight.detach(), torch.full((3,), 1 - 0.1 - 0.1 * 1.9))


class Bare(Model):
    """One weight and its optimizer, watched."""

    def __init__(self, weight: torch.nn.Parameter, kind: str) -> None:
        network = torch.nn.Module()
        network.weight = weight
        super().__init__(RECIPES["densenet-demo"](), {"net": network})
        makers: dict[str, Any] = {
            "sgd": lambda: torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True),
            "adam": lambda: torch.optim.Adam([weight], lr=0.1, fused=True),
            "adamw": lambda: torch.optim.AdamW([weight], lr=0.1, fused=True),
            "rmsprop": lambda: torch.optim.RMSprop([weight], lr=0.1),
        }
        self.optimizers = {"net": makers[kind]()}
        Guard(Limits(), self, guarding.World())

    def initialize_network(self, *a: Any) -> Any: ...
    def make_optimizers(self, *a: Any) -> Any: ...
    def train_step(self, *a: Any) -> Any: ...
    def predict(self, *a: Any) -> Any: ...
    def inputs(self) -> Any: ...
    def forward_passes(self) -> Any: ...


def test_without_the_guard_the_same_gradients_spoil_the_run(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Model.descend

    def descend(self: Model, optimizer: str, losses: Iterable[Loss], clip_norm: float = 0.0) -> dict[str, Tensor]:
        factor = torch.nan if optimizer == "G" else 1
        return plain(self, optimizer, [Loss(loss.total * factor, loss.told) for loss in losses], clip_norm)

    monkeypatch.setattr(Model, "descend", descend)
    run = train(toy("pix2pix", pairs, guard=Limits(enabled=False)), runs=tmp_path, name="run").path
    assert not finite(run)


def test_too_many_discarded_steps_send_the_run_back_to_another_order(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, nan_at(range(8, 14), "G"))
    recipe = toy("pix2pix", pairs, guard=Limits(discards=3, rate_factor=0.5))
    run = train(recipe, runs=tmp_path, name="run")
    assert run.finished
    assert finite(run.path)
    (back,) = [note for note in notes(run.path) if note.startswith("diverged")]
    assert "4 of the last 100 steps had to be discarded; G's gradients not finite" in back
    assert "back to 12 with another order of the data, learning rates times 0.5 (return 1 of 3)" in back
    seen = [record for record in read_log(run.path / "log.jsonl") if record["kind"] == "loss"]
    assert [record["images"] for record in seen] == sorted({record["images"] for record in seen})
    assert seen[-1]["lr"]["G"] == pytest.approx(seen[0]["lr"]["G"] * 0.5, rel=0.7)


def test_before_the_first_checkpoint_the_run_begins_again(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, nan_at(range(4), "G"))
    run = train(toy("cyclegan", pairs, guard=Limits(discards=2)), runs=tmp_path, name="run")
    assert run.finished
    assert finite(run.path)
    assert "back to 0 with another order" in "\n".join(notes(run.path))


def test_a_run_that_diverges_again_and_again_stops_with_a_diagnosis_and_its_good_checkpoint(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled(monkeypatch, nan_at(range(13, 1000), "D"))
    recipe = toy("pix2pix", pairs, guard=Limits(discards=1, returns=2))
    with pytest.raises(
        DivergenceError, match=r"D's gradients not finite, after going back 2 times; its last checkpoint"
    ):
        train(recipe, runs=tmp_path, name="run")
    assert finite(tmp_path / "run")
    assert main(["resume", str(tmp_path / "run")]) == 3
    assert "Traceback" not in capsys.readouterr().err


def fault_once(monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    """The guard finds a fault at its `look`-th look, and none after it."""
    looks = iter(range(1000))
    monkeypatch.setattr(Guard, "look", lambda self: Fault("a fault") if next(looks) == look else None)


def test_a_run_that_got_past_the_place_may_go_back_again(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(1000))
    monkeypatch.setattr(Guard, "look", lambda self: Fault("a fault") if next(looks) in (8, 18) else None)
    run = train(toy("pix2pix", pairs, guard=Limits(returns=1)), runs=tmp_path, name="run")
    assert run.finished
    back = [note for note in notes(run.path) if note.startswith("diverged")]
    assert [note[-15:] for note in back] == ["(return 1 of 1)"] * 2
    assert checkpoint.find(run.path, "latest", say).progress["returns"] == 2


def test_a_line_of_the_log_after_a_return_tells_nothing_of_what_was_before(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, images = Meter.read, []

    def noted(self: Meter, seconds_waited: float) -> dict[str, Any]:
        images.append(self._images)
        return read(self, seconds_waited)

    monkeypatch.setattr(Meter, "read", noted)
    fault_once(monkeypatch, 9)
    recipe = toy("pix2pix", pairs)
    recipe = dataclasses.replace(recipe, tracking=dataclasses.replace(recipe.tracking, log_every=6))
    run = train(recipe, runs=tmp_path, name="run").path
    assert "diverged: a fault" in "\n".join(notes(run))
    assert set(images) == {6}


def test_a_return_behind_the_best_checkpoint_has_the_best_of_before(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.5, 0.9, *[0.1] * 100])
    monkeypatch.setattr(TranslationJudge, "headline", lambda self, rows: {"AtoB/PSNR": next(values)})
    monkeypatch.setattr(going_back, "_good", lambda s: checkpoint.find(s.run, "12", say))
    fault_once(monkeypatch, 13)
    recipe = toy("pix2pix", pairs, checkpoints=Checkpoints(every=0.5, best="AtoB/PSNR", keep=5))
    recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, every=0.5))
    run = train(recipe, runs=tmp_path, name="run").path
    assert (run / "checkpoints" / "best").read_text().strip() == "000000012"


def test_a_checkpoint_for_a_best_score_remembers_all_steps_before_it(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toy("pix2pix", pairs, checkpoints=Checkpoints(every=100, keep=0))
    recipe = dataclasses.replace(recipe, evaluation=dataclasses.replace(recipe.evaluation, every=0.5))
    run = train(recipe, runs=tmp_path, name="run").path
    for path in checkpoint.list_checkpoints(run):
        (process,) = checkpoint.read(path).training()["processes"]
        assert process["guard"]["memory"]["steps"] == int(path.name) // 2


def faults(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, runs: Path) -> str:
    with pytest.raises(DivergenceError) as caught:
        train(dataclasses.replace(recipe, guard=Limits(returns=0)), runs=runs, name="run")
    return str(caught.value)


def test_a_generator_that_makes_one_colour_is_noticed(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "FLAT_STEPS", 5)
    monkeypatch.setattr(guarding, "FLAT", 10.0)
    assert "nothing but one colour for 5 steps" in faults(monkeypatch, toy("dcgan", pairs), tmp_path)


@pytest.mark.parametrize("specks", [0, 2])
def test_one_colour_may_be_any_and_have_specks(
    specks: int, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "FLAT_STEPS", 5)
    watch = Guard.watch

    def watched(self: Guard, losses: dict[str, Tensor]) -> None:
        made = torch.tensor([-1.0, -1.0, 1.0])[None, :, None, None].repeat(2, 1, 32, 32)
        made[0, 0, 0, :specks] = 1
        self._model.made = [made]
        watch(self, losses)

    monkeypatch.setattr(Guard, "watch", watched)
    assert "nothing but one colour for 5 steps" in faults(monkeypatch, toy("dcgan", pairs), tmp_path)


def test_a_discriminator_whose_loss_is_zero_is_noticed(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "ZERO_STEPS", 5)
    monkeypatch.setattr(guarding, "ZERO", 10.0)
    assert "loss has been zero for 5 steps" in faults(monkeypatch, toy("cyclegan", pairs), tmp_path)


def told_losses(monkeypatch: pytest.MonkeyPatch, factor: Callable[[int], float]) -> None:
    """From here on the guard is told pix2pix's L1 times `factor(step)`."""
    watch, steps = Guard.watch, iter(range(1000))

    def watched(self: Guard, losses: dict[str, Tensor]) -> None:
        times = factor(next(steps))
        watch(self, {name: loss * (times if name == "G_L1" else 1) for name, loss in losses.items()})

    monkeypatch.setattr(Guard, "watch", watched)


@pytest.mark.parametrize(("factor", "told"), [(torch.nan, "is nan"), (1e4, "times the highest of late")])
def test_a_loss_that_is_not_finite_or_far_outside_its_range_is_noticed(
    factor: float, told: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "SETTLING", 4)
    told_losses(monkeypatch, lambda step: factor if step == 8 else 1)
    told_of = faults(monkeypatch, toy("pix2pix", pairs), tmp_path)
    assert "G_L1" in told_of
    assert told in told_of


def test_a_run_that_is_lost_from_its_second_step_on_is_noticed(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_losses(monkeypatch, lambda step: 1e4 if step else 1)
    assert "1000 times the first" in faults(monkeypatch, toy("pix2pix", pairs), tmp_path)


def test_a_loss_that_explodes_over_several_steps_is_noticed(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "SETTLING", 4)
    told_losses(monkeypatch, lambda step: 10 ** max(0, step - 7))
    assert "times the highest of late" in faults(monkeypatch, toy("pix2pix", pairs), tmp_path)


def test_gradients_that_explode_over_several_steps_are_discarded(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "SETTLING", 4)

    def spoil(step: int, name: str, gradients: Sequence[Tensor]) -> None:
        if name == "G":
            torch._foreach_mul_(list(gradients), 10.0 ** max(0, min(step - 7, 6)))

    spoiled(monkeypatch, spoil)
    run = train(toy("pix2pix", pairs), runs=tmp_path, name="run").path
    assert any("G's gradients of norm" in note for note in notes(run))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_healthy_run_is_left_alone(name: str, pairs: Path, classes: Path, tmp_path: Path) -> None:
    recipe = toy(name, classes if "densenet" in name else pairs, epochs=3)
    run = train(recipe, runs=tmp_path, name="run").path
    assert [note for note in notes(run) if "guard" in note or "diverged" in note] == []
