"""Judging DCGAN: distances of the right sets, a baseline where there is one, and refusals before the first step."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged import Means, quiet, saved
from PIL import Image

from conftest import toy
from gesso.data.images import read_image
from gesso.engine.judging import REPORT, WATCH, generation, open_judge
from gesso.engine.judging.generation import BASELINE, GenerationJudge
from gesso.engine.judging.measures import CPU
from gesso.errors import DataError, UsageError
from gesso.models import build_model
from gesso.recipe import MOST_OF_TRAINING, GenerationEvaluation


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


def opened(root: Path, split: str = "auto", say: Any = quiet, skip_bad: bool = False, **fields: Any) -> GenerationJudge:
    recipe = toy("dcgan", root, evaluation=GenerationEvaluation(**fields))
    data = dataclasses.replace(recipe.data, preprocess="resize_and_crop", skip_bad=skip_bad)  # type: ignore[call-arg]
    recipe = dataclasses.replace(recipe, data=data)
    model = build_model(recipe.checked())
    model.initialize(0)
    return open_judge(model, split, say)  # type: ignore[arg-type]


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


def test_as_many_images_are_made_as_real_ones_can_be_read(tmp_path: Path, inception: str) -> None:
    root = write_images(tmp_path / "set", {"train": 9, "val": 6})
    for i in range(2):
        (root / "val" / f"{i}.png").write_bytes(b"")
    judge = opened(root, metrics=("FID",), inception=inception, skip_bad=True)
    assert "val, N = 4; fake: noise of seed 2026, N = 4" in "\n".join(judge.protocol())


def test_too_few_readable_images_are_refused(tmp_path: Path, inception: str) -> None:
    root = write_images(tmp_path / "set", {"train": 9, "val": 2})
    (root / "val" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="FID needs 2 or more images of each set, not 1"):
        opened(root, metrics=("FID",), inception=inception, skip_bad=True)


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


@pytest.fixture
def no_inception(monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said where no network is installed."""
    words = "FID and KID need the Inception network"

    def none(named: str) -> Path:
        raise UsageError(words)

    monkeypatch.setattr(generation, "find_inception", none)
    return words


def test_without_an_installed_network_a_run_is_told_once_that_it_is_not_scored(
    tmp_path: Path, no_inception: str
) -> None:
    said: list[str] = []
    root = write_images(tmp_path / "set", {"train": 5, "val": 5})
    watched, reported = (opened(root, split, say=said.append) for split in (WATCH, REPORT))
    assert watched.rows(CPU) == [] and watched.scored == {} and watched.preferred is None
    assert said == [f"not scored: {no_inception}"]
    assert reported.protocol()[-1] == f"no scores: {no_inception}"


def test_a_recipe_without_metrics_is_told_what_would_score_it(tmp_path: Path) -> None:
    judge = opened(write_images(tmp_path / "set", {"train": 5}), metrics=())
    assert judge.protocol()[1:] == ["no scores: the recipe asks for none, --evaluation.metrics FID would"]


def test_the_network_is_asked_for_before_images_are_read(tmp_path: Path) -> None:
    root = write_images(tmp_path / "set", {"train": 5, "val": 5})
    (root / "val" / "0.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="no such file"):
        opened(root, inception=str(tmp_path / "none.pt"))


def test_no_more_of_a_training_split_is_read_than_is_scored(
    tmp_path: Path, inception: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "MOST_OF_TRAINING", 4)
    write_images(tmp_path / "set", {"pictures": 9})
    (tmp_path / "set" / "pictures" / "1.png").write_bytes(b"no image, but not one of those spread over the set")
    flat = opened(tmp_path / "set", metrics=("FID",), inception=inception)
    told = "\n".join(flat.protocol())
    assert "train, N = 4; fake: noise of seed 2026, N = 4" in told and "(at most 4 of them)" in told
    asked_for = opened(tmp_path / "set", metrics=("FID",), inception=inception, images=2)
    assert "at most" not in "\n".join(asked_for.protocol())


def test_the_help_says_how_much_of_a_training_split_is_scored() -> None:
    assert f"{MOST_OF_TRAINING} where it is the training's" in inspect.getsource(GenerationEvaluation)


def test_sheets_show_the_same_noise_each_time(tmp_path: Path) -> None:
    judge = opened(write_images(tmp_path / "set", {"train": 5, "val": 5}), metrics=())
    sheet = judge.sheet(CPU, 3)
    assert sheet.shape == (3 * 36 - 4, 3 * 36 - 4, 3)
    assert np.array_equal(sheet, judge.sheet(CPU, 3))


def test_gaps_of_a_sheet_are_neither_white_nor_the_grey_of_an_empty_picture(tmp_path: Path) -> None:
    judge = opened(write_images(tmp_path / "set", {"train": 5, "val": 5}), metrics=())
    gap = judge.sheet(CPU, 3)[32:36]
    assert (gap == gap[0, 0]).all() and 32 < gap[0, 0, 0] < 112
