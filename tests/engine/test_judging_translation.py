"""The table of scores: right numbers, baselines on the same images, and sets of mixed sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import toy
from gesso.data.images import write_image
from gesso.data.sources import open_source
from gesso.data.store import Store, evaluation_fit, open_store
from gesso.engine.judging.images import Room, read_images
from gesso.engine.judging.translation import TranslationJudge
from gesso.models import build_model
from gesso.models.translation import Translator
from gesso.recipe import TranslationData

CPU = torch.device("cpu")


def store_of(data: TranslationData) -> Store:
    return open_store(open_source(data, "val", True), evaluation_fit(data), data, lambda line: None)


def model_that_answers(answer, pairs: Path, data: TranslationData) -> Translator:  # type: ignore[no-untyped-def]
    model = build_model(toy("cyclegan", pairs, data=data))
    assert isinstance(model, Translator)
    model.predict = lambda batch, networks=None: answer(batch)  # type: ignore[method-assign]
    return model


def negative(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"fake_{'B' if role == 'A' else 'A'}": -images for role, images in batch.items()}


def test_right_answers_score_perfectly_and_baselines_do_not(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=32, crop_size=32)
    rows = TranslationJudge(model_that_answers(negative, pairs, data), store_of(data)).rows(CPU)
    by_method = {(row["direction"], row["method"]): row for row in rows}
    assert len(rows) == 6
    for direction in ("AtoB", "BtoA"):
        assert by_method[direction, "gesso"]["L1"] < 1e-6
        assert by_method[direction, "gesso"]["SSIM"] == pytest.approx(1, abs=1e-4)
        assert by_method[direction, "input copied"]["L1"] > 0.05
        assert by_method[direction, "mean target"]["L1"] > 0.05


def test_mean_target_is_the_mean_of_the_scored_targets(pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=32, crop_size=32)
    store = store_of(data)
    rows = TranslationJudge(model_that_answers(negative, pairs, data), store).rows(CPU)
    targets = np.stack([store.get(("B", i)) for i in range(4)]).astype(float)
    expected = np.abs(targets - targets.mean(0)).mean() / 255
    assert next(row["L1"] for row in rows if row["method"] == "mean target") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_scores_do_not_depend_on_the_batch(batch_size: int, pairs: Path) -> None:
    data = TranslationData(root=str(pairs), load_size=32, crop_size=32)
    model = model_that_answers(lambda batch: {name: -images for name, images in negative(batch).items()}, pairs, data)
    rows = TranslationJudge(model, store_of(data)).rows(CPU, batch_size=batch_size)
    assert [row["L1"] for row in rows if row["method"] == "gesso"] == pytest.approx(
        [row["L1"] for row in rows if row["method"] == "input copied"]
    )


def test_pairs_of_mixed_sizes_are_scored_where_only_targets_differ(pairs: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for role in "AB":
            (tmp_path / role / split).mkdir(parents=True)
            for i, side in enumerate((32, 32, 32) if role == "A" else (32, 40, 32)):
                write_image(tmp_path / role / split / f"{i}.png", np.full((side, side, 3), 10 * i, np.uint8))
    data = TranslationData(root=str(tmp_path), preprocess="none", crop_size=32)
    rows = TranslationJudge(model_that_answers(negative, pairs, data), store_of(data)).rows(CPU)
    assert len(rows) == 6
    runs = read_images(store_of(data), ("A", "B"), range(3), Room(images=8))
    assert [run.indices for run in runs] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("preprocess", "size", "said"),
    [
        ("resize_and_crop", (16, 16), "to 16×16 px (bicubic, antialiased), no crop"),
        ("scale_width", (16, 32), "to a width of 16 px, aspect kept but at least 16 px high"),
        ("scale_width_and_crop", (16, 32), "to a width of 16 px, aspect kept but at least 16 px high"),
        ("crop", (32, 64), "at their own size, smaller ones enlarged to 16 px on the shorter side"),
        ("none", (32, 64), "at their own size, no crop"),
    ],
)
def test_the_protocol_says_how_images_were_prepared(
    preprocess: Any, size: tuple[int, int], said: str, pairs: Path, tmp_path: Path
) -> None:
    for role in "AB":
        (tmp_path / role / "val").mkdir(parents=True)
        write_image(tmp_path / role / "val" / "0.png", np.zeros((64, 32, 3), np.uint8))
    data = TranslationData(root=str(tmp_path), preprocess=preprocess, load_size=24, crop_size=16)
    judge = TranslationJudge(model_that_answers(negative, pairs, data), store_of(data))
    assert judge.store.get(("A", 0)).shape[:0:-1] == size
    assert f"preparation: {said}" in "\n".join(judge.protocol())
