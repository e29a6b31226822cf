"""Where exports are written: refused before the work where it cannot be, and whole or not at all whatever ends it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from commands import Gesso, refused

pytest_plugins = ("exports",)

LONG = "n" * 300
FILES = {
    "onnx": ("dcgan", "x.onnx", ["x.onnx"]),
    "openvino": ("dcgan", "x.xml", ["x.bin", "x.xml"]),
    "junyanz": ("cyclegan", "", [f"latest_net_{name}.pth" for name in ("D_A", "D_B", "G_A", "G_B")]),
}
"""By format: a model for it, what --out names in a folder, and the files that come of it."""


@pytest.fixture
def _converts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.export.export", None)


@pytest.mark.usefixtures("_converts_nothing")
@pytest.mark.parametrize("format_", ["onnx", "torch", "openvino"])
@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("file/below/x", "a file stands where a folder must be"),
        ("folder.link/x", "cannot be written: "),
        ("taken", "a folder stands where a file must be"),
        (LONG, "a name is longer than this disk takes; give a shorter one"),
        (f"new/{LONG}/x", "a name is longer than this disk takes; give a shorter one"),
    ],
    ids=["file", "link", "folder", "name", "folder's name"],
)
def test_a_place_that_cannot_be_is_refused_before_the_conversion(
    out: str, told: str, format_: str, runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    if format_ == "openvino":
        pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    suffix = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml"}[format_]
    (tmp_path / "file").touch()
    (tmp_path / "folder.link").symlink_to("nowhere")
    (tmp_path / "taken" / f"dcgan{suffix}").mkdir(parents=True)
    place = tmp_path / (out if out == "taken" else f"{out}{suffix}")
    before = sorted(tmp_path.rglob("*"))
    said = gesso("export", runs["dcgan"], "--format", format_, "-o", place, "--existing", "replace")
    refused(said, told)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("_converts_nothing")
def test_a_folder_in_which_nothing_can_be_written_is_refused_before_the_conversion(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(dir: Path) -> NoReturn:
        assert dir == tmp_path  # what is there of the folder that is named
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", deny)
    said = gesso("export", runs["dcgan"], "-o", tmp_path / "new" / "x.onnx")
    refused(said, r"new/x\.onnx cannot be written: permission denied; name another folder")


def export_words(format_: str, runs: dict[str, Path], folder: Path, *more: str) -> list[str]:
    if format_ == "openvino":
        pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    model, name, _ = FILES[format_]
    return ["export", str(runs[model]), "--format", format_, "-o", str(folder / name), *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def old(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a folder with the files of an export before."""

    def made(format_: str) -> Path:
        for name in FILES[format_][2]:
            (tmp_path / name).write_bytes(b"old")
        return tmp_path

    return made


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "SIGINT"])
@pytest.mark.parametrize("format_", FILES)
def test_what_ends_the_writing_leaves_the_export_before(
    format_: str,
    error: BaseException,
    old: Callable[[str], Path],
    runs: dict[str, Path],
    gesso: Gesso,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the last file that is put on the disk."""
    folder, names = old(format_), FILES[format_][2]
    real, left = os.fsync, iter(range(len(names)))

    def fail(handle: int) -> None:
        if next(left) == len(names) - 1:
            raise error
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        said = gesso(*export_words(format_, runs, folder, "--existing", "replace"))
    full = isinstance(error, OSError)
    assert (said.code, "the disk is full" in said.err[-1]) == (2 if full else 130, full)
    assert contents(folder) == dict.fromkeys(names, b"old")


@pytest.mark.parametrize("format_", ["onnx", "junyanz"])
def test_a_file_that_comes_while_an_export_runs_is_not_written_over(
    format_: str, runs: dict[str, Path], tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, real = FILES[format_][2][-1], os.fsync

    def another(handle: int) -> None:
        real(handle)
        (tmp_path / name).write_bytes(b"another's")

    monkeypatch.setattr(os, "fsync", another)
    said = gesso(*export_words(format_, runs, tmp_path))
    refused(
        said._replace(err=said.err[-1:]), rf"{name} is there already: it came while this export ran; use --existing"
    )
    assert contents(tmp_path) == {name: b"another's"}


KILLED = """
import os, signal, sys
from gesso.cli import main
real, left = os.fsync, iter(range(int(sys.argv[1]), -1, -1))
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL) if next(left) == 0 else real(handle)
main(sys.argv[2:])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("format_", FILES)
def test_a_kill_leaves_nothing_under_the_names_and_the_next_export_works(
    format_: str, runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    words, names = export_words(format_, runs, tmp_path), FILES[format_][2]
    command = [sys.executable, "-c", KILLED, str(len(names) - 1), *words]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in contents(tmp_path) if not name.startswith(".")] == []
    assert gesso(*words).code == 0
    assert sorted(name for name in contents(tmp_path) if not name.startswith(".")) == names


def test_openvino_that_finds_no_room_for_what_is_in_between_is_one_line(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own refusal, while OpenVINO writes."""
    openvino = pytest.importorskip("openvino", reason="needs pip install 'gesso[export]'")
    resource = pytest.importorskip("resource")
    real, allowed = openvino.save_model, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save(*given: Any, **named: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, allowed[1]))
        try:
            real(*given, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, allowed)

    monkeypatch.setattr(openvino, "save_model", save)
    said = gesso(*export_words("openvino", runs, tmp_path))
    refused(said._replace(err=said.err[-1:]), "finds no room there .* name another folder in TMPDIR")
    assert contents(tmp_path) == {}
