"""`import gesso` gives what the command line gives, and costs nothing until it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

import gesso
from conftest import toy


def test_importing_gesso_imports_no_torch() -> None:
    code = "import sys, gesso; assert 'torch' not in sys.modules; gesso.RECIPES; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recipe_trains_scores_and_translates(pairs: Path, tmp_path: Path) -> None:
    run = gesso.train(toy("pix2pix", pairs, epochs=0.25), runs=tmp_path, name="run")
    scores = gesso.evaluate(str(run.path), device="cpu", precision="fp32")
    assert scores["rows"] == run.rows
    words = {"run": str(run.path), "inputs": str(pairs / "test"), "out": str(tmp_path / "out")}
    done = gesso.translate(**words, device="cpu", precision="fp32")
    assert done.written == 4 and not done.bad


def test_completion_knows_the_names() -> None:
    assert {"train", "evaluate", "RECIPES"} <= set(dir(gesso))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        gesso.tarin  # noqa: B018
