"""The report of each kind of model: its own lower part, and none of another's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_run import WEATHERS, Page, fake_accuracies, fake_run, picture

from gesso.engine.report import write_report


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(fake_run(tmp_path_factory.mktemp("runs"), model="dcgan")))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(fake_run(tmp_path_factory.mktemp("runs"), model="densenet")))


def headings(page: Page) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page.html)


COMMON = ["Samples by epoch", "Curves", "Recipe", "Environment"]


def test_each_kind_of_model_has_its_own_parts(generator: Page, classifier: Page, tmp_path: Path) -> None:
    translator = Page(write_report(fake_run(tmp_path)))
    assert headings(generator) == ["Scores", "Made and real", *COMMON]
    assert headings(classifier) == ["Scores", "Classes", *COMMON]
    assert headings(translator) == ["Scores", "Before and after", *COMMON]


@pytest.mark.parametrize("model", ["dcgan", "densenet"])
def test_these_pages_too_are_self_contained_and_their_ids_unique(model: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue({"dcgan": "generator", "densenet": "classifier"}[model])
    assert not re.search(r"https?:|//\w+\.\w+|@import|url\((?!#)", page.html)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)


# -- generators -------------------------------------------------------------------------------------------------


def test_what_was_made_stands_beside_the_real_images(tmp_path: Path) -> None:
    run = fake_run(tmp_path, model="dcgan", epochs=5)
    sources = [a["src"] for tag, a in Page(write_report(run)).tags if tag == "img" and "gallery" in (a["src"] or "")]
    assert sources == ["samples/gallery/made.png", "samples/gallery/real.png"]
    assert all((run / str(source)).is_file() for source in sources)


def test_a_damaged_sheet_of_the_gallery_is_left_out(tmp_path: Path) -> None:
    run = fake_run(tmp_path, model="dcgan", epochs=5)
    (run / "samples" / "gallery" / "made.png").write_bytes(b"\x89PNG")
    page = Page(write_report(run))
    assert "Real images" in page.text and "Made from noise" not in page.text


def test_a_deviation_is_told_beside_its_score(generator: Page) -> None:
    assert "gesso 71.23 0.0421 ± 0.0052 training images 24.05 0.0003 ± 0.0011" in generator.text
    assert "FID ↓ KID ↓" in generator.text
    assert "KID std" not in generator.text


def test_training_images_are_a_mark_and_no_baseline_that_wins(generator: Page) -> None:
    assert "Training images score 24.05 in FID and 0.0003 ± 0.0011 in KID: a mark to come near" in generator.text
    assert "baseline" not in generator.text and "(best)" not in generator.text


def test_probabilities_have_a_chart_and_deviations_a_band(generator: Page) -> None:
    assert [s["name"] for s in generator.data["losses"]["series"]] == ["Loss_D", "Loss_G", "R1"]
    charts = {chart["title"]: chart for chart in generator.data["small"]}
    assert list(charts) == ["D(x) and D(G(z))", "FID", "KID", "Learning rate", "Images a second"]
    beliefs = charts["D(x) and D(G(z))"]
    assert [s["name"] for s in beliefs["series"]] == ["D(x)", "D(G(z)) before G's step", "D(G(z)) after"]
    assert beliefs["domain"] == [0, 1]
    (kid,) = charts["KID"]["series"]
    assert len(kid["band"]) == len(kid["x"]) and all(width > 0 for width in kid["band"])
    assert charts["FID"]["series"][0]["band"] == []
    assert charts["KID"]["better"] == "lower"


def test_a_run_in_which_nothing_could_be_scored_says_so(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": [], "split": "test", "protocol": "data: streets"}))
    text = Page(write_report(tmp_path)).text
    assert "Nothing was scored. split test data: streets" in text
    assert "Not scored yet" not in text


# -- classifiers ------------------------------------------------------------------------------------------------


def test_every_cell_with_images_tells_its_count_and_classes(classifier: Page) -> None:
    metrics = fake_accuracies()
    cells = [a for tag, a in classifier.tags if tag == "td" and "--s" in (a.get("style") or "")]
    counts = [(r, c, n) for r, row in enumerate(metrics["confusion"]) for c, n in enumerate(row) if n]
    assert [a["title"] for a in cells] == [f"{WEATHERS[r]} answered {WEATHERS[c]}: {n} of 30" for r, c, n in counts]
    assert [a["style"] for a in cells] == [f"--s:{n / 30:.2f}" for _, _, n in counts]
    assert [(a["class"] or "").split()[0] for a in cells] == ["right" if r == c else "wrong" for r, c, _ in counts]


def test_rows_and_columns_of_the_matrix_are_named(classifier: Page) -> None:
    for scope in ("col", "row"):
        assert [
            a["title"] for tag, a in classifier.tags if tag == "th" and a["scope"] == scope and "title" in a
        ] == WEATHERS


def test_accuracies_are_listed_from_the_worst(classifier: Page) -> None:
    listed = re.findall(
        r'<th scope="row">([\w-]+)</th><td class="number">30</td>\s*<td class="number">([\d.]+)%', classifier.html
    )
    found = {entry["class"]: 100 * entry["accuracy"] for entry in fake_accuracies()["classes"]}
    assert [float(value) for _, value in listed] == sorted(float(value) for _, value in listed)
    assert {name: float(value) for name, value in listed} == pytest.approx(found, abs=0.051)


def test_of_many_classes_the_page_says_how_many_it_shows(tmp_path: Path) -> None:
    metrics = fake_accuracies([f"class {k}" for k in range(120)], each=3)
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    page = Page(write_report(tmp_path))
    assert "the worst first: 50 of 120 classes" in page.text
    assert "Confusion matrix" not in page.text


def test_a_matrix_of_a_hundred_classes_makes_a_page_of_a_few_hundred_kilobytes(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(fake_accuracies([f"class {k}" for k in range(100)], each=50)))
    assert write_report(tmp_path).stat().st_size < 400_000


def test_a_baseline_without_a_score_is_not_beaten_in_it(classifier: Page) -> None:
    assert "Beats every baseline in top1 and top5." in classifier.text


def test_accuracy_in_training_is_drawn_beside_the_evaluation(classifier: Page) -> None:
    assert [s["name"] for s in classifier.data["losses"]["series"]] == ["loss"]
    charts = {chart["title"]: chart for chart in classifier.data["small"]}
    assert list(charts) == ["top1", "top5", "loss", "Learning rate", "Images a second"]
    evaluated, training = charts["top1"]["series"]
    assert (evaluated["name"], training["name"]) == ("top1", "training")
    assert evaluated["best"] is not None and training["best"] is None
    assert [charts[name]["better"] for name in ("top1", "top5", "loss")] == ["higher", "higher", "lower"]


def test_names_that_the_data_set_gave_are_no_flags(classifier: Page) -> None:
    assert "--data.names" not in classifier.text


DAMAGED: list[dict[str, Any]] = [
    {"classes": 7, "confusion": "x"},
    {"classes": [None, 3], "confusion": [[1, 2]]},
    {"classes": [{"class": {"a": 1}, "images": "many", "accuracy": []}], "confusion": [[0]]},
    {"rows": [{"method": ["gesso"], "FID": 1.0, "KID": "low", "KID std": 1.0}, {"method": {}, "FID": None}]},
    {"rows": [{"method": "training images"}, {"method": "training images", "KID": 0.0, "KID std": -1}]},
    {"rows": [{"method": "gesso", "KID std": 0.1}], "split": ["x"], "checkpoint": None},
]


@pytest.mark.parametrize("metrics", DAMAGED, ids=str)
def test_damaged_scores_do_no_harm(tmp_path: Path, metrics: dict[str, Any]) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert "Scores" in headings(Page(write_report(tmp_path)))


def test_no_name_of_a_class_can_become_markup(tmp_path: Path) -> None:
    evil = "</td><img src=x onerror=alert(1)>\"'"
    (tmp_path / "metrics.json").write_text(json.dumps(fake_accuracies([evil, "b"], each=5)))
    (tmp_path / "samples" / "gallery").mkdir(parents=True)
    picture(0, 8).save(tmp_path / "samples" / "gallery" / "made.png")
    page = Page(write_report(tmp_path))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert evil in page.text
