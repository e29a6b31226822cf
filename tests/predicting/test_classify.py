"""Classifying: every picture a record in order, scored exactly as the evaluation prepares it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from translating import make_run, picture

from conftest import toy
from gesso.data.images import write_image
from gesso.data.sources import ROLE
from gesso.engine import checkpoint
from gesso.engine.judging.classification import ClassificationJudge, open_classification_judge
from gesso.engine.judging.images import images_of
from gesso.engine.state import load_for_use
from gesso.errors import CheckpointError, UsageError
from gesso.models import build_model
from gesso.models.densenet import DenseNet
from gesso.predicting.classify import classify_folder
from gesso.recipe import DenseNetRecipe


def densenet(root: Path, names: tuple[str, ...] = ("dark", "light"), **data: Any) -> DenseNetRecipe:
    recipe: DenseNetRecipe = toy("densenet121", root)
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=names, **data))


@pytest.fixture(scope="module")
def run(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "densenet", densenet(classes, resize=40), 2)


def classify(run: Path, inputs: Path, **options: Any) -> list[dict[str, Any]]:
    return list(classify_folder(run=run, inputs=inputs, **{"device": "cpu", "precision": "fp32", **options}))


def test_scores_are_those_of_the_evaluation(run: Path, classes: Path) -> None:
    recipe = densenet(classes, resize=40)
    model = DenseNet(recipe)
    load_for_use(model, checkpoint.find(run, "best", print))
    judge = open_classification_judge(model, "val", print)
    assert isinstance(judge, ClassificationJudge)
    six = images_of(judge._store, ROLE, range(6), torch.device("cpu"))
    expected = judge._logits(six, None).softmax(1)
    records = classify(run, classes / "val")
    assert [record["file"] for record in records] == [
        str(classes / "val" / name / f"{i}.png") for name in ("dark", "light") for i in range(3)
    ]
    for record, probabilities in zip(records, expected.tolist(), strict=True):
        assert {c["class"]: c["score"] for c in record["classes"]} == pytest.approx(
            dict(zip(("dark", "light"), probabilities, strict=True)), abs=1e-6
        )
    assert len({record["classes"][0]["score"] for record in records}) > 1


def test_classes_come_likeliest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    names = tuple("abcdefg")
    path = make_run(tmp_path / "run", densenet(Path("nowhere"), names))
    write_image(tmp_path / "x.png", picture(50, 40))
    (three,) = classify(path, tmp_path / "x.png", top=3)
    (every,) = classify(path, tmp_path / "x.png", top=100)
    scores = [entry["score"] for entry in every["classes"]]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1)
    assert {entry["class"] for entry in every["classes"]} == set(names)
    assert three["classes"] == every["classes"][:3]


def test_picture_keeps_its_name_and_is_prepared_by_hand_alike(run: Path, tmp_path: Path) -> None:
    image = picture(40, 40)
    write_image(tmp_path / "ünï code.png", image)
    (record,) = classify(run, tmp_path / "ünï code.png")
    assert record["file"] == str(tmp_path / "ünï code.png")
    model = build_model(densenet(Path("nowhere"), resize=40))
    load_for_use(model, checkpoint.find(run, "best", print))
    shown = image[4:36, 4:36] / 255  # resized to 40, which it has; the middle 32
    normal = (shown - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        logits = model.networks["net"].eval()(torch.from_numpy(normal).float().permute(2, 0, 1)[None])
    assert {c["class"]: c["score"] for c in record["classes"]} == pytest.approx(
        dict(zip(("dark", "light"), logits.softmax(1)[0].tolist(), strict=True)), abs=1e-5
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_unreadable_pictures_stand_in_their_place_with_the_reason(batch_size: int, run: Path, tmp_path: Path) -> None:
    for i in (0, 2, 3, 10):
        write_image(tmp_path / f"{i}.png", picture(33 + i, 40, channels=1 + i % 4, seed=i))
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    (tmp_path / "11.png").write_bytes(b"")
    records = classify(run, tmp_path, batch_size=batch_size)
    assert [Path(record["file"]).name for record in records] == ["0.png", "1.jpg", "2.png", "3.png", "10.png", "11.png"]
    assert [set(record) - {"file"} for record in records] == [
        {"error"} if i in (1, 5) else {"classes"} for i in range(6)
    ]
    one_by_one = [classify(run, tmp_path / Path(r["file"]).name)[0] for r in records]
    for record, alone in zip(records, one_by_one, strict=True):
        if "error" in record:
            assert record == alone and str(tmp_path) not in record["error"] and "\n" not in record["error"]
        else:
            got, want = ({c["class"]: c["score"] for c in r["classes"]} for r in (record, alone))
            assert got == pytest.approx(want, abs=1e-5)


def test_records_are_json(run: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", picture(8, 300, dtype=np.uint16))
    records = classify(run, tmp_path)
    assert json.loads(json.dumps(records)) == records


def test_first_records_come_before_the_last_pictures_are_read(run: Path, tmp_path: Path) -> None:
    for i in range(60):
        write_image(tmp_path / f"{i:02d}.png", picture(32, 32, seed=i))
    records = classify_folder(run=run, inputs=tmp_path, batch_size=2, device="cpu", precision="fp32")
    assert next(records)["file"].endswith("00.png")
    (tmp_path / "59.png").write_bytes(b"gone")
    assert torch.is_grad_enabled()  # the caller's own work goes on between records
    assert "error" in list(records)[-1]


def test_too_large_a_picture_is_an_error_of_its_own(run: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", picture(40, 40))
    (record,) = classify(run, tmp_path, max_pixels=1000)
    assert "error" in record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "--top 0: must be 1 or more"),
        ({"batch_size": 0}, "--batch-size 0: must be 1 or more"),
        ({"inputs": Path("nowhere")}, "nowhere: there is no such picture or folder"),
    ],
)
def test_refusals_come_before_the_first_record(options: dict[str, Any], message: str, run: Path, classes: Path) -> None:
    with pytest.raises(UsageError, match=message):
        classify_folder(**{"run": run, "inputs": classes / "val", **options})


def test_folder_without_pictures_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures"):
        classify(run, tmp_path)


def test_other_models_are_refused_with_what_they_are_for(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", toy("dcgan", Path("nowhere")))
    with pytest.raises(UsageError, match="a dcgan, which is used with `gesso sample`; classify wants a densenet"):
        classify(path, tmp_path)


def test_missing_checkpoint_is_named(run: Path, classes: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint 77"):
        classify(run, classes / "val", checkpoint="77")
