"""The lines of the log: each model's are the ones that people of its field grep for."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from conftest import toy
from gesso.engine.track import LINES, Meter, Moment, Narrator, generation_line, line_due, loss_line
from gesso.models.dcgan import DCGAN
from gesso.recipe import Kind
from gesso.recipes import RECIPES


def test_every_model_has_its_line() -> None:
    assert set(LINES) == {recipe().kind for recipe in RECIPES.values()}


@pytest.mark.parametrize("kind", ["translator", "classifier"])
def test_the_line_of_the_log_is_the_references(kind: Kind) -> None:
    read = {"losses": {"G_GAN": 0.91234, "G_L1": math.nan}, "seconds_per_image": 0.3171, "data_seconds_per_image": 0.0}
    line = LINES[kind](Moment(900, per_epoch=400, batch_size=4, epochs=10), read)
    assert line == "(epoch: 3, iters: 100, time: 0.317, data: 0.000) G_GAN: 0.912 G_L1: nan"


@pytest.mark.parametrize(("images", "place"), [(4, "1, iters: 4"), (12, "1, iters: 10"), (16, "2, iters: 6")])
def test_a_translators_step_counts_in_the_epoch_in_which_it_begins(images: int, place: str) -> None:
    read = {"losses": {}, "seconds_per_image": 0.0, "data_seconds_per_image": 0.0}
    line = loss_line(Moment(images, per_epoch=10, batch_size=4, epochs=1), read)
    assert line.startswith(f"(epoch: {place}, ")


def test_a_line_is_due_by_images_and_at_the_end_of_each_epoch_and_of_the_run() -> None:
    steps = [(before, before + 4) for before in range(0, 28, 4)]
    due = [now for before, now in steps if line_due(before, now, every=8, per_epoch=10, total=25)]
    assert due == [8, 12, 16, 20, 24, 28]
    assert [now for before, now in steps if line_due(before, now, every=1000, per_epoch=10, total=25)] == [12, 20, 28]


def test_the_epoch_of_a_score_is_no_later_than_the_last(
    capsys: pytest.CaptureFixture[str], pairs: Path, tmp_path: Path
) -> None:
    narrator = Narrator(tmp_path, toy("pix2pix", pairs, epochs=1), Accelerator(cpu=True), 0, 24)
    narrator.scores(32, 32 / 24, {"AtoB/L1": 0.5})
    narrator.close()
    assert capsys.readouterr().out.startswith("(epoch: 1.0, evaluation) AtoB/L1: 0.5000")


def dcgan_losses(**more: float) -> dict[str, Any]:
    """What models/dcgan.py logs, in its order."""
    values = {"Loss_D": 1.38624, "D(x)": 0.50113, "D(G(z))_1": 0.4987, **more, "Loss_G": 0.7012, "D(G(z))_2": 0.47518}
    return {"losses": values}


def test_the_line_of_dcgan_is_the_fields() -> None:
    line = generation_line(Moment(64, per_epoch=50_000, batch_size=64, epochs=25), dcgan_losses())
    assert line == "[0/25][0/782] Loss_D: 1.3862 Loss_G: 0.7012 D(x): 0.5011 D(G(z)): 0.4987 / 0.4752"


def test_what_else_dcgan_loses_follows() -> None:
    line = generation_line(Moment(64, per_epoch=128, batch_size=64, epochs=1), dcgan_losses(R1=0.01))
    assert line.endswith("D(G(z)): 0.4987 / 0.4752 R1: 0.0100")


def test_a_generator_without_a_discriminator_has_its_own_losses_alone() -> None:
    line = generation_line(Moment(64, per_epoch=128, batch_size=64, epochs=1), {"losses": {"loss": 0.5}})
    assert line == "[0/1][0/2] loss: 0.5000"


def test_steps_are_counted_within_the_epoch_in_which_they_begin() -> None:
    def place(images: int, epochs: float = 2) -> str:
        line = generation_line(Moment(images, per_epoch=10, batch_size=4, epochs=epochs), dcgan_losses())
        return line.split(" ")[0]

    assert [place(n) for n in (4, 8, 12, 16, 20)] == [
        "[0/2][0/3]",
        "[0/2][1/3]",
        "[0/2][2/3]",
        "[1/2][0/3]",
        "[1/2][1/3]",
    ]
    assert place(4, epochs=0.5) == "[0/1][0/3]"


def test_dcgan_logs_what_its_line_needs(capsys: pytest.CaptureFixture[str], pairs: Path, tmp_path: Path) -> None:
    made = toy("dcgan", pairs)
    made = dataclasses.replace(made, loss=dataclasses.replace(made.loss, r1=1.0))
    model = DCGAN(made)
    model.initialize(0)
    model.make_optimizers(fused=False)
    losses = model.train_step({"image": torch.zeros(2, 3, 32, 32)}, np.random.default_rng(0))
    meter = Meter()
    meter.add(losses, 2)
    narrator = Narrator(tmp_path, made, Accelerator(cpu=True), 0, 48)
    narrator.losses(2, 24, meter.read(0.0), {"G": 2e-4})
    narrator.close()
    number = r"-?\d+\.\d{4}"
    names = r"\[0/2\]\[0/12\] Loss_D: N Loss_G: N D\(x\): N D\(G\(z\)\): N / N R1: N"
    assert re.search(names.replace("N", number), capsys.readouterr().out)


def test_losses_are_means_since_the_last_reading() -> None:
    meter = Meter()
    for value in (1.0, 3.0):
        meter.add({"G": torch.tensor(value)}, images=2)
    assert meter.read(0.0)["losses"] == {"G": 2.0}
    meter.add({"G": torch.tensor(7.0)}, images=2)
    assert meter.read(0.0)["losses"] == {"G": 7.0}


def test_a_loss_that_is_not_finite_counts_for_nothing_in_the_means() -> None:
    meter = Meter()
    for value in (1.0, torch.nan, 3.0, torch.inf):
        meter.add({"G": torch.tensor(value), "D": torch.tensor(5.0)}, 1)
    assert meter.read(0.0)["losses"] == {"G": 2.0, "D": 5.0}


def test_a_loss_that_was_never_finite_has_no_mean() -> None:
    meter = Meter()
    meter.add({"G": torch.tensor(torch.nan)}, 1)
    assert math.isnan(meter.read(0.0)["losses"]["G"])
