"""The rows of accelerators that no test machine has, over stand-ins for their software."""

import sys
import types
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from gesso.devices import ACCELERATORS, choose_device, choose_precision, facts
from gesso.devices.plugins import loaded

HPU, NPU, ROCM = ACCELERATORS["hpu"], ACCELERATORS["npu"], ACCELERATORS["rocm"]


@pytest.fixture
def npu(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The module that torch_npu adds to torch."""
    module = Mock(**{"device_count.return_value": 2, "mem_get_info.return_value": (3, 4)})
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    monkeypatch.setattr("gesso.devices.plugins.loaded", lambda package, module: True)
    return module


@pytest.mark.parametrize("flag", ["cuda", "rocm", "auto"])
def test_what_torch_calls_cuda_is_rocm_in_a_build_for_it(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    device = choose_device(flag).value
    assert device == torch.device("cuda")
    assert facts(device) is ROCM
    assert choose_precision("auto", device).value == "bf16"


def test_a_package_that_is_not_installed_is_not_imported() -> None:
    assert not loaded("torch_of_nobody", "torch_of_nobody")


def test_a_package_that_does_not_load_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_torn.py").write_text("raise OSError('libtorn.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match=r"torch_torn is installed but does not load: libtorn.so: cannot open"):
        assert not loaded("torch_torn", "torch_torn")


@pytest.mark.parametrize("supported", [True, False])
def test_bf16_is_offered_where_the_vendors_package_says_so(supported: bool, npu: Mock) -> None:
    npu.is_bf16_supported.return_value = supported
    there = torch.device("cpu")  # stands for npu:0, a name that only torch_npu makes known
    assert NPU.precisions(there) == (("fp32", "bf16", "fp16") if supported else ("fp32", "fp16"))
    assert NPU.best_precision(there).value == ("bf16" if supported else "fp32")


def test_fp32_on_ascend_is_not_hf32(npu: Mock) -> None:
    NPU.allow_tf32(False)
    assert (npu.matmul.allow_hf32, npu.conv.allow_hf32) == (False, False)


def test_devices_of_a_package_are_counted_where_they_are_available(npu: Mock) -> None:
    assert NPU.count() == 2
    npu.is_available.return_value = False
    assert NPU.count() == 0


@pytest.mark.parametrize(("mode", "steps"), [("1", 1), ("0", 0), (None, 0)])
def test_gaudi_is_told_to_start_its_graph_in_lazy_mode_alone(
    mode: str | None, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Mock()
    for name in ("habana_frameworks", "habana_frameworks.torch"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "habana_frameworks.torch.core", core)
    monkeypatch.delenv("PT_HPU_LAZY_MODE", raising=False)
    if mode:
        monkeypatch.setenv("PT_HPU_LAZY_MODE", mode)
    HPU.submit()
    assert core.mark_step.call_count == steps
    assert HPU.compiler().value == (mode != "1")


def test_gaudi_names_no_number_to_one_process_of_several(npu: Mock) -> None:
    npu.device_count.return_value = 8
    assert choose_device("hpu", number=3).value == torch.device("hpu")
