"""Several processes that score a part each give the table of one that scores everything; batches change nothing."""

import dataclasses
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from judged import Means, quiet, saved, write_streets
from torch import Tensor

from conftest import toy, write_classes
from gesso.data.images import write_image
from gesso.engine.judging import Judge, Row, open_judge
from gesso.engine.judging.measures import CPU
from gesso.engine.judging.shard import Shard
from gesso.engine.locating import located
from gesso.models import build_model
from gesso.recipe import GenerationEvaluation, TranslationData, TranslationEvaluation


@pytest.fixture
def inception(tmp_path: Path) -> str:
    return saved(Means(), tmp_path / "means.pt")


def translation(root: Path, inception: str, **data: Any) -> Judge:
    """The judge of an untrained pix2pix from photos to label maps, or of whatever sizes `data` leaves."""
    write_streets(root, {"train": 1, "val": 7})
    chosen = TranslationEvaluation(metrics=("paired", "FID", "KID", "cityscapes"), inception=inception)
    images = TranslationData(root=str(root), **{"load_size": 32, "crop_size": 32, **data})
    recipe = toy("pix2pix", root, data=images, evaluation=chosen)
    recipe = dataclasses.replace(recipe, generator=dataclasses.replace(recipe.generator, test_mode="eval"))
    return judge_of(recipe)


def generation(root: Path, inception: str) -> Judge:
    write_classes(root)  # 24 images for training, 6 for validation
    recipe = toy("dcgan", root, evaluation=GenerationEvaluation(metrics=("FID", "KID"), inception=inception, images=7))
    return judge_of(recipe)


def classification(root: Path, inception: str) -> Judge:
    write_classes(root)
    return judge_of(located(toy("densenet121", root)))


def judge_of(recipe: Any) -> Judge:
    model = build_model(recipe.checked())
    model.initialize(0)
    return open_judge(model, "auto", quiet)


KINDS = [translation, generation, classification]


def by_processes(judges: list[Judge]) -> list[list[Row]]:
    """The tables of processes that score together, a judge each. They take turns: one runs until it gathers."""
    turn, meeting = threading.Lock(), threading.Barrier(len(judges))
    sent: list[bytes] = [b""] * len(judges)

    def process(rank: int) -> list[Row]:
        def gather(part: Any) -> list[Any]:
            sent[rank] = pickle.dumps(part)
            turn.release()
            meeting.wait(timeout=20)
            found = [pickle.loads(each) for each in sent]
            meeting.wait(timeout=20)
            turn.acquire()
            return found

        with turn:
            return judges[rank].rows(CPU, shard=Shard(rank, len(judges), gather))

    with ThreadPoolExecutor(len(judges)) as processes:
        return list(processes.map(process, range(len(judges))))


@pytest.mark.parametrize("open_one", KINDS)
@pytest.mark.parametrize("world", [2, 9])
def test_processes_together_give_the_table_of_one(
    open_one: Callable[[Path, str], Judge], world: int, tmp_path: Path, inception: str
) -> None:
    alone = open_one(tmp_path / "set", inception)
    expected = alone.rows(CPU)
    judges = [open_judge(alone.model, "auto", quiet) for _ in range(world)]
    for rows, judge in zip(by_processes(judges), judges, strict=True):
        assert rows == [pytest.approx(row, abs=1e-6) for row in expected]
        assert judge.details() == alone.details()  # counts, which have no rounding


@pytest.mark.parametrize("open_one", KINDS)
def test_scores_do_not_depend_on_the_batch_size(
    open_one: Callable[[Path, str], Judge], tmp_path: Path, inception: str
) -> None:
    judge = open_one(tmp_path / "set", inception)
    rows = judge.rows(CPU, batch_size=1)
    for batch_size in (0, 3):
        assert judge.rows(CPU, batch_size=batch_size) == [pytest.approx(row, abs=1e-5) for row in rows]


def test_the_mean_target_of_mixed_sizes_is_the_same_for_several_processes(tmp_path: Path, inception: str) -> None:
    root = tmp_path / "set"
    judge = translation(root, inception, preprocess="none")
    for role in "AB":
        write_image(root / role / "val" / "9.png", torch.arange(3 * 32 * 64).reshape(32, 64, 3).byte().numpy())
    judge = open_judge(judge.model, "auto", quiet)
    expected = judge.rows(CPU)
    tables = by_processes([open_judge(judge.model, "auto", quiet) for _ in range(2)])
    assert tables[0] == tables[1] == [pytest.approx(row, abs=1e-6) for row in expected]


def test_images_are_shared_out_once_each() -> None:
    for count in (0, 1, 7, 8, 100):
        for world in (1, 2, 3, 8):
            shares = [Shard(rank, world).of(count) for rank in range(world)]
            assert [i for share in shares for i in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_translator_in_train_mode_sees_one_image_at_a_time(tmp_path: Path, inception: str) -> None:
    judge = translation(tmp_path / "set", inception)
    judge.model.recipe = dataclasses.replace(
        judge.model.recipe,
        generator=dataclasses.replace(judge.model.recipe.generator, test_mode="train"),  # type: ignore[attr-defined]
    )
    seen: list[int] = []
    predict = judge.model.predict

    def watched(batch: dict[str, Tensor], networks: Any = None) -> dict[str, Tensor]:
        seen.append(len(batch["A"]))
        return predict(batch, networks)

    judge.model.predict = watched  # type: ignore[method-assign]
    judge.rows(CPU, batch_size=4)
    assert seen == [1] * 7
