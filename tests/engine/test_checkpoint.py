"""Checkpoints: no changed byte goes unseen, no code in a file is run."""

import dataclasses
import errno
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_checkpoints import RECIPE_TEXT, content, save, three

from conftest import toy
from gesso.engine import checkpoint
from gesso.engine.checkpoint import MANIFEST, RECIPE, TRAINING, Checkpoint
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, read_weights
from gesso.engine.train import train
from gesso.errors import CheckpointError

FILES = ["D.safetensors", "G.safetensors", MANIFEST, RECIPE, TRAINING]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return three(tmp_path / "run")


def names(run: Path) -> list[int]:
    return [int(path.name) for path in checkpoint.list_checkpoints(run)]


def found(run: Path, which: str = "latest") -> tuple[Checkpoint, list[str]]:
    said: list[str] = []
    return checkpoint.find(run, which, said.append), said


def sign(folder: Path) -> None:
    """Make the manifest of `folder` right for its files, as someone who means harm would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
    rewrite(folder, manifest)


def rewrite(folder: Path, manifest: dict[str, Any]) -> None:
    manifest.pop("digest", None)
    (folder / MANIFEST).write_text(checkpoint._manifest_text(manifest))


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_what_was_saved_is_read(run: Path) -> None:
    newest, said = found(run)
    assert (newest.images, newest.model, said) == (30, "pix2pix", [])
    assert torch.equal(newest.weights["G"]["weight"], torch.full((3, 4), 30.0))
    assert torch.equal(newest.training()["model"]["pool"], torch.arange(30))
    assert found(run, "best")[0].progress["best"]["images"] == 20
    assert (newest.path / RECIPE).read_text() == RECIPE_TEXT


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_is_found_and_the_checkpoint_before_used(run: Path, name: str) -> None:
    file = run / "checkpoints" / "000000030" / name
    whole = file.read_bytes()
    rng = random.Random(name)
    places = [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(20))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= rng.randrange(1, 256)
        file.write_bytes(changed)
        older, said = found(run)
        assert older.images == 20, f"byte {place}"
        assert len(said) == 1 and f"damaged, {name} is not what was written; using 000000020 before it" in said[0]
    file.write_bytes(whole)
    assert found(run)[0].images == 30


def test_every_byte_of_a_manifest_counts(run: Path) -> None:
    file = run / "checkpoints" / "000000030" / MANIFEST
    whole = file.read_bytes()
    for place in range(len(whole)):
        # A line's end that becomes a carriage return is the change that reading as text would hide.
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 7]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            checkpoint.read(file.parent)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, None])
def test_truncated_and_missing_files_are_found(run: Path, name: str, kept: float | None) -> None:
    file = run / "checkpoints" / "000000030" / name
    if kept is None:
        file.unlink()
    else:
        os.truncate(file, int(file.stat().st_size * kept))
    older, said = found(run)
    assert older.images == 20
    assert name in said[0]


def test_a_file_that_the_disk_cannot_read_is_damage(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = checkpoint._digest

    def failing(file: Path) -> str:
        if file.parent.name == "000000030":
            raise OSError(errno.EIO, "Input/output error")
        return digest(file)

    monkeypatch.setattr(checkpoint, "_digest", failing)
    older, said = found(run)
    assert older.images == 20 and "cannot be read: [Errno 5]" in said[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(run: Path) -> None:
    folder = checkpoint.list_checkpoints(run)[-1]
    for name, reading in ((RECIPE, read_recipe), (MANIFEST, checkpoint.read)):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(CheckpointError, match=f"no readable {name}"):
            reading(folder)


def test_a_folder_whose_name_is_not_utf8_is_read(run: Path) -> None:
    try:
        there = run.rename(run.with_name("run\udcff"))
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    assert found(there)[0].weights["G"]["weight"][0, 0] == 30


def test_extra_files_are_left_alone(run: Path) -> None:
    folder = run / "checkpoints" / "000000030"
    (folder / ".DS_Store").write_text("a desktop was here")
    (folder / "X.safetensors").write_text("not one")
    newest, said = found(run)
    assert (newest.images, said, set(newest.weights)) == (30, [], {"G", "D"})


def test_copies_that_a_user_made_are_no_checkpoints(run: Path) -> None:
    shutil.copytree(run / "checkpoints" / "000000030", run / "checkpoints" / "000000030 good")
    checkpoint.prune(run, 1)
    assert names(run) == [20, 30]
    assert (run / "checkpoints" / "000000030 good").is_dir()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a/../../x"])
def test_a_manifest_cannot_name_files_elsewhere(run: Path, name: str) -> None:
    folder = run / "checkpoints" / "000000030"
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    rewrite(folder, manifest)
    with pytest.raises(CheckpointError, match=r"outside the checkpoint|\.\. is missing"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    "change", [{"files": ["G.safetensors"]}, {"files": None}, {"images": "many"}, {"progress": 3}, {"model": None}]
)
def test_a_manifest_of_another_shape_is_damage(run: Path, change: dict[str, Any]) -> None:
    folder = run / "checkpoints" / "000000030"
    manifest = {**json.loads((folder / MANIFEST).read_text()), **change}
    rewrite(folder, {key: value for key, value in manifest.items() if value is not None})
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(folder)


def test_a_signed_file_of_another_kind_is_damage(run: Path) -> None:
    folder = run / "checkpoints" / "000000030"
    (folder / "G.safetensors").write_bytes(b"not safetensors")
    sign(folder)
    with pytest.raises(CheckpointError, match=r"G\.safetensors cannot be read"):
        checkpoint.read(folder)


def test_where_none_is_whole_the_newest_damage_is_told(run: Path) -> None:
    for path in checkpoint.list_checkpoints(run):
        (path / TRAINING).unlink()
    with pytest.raises(CheckpointError, match=r"000000030: damaged, training\.pt is missing.*--overwrite"):
        found(run)


@pytest.mark.parametrize(
    ("which", "images"), [("latest", 30), ("best", 20), ("10", 10), ("000000020", 20), ("030", 30)]
)
def test_find_knows_names_and_numbers(run: Path, which: str, images: int) -> None:
    assert found(run, which)[0].images == images


@pytest.mark.parametrize("which", ["40", "newest", "", "../000000010", "¾"])
def test_find_lists_what_there_is_instead_of_an_unknown_one(run: Path, which: str) -> None:
    with pytest.raises(CheckpointError, match="there are latest, best, 000000010, 000000020, 000000030"):
        found(run, which)


def test_the_one_before_a_damaged_best_is_older_than_it(run: Path) -> None:
    (run / "checkpoints" / "000000020" / MANIFEST).write_text("{}")
    older, said = found(run, "best")
    assert older.images == 10 and "000000020: damaged" in said[0]


@pytest.mark.parametrize("pointer", [b"", b"\xff\xfe", b"nonsense\n", b"000000025\n", b"../../x\n"])
def test_a_damaged_best_pointer_leads_to_the_newest(run: Path, pointer: bytes) -> None:
    (run / "checkpoints" / "best").write_bytes(pointer)
    assert found(run, "best")[0].images == 30


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here yet"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("keep", "left"), [(0, [10, 20, 30, 40]), (1, [20, 40]), (2, [20, 30, 40]), (9, [10, 20, 30, 40])]
)
def test_prune_keeps_the_newest_and_the_best(run: Path, keep: int, left: list[int]) -> None:
    save(run, 40)
    checkpoint.prune(run, keep)
    assert names(run) == left


def test_damaged_checkpoints_from_before_a_resume_do_not_push_whole_ones_out(run: Path) -> None:
    (run / "checkpoints" / "000000030" / TRAINING).unlink()
    checkpoint.settle(run, found(run)[0], keep=1)
    save(run, 25)
    checkpoint.prune(run, 1)
    assert 25 in names(run)
    assert found(run)[0].images == 25


def test_settling_marks_the_best_that_a_kill_left_unmarked(run: Path) -> None:
    checkpoint.mark_best(run, run / "checkpoints" / "000000010")
    assert checkpoint.settle(run, found(run, "20")[0], keep=2)["images"] == 20
    assert (run / "checkpoints" / "best").read_text() == "000000020\n"
    assert (run / "checkpoints" / "latest").read_text() == "000000020\n"


def test_settling_takes_away_the_mark_of_a_best_that_came_later(run: Path) -> None:
    """Where the run goes back to 10 images, before it had a best."""
    earlier = found(run, "10")[0]
    checkpoint.drop_after(run, earlier.path)
    assert checkpoint.settle(run, earlier, keep=2) == {}
    assert not (run / "checkpoints" / "best").exists()
    newest, said = found(run, "best")
    assert (newest.images, said) == (10, [])


def test_settling_takes_away_the_mark_of_a_best_that_is_gone(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "000000020")
    assert checkpoint.settle(run, found(run)[0], keep=2) == {}
    assert not (run / "checkpoints" / "best").exists()


def test_ten_digits_come_after_nine(tmp_path: Path) -> None:
    """From 10⁹ images on; as text, 1000000000 comes before 999999990."""
    for images in (1_000_000_010, 1_000_000_000, 999_999_990, 10):
        save(tmp_path, 10)  # the toy's size goes by its number
        (tmp_path / "checkpoints" / "000000010").rename(tmp_path / "checkpoints" / f"{images:09d}")
    (tmp_path / "checkpoints" / "latest").write_text("1000000010\n")
    assert names(tmp_path) == [10, 999_999_990, 1_000_000_000, 1_000_000_010]
    assert found(tmp_path)[0].path.name == "1000000010"
    (tmp_path / "checkpoints" / "1000000010" / TRAINING).unlink()
    assert found(tmp_path)[0].path.name == "1000000000"
    checkpoint.prune(tmp_path, 2)
    assert names(tmp_path) == [1_000_000_000, 1_000_000_010]
    checkpoint.drop_after(tmp_path, tmp_path / "checkpoints" / "1000000000")
    assert names(tmp_path) == [1_000_000_000]


def test_saving_over_a_damaged_one_replaces_it(run: Path) -> None:
    (run / "checkpoints" / "000000030" / "G.safetensors").write_bytes(b"")
    (run / "checkpoints" / "000000030" / "left.txt").write_bytes(b"")
    save(run, 30)
    newest, said = found(run)
    assert (newest.images, said) == (30, [])
    assert not (newest.path / "left.txt").exists()
    assert content(run).keys() == {f"checkpoints/{p}" for p in ("latest", "best")} | {
        f"checkpoints/0000000{n}/{name}" for n in (10, 20, 30) for name in FILES
    }


def test_sweep_takes_what_a_kill_left_and_nothing_else(run: Path) -> None:
    before = content(run)
    for left in (".000000040.123.tmp", ".000000010.123.old.tmp"):
        (run / "checkpoints" / left).mkdir()
        (run / "checkpoints" / left / "G.safetensors").write_bytes(b"half")
    (run / "checkpoints" / ".latest.123.tmp").write_bytes(b"0000")
    (run / ".index.html.123.tmp").write_bytes(b"<html>")
    checkpoint.sweep(run)
    assert content(run) == before


def test_code_in_a_signed_training_state_is_not_run(run: Path, tmp_path: Path) -> None:
    folder = run / "checkpoints" / "000000030"
    torch.save({"optimizers": {}, "model": Payload(tmp_path / "ran")}, folder / TRAINING)
    sign(folder)
    with pytest.raises(CheckpointError, match=r"training\.pt: cannot be read"):
        checkpoint.read(folder).training()
    assert not (tmp_path / "ran").exists()
    torch.load(folder / TRAINING, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


@pytest.mark.parametrize("name", ["G.pth", "G.safetensors"])
def test_code_in_given_weights_is_not_run(name: str, pairs: Path, tmp_path: Path) -> None:
    torch.save({"model.0.weight": Payload(tmp_path / "ran")}, tmp_path / name)
    recipe = toy("pix2pix", pairs, start_from=(f"G={tmp_path / name}",))
    with pytest.raises(CheckpointError, match=f"{name}: not a") as caught:
        train(recipe, runs=tmp_path, name="run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [torch.ones(2), [1], {"a": 1}, {"a": {"b": torch.ones(1)}}])
def test_files_that_are_no_plain_dict_of_tensors_are_refused(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "G.pth")
    with pytest.raises(CheckpointError, match="not a state_dict"):
        read_weights(tmp_path / "G.pth")


def test_a_damaged_checkpoint_of_a_run_that_is_used_gives_way_to_the_one_before(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = toy("pix2pix", pairs, epochs=0.5)
    recipe = dataclasses.replace(recipe, checkpoints=dataclasses.replace(recipe.checkpoints, every=0.25))
    run = train(recipe, runs=tmp_path, name="run").path
    assert (run / "checkpoints" / "000000012" / RECIPE).read_bytes() == (run / RECIPE).read_bytes()
    (run / "checkpoints" / "000000012" / "G.safetensors").write_bytes(b"")
    assert find_checkpoint(run).images == 6
    assert "G.safetensors is not what was written; using 000000006" in capsys.readouterr().err
