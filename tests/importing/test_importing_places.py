"""Where an imported run may be made: in one line where it may not, with nothing left."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from bringing import imported, saved
from reference_networks import ReferenceResNet

from commands import Gesso, refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "G.pth", ReferenceResNet(3, 3, 2, 1, "batch"))


def test_the_working_folder_is_not_replaced(
    file: Path, gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (".", tmp_path / "here"):
        refused(gesso("import", file, "--from", "junyanz", "-o", place), "is the folder that you are in; name a new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["G.pth", "here"]


def test_an_empty_folder_becomes_the_run(file: Path, gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    imported(gesso, "junyanz", tmp_path / "run", file)
    assert (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_no_place_for_a_run(there: bool, file: Path, gesso: Gesso, tmp_path: Path) -> None:
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    refused(gesso("import", file, "--from", "junyanz", "-o", tmp_path / "link"), "--out .*link: is a link")
    assert (tmp_path / "link").is_symlink()


def test_a_name_that_is_not_text_is_refused(file: Path, gesso: Gesso, tmp_path: Path) -> None:
    refused(gesso("import", file, "--from", "junyanz", "-o", tmp_path / "names" / "\udcff"), "not UTF-8")
    assert [path.name for path in tmp_path.iterdir()] == ["G.pth"]


def test_a_name_may_be_as_long_as_names_are(file: Path, gesso: Gesso, tmp_path: Path) -> None:
    imported(gesso, "junyanz", tmp_path / ("n" * 255), file)


def test_a_full_disk_is_told_by_the_folder_that_was_named(
    file: Path, gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = gesso("import", file, "--from", "junyanz", "-o", tmp_path / "run")
    refused(said, "run/recipe.json cannot be written: the disk is full")
    assert "tmp/" not in said.err[0].replace(str(tmp_path), "")
