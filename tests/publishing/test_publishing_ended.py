"""A publication that is killed, interrupted or finds no room leaves what was there, and may be given again."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Gesso, contents, refused


@pytest.fixture
def shared(run: Path, tmp_path: Path, gesso: Gesso) -> Path:
    """The toy run of pix2pix, published."""
    assert gesso("publish", run, "--to", tmp_path / "shared").code == 0
    return tmp_path / "shared"


def publishes(run: Path, place: Path, gesso: Gesso) -> None:
    """The same command again publishes all, and sweeps what was left."""
    assert gesso("publish", run, "--to", place).code == 0
    assert gesso("publish", run, "--to", place.parent / "elsewhere" / place.name).code == 0
    assert contents(place) == contents(place.parent / "elsewhere" / place.name)
    shutil.rmtree(place.parent / "elsewhere")
    assert {path.name for path in place.parent.iterdir()} == {"runs", place.name}


@pytest.mark.parametrize("call", [0, 3, 5, 7, 8])
def test_a_full_disk_leaves_what_was_there(
    call: int, run: Path, shared: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six files are synced, then their folder, where a refusal means nothing; then there are two renames."""
    before, calls = contents(shared.parent), iter(range(100))

    def failing(real: Any) -> Any:
        def fail(*words: Any) -> Any:
            if next(calls) == call:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*words)

        return fail

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync))
        patch.setattr(Path, "rename", failing(Path.rename))
        said = gesso("publish", run, "--to", shared, "--replace", "--licence", "MIT")
    refused(said._replace(err=said.err[-1:]), "cannot be written: the disk is full")
    assert contents(shared.parent) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from gesso.cli import main
where, name, call, *words = sys.argv[1:]
owner = {"os": os, "Path": Path}[where]
real, left = getattr(owner, name), iter(range(int(call), -1, -1))
setattr(owner, name, lambda *given: os.kill(os.getpid(), signal.SIGKILL) if next(left) == 0 else real(*given))
main(words)
"""


def killed(where: str, name: str, call: int, *words: object) -> None:
    """Publish in a process of its own, which is killed at a call of a function."""
    command = [sys.executable, "-c", KILLED, where, name, str(call), "publish", *map(str, words)]
    assert subprocess.run(command, timeout=200, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("where", "name", "call"), [("os", "fsync", 3), ("Path", "rename", 1)])
def test_a_kill_loses_nothing(where: str, name: str, call: int, run: Path, shared: Path, gesso: Gesso) -> None:
    """While a file is written; and when the old model has left its place and the new one is not yet there."""
    before = contents(shared)
    killed(where, name, call, run, "--to", shared, "--replace")
    refused(gesso("publish", run, "--to", shared), "a published model is there already")
    assert contents(shared) == before
    assert gesso("publish", run, "--to", shared, "--replace").code == 0
    assert sorted(path.name for path in shared.parent.iterdir()) == ["runs", "shared"]


def test_a_kill_leaves_nothing_under_a_new_name(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    """When all is written and only its name is missing."""
    killed("Path", "rename", 0, run, "--to", tmp_path / "new")
    assert not (tmp_path / "new").exists() and list(tmp_path.glob(".new.*.tmp"))
    publishes(run, tmp_path / "new", gesso)


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """The system's limit of a file's size ends a write half way, as a full disk does."""
    resource = pytest.importorskip("resource")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, allowed[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


def test_a_file_that_finds_no_room_leaves_nothing(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    before = contents(tmp_path)
    with small_files():
        said = gesso("publish", run, "--to", tmp_path / "new")
    refused(said._replace(err=said.err[-1:]), f"{tmp_path}/new cannot be written: no file may be so large here")
    assert contents(tmp_path) == before and not (tmp_path / "new").exists()
    publishes(run, tmp_path / "new", gesso)


def interrupting(real: Any, call: int) -> Any:
    """`real`, behind whose call of that number an interrupt comes."""
    calls = iter(range(100))

    def interrupted(*words: Any) -> Any:
        result = real(*words)
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return result

    return interrupted


@pytest.mark.parametrize("call", [0, 5])
def test_an_interrupt_while_files_are_written_leaves_nothing(
    call: int, run: Path, tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupting(os.fsync, call))
        assert gesso("publish", run, "--to", tmp_path / "new").code == 130
    assert contents(tmp_path) == before and not (tmp_path / "new").exists()
    publishes(run, tmp_path / "new", gesso)


@pytest.mark.parametrize(("call", "replaced"), [(0, False), (1, True)])
def test_an_interrupt_between_old_and_new_leaves_one_of_them(
    call: int, replaced: bool, run: Path, shared: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the old model has just left its place; and when the new one has just come there."""
    before = contents(shared)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupting(Path.rename, call))
        assert gesso("publish", run, "--to", shared, "--replace", "--name", "New").code == 130
    assert (contents(shared) == before) != replaced
    assert ("# New\n" in (shared / "README.md").read_text()) == replaced
    assert sorted(path.name for path in shared.parent.iterdir()) == ["runs", "shared"]


@pytest.mark.parametrize(
    "name", [".res.v2.99999999.old.tmp", ".res.v2.99999999.tmp", ".res.mine.tmp", ".res.99999999.tmp"]
)
def test_what_lies_beside_and_is_not_its_own_is_left_alone(name: str, run: Path, tmp_path: Path, gesso: Gesso) -> None:
    """The leftovers of another model, and folders of the user's."""
    (tmp_path / name).mkdir()
    (tmp_path / name / ("notes.txt" if "v2" not in name else "G.safetensors")).write_text("mine")
    before = contents(tmp_path / name)
    assert gesso("publish", run, "--to", tmp_path / "res").code == 0
    assert contents(tmp_path / name) == before


def test_a_process_that_lives_keeps_what_it_writes(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    beside = tmp_path / f".res.{os.getppid()}.tmp"
    beside.mkdir()
    assert gesso("publish", run, "--to", tmp_path / "res").code == 0
    assert beside.is_dir()


def test_nothing_is_put_back_for_words_that_cannot_be(run: Path, shared: Path, tmp_path: Path, gesso: Gesso) -> None:
    shared.rename(tmp_path / ".res.99999999.old.tmp")
    before = contents(tmp_path)
    refused(gesso("publish", run, "--to", tmp_path / "res", "--public"), "--public: .* is a folder")
    refused(gesso("publish", tmp_path / "none", "--to", tmp_path / "res"), "there is no such run")
    assert contents(tmp_path) == before


def test_the_only_copy_of_a_model_is_never_deleted(run: Path, shared: Path, tmp_path: Path, gesso: Gesso) -> None:
    before = contents(shared)
    shared.rename(tmp_path / ".res.99999999.old.tmp")
    (tmp_path / "res").mkdir()
    (tmp_path / "res" / "notes.txt").write_text("mine")
    refused(gesso("publish", run, "--to", tmp_path / "res"), "holds other files, such as notes.txt")
    assert contents(tmp_path / ".res.99999999.old.tmp") == before
    (tmp_path / "res" / "notes.txt").unlink()
    refused(gesso("publish", run, "--to", tmp_path / "res"), "a published model is there already")
    assert contents(tmp_path / "res") == before
