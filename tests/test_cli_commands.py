"""What each command does, on toys; interrupts and exhausted memory."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from commands import Gesso, refused, train_words
from gesso import cli
from gesso.engine.train import Run
from gesso.models.pix2pix import Pix2Pix
from gesso.recipe import Recipe


def test_interrupt_ends_in_130(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.commands(), "doctor", interrupted)
    assert gesso("doctor") == (130, [], ["gesso: interrupted"])


def test_interrupt_of_a_run_saves_it_and_says_how_to_go_on(
    gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Pix2Pix.train_step

    def train_step(self: Pix2Pix, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Pix2Pix, "train_step", train_step)
        said = gesso(*train_words(pairs, "--runs", tmp_path, "--name", "it"))
    assert said.code == 130
    assert any(f"go on with: gesso resume {tmp_path / 'it'}" in line for line in said.out)
    assert gesso("resume", tmp_path / "it").code == 0


def test_train_evaluate_translate(gesso: Gesso, run: Path, pairs: Path, tmp_path: Path) -> None:
    said = gesso("evaluate", run, "--split", "val", "-b", 3)
    assert said.code == 0
    assert said.out[0].split() == ["direction", "method", "L1", "PSNR", "SSIM"]
    assert any("split val" in line for line in said.out)
    assert json.loads((run / "metrics.json").read_text())["split"] == "test"  # the run's own score stays
    said = gesso("translate", run, pairs / "test", "-o", tmp_path / "out")
    assert (said.code, said.out) == (0, [f"4 written to {tmp_path / 'out'}, 0 there already, 0 could not be read"])
    (tmp_path / "out" / "000.png").unlink()
    said = gesso("translate", run, pairs / "test", "-o", tmp_path / "out", "--existing", "skip")
    assert (said.code, said.out) == (0, [f"1 written to {tmp_path / 'out'}, 3 there already, 0 could not be read"])


def test_same_command_on_a_finished_run_is_well(gesso: Gesso, run: Path, pairs: Path) -> None:
    said = gesso(*train_words(pairs, "--runs", run.parent, "--name", run.name))
    assert said.code == 0
    assert said.out[-1] == f"report: {run / 'index.html'}"
    assert said.err == []


def test_synth_writes_what_check_finds_good(gesso: Gesso, tmp_path: Path) -> None:
    said = gesso("data", "synth", "pairs", tmp_path / "streets", "--count", 3, "--size", 64)
    assert (said.code, said.err) == (0, [])
    assert said.out[0].startswith(f"{tmp_path / 'streets'}: ")
    said = gesso("data", "check", tmp_path / "streets")
    assert said.code == 0
    assert "0 bad" in "\n".join(said.out)


@pytest.mark.parametrize(
    ("more", "pattern"),
    [(["--count", 0], "count"), (["--size", 2], "size"), (["--size", 10**6], "size"), (["--seed", -1], "seed")],
)
def test_synth_refuses_numbers_that_make_no_sense(
    more: list[object], pattern: str, gesso: Gesso, tmp_path: Path
) -> None:
    refused(gesso("data", "synth", "pairs", tmp_path / "streets", *more), f"--{pattern}")
    assert not (tmp_path / "streets").exists()


def test_synth_does_not_write_among_other_files(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    refused(gesso("data", "synth", "pairs", tmp_path), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_check_names_bad_files_and_ends_in_2(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "trainA").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save(
        tmp_path / "trainA" / "good.png"
    )
    (tmp_path / "trainA" / "bad.png").write_bytes(b"")
    said = gesso("data", "check", tmp_path)
    assert said.code == 2
    assert any("bad.png" in line and "empty file" in line for line in said.out)
    assert not any("good.png" in line for line in said.out)


def test_doctor_says_what_it_chose_and_why(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.engine.doctor.measure_matmul_peak", lambda device, dtype: 2e9)
    said = gesso("doctor")
    assert (said.code, said.err) == (0, [])
    text = "\n".join(said.out)
    for what in ("device", "precision", "channels_last"):
        assert re.search(rf"^{what} +\S+ \(.+\)$", text, re.MULTILINE), text
    assert re.search(r"^torch +2\.", text, re.MULTILINE)
    assert re.search(r"^matmul fp32 +2 GFLOP/s measured$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_flags_that_help(
    error: Exception, gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(Pix2Pix, "train_step", train_step)
    said = gesso(*train_words(pairs, "--runs", tmp_path, "--name", "it"))
    assert said.code == 2
    assert said.err[-1] == "gesso: out of memory; use a smaller --batch-size, --data.crop-size or --generator.ngf"


def test_out_of_memory_where_no_flag_helps(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(arguments: object) -> int:
        raise MemoryError

    monkeypatch.setitem(cli.commands(), "resume", exhausted)
    assert gesso("resume", "run") == (2, [], ["gesso: out of memory; close other programs, or use a machine with more"])


def test_demo_goes_where_it_is_told(gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def train(recipe: Recipe, **where: Any) -> Run:
        asked.update(where, recipe=recipe.recipe)
        return Run(where["runs"] / where["name"], False, [])

    monkeypatch.setattr("gesso.engine.train.train", train)
    assert gesso("demo", "--runs", tmp_path, "--name", "again", "--overwrite").code == 130
    assert asked == {"recipe": "pix2pix-demo", "runs": tmp_path, "name": "again", "overwrite": True}


def test_other_errors_of_ours_keep_their_traceback(
    gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(*arguments: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Pix2Pix, "train_step", train_step)
    with pytest.raises(RuntimeError, match="a bug"):
        gesso(*train_words(pairs, "--runs", tmp_path, "--name", "it"))


def test_only_what_others_made_is_said_to_be_not_installed(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> None:
        def commands() -> object:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr(cli, "commands", commands)

    lacking("tyro")
    refused(gesso("doctor"), "gesso doctor needs tyro, which is not installed: pip install gesso")
    lacking("gesso.networks.gone")
    with pytest.raises(ModuleNotFoundError, match=r"gesso\.networks\.gone"):
        gesso("doctor")
