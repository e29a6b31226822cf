"""Scores, curves and their words: the best is marked, no spike is lost, nothing not finite is shown as a number."""

import math

import numpy as np
from fake_run import fake_metrics

from gesso.engine.figures import MARKS, Clock, better, curves, small_charts, smooth, tables, thin
from gesso.engine.judging.generation import BASELINE

# -- scores -----------------------------------------------------------------------------------------------------


def test_which_way_is_better_is_known_by_name() -> None:
    names = ("AtoB/L1", "FID", "kid_mean", "PSNR", "AtoB/SSIM", "top-1", "top-1 error", "mean IoU", "entropy")
    ways = ("lower", "lower", "lower", "higher", "higher", "higher", "lower", "higher", None)
    assert tuple(map(better, names)) == ways
    assert {better(name) for name in ("FID", "KID", "loss")} == {"lower"}
    assert {better(name) for name in ("precision", "recall", "density", "coverage", "top1", "top5")} == {"higher"}


def test_the_mark_of_a_generator_is_the_judges() -> None:
    assert {BASELINE} == MARKS


def test_a_baseline_that_wins_is_marked_and_said() -> None:
    rows = [{"method": "gesso", "L1": 0.2, "PSNR": 15.0}, {"method": "mean target", "L1": 0.1, "PSNR": 14.0}]
    (table,) = tables({"rows": rows})
    assert [[best for _, best in row.cells] for row in table.rows] == [[False, True], [True, False]]
    assert table.verdict == "Beats every baseline in PSNR, but not in L1."


def test_which_way_is_better_is_the_judges_word_before_the_names() -> None:
    rows = [
        {"direction": "AtoB", "method": "gesso", "loss": 0.2, "purity": 0.2},
        {"direction": "AtoB", "method": "mean target", "loss": 0.1, "purity": 0.1},
    ]
    (table,) = tables({"rows": rows, "better": {"AtoB/loss": "higher", "AtoB/purity": "lower"}})
    assert table.columns == [("loss", "higher"), ("purity", "lower")]
    assert table.verdict == "Beats every baseline in loss, but not in purity."
    charts = small_charts(
        [{"kind": "metric", "images": 8, "time": 0.0, "scores": {"AtoB/purity": 0.2}}],
        Clock(4, 8, 2),
        {"AtoB/purity": "lower"},
    )
    assert charts[0]["better"] == "lower"


def test_an_equal_score_is_not_a_win() -> None:
    (table,) = tables({"rows": [{"method": "gesso", "L1": 0.1}, {"method": "input copied", "L1": 0.1}]})
    assert table.verdict == "Does not beat the baselines in L1."


def test_a_score_that_is_not_finite_is_never_the_best() -> None:
    rows = [{"method": "gesso", "L1": math.inf}, {"method": "input copied", "L1": 0.3}]
    (table,) = tables({"rows": rows})
    assert [row.cells for row in table.rows] == [[("–", False)], [("0.3000", True)]]


def test_a_score_that_only_one_method_has_is_not_won() -> None:
    rows = [{"method": "gesso", "top1": 0.9, "loss": 0.3}, {"method": "most frequent", "top1": 0.2}]
    (table,) = tables({"rows": rows})
    assert table.rows[0].cells == [("0.9000", True), ("0.3000", False)]
    assert table.verdict == "Beats every baseline in top1."


def test_a_deviation_that_is_only_rounding_is_not_told() -> None:
    (table,) = tables({"rows": [{"method": "gesso", "KID": 0.977, "KID std": 3e-16}]})
    assert table.rows[0].cells == [("0.9770", False)]


def test_a_large_deviation_needs_no_decimals() -> None:
    (table,) = tables({"rows": [{"method": "gesso", "FID": 120.4, "FID std": 35.2}]})
    assert table.rows[0].cells == [("120 ± 35", False)]


def test_directions_have_a_table_each() -> None:
    assert [t.direction for t in tables(fake_metrics(("AtoB", "BtoA")))] == ["AtoB", "BtoA"]


# -- curves -----------------------------------------------------------------------------------------------------


def test_a_long_curve_is_thinned_and_keeps_ends_and_spikes() -> None:
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in enumerate(rng.normal(size=40_000))]
    points[23_456] = (23_456.0, 50.0)
    points[31_000] = (31_000.0, math.nan)
    kept = thin(points)
    assert 1000 < len(kept) <= 1500
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert (23_456.0, 50.0) in kept
    assert set(kept) <= set(points)
    assert [x for x, _ in kept] == sorted({x for x, _ in kept})


def test_a_short_curve_is_left_as_it_is() -> None:
    points = [(float(x), 1.0) for x in range(1500)]
    assert thin(points) is points


def test_smoothing_is_the_mean_of_a_centred_window() -> None:
    values = np.random.default_rng(0).normal(size=300)
    values[100] = math.nan
    smoothed = [y for _, y in smooth(list(enumerate(values.tolist())))]
    expected = [np.nanmean(values[max(0, i - 5) : i + 6]) for i in range(300)]
    np.testing.assert_allclose(smoothed, expected, rtol=1e-9, atol=1e-12)


def test_epochs_come_from_the_log() -> None:
    log = [
        {"kind": "loss", "images": 300, "time": 0.0, "epoch": 0.75, "losses": {"G": 1.0}},
        {"kind": "note", "images": 1000, "time": 1.0, "text": ""},
    ]
    clock = Clock.of(log, 10)
    assert (clock.per_epoch, clock.images, clock.epochs) == (400.0, 1000, 2.5)
    assert curves(log, "loss", "losses") == {"G": [(300, 1.0)]}
