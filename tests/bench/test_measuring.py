"""What is timed, and what is made of the times: with a clock that the test turns, and on toys."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from conftest import toy
from gesso.bench.measuring import Job, Taken, measure, metrics_of, step_times
from gesso.bench.results import METRICS, Result
from gesso.devices import DTYPES, Choice
from gesso.devices.energy import Counter
from gesso.engine.average import Average
from gesso.engine.guard import Fault, Guard
from gesso.engine.launch import Choices, choose, prepare
from gesso.models.cyclegan import CycleGAN
from gesso.models.pix2pix import Pix2Pix
from gesso.networks.macs import macs
from gesso.recipe import Guard as Limits
from gesso.recipe import Precision

NAMES = ("cyclegan", "pix2pix", "dcgan", "densenet121")


@pytest.fixture(autouse=True)
def _peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring it takes a second, each time."""
    monkeypatch.setattr("gesso.bench.measuring.measure_matmul_peak", lambda *_: 1e11)


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(seconds: list[float], **changes: Any) -> Taken:
    plain: dict[str, Any] = {"waited": 0.0, "peak_memory": 10, "before": {}, "after": {}, "peak": 1e12}
    return Taken(**{**plain, "seconds": seconds, **changes})


def job(name: str = "pix2pix", root: Path = Path(), **changes: Any) -> Job:
    recipe = toy(name, root, **({"batch_size": 4} if "recipe" not in changes else {}))
    return Job(**{"recipe": recipe, "mode": "train", "data": "synthetic", **changes})


def measured(name: str, mode: str, data: str, root: Path) -> Result:
    recipe = toy(name, root)
    if name == "densenet121":
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=("dark", "light")))
    result = measure(Job(recipe, mode, data, steps=2, warmup=1))
    assert result is not None
    return result


def test_a_step_is_timed_with_its_wait_for_data_and_for_the_device() -> None:
    clock = Clock()

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        while True:
            clock.now += 1
            yield {}

    def step(batch: dict[str, torch.Tensor]) -> None:
        clock.now += 10

    def settle() -> None:
        clock.now += 100

    assert step_times(step, batches(), 3, settle, clock) == [111, 111, 111]


def test_rates_and_percentiles_are_those_of_the_times() -> None:
    seconds = [0.1 * n for n in range(1, 12)]
    metrics = metrics_of(job(), [taken(seconds)], 5e9)
    assert metrics["samples_per_second"] == pytest.approx(4 * 11 / sum(seconds))
    assert [metrics[f"ms_{name}"] for name in ("p10", "median", "p90")] == pytest.approx([200, 600, 1000])
    assert metrics["gmacs"] == 5
    assert metrics["peak_share"] == pytest.approx(2 * 5e9 * metrics["samples_per_second"] / 1e12)


def test_of_several_processes_the_slowest_counts_in_each_step() -> None:
    metrics = metrics_of(job(), [taken([1.0, 3.0], peak_memory=7), taken([2.0, 1.0], peak_memory=9)], 1.0)
    assert metrics["samples_per_second"] == pytest.approx(2 * 4 * 2 / (2 + 3))
    assert metrics["peak_memory_bytes"] == 9


def test_what_was_not_measured_is_left_out() -> None:
    assert {"data_fraction", "energy_joules", "cost_per_million"}.isdisjoint(metrics_of(job(), [taken([1.0])], 1.0))


def test_waiting_counts_on_real_data_as_a_share_of_the_time() -> None:
    assert metrics_of(job(data="real"), [taken([1.0, 1.0], waited=0.5)], 1.0)["data_fraction"] == 0.25


def test_a_million_images_cost_what_the_machine_costs_meanwhile() -> None:
    metrics = metrics_of(job(price_per_hour=36.0), [taken([0.5])], 1.0)
    assert metrics["cost_per_million"] == pytest.approx(36 / 3600 * 1e6 / 8)


def test_energy_is_of_all_devices_and_of_one_step() -> None:
    one = {"before": {"GPU-1": Counter(10.0)}, "after": {"GPU-1": Counter(14.0)}}
    two = {"before": {"GPU-2": Counter(50.0)}, "after": {"GPU-2": Counter(52.0)}}
    assert metrics_of(job(), [taken([1.0, 1.0], **one), taken([1.0, 1.0], **two)], 1.0)["energy_joules"] == 3.0


def test_a_counter_that_two_processes_read_counts_once() -> None:
    same = {"before": {"package-0": Counter(10.0)}, "after": {"package-0": Counter(14.0)}}
    assert metrics_of(job(), [taken([1.0], **same), taken([1.0], **same)], 1.0)["energy_joules"] == 4.0


@pytest.mark.parametrize("mode", ["train", "forward"])
@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_measured_on_synthetic_tensors(name: str, mode: str) -> None:
    result = measured(name, mode, "synthetic", Path())
    assert len(result.step_seconds) == 2
    assert set(result.metrics) <= METRICS.keys()
    assert all(math.isfinite(value) and value > 0 for value in result.metrics.values())
    assert (result.recipe, result.mode, result.data, result.device) == (name, mode, "synthetic", "cpu")
    assert {"torch", "processor", "threads", "variables", "matmul_flops_per_second"} <= result.environment.keys()
    assert Result.from_json(result.to_json()) == result


@pytest.mark.parametrize("mode", ["train", "forward"])
@pytest.mark.parametrize("name", ["pix2pix", "densenet121"])
def test_real_data_come_through_the_feed_of_a_training(name: str, mode: str, pairs: Path, classes: Path) -> None:
    result = measured(name, mode, "real", pairs if name == "pix2pix" else classes)
    assert 0 <= result.metrics["data_fraction"] <= 1


def test_work_of_a_forward_pass_is_that_of_the_networks_it_calls() -> None:
    recipe = toy("cyclegan", Path())
    model = CycleGAN(recipe)
    inputs = model.inputs()
    one = macs(model.networks["G_A"], inputs["G_A"])
    forward = measured("cyclegan", "forward", "synthetic", Path()).metrics["gmacs"]
    assert forward == pytest.approx(4 * one / 1e9)  # there and back, from both domains


def test_using_a_model_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Pix2Pix] = []
    predict = Pix2Pix.predict

    def watched(self: Pix2Pix, *arguments: Any) -> Any:
        assert not torch.is_grad_enabled()
        used.append(self)
        return predict(self, *arguments)

    monkeypatch.setattr(Pix2Pix, "predict", watched)
    measured("pix2pix", "forward", "synthetic", Path())
    assert len(used) == 3 and set(used[0].networks) == {"G"}
    buffers = dict(used[0].networks["G"].named_buffers())
    assert all(int(buffer) == 0 for name, buffer in buffers.items() if name.endswith("num_batches_tracked"))


def test_each_step_of_a_training_has_random_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    train_step = Pix2Pix.train_step

    def watched(self: Pix2Pix, batch: Any, rng: np.random.Generator) -> Any:
        drawn.append(float(torch.rand(())))
        return train_step(self, batch, rng)

    monkeypatch.setattr(Pix2Pix, "train_step", watched)
    measured("pix2pix", "train", "synthetic", Path())
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(("enabled", "watched"), [(True, {"D", "G"}), (False, set())])
def test_the_guard_watches_each_step_unless_the_recipe_has_it_off(
    enabled: bool, watched: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inspected: list[str] = []
    judged: list[int] = []
    inspect, look = Guard.inspect, Guard.look

    def inspecting(self: Guard, name: str, *rest: Any) -> None:
        inspected.append(name)
        inspect(self, name, *rest)

    def looking(self: Guard) -> Any:
        judged.append(len(inspected))
        return look(self)

    monkeypatch.setattr(Guard, "inspect", inspecting)
    monkeypatch.setattr(Guard, "look", looking)
    recipe = toy("pix2pix", Path())
    measure(Job(dataclasses.replace(recipe, guard=Limits(enabled=enabled)), "train", "synthetic", steps=2, warmup=1))
    assert set(inspected) == watched
    assert judged == ([2, 4, 6] if enabled else [0, 0, 0])


def test_a_fault_that_the_guard_finds_ends_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "look", lambda self: Fault("G_L1 is nan"))
    assert len(measured("pix2pix", "train", "synthetic", Path()).step_seconds) == 2


@pytest.mark.parametrize(("mode", "followed"), [("train", [2, 4, 6]), ("forward", [])])
def test_averaged_weights_follow_each_step_of_a_training(
    mode: str, followed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(Average, "update", lambda self, networks, images, total: seen.append(total))
    measure(Job(toy("dcgan", Path(), ema=100, batch_size=2), mode, "synthetic", steps=2, warmup=1))
    assert seen == followed


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 is what was chosen, and a processor, which has none, computes in fp32."""
    chosen: list[Choices] = []

    def choosing(*asked: Any) -> Choices:
        chosen.append(choose(*asked))
        return dataclasses.replace(chosen[-1], precision=Choice("fp16", "asked for"))

    def preparing(model: Any, average: Any, choices: Choices, **rest: Any) -> None:
        prepare(model, average, chosen[-1], **rest)

    monkeypatch.setattr("gesso.bench.measuring.choose", choosing)
    monkeypatch.setattr("gesso.bench.measuring.prepare", preparing)


def test_the_losses_of_fp16_are_scaled_as_in_training(half: None, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[set[str]] = []
    train_step = Pix2Pix.train_step

    def watched(self: Pix2Pix, batch: Any, rng: np.random.Generator) -> Any:
        scaled.append(set(self.loss_scales))
        return train_step(self, batch, rng)

    monkeypatch.setattr(Pix2Pix, "train_step", watched)
    measured("pix2pix", "train", "synthetic", Path())
    assert scaled == [{"G", "D"}] * 3


def test_the_peak_of_fp16_is_that_of_its_own_products(half: None, monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[torch.dtype] = []
    monkeypatch.setattr(
        "gesso.bench.measuring.measure_matmul_peak", lambda device, dtype, side: products.append(dtype) or 1e11
    )
    measured("pix2pix", "forward", "synthetic", Path())
    assert products == [torch.float16]


def test_every_precision_has_its_dtype() -> None:
    assert {"auto", *DTYPES} == set(get_args(Precision))


def test_a_result_keeps_the_variant_that_was_measured() -> None:
    recipe = toy("pix2pix", Path(), batch_size=2, accumulate=2)
    result = measure(Job(recipe, "train", "synthetic", steps=1, warmup=1))
    assert result is not None
    assert "--accumulate 2" in result.environment["variant"]
    assert result.environment["variant"] == result.configuration.variant


def test_a_result_is_of_the_configuration_of_its_job() -> None:
    asked, result = job("dcgan", machine="lab"), measured("dcgan", "train", "synthetic", Path())
    known = ("kind", "recipe", "model", "mode", "data", "devices", "compiled")
    assert [getattr(result, name) for name in known] == [getattr(asked.configuration, name) for name in known]
    assert result.device_name and result.machine == "unnamed"


def test_a_job_survives_its_way_to_another_process() -> None:
    for name, mode in itertools.product(NAMES, ("train", "forward")):
        sent = job(name, mode=mode, price_per_hour=0.1, machine="lab", steps=3)
        assert Job.from_json(sent.to_json()) == sent
