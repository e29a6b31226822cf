"""The table of accelerators, with machines that are not here put into it."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gesso.devices import (
    ACCELERATORS,
    Choice,
    choose_compile,
    choose_device,
    choose_precision,
    cpu,
    facts,
    measure_matmul_peak,
)
from gesso.engine.doctor import examine
from gesso.errors import UsageError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, Any]]]:
    """Make this a machine with `count` CUDA devices; gives what the table's row was asked, of which device."""

    def with_cuda(count: int, **changes: Any) -> list[tuple[str, Any]]:
        asked: list[tuple[str, Any]] = []

        def answers(name: str, answer: Any) -> Callable[[torch.device], Any]:
            def answered(device: torch.device) -> Any:
                asked.append((name, str(device)))
                return answer

            return answered

        row = dataclasses.replace(
            ACCELERATORS["cuda"],
            count=lambda: count,
            describe=answers("describe", "a card"),
            precisions=answers("precisions", ("fp32", "bf16")),
            best_precision=answers("best_precision", Choice("bf16", "it has tensor cores")),
            compiler=lambda: Choice(True, "Triton and /usr/bin/gcc"),
            synchronize=answers("synchronize", None),
            free_memory=answers("free_memory", 8_000_000_000),
            **changes,
        )
        monkeypatch.setitem(ACCELERATORS, "cuda", row)
        return asked

    return with_cuda


@pytest.mark.parametrize("flag", ["cuda", "cuda:0", "cuda:1", "cpu", "cpu:0"])
def test_a_device_that_is_here_is_taken(flag: str, machine: Callable[..., Any]) -> None:
    machine(2)
    assert choose_device(flag) == Choice(torch.device(flag), "asked for")


@pytest.mark.parametrize(
    ("flag", "count", "says"),
    [
        ("cuda:9", 2, "--device cuda:9: this machine has cuda:0 to cuda:1"),
        ("cuda:2", 2, "--device cuda:2: this machine has cuda:0 to cuda:1"),
        ("cuda:1", 1, "--device cuda:1: this machine has cuda:0"),
        ("cpu:1", 0, "--device cpu:1: this machine has cpu:0"),
        ("cuda", 0, "--device cuda: not found on this machine"),
        ("cuda:0", 0, "--device cuda:0: not found on this machine"),
        ("abacus", 0, "--device abacus: not a device; choose one of auto, cuda"),
        ("meta", 0, "--device meta: gesso knows cuda"),
    ],
)
def test_a_device_that_is_not_here_is_refused(flag: str, count: int, says: str, machine: Callable[..., Any]) -> None:
    machine(count)
    with pytest.raises(UsageError, match=says):
        choose_device(flag)


@pytest.mark.parametrize(("count", "kind"), [(0, "cpu"), (1, "cuda"), (8, "cuda")])
def test_auto_takes_the_first_kind_that_is_here(count: int, kind: str, machine: Callable[..., Any]) -> None:
    machine(count)
    assert choose_device("auto").value == torch.device(kind)


def test_the_device_that_was_asked_for_is_the_one_that_is_looked_at(machine: Callable[..., Any]) -> None:
    asked = machine(2)
    there = torch.device("cuda:1")
    choose_precision("auto", there)
    choose_precision("bf16", there)
    facts(there).describe(there)
    facts(there).synchronize(there)
    assert asked == [(name, "cuda:1") for name in ("best_precision", "precisions", "describe", "synchronize")]


@pytest.mark.parametrize("name", ["describe", "synchronize", "peak_memory", "reset_peak_memory", "free_memory"])
def test_every_fact_of_cuda_is_that_of_the_index(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real row, over stand-ins for torch's functions."""
    asked: list[Any] = []
    module = torch.cuda

    def spy(device: Any = None) -> tuple[int, int]:
        asked.append(device)
        return 1, 2

    for function in ("get_device_name", "synchronize", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(module, function, spy)
    monkeypatch.setattr(module, "mem_get_info", spy)
    there = torch.device("cuda:1")
    getattr(ACCELERATORS["cuda"], name)(there)
    assert asked == [there]


def test_precisions_of_cuda_are_those_of_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    generations = {"cuda:0": (7, 5), "cuda:1": (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: generations[str(device)])
    assert choose_precision("auto", torch.device("cuda:0")).value == "fp32"
    assert choose_precision("auto", torch.device("cuda:1")).value == "bf16"
    with pytest.raises(UsageError, match=r"--precision bf16: cuda:0 has fp32, fp16$"):
        choose_precision("bf16", torch.device("cuda:0"))


def on_the_path(*names: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.mark.parametrize(
    ("platform", "variable", "found", "value", "says"),
    [
        ("linux", None, ["g++"], True, "/usr/bin/g++"),
        ("linux", None, ["clang++"], False, "no C++ compiler: g++ was not found; install it, or name one in CXX"),
        ("linux", "clang++", ["clang++"], True, "/usr/bin/clang++"),
        ("linux", "icpx", ["g++"], False, "no C++ compiler: icpx was not found"),
        ("darwin", None, ["clang++"], True, "/usr/bin/clang++"),
        ("win32", None, ["g++"], False, "no C++ compiler: cl was not found"),
        ("win32", None, ["cl"], True, "/usr/bin/cl"),
    ],
)
def test_the_processor_needs_the_compiler_that_inductor_takes(
    platform: str, variable: str | None, found: list[str], value: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("shutil.which", on_the_path(*found))
    monkeypatch.delenv("CXX", raising=False)
    if variable:
        monkeypatch.setenv("CXX", variable)
    choice = ACCELERATORS["cpu"].compiler()
    assert (choice.value, says in choice.reason) == (value, True), choice


@pytest.mark.parametrize(
    ("triton", "variable", "found", "value", "says"),
    [
        (True, None, ["gcc"], True, "Triton and /usr/bin/gcc"),
        (True, None, ["clang"], True, "Triton and /usr/bin/clang"),
        (True, "/opt/bin/cc", [], True, "Triton and /opt/bin/cc"),
        (True, None, ["g++"], False, "no C compiler: Triton needs gcc or clang"),
        (False, None, ["gcc"], False, "no compiler: the package triton is not installed"),
    ],
)
def test_cuda_needs_triton_and_a_c_compiler(
    triton: bool, variable: str | None, found: list[str], value: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = object() if triton else None
    monkeypatch.setattr("gesso.devices.cuda.find_spec", lambda name: there if name == "triton" else None)
    monkeypatch.setattr("shutil.which", on_the_path(*found))
    monkeypatch.delenv("CC", raising=False)
    if variable:
        monkeypatch.setenv("CC", variable)
    choice = ACCELERATORS["cuda"].compiler()
    assert (choice.value, says in choice.reason) == (value, True), choice


def test_nothing_is_compiled_where_the_row_lacks_a_compiler(machine: Callable[..., Any]) -> None:
    machine(1)
    lacking = dataclasses.replace(ACCELERATORS["cuda"], compiler=lambda: Choice(False, "no compiler: it is not there"))
    long = {"step_flops": 1e15, "steps": 1e9}
    assert choose_compile("auto", torch.device("cuda"), **long).value
    ACCELERATORS["cuda"] = lacking  # the fixture puts the row back
    assert choose_compile("auto", torch.device("cuda"), **long) == Choice(False, "no compiler: it is not there")
    with pytest.raises(UsageError, match=r"--compile on: no compiler: it is not there"):
        choose_compile("on", torch.device("cuda"), **long)


def test_matmul_waits_for_the_device_that_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setitem(
        ACCELERATORS, "cpu", dataclasses.replace(ACCELERATORS["cpu"], synchronize=lambda device: waited.append(device))
    )
    assert measure_matmul_peak(torch.device("cpu"), torch.float32, side=8, seconds=0.001) > 0
    assert set(waited) == {torch.device("cpu")}


def test_doctor_shows_every_row_and_what_compiling_lacks(
    machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(2)
    monkeypatch.setattr("gesso.engine.doctor.measure_matmul_peak", lambda device, dtype: 1e12)
    text = "\n".join(examine())
    assert "cuda           2: a card, a card" in text
    assert "mps            not here" in text
    assert "compiler       Triton and /usr/bin/gcc" in text


def test_peak_memory_of_this_process_is_plausible() -> None:
    here = torch.device("cpu")
    assert 10e6 < facts(here).peak_memory(here) < 1e12


def test_devices_import_where_there_is_no_resource_module() -> None:
    """As on Windows."""
    code = (
        "import sys, torch, psutil, unittest.mock as mock\n"
        "sys.modules['resource'] = None\n"
        "sys.platform = 'win32'\n"
        "from gesso.devices import facts\n"
        "memory = mock.Mock(**{'memory_info.return_value.peak_wset': 7})\n"
        "mock.patch('psutil.Process', lambda: memory).start()\n"
        "assert facts(torch.device('cpu')).peak_memory(torch.device('cpu')) == 7\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("gain", "chosen"), [(4.4, "bf16"), (0.5, "fp32"), (1.1, "fp32")])
def test_a_processor_takes_bfloat16_where_its_instructions_are_faster(
    gain: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr("gesso.devices.cpu.bf16_gain", lambda: gain)
    reason = f"this CPU multiplies matrices in bfloat16 {gain} times as fast as in float32"
    assert choose_precision("auto", torch.device("cpu")) == Choice(chosen, reason)


def test_a_processor_without_such_instructions_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    monkeypatch.setattr("gesso.devices.cpu.bf16_gain", lambda: pytest.fail("it was timed"))
    assert choose_precision("auto", torch.device("cpu")).value == "fp32"


def test_timing_bfloat16_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    assert cpu.bf16_gain.__wrapped__() > 0
    assert torch.equal(torch.get_rng_state(), before)
