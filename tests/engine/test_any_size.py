"""Training on images as they are: sizes that no network takes, and that differ from file to file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import toy
from gesso.engine import checkpoint
from gesso.engine.train import resume, train
from gesso.recipe import TranslationData


@pytest.fixture(scope="module")
def odd_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and two test pairs; halves of 35×33 and 37×33 pixels."""
    root = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        (root / split).mkdir()
        for i in range(count):
            pixels = rng.integers(0, 256, (33, 2 * (35 + 2 * (i % 2)), 3), np.uint8)
            Image.fromarray(pixels).save(root / split / f"{i}.png")
    return root


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "cyclegan-gaudi"])
@pytest.mark.parametrize("preprocess", ["none", "scale_width", "crop"])
def test_images_that_fit_no_network_train_and_resume(
    name: str, preprocess: str, odd_pairs: Path, tmp_path: Path
) -> None:
    data = TranslationData(root=str(odd_pairs), preprocess=preprocess, load_size=34, crop_size=32)  # type: ignore[arg-type]
    run = train(toy(name, odd_pairs, data=data, batch_size=1, epochs=1), runs=tmp_path, name="run").path
    assert resume(run, epochs=1.5).finished  # the pool of past fakes comes back in all its sizes
    assert checkpoint.list_checkpoints(run)[-1].name == "000000006"


def test_crop_smaller_than_a_patch_of_the_discriminator_trains(pairs: Path, tmp_path: Path) -> None:
    recipe = toy("cyclegan", pairs, data=TranslationData(root=str(pairs), load_size=18, crop_size=15), epochs=1 / 12)
    recipe = dataclasses.replace(recipe, discriminator=dataclasses.replace(recipe.discriminator, layers=3))
    assert train(recipe, runs=tmp_path, name="run").finished
