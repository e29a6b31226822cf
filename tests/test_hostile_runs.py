"""Runs that were edited by hand, data sets that changed under them, and files that no one expects: one line each."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gesso as package
from commands import Gesso, contents, refused, train_words
from conftest import toy, write_classes, write_pairs
from gesso.data.images import fit, read_image
from gesso.data.sources import open_source
from gesso.data.store import evaluation_fit, open_store
from gesso.engine import checkpoint
from gesso.engine.report import write_report
from gesso.errors import DataError
from gesso.recipe import TranslationData


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy run of densenet in runs/it, and its data set in classes. Not to be written to."""
    base = tmp_path_factory.mktemp("trained")
    package.train(toy("densenet-bc-cifar", write_classes(base / "classes"), epochs=1), runs=base / "runs", name="it")
    return base


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, on a copy of its data set in classes beside it."""
    shutil.copytree(trained / "classes", tmp_path / "classes")
    copied = Path(shutil.copytree(trained / "runs" / "it", tmp_path / "runs" / "it"))
    edit(copied / "recipe.json", "data.root", str(tmp_path / "classes"))
    return copied


def edit(path: Path, field: str, value: object) -> None:
    content: Any = json.loads(path.read_text())
    *groups, last = field.split(".")
    at = content
    for group in groups:
        at = at[group]
    at[last] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("epochs", 10**400, "too large for a float"),
        ("data.area", [0.5], "has not 2 values"),
        ("data", [], "not an object with fields"),
        ("model", ["densenet"], ""),
    ],
)
def test_recipe_that_was_edited_is_named_with_the_reason(
    field: str, value: object, reason: str, run: Path, gesso: Gesso
) -> None:
    edit(run / "recipe.json", field, value)
    refused(
        gesso("evaluate", run, "--device", "cpu"), rf"recipe\.json: not a recipe that this gesso can read: .*{reason}"
    )


def test_recipe_that_is_nested_without_end_is_named(run: Path, gesso: Gesso) -> None:
    (run / "recipe.json").write_text("[" * 100_000)
    refused(gesso("resume", run), r"recipe\.json: ")


@pytest.mark.parametrize(
    "environment", ["[1]", "{", '{"choices": 5}', '{"choices": {"device": "cpu"}}', '{"choices": {"device": {}}}']
)
def test_environment_that_was_edited_does_not_keep_a_run_from_its_scores(
    environment: str, run: Path, gesso: Gesso
) -> None:
    (run / "environment.json").write_text(environment)
    assert gesso("evaluate", run, "--device", "cpu").code == 0


def test_resume_names_the_classes_that_have_come_and_gone(run: Path, gesso: Gesso) -> None:
    train = run.parents[1] / "classes" / "train"
    (train / "dark").rename(train / "dim")
    refused(gesso("resume", run), r"classes are no longer those .*runs/it was begun with: new: dim; gone: dark; bring")


def test_picture_beside_the_class_folders_is_named(run: Path, gesso: Gesso) -> None:
    Image.new("RGB", (32, 32)).save(run.parents[1] / "classes" / "val" / "stray.png")
    refused(gesso("evaluate", run, "--device", "cpu"), r"val/stray\.png: stands beside the class folders")


def test_missing_folder_is_named_with_the_flag_of_the_command_that_runs(run: Path, gesso: Gesso) -> None:
    refused(gesso("evaluate", run, "--data-root", "nowhere"), "^gesso: --data-root nowhere: no such folder")
    refused(gesso("data", "check", "nowhere"), "^gesso: nowhere: no such folder")


def test_check_refuses_a_limit_that_no_image_keeps(run: Path, gesso: Gesso) -> None:
    refused(gesso("data", "check", run.parents[1] / "classes", "--max-pixels", 0), "--max-pixels 0: must be 1 or more")


def test_link_that_leads_to_itself_is_one_bad_picture_among_the_others(
    run_folder: Path, gesso: Gesso, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "photos" / "good.png")
    (tmp_path / "photos" / "loop.png").symlink_to("loop.png")
    said = gesso("translate", run_folder, tmp_path / "photos", "-o", tmp_path / "out", "--device", "cpu")
    assert said.code == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
    assert any("loop.png: cannot be read: too many levels" in line for line in said.err)


@pytest.mark.parametrize(("preprocess", "size"), [("crop", (1, 30_000)), ("scale_width", (1, 30_000))])
def test_thin_line_is_a_bad_image_and_does_not_fill_the_memory(
    preprocess: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    root = write_pairs(tmp_path / "set", {"train": 2})
    Image.new("RGB", (2 * size[0], size[1]), "teal").save(root / "train" / "line.png")
    data = TranslationData(root=str(root), preprocess=preprocess, load_size=286, crop_size=256)
    with pytest.raises(DataError, match=r"line\.png: 1 x 30000 pixels would become \d+ x \d+, which --data.preprocess"):
        open_store(open_source(data, "train", False), evaluation_fit(data), data, lambda line: None)


def test_long_image_that_is_not_enlarged_is_taken_whole(tmp_path: Path) -> None:
    Image.new("RGB", (600, 30), "teal").save(tmp_path / "long.png")
    assert fit(read_image(tmp_path / "long.png"), "crop", 32, 24).shape == (30, 600, 3)


@pytest.mark.parametrize("words", [["resume"], ["resume", "-e", 5]])
def test_checkpoint_is_not_written_into_as_if_it_were_a_run(words: list[object], run: Path, gesso: Gesso) -> None:
    path = checkpoint.list_checkpoints(run)[-1]
    command, *more = words
    before = contents(path)
    refused(gesso(command, path, *more), "is a checkpoint or a published model, and not a run; .*--start-from")
    assert contents(path) == before


def test_copied_checkpoint_is_scored_where_it_lies(
    run: Path, gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint.list_checkpoints(run)[-1], tmp_path / "alone")
    before = contents(tmp_path / "alone")
    monkeypatch.chdir(tmp_path)
    assert gesso("evaluate", "alone", "--device", "cpu", "--data-root", "classes").code == 0
    assert contents(tmp_path / "alone") == before


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "loss", "images": 3, "time": 1e999, "losses": {}}',
        '{"kind": "loss", "images": 3, "time": -1}',
        '{"kind": "loss", "images": -3, "time": 1}',
        '{"kind": "loss", "images": 99999999999999999999, "time": 1}',
    ],
)
def test_line_of_a_log_with_numbers_that_were_not_written_is_skipped(line: str, run: Path) -> None:
    with (run / "log.jsonl").open("a") as file:
        file.write(line + "\n")
    write_report(run)


@pytest.mark.parametrize(
    ("command", "words", "pattern"),
    [
        ("splits", ["--val", "nan"], "--val nan: must be a fraction below 1, or a whole number"),
        ("splits", ["--test", "inf"], "--test inf: must be a fraction below 1, or a whole number"),
        ("splits", ["--workers", -3], "--workers -3: must be 0"),
        ("imagenet", ["--processes", -1], "--processes -1: must be at least 0"),
    ],
)
def test_numbers_of_a_preparation_that_make_no_sense(
    command: str, words: list[object], pattern: str, classes: Path, gesso: Gesso, tmp_path: Path
) -> None:
    source = classes / "train" if command == "splits" else classes
    refused(gesso("data", "prepare", command, source, "-o", tmp_path / "out", *words), pattern)


def test_target_that_is_a_link_to_itself(classes: Path, gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("out")
    refused(
        gesso("data", "prepare", "splits", classes / "train", "-o", tmp_path / "out"), "out is a file; name a folder"
    )


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--schedule.delay", "nan"], "--schedule.delay nan: must be finite"),
        (["--schedule.milestones", 1, "inf"], "--schedule.milestones 1 inf: must be finite"),
        (["-e", 1e-9], "--epochs 1e-09: .* images in all, at 24 an epoch"),
        (["-e", 1e308], "--epochs 1e.308: inf images in all"),
    ],
)
def test_training_refuses_numbers_that_train_nothing(
    words: list[object], pattern: str, pairs: Path, gesso: Gesso, tmp_path: Path
) -> None:
    refused(gesso(*train_words(pairs, "--runs", tmp_path, *words)), pattern)


def test_resume_tells_that_the_data_set_has_grown(run: Path, gesso: Gesso) -> None:
    folder = run.parents[1] / "classes" / "train" / "dark"
    assert not [line for line in gesso("resume", run, "-e", 2).out if "training split" in line]
    shutil.copy(folder / "0.png", folder / "more.png")
    told = [line for line in gesso("resume", run, "-e", 3).out if "training split" in line]
    assert len(told) == 1 and "had 24 images when the run began and has 25 now" in told[0]


@pytest.mark.parametrize("number", ["²", "9" * 5000])
def test_checkpoint_that_is_no_number_is_refused(number: str, run: Path, gesso: Gesso) -> None:
    refused(gesso("evaluate", run, "--checkpoint", number), f"no checkpoint {number[:9]}")


@pytest.mark.parametrize("damage", ["renamed", "gone"])
def test_refused_resume_leaves_the_recipe_as_it_was(damage: str, run: Path, gesso: Gesso) -> None:
    train = run.parents[1] / "classes" / "train"
    (train / "dark").rename(train / "dim") if damage == "renamed" else shutil.rmtree(train.parent)
    before = (run / "recipe.json").read_bytes()
    refused(gesso("resume", run, "-e", 9), "classes")
    assert (run / "recipe.json").read_bytes() == before
