"""An accelerator that gesso has never heard of, added as one row: everything works on it, by what the row says.

Its tensors are the processor's, and the processor's own row is taken away, so whatever names a device finds none.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import toy
from gesso.devices import ACCELERATORS, Choice, choose_device, choose_precision, measure_matmul_peak
from gesso.engine import launch
from gesso.engine.doctor import examine
from gesso.engine.runs import read_environment
from gesso.engine.score import score_run
from gesso.engine.train import Run, train
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.predicting.sampling import sample_run

Asked = list[tuple[str, ...]]


@pytest.fixture(scope="module")
def patching() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def machine(patching: pytest.MonkeyPatch) -> Asked:
    """Make this a machine with one fake accelerator; gives what its row was asked, with the arguments."""
    calls: Asked = []

    def answers(name: str, answer: Any = None) -> Callable[..., Any]:
        def answered(*arguments: object) -> Any:
            calls.append((name, *map(str, arguments)))
            return answer

        return answered

    row = dataclasses.replace(
        ACCELERATORS["cpu"],
        documentation="its manual",
        needs="a vivid imagination",
        limits="It does not exist.",
        host=False,
        describe=answers("describe", "a fake"),
        precisions=answers("precisions", ("fp32",)),
        best_precision=answers("best_precision", Choice("fp32", "its manual says so")),
        channels_last=Choice(True, "its manual says so"),
        fused_optimizer=False,
        compiler=lambda: Choice(True, "its own compiler"),
        compile_backend="fake_backend",
        synchronize=answers("synchronize"),
        submit=answers("submit"),
        peak_memory=answers("peak_memory", 5),
        free_memory=answers("free_memory", 8_000_000_000),
        allow_tf32=answers("allow_tf32"),
        select=answers("select"),
    )
    patching.delitem(ACCELERATORS, "cpu")
    patching.setitem(ACCELERATORS, "fake", row)
    # What a vendor's module has, and torch.cpu has not.
    patching.setattr(torch.cpu, "get_rng_state", lambda device: torch.get_rng_state(), raising=False)
    patching.setattr(torch.cpu, "set_rng_state", lambda state, device: torch.set_rng_state(state), raising=False)

    def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        calls.append(("compile", options["backend"]))
        return function

    patching.setattr(torch, "compile", compiled)
    return calls


@pytest.fixture
def asked(machine: Asked) -> Asked:
    """What the row is asked from here on."""
    machine.clear()
    return machine


@pytest.fixture(scope="module")
def training(machine: Asked, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Asked]:
    """A dcgan trained for 3 steps, and what the row was asked."""
    machine.clear()
    return trained("dcgan", pairs, tmp_path_factory.mktemp("runs")), list(machine)


def trained(name: str, pairs: Path, runs: Path) -> Run:
    recipe = toy(name, pairs, device="fake:0", precision="auto", compile="on", epochs=1, batch_size=8)
    return train(recipe, runs=runs, name=name)


def test_a_model_is_trained_by_what_the_row_says(training: tuple[Run, Asked]) -> None:
    run, asked = training
    assert run.finished
    assert {("best_precision", "cpu:0"), ("select", "cpu:0"), ("allow_tf32", "False")} <= set(asked)
    assert ("compile", "fake_backend") in asked
    choices = read_environment(run.path)["choices"]
    assert choices["precision"] == {"value": "fp32", "reason": "its manual says so"}
    assert choices["channels_last"] == {"value": "True", "reason": "its manual says so"}


def test_work_is_submitted_after_each_backward_pass_and_each_step(training: tuple[Run, Asked]) -> None:
    steps, optimizers = 3, 2  # 24 images by 8, for D and for G
    assert training[1].count(("submit",)) == 2 * steps * optimizers


def test_a_run_is_scored(asked: Asked, pairs: Path, tmp_path: Path) -> None:
    run = trained("pix2pix", pairs, tmp_path)
    asked.clear()
    scores = score_run(run.path, device="fake:0")
    assert "L1" in scores["rows"][0]
    assert ("select", "cpu:0") in asked


def test_images_are_sampled(training: tuple[Run, Asked], asked: Asked, tmp_path: Path) -> None:
    sample_run(run=training[0].path, out=tmp_path / "grid.png", count=2, device="fake")
    assert (tmp_path / "grid.png").stat().st_size > 0
    assert ("best_precision", "cpu") in asked


def test_auto_takes_it_and_doctor_shows_it(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(measure_matmul_peak, side=8, seconds=0.001)
    monkeypatch.setattr("gesso.engine.doctor.measure_matmul_peak", quick)
    assert choose_device("auto").reason == "the first accelerator found"
    text = "\n".join(examine())
    assert "fake           a fake; fp32; fake_backend (its own compiler); by the documentation (its manual)" in text
    assert "limits         It does not exist." in text
    assert ("synchronize", "cpu") in asked


def test_accelerate_is_given_the_device_that_was_chosen(asked: Asked, pairs: Path) -> None:
    """Of several kinds on one machine Accelerate would take its own favourite, and autocast there."""
    recipe = toy("pix2pix", pairs, device="fake:0")
    model = build_model(recipe)
    choices = launch.choose(recipe, model, 1, {})
    assert launch.prepare(model, None, choices, train=True).device == torch.device("cpu:0")


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("fake:1", "--device fake:1: this machine has fake:0; see `gesso doctor`"),
        ("fake:x", "--device fake:x: not a device; choose one of auto, cuda, .*, fake"),
        ("npu", "--device npu: not found on this machine; it needs a Huawei Ascend, .*; see `gesso doctor`"),
        ("rocm", "--device rocm: not found on this machine; it needs an AMD GPU, .* torch built for ROCm"),
    ],
)
def test_a_device_that_is_not_here_is_refused(asked: Asked, flag: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        choose_device(flag)


def test_a_precision_that_the_row_has_not_is_refused(asked: Asked) -> None:
    with pytest.raises(UsageError, match=r"--precision bf16: cpu has fp32$"):
        choose_precision("bf16", choose_device("fake").value)
