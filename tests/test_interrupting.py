"""An interrupt, or SIGTERM, of a real process: while a command still imports, while it works, where it is ignored."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import Gesso
from gesso.cli import commands

INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

{before}
sys.meta_path.insert(0, Finder())
from gesso.__main__ import main
sys.argv[1:] = {words!r}
sys.exit(main())
"""
SYNTH = ["data", "synth", "pairs", "streets", "--count", "1", "--size", "32"]


def interrupted(at: Path, module: str, words: list[str], before: str = "", **place: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `gesso WORDS` in the folder `at`, interrupted when it comes to import `module`;
    `before` is run first."""
    script = INTERRUPTED.format(module=module, words=words, before=before)
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=at, env=os.environ | place, capture_output=True, text=True, timeout=120
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("module", ["gesso.cli", "tyro", "gesso.recipes", "numpy", "PIL.Image", "gesso.data.synth"])
def test_an_interrupt_of_an_import_is_one_line(tmp_path: Path, module: str) -> None:
    assert interrupted(tmp_path, module, SYNTH) == (130, "", "gesso: interrupted\n")
    assert list(tmp_path.iterdir()) == []


TERMINATED = """
import os, pathlib, signal, sys, time
from gesso.cli import commands
from gesso.files import atomic_file

def doctor(words):
    with atomic_file(pathlib.Path("result")):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

commands()["doctor"] = doctor
from gesso.__main__ import main
sys.argv[1:] = ["doctor"]
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there on the spot")
def test_a_command_that_is_terminated_takes_away_what_it_had_begun(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", TERMINATED], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "", "gesso: terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_of_torchs_import_is_one_line(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "torch._C", ["doctor"]) == (130, "", "gesso: interrupted\n")


def test_a_module_that_catches_whatever_its_imports_raise_does_not_swallow_an_interrupt(tmp_path: Path) -> None:
    (tmp_path / "tyro.py").write_text("try:\n    import wanted\nexcept BaseException:\n    pass\n")
    code, _, said = interrupted(tmp_path, "wanted", ["doctor"], PYTHONPATH=str(tmp_path))
    assert (code, said) == (130, "gesso: interrupted\n")


@pytest.mark.parametrize("place", ["RANK", "SLURM_PROCID"])
def test_of_several_processes_only_the_first_tells_of_an_interrupt(tmp_path: Path, place: str) -> None:
    assert interrupted(tmp_path, "gesso.cli", SYNTH, **{place: "1"}) == (130, "", "")


@pytest.mark.parametrize("place", ["RANK", "SLURM_PROCID"])
def test_of_several_processes_only_the_first_tells_of_an_interrupt_of_its_work(
    gesso: Gesso, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupt(words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(commands(), "doctor", interrupt)
    assert gesso("doctor") == (130, [], ["gesso: interrupted"])
    monkeypatch.setenv(place, "1")
    assert gesso("doctor") == (130, [], [])


def test_a_process_that_was_started_to_ignore_interrupts_does(tmp_path: Path) -> None:
    code, out, said = interrupted(tmp_path, "tyro", SYNTH, before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (code, out, said) == (0, "streets: train 1, val 1, test 1\n", "")


def test_an_interrupt_of_the_work_is_one_line_too(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gesso", *SYNTH[:-4], "--count", "400", "--size", "512"]
    ran = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".streets.partial/train/*.png")):
        assert ran.poll() is None
        time.sleep(0.01)
    ran.send_signal(signal.SIGINT)
    assert ran.communicate(timeout=60) == ("", "gesso: interrupted\n") and ran.returncode == 130
    assert not (tmp_path / "streets").exists()
