"""Exported models used without torch: what only onnxruntime, numpy and Pillow can do gives the same pictures."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import Gesso, refused
from gesso.exported import SEAL, sealed
from gesso.predicting import alone
from gesso.runtime import SWITCH

pytest.importorskip("onnxruntime")
pytest_plugins = ("exports",)

GUARD = """
import sys

ALLOWED = {"gesso", "onnxruntime", "numpy", "PIL", *sys.stdlib_module_names}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED and not name.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from gesso.__main__ import main
sys.exit(main())
"""


def alone_run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """gesso where nothing but onnxruntime, numpy and Pillow can be imported."""
    command = [sys.executable, "-c", GUARD, *map(str, words)]
    told = {**os.environ, **environment}
    told.pop(SWITCH, None)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=told)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures of two sizes, one in a folder below."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (40, 56)), ("b.png", (40, 56)), ("more/c.jpg", (33, 21))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return tmp_path / "photos"


def apart(ours: Path, theirs: Path) -> int:
    """The largest difference in grey levels of two pictures, or of all in two folders of the same names."""
    if ours.is_dir():
        names = sorted(path.relative_to(ours) for path in ours.rglob("*.png"))
        assert names and names == sorted(path.relative_to(theirs) for path in theirs.rglob("*.png"))
        return max(apart(ours / name, theirs / name) for name in names)
    a, b = (np.asarray(Image.open(path)).astype(int) for path in (ours, theirs))
    assert a.shape == b.shape
    return int(np.abs(a - b).max())


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_translates_as_torch_does(
    direction: str, exported: dict[str, Path], runs: dict[str, Path], photos: Path, tmp_path: Path, gesso: Gesso
) -> None:
    done = alone_run("translate", exported[f"cyclegan_{direction}"], photos, "-o", tmp_path / "alone")
    assert (done.returncode, done.stdout.split(" to ")[0]) == (0, "3 written"), done.stderr
    words = ("translate", runs["cyclegan"], photos, "-o", tmp_path / "torch", "--direction", direction)
    assert gesso(*words).code == 0
    assert apart(tmp_path / "alone", tmp_path / "torch") <= 1


def test_where_statistics_are_the_batchs_pictures_do_not_share_one(
    exported: dict[str, Path], photos: Path, tmp_path: Path, gesso: Gesso
) -> None:
    assert gesso("translate", exported["pix2pix"], photos, "-o", tmp_path / "all").code == 0
    assert gesso("translate", exported["pix2pix"], photos / "b.png", "-o", tmp_path / "one").code == 0
    assert apart(tmp_path / "all" / "b.png", tmp_path / "one" / "b.png") == 0


def test_samples_as_torch_does(exported: dict[str, Path], runs: dict[str, Path], tmp_path: Path, gesso: Gesso) -> None:
    words = ("-n", 5, "--seed", 3)
    done = alone_run("sample", exported["dcgan"], "-o", tmp_path / "alone.png", *words)
    assert done.returncode == 0, done.stderr
    assert gesso("sample", runs["dcgan"], "-o", tmp_path / "torch.png", *words).code == 0
    assert apart(tmp_path / "alone.png", tmp_path / "torch.png") <= 1


def test_classifies_as_torch_does(exported: dict[str, Path], runs: dict[str, Path], photos: Path, gesso: Gesso) -> None:
    done = alone_run("classify", exported["densenet"], photos)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == gesso("classify", runs["densenet"], photos).out


def test_onnxruntime_keeps_no_identifier_of_the_user(exported: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data")}
    done = alone_run("classify", exported["densenet"], photos, **places)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("word", ["doctor", "--help"])
def test_other_commands_say_what_is_missing(word: str) -> None:
    done = alone_run(word)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gesso: gesso {word} needs tyro, which is not installed: pip install gesso;")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["translate", "m.onnx", "in", "-o", "out"], True),
        (["translate", "-b", "2", "--out=x", "M.ONNX", "in"], True),
        (["classify", "--json", "m.onnx", "in"], True),
        (["translate", "run", "in", "-o", "out.onnx"], False),
        (["translate", "-o", "out.onnx", "run", "in"], False),
        (["train", "m.onnx"], False),
    ],
)
def test_which_commands_it_is_for(words: list[str], meant: bool) -> None:
    assert alone.is_meant(words[0], words[1:]) is meant


def test_a_bad_picture_is_named_and_the_others_are_done(
    exported: dict[str, Path], photos: Path, tmp_path: Path, gesso: Gesso
) -> None:
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    said = gesso("translate", exported["cyclegan_AtoB"], photos, "-o", tmp_path / "out")
    assert (said.code, said.out[-1].split(",")[0]) == (2, f"3 written to {tmp_path / 'out'}")
    assert any(line.startswith(f"gesso: {photos / 'bad.png'}: ") for line in said.err)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--mode", "train"], "unrecognized arguments: --mode train"),
        (["--direction", "BtoA"], "--direction BtoA: .* was exported for AtoB"),
        (["--provider", "AbacusExecutionProvider"], "this onnxruntime has .*CPUExecutionProvider"),
        (["--batch-size", "0"], "--batch-size 0: must be 1 or more"),
        (["--tile", "64"], r"--tile 64: .*\.onnx takes every picture whole.*; translate the run with --tile"),
    ],
)
def test_flags_that_cannot_be(
    words: list[str], told: str, exported: dict[str, Path], photos: Path, tmp_path: Path, gesso: Gesso
) -> None:
    refused(gesso("translate", exported["cyclegan_AtoB"], photos, "-o", tmp_path / "out", *words), told)


def test_a_model_of_another_kind(exported: dict[str, Path], photos: Path, tmp_path: Path, gesso: Gesso) -> None:
    said = gesso("translate", exported["dcgan"], photos, "-o", tmp_path / "out")
    refused(said, "a dcgan, which is used with `gesso sample`")


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _resealed(content: bytes) -> bytes:
    """Garbage that somebody has sealed."""
    return sealed(_flipped(content)[: len(content) // 3])


def _external(content: bytes) -> bytes:
    """The model's body, and a graph whose one tensor lies in /etc/passwd, sealed."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(content)
    del model.metadata_props[-1]
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return sealed(model.SerializeToString())


def _of_others(content: bytes) -> bytes:
    """A good ONNX file that says nothing of gesso."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    return bytes(model.SerializeToString())


def _nameless(content: bytes) -> bytes:
    return sealed(_of_others(content))


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda content: b"", "cut off, or not a model that this gesso exported"),
        (lambda content: b"not a model at all", "cut off, or not a model that this gesso exported"),
        (_cut, "cut off, or not a model that this gesso exported"),
        (_flipped, "damaged or edited since it was exported"),
        (_resealed, "damaged, it is not in ONNX's format|onnxruntime cannot load it"),
        (_external, "keeps weights in another file"),
        (_of_others, "cut off, or not a model that this gesso exported"),
        (_nameless, "not a model that this gesso exported"),
    ],
    ids=["empty", "text", "cut", "flipped", "resealed", "external", "others", "nameless"],
)
def test_a_file_that_cannot_be_trusted_is_one_line(
    spoilt: object, told: str, exported: dict[str, Path], photos: Path, tmp_path: Path, gesso: Gesso
) -> None:
    assert callable(spoilt)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(spoilt(exported["cyclegan_AtoB"].read_bytes()))
    refused(gesso("translate", bad, photos, "-o", tmp_path / "out"), told)
    assert not (tmp_path / "out").exists()


def test_the_seal_is_one_entry_of_the_metadata(exported: dict[str, Path]) -> None:
    onnx = pytest.importorskip("onnx")
    assert onnx.load(exported["dcgan"]).metadata_props[-1].key == SEAL.decode()
