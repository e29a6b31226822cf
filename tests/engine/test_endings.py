"""How several processes end: where one of them fails all do, in one line, with the exit code of what went wrong."""

import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import HashStore, TCPStore

from gesso.endings import Cause
from gesso.errors import AGAIN
from worlds import Worlds


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with Worlds() as server:
        yield server


@pytest.fixture
def store() -> TCPStore:
    """What a launcher keeps for its processes."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60))


def said(out: Path) -> list[list[str]]:
    return [(out / f"{rank}.txt").read_text().splitlines() for rank in range(2)]


GONE = "gesso: another process of this training has ended; what it said, if anything, is why"


def test_a_process_that_waits_for_a_device_ends_where_another_was_killed(worlds: Worlds, tmp_path: Path) -> None:
    began = time.monotonic()
    assert worlds.run(tmp_path, call="worlds_endings:stuck") == [1, -9]
    assert time.monotonic() - began < 30
    assert said(tmp_path) == [[GONE], []]


def test_a_process_that_is_busy_is_not_taken_for_dead(worlds: Worlds, tmp_path: Path) -> None:
    assert worlds.run(tmp_path, call="worlds_endings:busy") == [0, 0], said(tmp_path)


def test_all_end_with_the_exit_code_of_the_one_that_failed_and_it_alone_tells(
    worlds: Worlds, store: TCPStore, tmp_path: Path
) -> None:
    assert worlds.run(tmp_path, call="worlds_endings:mistaken", port=store.port) == [2, 2]
    assert said(tmp_path) == [[], ["gesso: --flag: a mistake"]]


STARTED = {"GESSO_RESTARTS": "0"}
"""What gesso's own launcher leaves in the environment."""


@pytest.mark.parametrize(
    ("error", "environment", "code", "told"),
    [
        ("memory", {}, 2, "gesso: out of memory; close other programs, or use a machine with more"),
        ("memory", STARTED, AGAIN, "gesso: out of memory; close other programs, or use a machine with more"),
        ("disk", {}, 2, "gesso: the system: No space left on device"),
        ("disk", STARTED, AGAIN, "gesso: the system: No space left on device"),
        ("bug", STARTED, 1, "RuntimeError: a bug"),
    ],
)
def test_all_end_with_the_exit_code_of_whatever_ended_one_and_it_alone_tells(
    worlds: Worlds, store: TCPStore, tmp_path: Path, error: str, environment: dict[str, str], code: int, told: str
) -> None:
    job = {"call": "worlds_endings:failing", "port": store.port, "error": error, "environment": environment}
    assert worlds.run(tmp_path, **job) == [code, code]
    silent, telling = said(tmp_path)
    assert (silent, telling[-1]) == ([], told)


def test_what_ended_an_earlier_start_is_not_taken_for_the_cause_of_this_one() -> None:
    store = HashStore()
    assert Cause(store, 1, "first").leave(2)
    assert Cause(store, 0, "first").code() == 2
    assert Cause(store, 0, "second").code() is None
    assert Cause(store, 0, "second").leave(3)


def test_processes_that_cannot_come_together_say_what_the_system_said(worlds: Worlds, tmp_path: Path) -> None:
    environment = {"GLOO_SOCKET_IFNAME": "nowhere0"}
    assert worlds.run(tmp_path, call="worlds_endings:unable_to_meet", environment=environment) == [2, 2]
    for (line,) in said(tmp_path):
        assert re.match(r"gesso: 127\.0\.0\.1:\d+: the processes cannot come together there: .*nowhere0", line)


def test_processes_of_one_machine_that_cannot_come_together_say_so_once(
    worlds: Worlds, store: TCPStore, tmp_path: Path
) -> None:
    environment = {"GLOO_SOCKET_IFNAME": "nowhere0", "TORCHELASTIC_USE_AGENT_STORE": "True", "LOCAL_WORLD_SIZE": "2"}
    environment |= {"MASTER_PORT": str(store.port), **STARTED}
    assert worlds.run(tmp_path, call="worlds_endings:unable_to_meet", environment=environment) == [AGAIN, AGAIN]
    assert len([line for lines in said(tmp_path) for line in lines]) == 1


TOY = "train pix2pix --data.root {pairs} --runs {here} --device cpu -e 1"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"{TOY} --data.crop-size 64", "--data.crop-size 64: "),
        (f"{TOY} --tracking.trackers wandb", "--tracking.trackers wandb: not installed"),
        ("evaluate {here}/nothing --device cpu", "nothing"),
    ],
)
def test_what_is_found_before_the_first_step_is_told_once(
    worlds: Worlds, pairs: Path, tmp_path: Path, line: str, told: str
) -> None:
    words = [word.format(pairs=pairs, here=tmp_path) for word in line.split()]
    assert worlds.run(tmp_path, arguments=words)[0] == 2
    (telling,), silent = said(tmp_path)
    assert told in telling and silent == []


def test_the_watch_ends_though_leaving_the_world_fails(worlds: Worlds, tmp_path: Path) -> None:
    assert worlds.run(tmp_path, call="worlds_endings:not_torn_down") == [0, 0], said(tmp_path)


def test_what_all_processes_find_is_told_once(worlds: Worlds, store: TCPStore, tmp_path: Path) -> None:
    assert worlds.run(tmp_path, call="worlds_endings:agreeing", port=store.port) == [2, 2]
    assert [line for lines in said(tmp_path) for line in lines] == ["gesso: --flag: a mistake"]


def test_a_port_that_is_taken_is_told_with_the_variable_that_names_another(worlds: Worlds, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert worlds.run(tmp_path, call="worlds_endings:meeting_where_it_is_taken", port=port) == [2, 1]
    (first,), (second,) = said(tmp_path)
    assert first == (
        f"gesso: 127.0.0.1:{port}: another program listens at this port already, so the processes cannot meet there; "
        "set MASTER_PORT to a free one"
    )
    assert second.startswith(f"gesso: 127.0.0.1:{port}: not all processes came there within ")


def test_a_second_training_in_a_world_does_not_hear_the_last_question_of_the_first(
    worlds: Worlds, tmp_path: Path
) -> None:
    assert worlds.run(tmp_path, call="worlds_endings:two_trainings") == [0, 0], said(tmp_path)
