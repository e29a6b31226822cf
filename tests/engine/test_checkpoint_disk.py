"""A disk that refuses leaves every checkpoint as it was, and is named in one line; our own mistakes are not."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from toy_checkpoints import content, save, three

from gesso.engine import checkpoint
from gesso.errors import DiskError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return three(tmp_path / "run")


def fail(call: int, error: Exception, original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, but the call of that number raises `error`."""
    calls = iter(range(10**6))

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise error
        return original(*arguments, **options)

    return failing


FULL = OSError(errno.ENOSPC, "No space left on device")
HIDDEN = "I/O error: No space left on device (os error 28)"


@pytest.mark.parametrize(
    ("where", "name", "error", "calls"),
    [
        (checkpoint, "save_file", SafetensorError(HIDDEN), 2),
        (torch, "save", FULL, 1),
        (os, "fsync", FULL, 4),
        (Path, "mkdir", FULL, 1),
        (Path, "rename", FULL, 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_full_disk_leaves_everything_as_it_was(
    run: Path, where: Any, name: str, error: Exception, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(run)
    for call in range(calls):
        with monkeypatch.context() as patch, pytest.raises(DiskError) as caught:
            patch.setattr(where, name, fail(call, error, getattr(where, name)))
            save(run, 40)
        assert str(caught.value).startswith(str(run / "checkpoints" / "000000040"))
        assert "\n" not in str(caught.value) and "disk is full" in str(caught.value)
        assert content(run) == before
    assert checkpoint.find(save(run, 40).parents[1], "latest", print).images == 40


def test_a_disk_that_fills_inside_a_file_is_named_full(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch reports the position in its archive and not the disk."""
    before = content(run)
    real = torch.save
    with monkeypatch.context() as patch, Path("/dev/full").open("wb", buffering=0) as full:
        patch.setattr(torch, "save", lambda state, file: real(state, full))
        with pytest.raises(DiskError, match="the disk is full; free some space"):
            save(run, 40)
    assert content(run) == before


@pytest.mark.parametrize("limit", [0, 100, 700, 900])
def test_a_disk_that_takes_no_more_leaves_everything_as_it_was(run: Path, limit: int) -> None:
    """The system's own refusal, within each of the files that are written."""
    resource = pytest.importorskip("resource")
    before = content(run)
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, allowed[1]))
    try:
        with pytest.raises(DiskError, match="000000040 cannot be written: no file may be so large here"):
            save(run, 40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert content(run) == before


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        (torch, "save", RuntimeError("a bug in a model's state")),
        (checkpoint, "save_file", RuntimeError("Some tensors share memory")),
        (checkpoint, "save_file", SafetensorError("invalid dtype")),
    ],
    ids=["state", "shared", "dtype"],
)
def test_mistakes_of_ours_are_not_blamed_on_the_disk(
    run: Path, where: Any, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(run)
    monkeypatch.setattr(where, name, fail(0, error, getattr(where, name)))
    with pytest.raises(type(error), match=str(error)):
        save(run, 40)
    assert content(run) == before


def test_a_disk_that_fills_before_latest_is_moved_loses_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = checkpoint.write_atomically
    with monkeypatch.context() as patch, pytest.raises(DiskError):
        patch.setattr(checkpoint, "write_atomically", fail(0, DiskError("full"), write))
        save(run, 40)
    assert (run / "checkpoints" / "latest").read_text() == "000000030\n"
    assert checkpoint.find(run, "latest", print).images == 40  # whole, so it is used, whatever the pointer says
