"""ONNX files that were damaged, and such with a seal that somebody made for them: one line, or they work."""

import random
from pathlib import Path

import numpy as np
import pytest
from made import make_run

from conftest import toy
from gesso.errors import CheckpointError, GessoError
from gesso.exported import read_sealed, sealed
from gesso.exporting import FORMATS, Options, load_source
from gesso.predicting.alone_session import Session

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
