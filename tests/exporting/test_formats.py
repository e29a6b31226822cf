"""The formats besides ONNX: what their files say and give. Their own check has compared them with torch."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import Gesso
from gesso.exporting.torch import METADATA

pytest_plugins = ("exports",)


def test_torch_file_runs_without_gesso_and_says_what_it_is(
    runs: dict[str, Path], exported: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "dcgan.pt2"
    said = gesso("export", runs["dcgan"], "--format", "torch", "-o", out, "--licence", " MIT ")
    assert (said.code, said.out[-1]) == (0, str(out))
    extra = {METADATA: ""}
    program = torch.export.load(out, extra_files=extra)
    about = json.loads(extra[METADATA])
    assert (about["name"], about["kind"], about["licence"]) == ("dcgan", "generator", "MIT")
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    (expected,) = onnxruntime.InferenceSession(exported["dcgan"]).run(["made"], {"z": z.numpy()})
    assert np.abs(program.module()(z).detach().numpy() - expected).max() <= 1e-3


def test_torch_file_names_nothing_of_the_machine_it_was_made_on(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    out = tmp_path / "dcgan.pt2"
    assert gesso("export", runs["dcgan"], "--format", "torch", "-o", out).code == 0
    here = str(Path(__file__).parents[2]).encode()
    with zipfile.ZipFile(out) as members:
        assert not [name for name in members.namelist() if here in members.read(name)]


def test_torch_file_holds_no_picture_that_it_was_traced_with(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    out = tmp_path / "densenet.pt2"
    assert gesso("export", runs["densenet"], "--format", "torch", "-o", out).code == 0
    assert torch.export.load(out).example_inputs is None


def test_openvino_has_two_files_that_say_what_they_are(
    runs: dict[str, Path], exported: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    openvino = pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "dcgan.xml"
    said = gesso("export", runs["dcgan"], "--format", "openvino", "-o", out)
    assert (said.code, said.out[-2:]) == (0, [str(out), str(out.with_suffix(".bin"))])
    model = openvino.Core().read_model(out)
    assert model.get_rt_info(["gesso", "name"]).astype(str) == "dcgan"
    z = np.random.default_rng(0).standard_normal((3, 8), np.float32)
    (expected,) = onnxruntime.InferenceSession(exported["dcgan"]).run(["made"], {"z": z})
    made = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"z": z})["made"]
    assert np.abs(made - expected).max() <= 1e-3


TELEMETRY = """
import sys
from gesso.exporting.exporters import needed
{before}
needed("openvino")
import openvino.tools.ovc.convert_impl  # which the converter first loads as it converts
print(*(name for name, module in sys.modules.items() if module and name.startswith("openvino_telemetry.")))
"""


@pytest.mark.parametrize("before", ["", "import openvino_telemetry"], ids=["gesso's", "the user's"])
def test_openvino_sends_nothing_unless_its_sender_was_there_before(before: str) -> None:
    pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    command = [sys.executable, "-c", TELEMETRY.format(before=before)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert bool(done.stdout.split()) == bool(before)
