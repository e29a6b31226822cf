"""A process of its own: its exit code, its output, and how it is stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gesso.bench.fresh import run_python

# Says that it runs, and ends with code 7 where it is told to stop.
PATIENT = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1]).write_text("stopped")
    sys.exit(7)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import sys
from gesso.bench.fresh import run_python
try:
    run_python(["-c", sys.argv[1], sys.argv[2]])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_the_exit_code_is_that_of_the_process() -> None:
    assert run_python(["-c", "raise SystemExit(3)"]) == 3
    assert run_python(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]) == -signal.SIGKILL


def test_output_is_appended_to_a_file(tmp_path: Path) -> None:
    for word in ("one", "two"):
        run_python(["-c", f"print({word!r})"], tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text().split() == ["one", "two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_tells_the_process_to_stop_and_waits_for_it(number: signal.Signals, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, PATIENT, str(told)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        os.kill(parent.pid, number)
        assert parent.stdout.read() == "interrupted\n"
    assert told.read_text() == "stopped"


def test_a_second_interrupt_kills_the_process(tmp_path: Path) -> None:
    deaf = PATIENT.replace("sys.exit(7)", "print('told', flush=True)")
    command = [sys.executable, "-c", PARENT, deaf, str(tmp_path / "told")]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        os.kill(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == "told\n"
        os.kill(parent.pid, signal.SIGINT)
        assert parent.stdout.read() == "interrupted\n"
    assert time.monotonic() - began < 50


def test_a_second_interrupt_while_the_first_is_passed_on_kills_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    wait, send, waited = subprocess.Popen.wait, subprocess.Popen.send_signal, []

    def interrupted_once(process: "subprocess.Popen[bytes]") -> int:
        waited.append(process)
        if len(waited) == 1:
            raise KeyboardInterrupt
        return wait(process)

    def interrupted(process: "subprocess.Popen[bytes]", number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        send(process, number)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted_once)
    monkeypatch.setattr(subprocess.Popen, "send_signal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_python(["-c", "import time; time.sleep(60)"])
    assert waited[0].returncode == -signal.SIGKILL
