"""What every test may use: toy recipes on a toy data set, a cache of their own, the command line and a toy run."""

import dataclasses
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from commands import TINY, Gesso, Said
from gesso.cli import main
from gesso.engine import checkpoint
from gesso.engine.teaching import adopted
from gesso.models import build_model
from gesso.recipe import Checkpoints, Recipe, Tracking, TranslationData
from gesso.recipes import RECIPES


def pytest_configure() -> None:
    """A shell that started the tests in the background has interrupts ignored, which every process inherits that the
    tests start, and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, or the database in which the user keeps what the bench measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data_home")))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Toy networks are too small to share; and results must not depend on how many tests run at once."""
    torch.set_num_threads(1)


def write_pairs(root: Path, counts: dict[str, int], size: int = 32) -> Path:
    """A paired set whose B is the negative of a random smooth A, so that little training already helps."""
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for i in range(count):
            rng = np.random.default_rng([i, len(split)])
            coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
            a = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
            Image.fromarray(np.hstack([a, 255 - a])).save(root / split / f"{i:03d}.png")
    return root


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training pairs of 32×32 pixels, 4 for validation, 4 for test."""
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", {"train": 24, "val": 4, "test": 4})


def write_classes(root: Path) -> Path:
    """12 training images of 32×32 pixels in each of two classes that brightness tells apart, 3 for validation."""
    for split, count in (("train", 12), ("val", 3)):
        for kind, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng([i, kind, len(split)]).integers(0, 100, (32, 32, 3), np.uint8)
                Image.fromarray(noise + np.uint8(150 * kind)).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "classes")


def toy(name: str, root: Path, **changes: object) -> Any:
    """Recipe `name` with all its choices, shrunk to 32 pixels, a few filters, two epochs; a student has a teacher."""
    recipe: Any = RECIPES[name]()
    toyed = dataclasses.replace(
        recipe,
        **SHRUNK[recipe.model](recipe, str(root)),
        epochs=2,
        batch_size=2,
        precision="fp32",
        device="cpu",
        compile="off",
        checkpoints=Checkpoints(every=0.5),
        evaluation=dataclasses.replace(recipe.evaluation, every=1),
        tracking=Tracking(log_every=8, sheet_every=1, sheet_images=2, trackers=()),
    )
    return adopted(dataclasses.replace(toyed, **changes))


def _translator(recipe: Any, root: str) -> dict[str, Any]:
    return {
        "data": TranslationData(root=root, load_size=36, crop_size=32),
        "generator": dataclasses.replace(recipe.generator, ngf=4, blocks=1, depth=5),
        "discriminator": dataclasses.replace(recipe.discriminator, ndf=4, layers=2),
    }


def _dcgan(recipe: Any, root: str) -> dict[str, Any]:
    return {
        "data": dataclasses.replace(recipe.data, root=root, image_size=32, crop=28),
        "networks": dataclasses.replace(recipe.networks, latent=8, ngf=4, ndf=4),
    }


def _densenet(recipe: Any, root: str) -> dict[str, Any]:
    return {
        "data": dataclasses.replace(recipe.data, root=root, image_size=32, resize=32, evaluate_split="val"),
        "network": dataclasses.replace(recipe.network, blocks=(1, 1), growth=4, initial=8),
    }


def write_teacher(model: str, root: Path, run: Path) -> Path:
    """A run of the toy of recipe `model` on `root` that has one checkpoint, of untrained networks."""
    recipe = toy(model, root)
    recipe = dataclasses.replace(recipe, generator=dataclasses.replace(recipe.generator, ngf=6))
    built = build_model(recipe)
    built.initialize(100)
    run.mkdir(parents=True)
    (run / "recipe.json").write_text(recipe.to_json())
    weights = {name: network.state_dict() for name, network in built.networks.items()}
    checkpoint.save(run, 24, model, weights, {}, {}, recipe.to_json())
    return run


def _student(recipe: Any, root: str) -> dict[str, Any]:
    teacher = Path(root).parent / f"{Path(root).name}-teachers" / recipe.model
    if not teacher.exists():
        write_teacher(recipe.teachers[0], Path(root), teacher)
    return {**_translator(recipe, root), "teacher": str(teacher)}


SHRUNK = {
    "cyclegan": _translator,
    "cyclegan-distill": _student,
    "dcgan": _dcgan,
    "densenet": _densenet,
    "pix2pix": _translator,
    "pix2pix-distill": _student,
}


Toy = Callable[..., Recipe]


@pytest.fixture
def gesso(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gesso:
    """Run the command line in this process, in a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object, encoding: str = "utf-8") -> Said:
        capsys.readouterr()
        sys.stdout.reconfigure(encoding=encoding)  # type: ignore[union-attr]
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(code, captured.out.splitlines(), captured.err.splitlines())

    return run


@pytest.fixture(scope="session")
def run_folder(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy run of pix2pix. Not to be written to."""
    runs = tmp_path_factory.mktemp("cli") / "runs"
    assert main(["train", "pix2pix", "--data.root", str(pairs), "--runs", str(runs), "--name", "toy", *TINY]) == 0
    return runs / "toy"


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the finished toy run."""
    return Path(shutil.copytree(run_folder, tmp_path / "runs" / "toy"))
