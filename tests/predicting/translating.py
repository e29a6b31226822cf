"""Untrained runs to translate with, pictures to translate, and what came of them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conftest import toy
from gesso.data.images import read_image, write_image
from gesso.engine import checkpoint
from gesso.engine.state import load_weights, weights_of
from gesso.models import build_model
from gesso.predicting.folder import Done, translate_folder
from gesso.recipe import Recipe, TranslationData, from_json


def make_run(path: Path, recipe: Recipe, checkpoints: int = 1) -> Path:
    """The folder of an untrained run; each of its checkpoints has other weights."""
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(recipe.to_json())
    model = build_model(recipe)
    for i in range(checkpoints):
        model.initialize(i)
        checkpoint.save(path, 10 * i, recipe.model, weights_of(model, None), {}, {}, recipe.to_json())
    checkpoint.mark_best(path, path / "checkpoints" / "000000000")
    return path


def with_channels(name: str, a: int, b: int) -> Recipe:
    recipe = toy(name, Path("nowhere"))
    loss: Any = dataclasses.replace(recipe.loss, lambda_identity=0) if name == "cyclegan" else recipe.loss  # type: ignore[attr-defined]
    return dataclasses.replace(
        recipe, data=TranslationData(load_size=36, crop_size=32, channels_a=a, channels_b=b), loss=loss
    )


def resnet_run(path: Path) -> Path:
    """A run of a CycleGAN: ResNets, instance norm, eval mode; multiples of 4."""
    return make_run(path, toy("cyclegan", Path("nowhere")), 3)


def unet_run(path: Path) -> Path:
    """A run of the paper's pix2pix: U-Net, batch norm and dropout on when translating; multiples of 32."""
    return make_run(path, toy("pix2pix", Path("nowhere")))


def picture(height: int, width: int, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)


def photos(at: Path, sizes: list[tuple[int, int]]) -> Path:
    at.mkdir()
    for i, (height, width) in enumerate(sizes):
        write_image(at / f"{i:02d}_{width}x{height}.png", picture(height, width, seed=i))
    return at


def translate(run: Path, inputs: Path, out: Path, **options: Any) -> Done:
    return translate_folder(run=run, inputs=inputs, out=out, **{"device": "cpu", "precision": "fp32", **options})


def results(out: Path) -> dict[str, np.ndarray]:
    """Every file below `out` by its name, whole; a half-written one would be here too, hidden or not."""
    return {path.relative_to(out).as_posix(): read_image(path) for path in sorted(out.rglob("*")) if path.is_file()}


def by_hand(run: Path, image: np.ndarray, network: str = "G_A") -> np.ndarray:
    """What the newest checkpoint's network makes of H×W×C uint8, without any of gesso's own steps but the network."""
    found = checkpoint.find(run, "000000000", print)
    model = build_model(from_json((run / "recipe.json").read_text()))
    load_weights({network: model.networks[network]}, found)
    with torch.no_grad():
        made = model.networks[network].eval()(torch.from_numpy(image / 127.5 - 1).float().permute(2, 0, 1)[None])[0]
    return ((made + 1) * 127.5).permute(1, 2, 0).numpy()


def failing(at: int, error: BaseException, original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, but the call number `at` raises `error`."""
    calls = iter(range(10**6))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) == at:
            raise error
        return original(*arguments, **options)

    return call
