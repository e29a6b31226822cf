"""Seeds trained, read and judged: on logs and scores as if written by trainings, and on toys that are trained."""

import math
from pathlib import Path
from typing import Any

import pytest

from conftest import toy
from gesso.bench.converge import Criterion, Seed, Study, default_criterion, is_met, last_epoch, scores_of, table
from gesso.errors import UsageError

BETTER = {"AtoB/L1": "lower", "BtoA/L1": "lower", "top1": "higher"}


def line(images: int, per_epoch: int, value: float) -> dict[str, Any]:
    return {"kind": "loss", "images": images, "epoch": images / per_epoch, "losses": {"G": value}}


def row(direction: str, method: str, **scores: float) -> dict[str, Any]:
    return {"direction": direction, "method": method, **scores}


def test_losses_are_means_over_the_last_epoch_by_images() -> None:
    log = [line(100, 100, 9.0), line(150, 100, 2.0), line(200, 100, 4.0)]
    assert last_epoch(log) == {"G": 3.0}
    assert last_epoch([line(100, 100, 9.0), line(180, 100, 1.0), line(200, 100, 6.0)]) == {"G": 2.0}


def test_a_step_over_the_end_of_an_epoch_does_not_count_twice() -> None:
    """Steps of 30 images: the first epoch of 100 ends at 120, the second at 210."""
    assert last_epoch([line(120, 100, 9.0), line(210, 100, 4.0)]) == {"G": 4.0}


def test_a_line_after_a_resume_is_a_mean_from_there_on() -> None:
    log = [line(100, 100, 9.0), {"kind": "resume", "images": 140}, line(160, 100, 1.0), line(200, 100, 4.0)]
    assert last_epoch(log) == {"G": pytest.approx(3.0)}


def test_a_training_shorter_than_an_epoch_counts_whole() -> None:
    assert last_epoch([line(10, 100, 1.0), line(20, 100, 3.0)]) == {"G": 2.0}
    assert last_epoch([]) == {}


def test_each_kind_of_model_states_what_it_can() -> None:
    said = {name: str(default_criterion(toy(name, Path()))) for name in ("pix2pix", "cyclegan", "dcgan", "densenet121")}
    assert said == {
        "pix2pix": "finite losses, and L1 better than the baseline `mean target`",
        "cyclegan": "finite losses, and L1 better than the baseline `input copied`",
        "dcgan": "finite losses to the end; nothing else is asked, name a score with --score",
        "densenet121": "finite losses, and top1 better than the baseline `most frequent`",
    }


@pytest.mark.parametrize(("there", "back", "met"), [(0.1, 0.1, True), (0.1, 0.4, False), (0.2, 0.1, False)])
def test_a_baseline_is_to_be_beaten_in_every_direction(there: float, back: float, met: bool) -> None:
    rows = [row("AtoB", "gesso", L1=there), row("AtoB", "mean target", L1=0.2)]
    rows += [row("BtoA", "gesso", L1=back), row("BtoA", "mean target", L1=0.3)]
    assert is_met(Criterion("L1", baseline="mean target"), rows, BETTER) is met


def test_more_is_better_where_the_score_says_so() -> None:
    rows = [row("", "gesso", top1=0.5), row("", "most frequent", top1=0.4)]
    assert is_met(Criterion("top1", baseline="most frequent"), rows, BETTER)


@pytest.mark.parametrize(("bound", "met"), [({"at_most": 0.1}, True), ({"at_most": 0.09}, False)])
def test_a_named_score_has_a_bound(bound: dict[str, float], met: bool) -> None:
    assert is_met(Criterion("atob/l1", **bound), [row("AtoB", "gesso", L1=0.1)], BETTER) is met


def test_a_score_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"--score FID: not scored here; there are AtoB/L1"):
        is_met(Criterion("FID", at_most=50), [row("AtoB", "gesso", L1=0.1)], BETTER)


def test_scores_are_named_with_their_direction() -> None:
    assert scores_of([row("AtoB", "gesso", L1=0.1), row("AtoB", "other", L1=0.2)], "gesso") == {"AtoB/L1": 0.1}


def test_a_table_has_the_mean_and_the_count() -> None:
    seeds = [Seed(0, {"G": 1.0}, {"L1": 0.1}, True), Seed(1, {"G": math.nan}, {}, False)]
    study = Study(toy("pix2pix", Path()), Path(), (), Criterion("L1", at_most=0.2), 2, seeds=seeds)
    assert table(study) == [
        "seed  converged  G          L1",
        "0     yes        1.000  0.1000",
        "1     no         –",
        "mean             –      0.1000",
        "",
        "1 of 2 seeds converged: finite losses, and L1 at most 0.2",
    ]
