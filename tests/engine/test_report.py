"""The report: complete, honest about state and scores, safe with any text, and made from whatever is there."""

import dataclasses
import html
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import tyro
from fake_run import START, Page, fake_run, loss, picture, young

from gesso.engine.report import write_report
from gesso.engine.runlog import RunLog
from gesso.errors import DiskError, UsageError
from gesso.recipe import Pix2PixRecipe, Schedule, Tracking, TranslationData
from gesso.recipes import RECIPES


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    return Page(write_report(finished))


# -- the page ---------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_from_the_network(page: Page) -> None:
    assert not re.search(r"https?:|//\w+\.\w+|@import|url\((?!#)", page.html)
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "base")
        assert not (tag == "script" and "src" in attributes)
        assert not (tag == "link" and attributes["href"] != "data:,")


def test_every_linked_picture_exists(finished: Path, page: Page) -> None:
    links = {a[k] for t, a in page.tags for k in ("src", "href") if t in ("img", "a") and k in a}
    links |= {sheet["src"] for sheet in page.data["sheets"]}
    links |= {p[role] for p in page.data["pictures"] for role in ("input", "output", "target") if p[role]}
    assert len(links) == 4 + 8 * 3 - 1
    assert all(link and (finished / link).is_file() for link in links)


def test_ids_are_unique_and_every_label_has_its_element(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)


def test_every_element_that_the_script_looks_up_is_there(page: Page) -> None:
    script = (Path(__file__).parents[2] / "src/gesso/engine/report.js").read_text()
    wanted = set(re.findall(r'find\("([\w-]+)"\)', script))
    for several in re.findall(r"\[([^\]]*)\]\.map\(find\)", script):
        wanted |= set(re.findall(r'"([\w-]+)"', several))
    assert len(wanted) > 10
    assert wanted <= {a["id"] for _, a in page.tags if "id" in a}


def test_scores_baselines_and_protocol_are_shown(page: Page) -> None:
    for part in ("gesso 0.1061 (best) 16.92 (best) 0.5821 (best)", "mean target 0.1904 12.71 0.3379"):
        assert part in page.text
    assert "L1 ↓ PSNR ↑ SSIM ↑" in page.text
    assert "Images at 256 × 256, no crop, no flip." in page.text
    assert "split test · checkpoint best" in page.text
    assert "Beats every baseline in L1, PSNR and SSIM." in page.text


def test_only_the_flags_that_differ_from_the_named_recipe_stand_above_the_whole_recipe(page: Page) -> None:
    above, whole = page.text.split("The whole recipe")
    assert "--data.root facades" in above
    assert "--direction BtoA AtoB" in above
    assert "--epochs 20 200" in above
    assert "Where it differs from the recipe pix2pix" in above
    assert "load-size" not in above and '"load_size": 286' in whole
    assert "--generator.kind" not in above and '"kind": "unet"' in whole  # the recipe's own, not the class's default


def test_a_recipe_of_no_known_name_is_compared_with_the_defaults_of_its_model(tmp_path: Path) -> None:
    above, _ = Page(write_report(young(tmp_path, recipe="my-own"))).text.split("The whole recipe")
    assert "Where it differs from the defaults of pix2pix" in above
    assert "--generator.kind unet resnet" in above


def test_the_flags_that_differ_can_be_typed_again(tmp_path: Path) -> None:
    changed: dict[str, Any] = {
        "data": TranslationData(root="facades", load_size=143, flip=False, skip_bad=True),
        "deterministic": True,
        "schedule": Schedule(decay="step", milestones=(1.5, 30.0)),
        "tracking": Tracking(trackers=("wandb", "mlflow")),
    }
    page = Page(write_report(young(tmp_path, **changed)))
    table = re.findall(r'<th scope="row"><code>(--.*?)</code></th><td class="quiet"><code>(.*?)</code>', page.html)
    flags = dict(map(html.unescape, row) for row in table)
    assert (flags["--data.no-flip"], flags["--deterministic"]) == ("--data.flip", "--no-deterministic")
    words = shlex.split(" ".join(flags))
    named: Any = RECIPES["pix2pix"]()
    assert tyro.cli(Pix2PixRecipe, default=named, args=words) == dataclasses.replace(named, **changed)


def test_environment_and_the_reasons_of_the_choices_are_shown(page: Page) -> None:
    for part in ("torch 2.13.0", "commit b837989", "compile off 61 s of compiling would save 40 s of this run"):
        assert part in page.text


def test_the_resume_command_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "my run; $(boom)"
    run.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "gesso resume 'runs/my run; $(boom)'" in Page(write_report(run)).text


def test_speed_and_time_are_shown(page: Page) -> None:
    assert re.search(r"Training time 3 min", page.text)
    assert re.search(r"Images a second 4[0-9]\.[0-9] 1\.1% of the time waiting for data", page.text)


# -- text from outside ------------------------------------------------------------------------------------------


def test_no_text_can_become_markup(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>&\"'<!--"
    run = fake_run(tmp_path, epochs=1).rename(tmp_path / "a<b>&\"'{{7*7}}")
    with RunLog(run / "log.jsonl") as log:
        log.write("loss", 500, epoch=1.25, losses={evil: 1.0}, lr={evil: 1.0})
        log.write("metric", 500, scores={f"{evil}/L1": 1.0})
        log.write("note", 500, text=evil)
    metrics = {"protocol": evil, "split": evil, "rows": [{"direction": evil, "method": evil, evil: 1.0}]}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "environment.json").write_text(json.dumps({evil: evil, "choices": {evil: {"value": evil, "reason": evil}}}))
    recipe = json.loads((run / "recipe.json").read_text()) | {"recipe": evil, "data": {"root": evil}}
    (run / "recipe.json").write_text(json.dumps(recipe))
    stem = "<i>_000"
    for role in ("input", "output"):
        picture(0, 8).save(run / "samples" / "slider" / f"{stem}_{role}.png")
    page = Page(write_report(run))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "<i>" not in page.html
    assert page.text.count(evil) >= 10
    assert page.data["losses"]["series"][-1]["name"] == evil
    assert "{{7*7}}" in page.text


# -- pieces that are missing ------------------------------------------------------------------------------------


def test_an_empty_folder_has_a_report(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path))
    assert "Not started" in page.text
    assert "Not scored yet." in page.text
    assert "Nothing has been logged yet." in page.text


PIECES = ["recipe.json", "environment.json", "log.jsonl", "metrics.json", "samples"]


@pytest.mark.parametrize("piece", PIECES)
def test_a_missing_piece_leaves_the_rest(tmp_path: Path, piece: str) -> None:
    run = fake_run(tmp_path, model="cyclegan", epochs=5)
    (run / piece).rename(tmp_path / "away")
    page = Page(write_report(run))
    assert ("--epochs 5 200" in page.text) == (piece != "recipe.json")
    assert ("no accelerator was found" in page.text) == (piece != "environment.json")
    assert bool(page.data["losses"]["series"]) == (piece != "log.jsonl")
    assert ("mean target" in page.text) == (piece != "metrics.json")
    assert bool(page.data["pictures"] and page.data["sheets"]) == (piece != "samples")


@pytest.mark.parametrize("piece", ["recipe.json", "environment.json", "metrics.json"])
@pytest.mark.parametrize("content", ["", '{"epochs": ', "[1, 2]", "\ud800"])
def test_a_damaged_piece_is_named_and_leaves_the_rest(tmp_path: Path, piece: str, content: str) -> None:
    run = young(tmp_path, ("start", 0, {}))
    (run / piece).write_bytes(content.encode("utf-8", "surrogatepass"))
    assert f"{piece} cannot be read" in Page(write_report(run)).text


@pytest.mark.parametrize("rows", [None, 7, [], ["row"], [{}], [{"method": None, "L1": "bad", "PSNR": math.nan}]])
def test_metrics_of_another_shape_do_no_harm(tmp_path: Path, rows: Any) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": rows, "protocol": 3}))
    assert "Scores" in Page(write_report(tmp_path)).text


def test_a_recipe_of_another_version_is_shown_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"model": "stylegan", "epochs": 3, "new_field": 1}')
    page = Page(write_report(tmp_path))
    assert "not a recipe that this gesso can read" in page.text
    assert '"new_field": 1' in page.text


def test_half_written_and_foreign_pictures_are_left_out(tmp_path: Path) -> None:
    run = fake_run(tmp_path, epochs=5)
    whole = (run / "samples" / "000002000.png").read_bytes()
    (run / "samples" / "000004000.png").write_bytes(whole[:20])
    (run / "samples" / "notes.png").write_bytes(whole)
    (run / "samples" / "slider" / "009_output.png").write_bytes(whole)
    page = Page(write_report(run))
    assert [sheet["src"] for sheet in page.data["sheets"]] == ["samples/000002000.png"]
    assert [p["number"] for p in page.data["pictures"]] == list(range(8))


def test_pictures_of_two_directions_are_kept_apart(tmp_path: Path) -> None:
    page = Page(write_report(fake_run(tmp_path, model="cyclegan", epochs=5)))
    assert [p["direction"] for p in page.data["pictures"]] == ["AtoB"] * 8 + ["BtoA"] * 8
    assert page.data["pictures"][3]["target"] is None
    assert page.data["pictures"][0] == {
        "direction": "AtoB",
        "number": 0,
        "input": "samples/slider/AtoB_000_input.png",
        "output": "samples/slider/AtoB_000_output.png",
        "target": "samples/slider/AtoB_000_target.png",
        "width": 96,
        "height": 96,
    }


def test_without_an_evaluation_the_scores_of_training_are_shown(tmp_path: Path) -> None:
    page = Page(write_report(fake_run(tmp_path, epochs=20, done=12)))
    row = re.search(r"BtoA/L1 ↓ (\S+) epoch (\d+) (\S+)", page.text)
    assert row is not None
    assert float(row[1]) <= float(row[3])
    assert row[2] in ("5", "10")


# -- state ------------------------------------------------------------------------------------------------------


def state(run: Path, now: float = START + 60) -> str:
    text = Page(write_report(run, now=now)).text
    found = re.search(r"(Not started|Running, at \S+ \S+ of \S+|Stopped at \S+ \S+ of \S+|Finished)", text)
    assert found is not None
    return found[0]


def test_a_run_with_fresh_news_is_running(tmp_path: Path) -> None:
    run = young(tmp_path, ("start", 0, {}), loss(300, 0.75), epochs=10)
    assert state(run) == "Running, at epoch 0.8 of 10"


def test_a_run_without_news_has_stopped(tmp_path: Path) -> None:
    run = young(tmp_path, ("start", 0, {}), loss(300, 0.75), epochs=10)
    assert state(run, now=START + 3600) == "Stopped at epoch 0.8 of 10"


def test_a_page_that_was_written_while_running_can_tell_later_that_the_run_stopped(tmp_path: Path) -> None:
    run = young(tmp_path, ("start", 0, {}), loss(300, 0.75), epochs=10)
    tags = Page(write_report(run, now=START + 60)).tags
    (attributes,) = (a for _, a in tags if a.get("id") == "state")
    assert float(attributes["data-until"] or 0) == START + 1 + 15 * 60
    assert attributes["data-later"] == "Stopped at epoch 0.8 of 10"


def test_a_run_that_ended_before_its_last_epoch_has_stopped(tmp_path: Path) -> None:
    run = young(tmp_path, ("start", 0, {}), loss(400, 1.0), ("finish", 400, {"seconds": 9}), epochs=10)
    assert state(run) == "Stopped at epoch 1 of 10"


def test_a_run_that_ended_at_its_last_epoch_is_finished(tmp_path: Path) -> None:
    run = young(tmp_path, ("start", 0, {}), loss(3900, 9.75), ("finish", 4000, {"seconds": 9}), epochs=10)
    assert state(run) == "Finished"


def test_a_finished_run_that_goes_on_is_running(tmp_path: Path) -> None:
    end = ("finish", 400, {"seconds": 9})
    run = young(tmp_path, ("start", 0, {}), loss(400, 1.0), end, ("resume", 400, {}), loss(500, 1.25), epochs=2)
    assert state(run) == "Running, at epoch 1.2 of 2"


def test_time_between_a_kill_and_the_resume_is_not_training_time(tmp_path: Path) -> None:
    times = iter([0, 100, 50_000, 50_100])
    with RunLog(tmp_path / "log.jsonl", clock=lambda: START + next(times)) as log:
        log.write("start", 0)
        log.write("loss", 100, epoch=0.5, losses={"G": 1.0})
        log.write("resume", 100)
        log.write("loss", 200, epoch=1.0, losses={"G": 1.0})
    assert "Training time 3 min in 2 parts" in Page(write_report(tmp_path, now=START + 50_101)).text


def test_an_evaluation_long_after_the_end_is_not_training_time(tmp_path: Path) -> None:
    times = iter([0, 100, 50_000])
    with RunLog(tmp_path / "log.jsonl", clock=lambda: START + next(times)) as log:
        log.write("start", 0)
        log.write("finish", 400, seconds=100)
        log.write("metric", 400, scores={"L1": 0.1})
    text = Page(write_report(tmp_path)).text
    assert "Training time 2 min" in text
    assert "Finished" in text


def test_a_loss_that_diverged_is_a_warning(tmp_path: Path) -> None:
    run = young(tmp_path, loss(100, 0.25, G=1.0), loss(200, 0.5, G=math.nan), loss(300, 0.75, G=math.inf))
    page = Page(write_report(run))
    assert "G was not a finite number in 2 of 3 records, first at epoch 0.5." in page.text
    assert page.data["losses"]["series"][0]["y"] == [1.0, None, None]


def test_notes_are_shown_with_their_epoch(tmp_path: Path) -> None:
    run = young(tmp_path, loss(400, 1.0), ("note", 600, {"text": "checkpoint 000000400 was damaged"}))
    assert "epoch 1.5 checkpoint 000000400 was damaged" in Page(write_report(run)).text


def test_without_epochs_in_the_log_the_page_counts_in_images(tmp_path: Path) -> None:
    run = young(tmp_path, ("start", 0, {}), ("note", 600, {"text": "hello"}))
    page = Page(write_report(run))
    assert page.data["unit"] == "image"
    assert "600 images hello" in page.text


# -- curves --------------------------------------------------------------------------------------------------


def test_a_long_log_makes_a_page_of_a_few_hundred_kilobytes(tmp_path: Path) -> None:
    line = '{{"kind":"loss","images":{0},"time":{0},"epoch":{1},"losses":{{"G":{2},"D":{2},"L1":{2}}}}}\n'
    with (tmp_path / "log.jsonl").open("w") as log:
        for i in range(1, 20_001):
            log.write(line.format(i * 100, i / 10, 1 + i % 7 / 3))
    path = write_report(tmp_path)
    assert path.stat().st_size < 400_000
    assert all(len(s["x"]) <= 1500 for s in Page(path).data["losses"]["series"])


def test_after_a_resume_no_curve_doubles_back(tmp_path: Path) -> None:
    again = [loss(100, 0.25), loss(200, 0.5), loss(300, 0.75)]
    run = young(tmp_path, ("start", 0, {}), *again, ("resume", 100, {}), *again[1:], loss(400, 1.0))
    assert Page(write_report(run)).data["losses"]["series"][0]["x"] == [0.25, 0.5, 0.75, 1.0]


def test_the_best_point_of_a_score_is_marked_on_its_curve(page: Page) -> None:
    charts = {chart["title"]: chart for chart in page.data["small"]}
    assert list(charts) == ["L1", "PSNR", "SSIM", "Learning rate", "Images a second"]
    for title, choose in (("L1", min), ("PSNR", max)):
        (series,) = charts[title]["series"]
        epoch, value = series["best"]
        assert value == pytest.approx(choose(series["y"]), rel=1e-4)
        assert series["x"][series["y"].index(choose(series["y"]))] == epoch


# -- files ------------------------------------------------------------------------------------------------------


def test_the_report_is_replaced_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    path = write_report(tmp_path)
    assert path == tmp_path / "index.html"
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_a_folder_that_is_not_there_is_one_line_naming_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: not a run folder"):
        write_report(tmp_path / "nowhere")


def test_a_report_that_cannot_be_written_is_one_line_naming_it(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    (tmp_path / "index.html" / "keep").touch()
    with pytest.raises(DiskError, match=r"index\.html cannot be written"):
        write_report(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
