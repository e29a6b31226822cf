"""Batch norm's running statistics, which a translator is used with, are those of the images that it will translate."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from conftest import toy
from gesso.models import build_model


def test_a_cyclegan_remembers_the_statistics_of_real_images_alone(tmp_path: Path) -> None:
    recipe = toy("cyclegan", tmp_path)
    model = build_model(replace(recipe, generator=replace(recipe.generator, norm="batch")))
    model.initialize(0)
    model.make_optimizers(fused=False)
    batch = {role: torch.rand(2, 3, 32, 32) * 2 - 1 for role in "AB"}
    alone = copy.deepcopy(model.networks)
    for name, role in (("G_A", "A"), ("G_B", "B")):
        alone[name](batch[role])

    model.train_step(batch, np.random.default_rng(0))

    for name in ("G_A", "G_B"):
        kept = dict(model.networks[name].named_buffers())
        for key, wanted in alone[name].named_buffers():
            torch.testing.assert_close(kept[key], wanted, msg=f"{name}.{key}")
