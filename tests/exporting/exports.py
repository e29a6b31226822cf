"""A plugin for the tests here: toy models, exported once. Skips where gesso[export] is not installed."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import changed, make_run

from conftest import toy
from gesso.exporting import FORMATS, Options, load_source
from gesso.runtime import SENDER

sys.modules.setdefault(SENDER, None)  # type: ignore[arg-type]  # tests that import OpenVINO before gesso send nothing

STREETS = "builtin:streets"


def _pix2pix() -> Any:
    """As the paper uses it: the batch's own statistics and dropout. One level more than the others, to have dropout."""
    deeper = changed(changed(toy("pix2pix", STREETS), "data", crop_size=64, load_size=64), "generator", depth=6)
    return changed(deeper, "generator", dropout=0.5, test_mode="train")


RECIPES: dict[str, Callable[[], Any]] = {
    "pix2pix": _pix2pix,
    "cyclegan": lambda: toy("cyclegan", STREETS),
    "dcgan": lambda: toy("dcgan", STREETS),
    "densenet": lambda: changed(toy("densenet121", STREETS), "data", names=("clear", "fog", "rain")),
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each model, by its name."""
    root = tmp_path_factory.mktemp("runs")
    return {name: make_run(root / name, make()) for name, make in RECIPES.items()}


@pytest.fixture(scope="session")
def exported(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An ONNX file of each model, cyclegan's as cyclegan_AtoB and cyclegan_BtoA."""
    pytest.importorskip("onnxscript", reason="needs pip install 'gesso[export]'")
    out = tmp_path_factory.mktemp("exported")
    options = Options(licence="CC-BY-4.0")
    paths = [path for run in runs.values() for path in FORMATS["onnx"](load_source(run), out, options)]
    return {path.stem: path for path in paths}


@pytest.fixture(scope="session")
def recipes() -> dict[str, Any]:
    return {name: make() for name, make in RECIPES.items()}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run of a model with another recipe."""

    def made(name: str, change: Callable[[Any], Any]) -> Path:
        return make_run(tmp_path / "runs" / name, change(RECIPES[name]()))

    return made
