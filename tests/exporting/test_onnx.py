"""Exported ONNX files give what torch gives, at any size, and say what they are."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made import drawn
from torch import Tensor, nn

from commands import Gesso, refused
from gesso.exported import Exported
from gesso.recipe import Recipe

ort = pytest.importorskip("onnxruntime")

pytest_plugins = ("exports",)

SIZES = [(64, 64), (256, 256), (200, 328)]


def opened(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def described(path: Path) -> Exported:
    return Exported.of(opened(path).get_modelmeta().custom_metadata_map, path)


def grown(image: Tensor, multiple: int) -> Tensor:
    """By hand: mirrored at the right and the bottom, or repeated where it is too small to be mirrored."""
    height, width = image.shape[2:]
    down, right = -height % multiple, -width % multiple
    return F.pad(image, (0, right, 0, down), "reflect" if down < height and right < width else "replicate")


def by_torch(model: str, direction: str, image: Tensor, recipe: Recipe) -> Tensor:
    """The generator's own forward pass, its mode as the recipe says, without dropout."""
    networks = drawn(recipe).networks
    network = networks["G" if model == "pix2pix" else {"AtoB": "G_A", "BtoA": "G_B"}[direction]]
    network.train(model == "pix2pix")
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        made: Tensor = network(grown(image, 64 if model == "pix2pix" else 4))
    return made[:, :, : image.shape[2], : image.shape[3]]


@pytest.fixture(params=["pix2pix", "cyclegan_AtoB", "cyclegan_BtoA"])
def translator(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_translators_give_what_torch_gives(
    translator: str, size: tuple[int, int], batch: int, exported: dict[str, Path], recipes: dict[str, Recipe]
) -> None:
    image = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    model, _, direction = translator.partition("_")
    made = opened(exported[translator]).run(["made"], {"image": image.numpy()})[0]
    assert np.abs(made - by_torch(model, direction, image, recipes[model]).numpy()).max() <= 1e-3


def test_a_generator_gives_what_torch_gives(exported: dict[str, Path], recipes: dict[str, Recipe]) -> None:
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    network = drawn(recipes["dcgan"]).networks["G"].eval()
    made = opened(exported["dcgan"]).run(["made"], {"z": z.numpy()})[0]
    with torch.no_grad():
        assert np.abs(made - network(z).numpy()).max() <= 1e-3


def test_a_classifier_gives_what_torch_gives(exported: dict[str, Path], recipes: dict[str, Recipe]) -> None:
    image = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    network = drawn(recipes["densenet"]).networks["net"].eval()
    with torch.no_grad():
        logits = network(((image + 1) / 2 - mean[:, None, None]) / std[:, None, None])
    made, shares = opened(exported["densenet"]).run(["logits", "probabilities"], {"image": image.numpy()})
    assert np.abs(made - logits.numpy()).max() <= 1e-3
    assert np.abs(shares - logits.softmax(1).numpy()).max() <= 1e-3


def test_a_file_says_what_it_is(exported: dict[str, Path], runs: dict[str, Path]) -> None:
    manifest = runs["cyclegan"] / "checkpoints" / "000000008" / "manifest.json"
    about = described(exported["cyclegan_BtoA"])
    assert (about.name, about.kind, about.direction, about.size) == ("cyclegan", "translator", "BtoA", 32)
    assert about.digest == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert (about.licence, about.checkpoint, about.together) == ("CC-BY-4.0", "000000008", True)
    assert described(exported["densenet"]).classes == ("clear", "fog", "rain")


def test_statistics_of_the_batch_are_told(exported: dict[str, Path]) -> None:
    assert not described(exported["pix2pix"]).together


def test_a_file_names_nothing_of_the_machine_it_was_made_on(exported: dict[str, Path]) -> None:
    content = exported["pix2pix"].read_bytes()
    assert str(Path(torch.__file__).parents[1]).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_dropout_that_is_left_out_is_told(runs: dict[str, Path], tmp_path: Path, gesso: Gesso) -> None:
    said = gesso("export", runs["pix2pix"], "-o", tmp_path / "x.onnx", "--tolerance", 0)
    assert "dropout" in said.err[0]


def test_every_stage_is_told_as_it_begins(runs: dict[str, Path], tmp_path: Path, gesso: Gesso) -> None:
    said = gesso("export", runs["cyclegan"], "-o", tmp_path / "x.onnx", "--direction", "AtoB")
    tried = "x.onnx: running it on 2 pictures of streets, test at"
    assert said.err == ["x.onnx: converting", *(f"{tried} {size}" for size in ("8x8", "32x32", "47x33"))]


def test_what_differs_too_much_is_not_written(runs: dict[str, Path], tmp_path: Path, gesso: Gesso) -> None:
    out = tmp_path / "out" / "x.onnx"
    said = gesso("export", runs["dcgan"], "-o", out, "--tolerance", 0)
    refused(said._replace(err=said.err[-1:]), "x.onnx differs from torch")
    assert list(tmp_path.iterdir()) == []


def test_bytes_in_and_out(runs: dict[str, Path], tmp_path: Path, gesso: Gesso, recipes: dict[str, Recipe]) -> None:
    out = tmp_path / "bytes.onnx"
    said = gesso("export", runs["cyclegan"], "-o", out, "--uint8", "--direction", "BtoA")
    assert (said.code, said.out[-1]) == (0, str(out))
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 37, 50), np.uint8)
    made = opened(out).run(["made"], {"image": image})[0]
    expected = by_torch("cyclegan", "BtoA", torch.from_numpy(image) / 127.5 - 1, recipes["cyclegan"])
    assert made.dtype == np.uint8
    assert np.abs(made - ((expected + 1) * 127.5).numpy()).max() <= 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--direction", "BtoA"], "--direction BtoA: a dcgan has no directions"),
        (["-o", "x.pt"], r"--out x.pt: this format is written as \.onnx"),
        (["--format", "torch", "--precision", "int8"], "--precision int8: --format torch has none"),
    ],
)
def test_flags_that_cannot_be(words: list[str], told: str, runs: dict[str, Path], gesso: Gesso) -> None:
    refused(gesso("export", runs["dcgan"], *words), told)


@pytest.mark.parametrize(("format_", "there"), [("onnx", "x.onnx"), ("torch", "x.pt2"), ("openvino", "x.bin")])
def test_a_file_that_is_there_is_refused_before_the_export(
    format_: str, there: str, runs: dict[str, Path], tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesso.exporting.onnx.needed", print)
    monkeypatch.setattr("gesso.exporting.openvino.needed", print)
    monkeypatch.setattr("torch.export.export", None)
    (tmp_path / there).write_bytes(b"before")
    out = (tmp_path / there).with_suffix({"openvino": ".xml"}.get(format_, (tmp_path / there).suffix))
    said = gesso("export", runs["dcgan"], "--format", format_, "-o", out)
    refused(said, rf"{there} is there already; use --existing replace or another --out")
    assert (tmp_path / there).read_bytes() == b"before"


@pytest.mark.parametrize("tolerance", ["nan", "-1"])
def test_a_tolerance_that_is_none_is_refused_before_the_export(tolerance: str, gesso: Gesso) -> None:
    refused(gesso("export", "no-run", f"--tolerance={tolerance}"), f"--tolerance {tolerance}: must be 0 or more")


def test_half_precision_keeps_its_inputs_and_outputs(runs: dict[str, Path], tmp_path: Path, gesso: Gesso) -> None:
    out = tmp_path / "half.onnx"
    assert gesso("export", runs["dcgan"], "-o", out, "--precision", "fp16").code == 0
    session = opened(out)
    assert [each.type for each in (*session.get_inputs(), *session.get_outputs())] == ["tensor(float)"] * 2
    assert described(out).precision == "fp16"
