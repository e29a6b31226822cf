"""Judging classifiers: counts that no batch can change, classes that are missing or unknown, and a sheet to read."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged import quiet
from torch import Tensor

from conftest import toy
from gesso.data.images import write_image
from gesso.engine.judging import open_judge
from gesso.engine.judging.classification import (
    BASELINE,
    CAPTION,
    RIGHT,
    WRONG,
    ClassificationJudge,
)
from gesso.engine.judging.measures import CPU
from gesso.engine.locating import located
from gesso.engine.sheets import GAP
from gesso.errors import DataError
from gesso.models import build_model

SIDE = 32


def write_greys(root: Path, counts: dict[str, dict[str, int]], levels: int = 255) -> Path:
    """Plain images: each class of the training split has a grey of its own, spread over 0 … levels."""
    names = sorted(counts["train"])
    for split, by_class in counts.items():
        for name, count in by_class.items():
            (root / split / name).mkdir(parents=True)
            grey = levels * (names.index(name) if name in names else 0) // max(1, len(names) - 1)
            for i in range(count):
                image = np.full((SIDE, SIDE, 3), grey, np.uint8 if levels == 255 else np.uint16)
                write_image(root / split / name / f"{i}.png", image)
    return root


def opened(root: Path, split: str = "auto") -> ClassificationJudge:
    """The judge of a model that knows each class by its grey."""
    model: Any = build_model(located(toy("densenet121", root)))

    def predict(batch: dict[str, Tensor], networks: Any = None) -> dict[str, Tensor]:
        grey = (batch["image"].mean((1, 2, 3)) + 1) / 2 * (model.classes - 1)
        return {"logits": -(grey[:, None] - torch.arange(model.classes)).abs()}

    model.predict = predict
    return open_judge(model, split, quiet)


def one_of_each(count: int) -> dict[str, dict[str, int]]:
    each = {f"c{i}": 1 for i in range(count)}
    return {"train": each, "val": each}


@pytest.mark.parametrize("levels", [255, 65535])
def test_right_answers_score_one_in_8_and_in_16_bits(levels: int, tmp_path: Path) -> None:
    judge = opened(write_greys(tmp_path / "set", one_of_each(7), levels))
    ours, baseline = judge.rows(CPU, batch_size=3)
    assert (ours["top1"], ours["top5"]) == (1.0, 1.0)
    assert baseline == {"direction": "", "method": BASELINE, "top1": pytest.approx(1 / 7), "top5": pytest.approx(5 / 7)}


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_scores_do_not_depend_on_the_batch(batch_size: int, tmp_path: Path) -> None:
    counts = {"train": {"a": 1, "b": 1, "c": 1}, "val": {"a": 5, "b": 3, "c": 1}}
    judge = opened(write_greys(tmp_path / "set", counts))
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    place = iter(range(0, 9, batch_size))
    labels = torch.tensor([0] * 5 + [1] * 3 + [2])

    def predict(batch: dict[str, Tensor], networks: Any = None) -> dict[str, Tensor]:
        start = next(place)
        return {"logits": logits[start : start + len(batch["image"])]}

    judge.model.predict = predict  # type: ignore[method-assign]
    ours, baseline = judge.rows(CPU, batch_size=batch_size)
    right = logits.argmax(1) == labels
    chosen = logits.log_softmax(1)[torch.arange(9), labels]
    assert ours["top1"] == pytest.approx(right.double().mean().item())
    assert ours["loss"] == pytest.approx(-chosen.mean().item(), rel=1e-5)
    assert baseline["top1"] == pytest.approx(5 / 9)
    per_class = [each["accuracy"] for each in judge.details()["classes"]]
    assert per_class == pytest.approx([right[labels == k].double().mean().item() for k in range(3)])
    assert np.array(judge.details()["confusion"]).sum() == 9


def test_top5_of_fewer_than_five_classes_is_one_and_the_protocol_says_so(tmp_path: Path) -> None:
    judge = opened(write_greys(tmp_path / "set", one_of_each(3)))
    judge.model.predict = lambda batch, networks=None: {  # type: ignore[method-assign]
        "logits": torch.tensor([[0.0, 0.0, 1.0]]).expand(len(batch["image"]), -1)
    }
    ours, baseline = judge.rows(CPU)
    assert (ours["top1"], ours["top5"], baseline["top5"]) == (pytest.approx(1 / 3), 1.0, 1.0)
    assert "of 3 classes top5 is always 1" in "\n".join(judge.protocol())


def test_classes_without_images_in_the_split_have_no_accuracy(tmp_path: Path) -> None:
    counts = {"train": {"a": 1, "b": 1, "c": 1}, "val": {"a": 2, "c": 2}}
    judge = opened(write_greys(tmp_path / "set", counts))
    assert judge.rows(CPU)[0]["top1"] == 1
    assert judge.details()["classes"] == [
        {"class": "a", "images": 2, "accuracy": 1.0},
        {"class": "b", "images": 0, "accuracy": None},
        {"class": "c", "images": 2, "accuracy": 1.0},
    ]


def test_a_class_that_training_lacks_is_one_line_when_the_judge_is_opened(tmp_path: Path) -> None:
    root = write_greys(tmp_path / "set", {"train": {"a": 1, "b": 1}, "val": {"a": 1, "zebra": 1}})
    with pytest.raises(DataError, match="class zebra is not among those of train") as told:
        opened(root)
    assert "\n" not in str(told.value)


def test_shards_with_other_classes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = opened(write_greys(tmp_path / "set", one_of_each(3)))
    data = dataclasses.replace(judge.model.recipe.data, names=("c0", "c2", "c1"))
    model = build_model(dataclasses.replace(judge.model.recipe, data=data))
    source = judge._source
    source.classes = ("c0", "c1", "c2")
    monkeypatch.setattr("gesso.engine.judging.classification.open_classes", lambda *_: source)
    with pytest.raises(DataError, match="the classes of val are not those that the model was trained on"):
        open_judge(model, "auto", quiet)  # type: ignore[arg-type]


def test_shards_that_know_only_the_classes_in_them_are_named_by_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = opened(write_greys(tmp_path / "set", {"train": {"a": 1, "b": 1, "c": 1}, "val": {"a": 1, "b": 1}}))
    judge._source.classes = ("a", "b")
    monkeypatch.setattr("gesso.engine.judging.classification.open_classes", lambda *_: judge._source)
    again = open_judge(judge.model, "auto", quiet)
    again.rows(CPU)
    assert [each["class"] for each in again.details()["classes"]] == ["a", "b", "c"]


def test_sheet_names_the_likeliest_class_in_green_or_red(tmp_path: Path) -> None:
    judge = opened(
        write_greys(tmp_path / "set", {"train": {"dark": 1, "grüßlich": 1}, "val": {"dark": 2, "grüßlich": 2}})
    )
    judge.model.predict = lambda batch, networks=None: {  # type: ignore[method-assign]
        "logits": torch.tensor([[0.0, 1.0]]).expand(len(batch["image"]), -1)
    }
    sheet = judge.sheet(CPU, 2)
    cell = SIDE + CAPTION + GAP
    assert sheet.shape == (2 * cell - GAP, 2 * (SIDE + GAP) - GAP, 3)
    captions = [sheet[y * cell + SIDE : y * cell + SIDE + CAPTION].reshape(-1, 3) for y in range(2)]
    assert _has(captions[0], WRONG) and not _has(captions[0], RIGHT)
    assert _has(captions[1], RIGHT) and not _has(captions[1], WRONG)


def _has(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels.astype(int) - colour).sum(1) < 30).any())
