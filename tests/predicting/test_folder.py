"""Translating folders: every picture under its own name or named with the reason, and no file lost."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from translating import failing, make_run, photos, picture, resnet_run, results, translate, with_channels

from conftest import toy
from gesso.data.images import write_image
from gesso.engine import checkpoint
from gesso.errors import CheckpointError, DiskError, UsageError
from gesso.predicting import folder
from gesso.predicting.jobs import chosen_suffix


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resnet_run(tmp_path_factory.mktemp("runs") / "resnet")


def test_places_and_names_are_kept(resnet: Path, tmp_path: Path) -> None:
    for name in ("b.png", "deep/er/c.jpg", "deep/d.bmp", "ünï code/e f.webp"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / name, picture(8, 8))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    translate(resnet, tmp_path / "in", tmp_path / "out")
    assert list(results(tmp_path / "out")) == ["b.png", "deep/d.png", "deep/er/c.png", "ünï code/e f.png"]


def test_the_result_of_one_picture_may_be_a_file(resnet: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(8, 8))
    translate(resnet, tmp_path / "a.png", tmp_path / "new" / "made.jpg")
    assert list(results(tmp_path / "new")) == ["made.jpg"]
    with pytest.raises(UsageError, match=r"made\.jpg is there already"):
        translate(resnet, tmp_path / "a.png", tmp_path / "new" / "made.jpg")


def test_a_folder_that_is_called_like_a_picture_is_a_folder(resnet: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(8, 8))
    (tmp_path / "out.png").mkdir()
    translate(resnet, tmp_path / "a.png", tmp_path / "out.png")
    assert list(results(tmp_path / "out.png")) == ["a.png"]


@pytest.mark.parametrize(
    ("format_", "out", "suffix"), [("auto", "m.tiff", "tiff"), ("jpg", "m", "jpg"), ("auto", "m", "png")]
)
def test_the_format_is_what_the_name_of_the_result_says(format_: str, out: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert chosen_suffix(format_, tmp_path / "a.png", tmp_path / out, "png") == suffix


def test_a_name_and_a_format_that_disagree_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=r"--out .*m\.jpg: its name says another format than --format png"):
        chosen_suffix("png", tmp_path / "a.png", tmp_path / "m.jpg", "png")


def test_same_keeps_the_suffix(resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = ["a.JPG", "a.png", "b.bmp", "c.tiff", "d.webp"]
    for name in names:
        write_image(tmp_path / "in" / name, picture(8, 8))
    translate(resnet, tmp_path / "in", tmp_path / "out", suffix="same")
    assert list(results(tmp_path / "out")) == names


def test_pictures_that_share_a_stem_do_not_overwrite_each_other(resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, name in enumerate(["a.jpg", "a.png", "a.jpg.png", "b.png"]):
        write_image(tmp_path / "in" / name, picture(8 + i, 8, seed=i))
    done = translate(resnet, tmp_path / "in", tmp_path / "out")
    made = results(tmp_path / "out")
    assert done.written == len(made) == 4
    assert sorted(array.shape[0] for array in made.values()) == [8, 9, 10, 11]
    assert made["a.png.png"].shape[0] == 9 and made["b.png"].shape[0] == 11


def test_results_that_are_there_are_refused_before_anything_is_written(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8), (9, 9)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_9x9.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"01_9x9\.png .*--existing skip"):
        translate(resnet, inputs, tmp_path / "out")
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"mine"]


def test_skip_leaves_results_and_counts_them(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8), (9, 9)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_9x9.png").write_bytes(b"mine")
    done = translate(resnet, inputs, tmp_path / "out", existing="skip")
    assert (done.written, done.skipped) == (1, 1)
    assert (tmp_path / "out" / "01_9x9.png").read_bytes() == b"mine"


def test_replace_writes_results_anew(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8), (9, 9)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_9x9.png").write_bytes(b"mine")
    assert translate(resnet, inputs, tmp_path / "out", existing="replace").written == 2
    assert results(tmp_path / "out")["01_9x9.png"].shape == (9, 9, 3)


@pytest.mark.parametrize("place", ["in", "in/out", "in/deep/out"])
def test_results_inside_the_inputs_are_refused(place: str, resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    with pytest.raises(UsageError, match="results would be taken for inputs"):
        translate(resnet, inputs, tmp_path / place)
    assert len(list(inputs.rglob("*"))) == 1


def test_no_picture_is_replaced_by_its_own_result(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    (source,) = inputs.iterdir()
    before = source.read_bytes()
    with pytest.raises(UsageError, match="is one of the pictures"):
        translate(resnet, source, inputs, existing="replace")
    assert source.read_bytes() == before


def test_one_file(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 12), (8, 12)])
    translate(resnet, inputs / "01_12x8.png", tmp_path / "out")
    assert list(results(tmp_path / "out")) == ["01_12x8.png"]


@pytest.mark.parametrize("which", ["best", "latest", "10", "000000010"])
def test_checkpoint_is_chosen_by_name(which: str, resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    number = {"best": "000000000", "latest": "000000020"}.get(which, "000000010")
    translate(resnet, inputs, tmp_path / "asked", checkpoint=which)
    translate(resnet / "checkpoints" / number, inputs, tmp_path / "expected")
    others = [n for n in ("000000000", "000000010", "000000020") if n != number]
    asked, expected = (results(tmp_path / out)["00_8x8.png"] for out in ("asked", "expected"))
    assert (asked == expected).all()
    for other in others:
        translate(resnet, inputs, tmp_path / other, checkpoint=other)
        assert (results(tmp_path / other)["00_8x8.png"] != asked).any()


def test_a_checkpoint_can_be_used_wherever_it_is_taken(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    translate(resnet, inputs, tmp_path / "expected", checkpoint="10")
    moved = shutil.copytree(resnet / "checkpoints" / "000000010", tmp_path / "elsewhere")
    translate(moved, inputs, tmp_path / "made")
    made, expected = (results(tmp_path / out)["00_8x8.png"] for out in ("made", "expected"))
    assert (made == expected).all()


def test_a_checkpoint_from_before_they_carried_recipes_takes_its_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", toy("cyclegan", Path("nowhere")))
    path = run / "checkpoints" / "000000000"
    (path / "recipe.json").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["recipe.json"], manifest["digest"]
    (path / "manifest.json").write_text(checkpoint._manifest_text(manifest))
    assert translate(path, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out").written == 1


def test_checkpoint_that_is_not_there_is_refused_with_those_that_are(resnet: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint 7; there are latest, best, 000000000"):
        translate(resnet, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", checkpoint="7")
    assert not (tmp_path / "out").exists()


def test_format_that_cannot_hold_the_models_channels_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", with_channels("pix2pix-resnet9", 3, 4))
    with pytest.raises(UsageError, match="--format jpg: JPEG cannot hold the 4 channels"):
        translate(run, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", suffix="jpg")
    assert not (tmp_path / "out").exists()


def test_file_without_an_images_suffix_has_none_to_keep(resnet: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(8, 8))
    bare = (tmp_path / "a.png").rename(tmp_path / "bare")
    with pytest.raises(UsageError, match="--format same: bare does not end in an image's suffix"):
        translate(resnet, bare, tmp_path / "out", suffix="same")
    assert translate(resnet, bare, tmp_path / "out").written == 1


def test_unreadable_pictures_are_named_and_the_others_done(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)] * 6)
    for i in (0, 2, 5):
        (inputs / f"0{i}_8x8.png").write_bytes(b"not a picture")
    done = translate(resnet, inputs, tmp_path / "out", batch_size=2)
    assert done.written == 3
    assert [error.path.name for error in done.bad] == ["00_8x8.png", "02_8x8.png", "05_8x8.png"]
    assert list(results(tmp_path / "out")) == ["01_8x8.png", "03_8x8.png", "04_8x8.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_interrupt_leaves_only_whole_results(
    error: BaseException, resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = photos(tmp_path / "in", [(16, 16)] * 8)
    monkeypatch.setattr(folder._Work, "translate", failing(3, error, folder._Work.translate))
    with pytest.raises(type(error)):
        translate(resnet, inputs, tmp_path / "out", batch_size=1)
    made = results(tmp_path / "out")  # reads every file that is there
    assert list(made) == ["00_16x16.png", "01_16x16.png", "02_16x16.png"]


def test_full_disk_leaves_only_whole_results(resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = photos(tmp_path / "in", [(16, 16)] * 4)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", failing(2, full, Path.replace))
    with pytest.raises(DiskError, match="free some space"):
        translate(resnet, inputs, tmp_path / "out", batch_size=1)
    assert not list((tmp_path / "out").glob(".*"))
    assert len(results(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "--batch-size 0: must be 1 or more"),
        ({"resize": -1}, "--resize -1: must be 0 or more"),
        ({"max_pixels": 0}, "--max-pixels 0: must be 1 or more"),
        ({"device": "tpu9"}, "--device tpu9"),
        ({"precision": "tf32"}, "--precision tf32: cpu has"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    options: dict[str, Any], message: str, resnet: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        translate(resnet, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", **options)


def test_folder_without_pictures_is_refused(resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    with pytest.raises(UsageError, match="no pictures in this folder"):
        translate(resnet, tmp_path / "in", tmp_path / "out")
