"""ONNX files that were damaged, and such with a seal that somebody made for them: one line, or they work."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_run

from commands import Gesso, refused
from conftest import toy
from gesso.errors import CheckpointError, GessoError
from gesso.exported import read_sealed, sealed
from gesso.exporting import FORMATS, Options, load_source
from gesso.predicting.alone_session import Session

onnx = pytest.importorskip("onnx", reason="needs pip install 'gesso[export]'")
pytest.importorskip("onnxscript", reason="needs pip install 'gesso[export]'")
SEAL = len(sealed(b""))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An exported DCGAN."""
    folder = tmp_path_factory.mktemp("whole")
    run = make_run(folder / "run", toy("dcgan", "builtin:streets"))
    (path,) = FORMATS["onnx"](load_source(run), folder / "dcgan.onnx", Options())
    return path.read_bytes()


def damaged(content: bytes, rng: random.Random) -> bytes:
    """`content` cut somewhere, or with a few bytes changed; never as it was."""
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for place in rng.sample(range(len(content)), rng.randrange(1, 6)):
        changed[place] ^= rng.randrange(1, 256)
    return bytes(changed)


def test_a_damaged_file_is_told_from_a_whole_one(whole: bytes, tmp_path: Path) -> None:
    rng, file = random.Random(1), tmp_path / "bad.onnx"
    file.write_bytes(whole)
    assert read_sealed(file) == whole
    for _ in range(300):
        file.write_bytes(damaged(whole, rng))
        with pytest.raises(CheckpointError, match=r"bad\.onnx: (cut off|damaged or edited)"):
            read_sealed(file)


def test_a_damaged_file_with_a_new_seal_is_refused_in_one_line_or_runs(
    whole: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng, file, ends = random.Random(2), tmp_path / "bad.onnx", set()
    for _ in range(300):
        file.write_bytes(sealed(damaged(whole[:-SEAL], rng)))
        try:
            session = Session(file, "generator", "CPUExecutionProvider")
            session.run(np.zeros((1, 8), np.float32), (1, 3, 32, 32))
            ends.add("ran")
        except GessoError as error:
            assert "bad.onnx" in str(error) and "\n" not in str(error)
            ends.add("refused")
        except ValueError as error:  # of `run`; its text is what the commands tell
            assert "\n" not in str(error)
            ends.add("failed")
    assert {"ran", "refused"} <= ends
    assert capfd.readouterr() == ("", "")


def _weights() -> Any:
    """A tensor that lies in another file of this machine."""
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return tensor


def _constant(tensor: Any) -> Any:
    return onnx.helper.make_node("Constant", [], ["w"], value=tensor)


def _located(model: Any) -> None:
    model.graph.initializer.append(onnx.TensorProto(name="w", data_location=onnx.TensorProto.EXTERNAL))


def _among_several(model: Any) -> None:
    model.graph.node.append(onnx.NodeProto(op_type="Constant"))
    model.graph.node[-1].attribute.add(name="values").tensors.append(_weights())


def _in_a_branch(model: Any) -> None:
    branch = onnx.GraphProto(name="then", node=[_constant(_weights())])
    model.graph.node.append(onnx.helper.make_node("If", ["z"], ["w"], then_branch=branch))


def _sparse(model: Any) -> None:
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=_weights()))


def _in_a_function(model: Any) -> None:
    model.functions.append(onnx.FunctionProto(name="f", node=[_constant(_weights())]))


def _as_a_default(model: Any) -> None:
    model.functions.append(onnx.FunctionProto(name="f"))
    model.functions[-1].attribute_proto.append(onnx.helper.make_attribute("value", _weights()))


def _in_training(model: Any) -> None:
    model.training_info.add().algorithm.initializer.append(_weights())


HIDING: dict[str, Callable[[Any], object]] = {
    "weights": lambda model: model.graph.initializer.append(_weights()),
    "by place alone": _located,
    "constant": lambda model: model.graph.node.append(_constant(_weights())),
    "among several": _among_several,
    "branch": _in_a_branch,
    "sparse": _sparse,
    "function": _in_a_function,
    "default": _as_a_default,
    "training": _in_training,
}


@pytest.mark.parametrize("place", HIDING)
def test_weights_in_another_file_are_refused_before_the_runtime_reads_them(
    place: str, whole: bytes, tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesso.predicting.alone_session.onnxruntime", None)
    model = onnx.load_from_string(whole[:-SEAL])
    HIDING[place](model)
    file = tmp_path / "bad.onnx"
    file.write_bytes(sealed(model.SerializeToString()))
    said = gesso("translate", file, tmp_path, "-o", tmp_path / "out")
    refused(said, r"bad\.onnx: keeps weights in another file; use a file that holds all of them")
