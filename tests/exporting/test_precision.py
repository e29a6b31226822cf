"""Every format in every precision that it has, for every model: each passes its own comparison with torch."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import changed, make_run

from commands import Gesso
from conftest import toy
from gesso.exporting import Options, load_source
from gesso.exporting.graph import graphs
from gesso.exporting.pictures import tried_on
from gesso.exporting.scoring import Built, score
from gesso.recipe import Recipe

onnx = pytest.importorskip("onnx", reason="needs pip install 'gesso[export]'")

STREETS = "builtin:streets"
RECIPES: dict[str, Callable[[], Recipe]] = {
    "pix2pix": lambda: changed(toy("pix2pix", STREETS), "data", evaluate_subset=4),
    "cyclegan": lambda: changed(toy("cyclegan", STREETS), "data", evaluate_subset=4),
    "dcgan": lambda: toy("dcgan", STREETS),
    "densenet": lambda: changed(toy("densenet121", STREETS), "data", names=("fog", "rain"), evaluate_subset=4),
}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each model with a few test pictures."""
    root = tmp_path_factory.mktemp("few")
    return {name: make_run(root / name, recipe()) for name, recipe in RECIPES.items()}


def exported(gesso: Gesso, run: Path, out: Path, format_: str, precision: str) -> tuple[Path, list[str]]:
    """The first file, and the lines that compare it with torch."""
    direction = ("--direction", "AtoB") if run.name in ("pix2pix", "cyclegan") else ()
    said = gesso("export", run, "-o", out, "--format", format_, "--precision", precision, *direction)
    assert said.code == 0, said.err
    files = [Path(line) for line in said.out if line.startswith(str(out))]
    assert all(file.stat().st_size for file in files)
    return files[0], said.out[: -len(files)]


@pytest.mark.parametrize("model", RECIPES)
@pytest.mark.parametrize("format_", ["onnx", "torch", "openvino"])
def test_fp16_passes(format_: str, model: str, few: dict[str, Path], tmp_path: Path, gesso: Gesso) -> None:
    if format_ == "openvino":
        pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    _, (told,) = exported(gesso, few[model], tmp_path, format_, "fp16")
    assert "(passes: largest 0.05)" in told


BESIDE = r"0\.\d\d MB, fp32 0\.\d\d MB; \d+\.\d\d ms a picture, fp32 \d+\.\d\d ms; L1 to fp32 0\.0\d{3}"
TARGETS = rf"{BESIDE}; L1 to the targets 0\.\d{{4}}, fp32 0\.\d{{4}}"
SCORES = {
    "pix2pix": f"2 pictures of streets, test: {TARGETS}",
    "cyclegan": f"2 pictures of streets, test: {TARGETS}",
    "dcgan": f"32 latent vectors: {BESIDE}",
    "densenet": rf"2 pictures of streets, test: {BESIDE}; the same class in \d of 2; top-1 [01]\.\d+, fp32 [01]\.\d+",
}


@pytest.mark.parametrize("model", RECIPES)
@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_int8_passes_and_tells_what_it_costs(
    format_: str, model: str, few: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    if format_ == "openvino":
        pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    file, (compared, scored) = exported(gesso, few[model], tmp_path, format_, "int8")
    unit = "of probabilities" if model == "densenet" else "in [-1, 1]"
    assert f" {unit} (passes: mean 0.1)" in compared
    assert re.fullmatch(rf"{file.name}: int8 on {SCORES[model]}", scored), scored
    if format_ == "onnx":
        assert in_float(file) == []
        assert f"{file.stat().st_size / 1e6:.2f} MB, fp32 " in scored


def test_int8_and_fp32_are_timed_in_turn(few: dict[str, Path]) -> None:
    source = load_source(few["dcgan"])
    (graph,) = graphs(source, Options(precision="int8"))
    called: list[str] = []

    def built(name: str) -> Built:
        def run(inputs: np.ndarray) -> np.ndarray:
            called.append(name)
            return np.zeros((1, 3, 32, 32), np.float32)

        return Built({}, run)

    score(built("int8"), built("fp32"), graph, source, "x.onnx")
    assert called == ["int8", "fp32"] * 33  # once to set up, then on 32 inputs


def in_float(file: Path) -> list[str]:
    """Layers whose weights are not kept in int8."""
    nodes = onnx.load(file).graph.node
    int8 = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    layers = [node for node in nodes if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    assert layers
    return [node.name for node in layers if node.input[1] not in int8]


def test_pictures_to_calibrate_on_are_not_those_that_are_scored(few: dict[str, Path]) -> None:
    tried = tried_on(load_source(few["pix2pix"]), "AtoB", 64)
    first, second = tried.half(0), tried.half(1)
    assert [len(first.inputs), len(second.inputs), len(second.targets)] == [2, 2, 2]
    assert not any(np.array_equal(a, b) for a in first.inputs for b in second.inputs)


def test_few_pictures_of_a_large_set_are_of_all_its_classes(classes: Path, tmp_path: Path) -> None:
    recipe = toy("densenet121", classes)
    names = tuple(sorted(path.name for path in (classes / "val").iterdir()))
    run = make_run(tmp_path / "run", changed(recipe, "data", names=names))
    tried = tried_on(load_source(run), "", len(names))
    assert tried.labels == [*range(len(names))]


def test_where_the_networks_classes_are_not_the_sets_no_accuracy_is_told(classes: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", changed(toy("densenet121", classes), "data", classes=2))
    assert tried_on(load_source(run), "", 4).labels == []
