"""Counters of energy: read where they can be, their differences right, and never guessed."""

import math
import sys
import types
from pathlib import Path

import pytest
import torch

from gesso.devices.energy import Counter, nvml, rapl, spent

CPU = torch.device("cpu")


def write_zone(folder: Path, zone: str, name: str, microjoules: str) -> None:
    (folder / zone).mkdir(parents=True)
    for file, content in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", "262143328850")):
        (folder / zone / file).write_text(content + "\n")


def test_packages_are_counted_and_not_the_zones_in_and_around_them(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", "2500000")
    write_zone(tmp_path, "intel-rapl:0:0", "core", "1000000")
    write_zone(tmp_path, "intel-rapl:1", "psys", "9000000")
    assert rapl(CPU, tmp_path) == {"package-0": Counter(2.5, 262143.32885)}


def test_a_counter_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", "not for you")
    assert rapl(CPU, tmp_path) == {} == rapl(CPU, tmp_path / "missing")


def test_what_was_spent_is_the_sum_over_all_counters() -> None:
    before, after = {"a": Counter(1.0), "b": Counter(10.0)}, {"a": Counter(3.0), "b": Counter(15.0)}
    assert spent(before, after, 1.0) == 7.0


def test_a_counter_may_begin_anew_once() -> None:
    assert spent({"a": Counter(900.0, 1000.0)}, {"a": Counter(50.0, 1000.0)}, 0.5) == 150.0


@pytest.mark.parametrize("seconds", [0.5, 100.0])
def test_nothing_is_guessed(seconds: float) -> None:
    """No counter at all, or one that may have begun anew twice."""
    assert spent({}, {"a": Counter(1.0)}, seconds) is None
    if seconds == 100.0:
        assert spent({"a": Counter(1.0, 1000.0)}, {"a": Counter(2.0, 1000.0)}, seconds) is None


class NVMLError(Exception):
    pass


@pytest.fixture
def pynvml(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for nvidia-ml-py, whose GPU is asked for by its UUID."""
    module = types.ModuleType("pynvml")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    module.nvmlInit = lambda: None  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByUUID = lambda uuid: uuid  # type: ignore[attr-defined]
    module.nvmlDeviceGetTotalEnergyConsumption = lambda handle: {"GPU-abc": 1500}[handle]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="abc"))
    return module


def test_a_gpu_is_found_by_its_uuid(pynvml: types.ModuleType) -> None:
    assert nvml(torch.device("cuda")) == {"GPU-abc": Counter(1.5, math.inf)}


def test_a_gpu_that_counts_no_energy_has_none(pynvml: types.ModuleType) -> None:
    def refuse(handle: str) -> int:
        raise NVMLError

    pynvml.nvmlDeviceGetTotalEnergyConsumption = refuse  # type: ignore[attr-defined]
    assert nvml(torch.device("cuda")) == {}


def test_without_the_package_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.devices.energy.find_spec", lambda name: None)
    assert nvml(torch.device("cuda")) == {}
