"""Starting several processes: by --devices, by torchrun on two machines, and what launchers leave behind for each."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from commands import Gesso, refused
from gesso.engine.runlog import read_log
from gesso.errors import AGAIN, UsageError
from gesso.processes import Place, first_host, place
from worlds import Worlds

TRAINING = (
    "--data.load-size 36 --data.crop-size 32 --generator.ngf 4 --generator.blocks 1 --discriminator.ndf 4 "
    "--discriminator.layers 2 -b 2 -d fp32 --device cpu --compile off --checkpoints.every 0.5 --evaluation.every 0 "
    "--tracking.log-every 4 --tracking.sheet-every 0 --tracking.trackers"
)


def words(root: Path, runs: Path, *more: str) -> list[str]:
    return [
        "train",
        "cyclegan",
        "--data.root",
        str(root),
        "--runs",
        str(runs),
        "--name",
        "run",
        *TRAINING.split(),
        *more,
    ]


def started(line: list[str], runs: Path, before: tuple[str, ...] = ("-m", "gesso")) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(runs / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, *before, *line]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def wait_for_lines(log: Path, lines: int) -> None:
    end = time.monotonic() + 300
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < end
        time.sleep(0.01)


def weights(run: Path) -> dict[str, bytes]:
    last = max((run / "checkpoints").glob("0*"))
    return {file.name: file.read_bytes() for file in last.glob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that two processes trained without a disturbance."""
    runs = tmp_path_factory.mktemp("whole")
    with Worlds() as worlds:
        worlds.gesso(runs / "out", *words(pairs, runs, "-e", "3"))
    return runs / "run"


def test_a_killed_process_is_replaced_and_the_run_ends_in_the_same_weights(
    whole: Path, pairs: Path, tmp_path: Path
) -> None:
    training = started(words(pairs, tmp_path, "-e", "3", "--devices", "2", "--max-restarts", "1"), tmp_path)
    wait_for_lines(tmp_path / "run" / "log.jsonl", 8)
    second = next(child for child in psutil.Process(training.pid).children() if child.environ().get("RANK") == "1")
    second.kill()
    out, err = training.communicate(timeout=300)
    assert training.returncode == 0, err
    assert "restart 1: a process ended, all of them go on from here" in out
    assert "Traceback" not in err
    assert weights(tmp_path / "run") == weights(whole)


def test_an_interrupt_saves_the_run_and_the_same_command_goes_on_to_the_same_weights(
    whole: Path, pairs: Path, tmp_path: Path
) -> None:
    training = started(words(pairs, tmp_path, "-e", "3", "--devices", "2"), tmp_path)
    wait_for_lines(tmp_path / "run" / "log.jsonl", 5)
    training.send_signal(signal.SIGINT)  # the processes have a session of their own: the launcher passes it on
    out, err = training.communicate(timeout=300)
    assert training.returncode == 130
    assert "death signal" not in err
    assert "processes: 2, each 2 images a step, 4 in all" in out
    assert "stopped and saved at" in out
    assert "Traceback" not in err
    with Worlds() as worlds:
        worlds.gesso(tmp_path / "out", *words(pairs, tmp_path, "-e", "3"))
    assert weights(tmp_path / "run") == weights(whole)


def test_a_mistake_is_told_in_one_line_with_the_exit_code_of_mistakes(tmp_path: Path) -> None:
    training = started(words(tmp_path / "nothing", tmp_path, "--devices", "2", "--max-restarts", "3"), tmp_path)
    out, err = training.communicate(timeout=300)
    assert training.returncode == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "nothing" in err


@pytest.mark.parametrize(
    ("codes", "code", "began"),
    [
        (("2", "-"), 2, "00 01"),
        (("-", "3"), 3, "00 01"),
        (("-", "130"), 130, "00 01"),
        (("-", "1"), 1, "00 01 10 11 20 21"),
        ((str(AGAIN), "-"), 2, "00 01 10 11 20 21"),
    ],
)
def test_what_would_only_happen_again_is_not_tried_again(
    codes: tuple[str, str], code: int, began: str, tmp_path: Path
) -> None:
    """A user's mistake (2), a divergence (3) and an interrupt (130) in one of two processes; what the machine did
    (AGAIN, of which the user sees 2) and anything else (1) is tried twice more."""
    file = tmp_path / "began"
    line = f"import sys; from gesso.launching import launch; sys.exit(launch({[str(file), *codes]}, 2, 2, 'ending'))"
    with started([], tmp_path, ("-c", line)) as launcher:
        _, err = launcher.communicate(timeout=100)
    assert (launcher.returncode, err) == (code, "")
    assert sorted(file.read_text().split()) == began.split()


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (("--devices", "0"), "--devices 0: must be 1 or more"),
        (("--max-restarts", "2"), "only several processes are restarted"),
        (("--devices", "2", "--max-restarts", "-1"), "--max-restarts -1: must be 0 or more"),
        (("--devices", "2", "--device", "mps"), "--device mps"),
    ],
)
def test_impossible_numbers_of_processes_are_refused(
    flags: tuple[str, ...], pattern: str, gesso: Gesso, pairs: Path, tmp_path: Path
) -> None:
    refused(gesso(*words(pairs, tmp_path), *flags), pattern)


def test_torchruns_environment_is_read() -> None:
    marks = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert place(marks) == Place(rank=5, size=8, local_rank=1)
    assert place({**marks, "TORCHELASTIC_RESTART_COUNT": "2"}).restarts == 2
    assert place({**marks, "TORCHELASTIC_RESTART_COUNT": "0", "GESSO_RESTARTS": "2"}).restarts == 2
    assert place({**marks, "TORCHELASTIC_USE_AGENT_STORE": "True"}).store_kept
    assert place({**marks, "LOCAL_WORLD_SIZE": "8"}).one_machine
    assert place({}) == place({"WORLD_SIZE": "1", "RANK": "0"}) == Place()


def test_half_an_environment_is_refused() -> None:
    with pytest.raises(UsageError, match="MASTER_ADDR, MASTER_PORT is not set: start gesso with torchrun"):
        place({"RANK": "0", "WORLD_SIZE": "2"})


def test_an_environment_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the launcher's environment makes no sense: .*'two'"):
        place({"WORLD_SIZE": "two"})


def test_a_step_of_slurm_is_joined_and_the_shell_of_a_job_is_not() -> None:
    job = {"SLURM_JOB_ID": "70001", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    step = {**job, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NODELIST": "gpu[07-08]"}
    assert place(job) == Place()
    assert place({**step, "SLURM_PROCID": "6", "SLURM_LOCALID": "2"}) == Place(6, 8, 2, "gpu07", 30001)
    assert place({**step, "MASTER_PORT": "29500"}).port == 29500


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-09,12],login1", "gpu07"),
        ("a[1,3]-ib", "a1-ib"),
        ("n1,n2", "n1"),
        ("x-2[004]", "x-2004"),
    ],
)
def test_the_first_machine_of_a_slurm_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


MACHINES = {"gesso-a": ("gesso0", "10.77.0.1"), "gesso-b": ("gesso1", "10.77.0.2")}


@pytest.fixture
def machines() -> Iterator[None]:
    """Two network namespaces joined by a wire: for sockets, two machines."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")

    def ip(line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["ip", *line.split()], capture_output=True, check=False)

    for name in MACHINES:
        ip(f"netns del {name}")
    first, second = MACHINES
    made = [ip(f"netns add {name}") for name in MACHINES]
    made.append(ip(f"link add gesso0 netns {first} type veth peer name gesso1 netns {second}"))
    if any(done.returncode for done in made):
        for name in MACHINES:
            ip(f"netns del {name}")
        pytest.skip("this machine lets no network namespaces be made")
    for name, (wire, address) in MACHINES.items():
        ip(f"-n {name} addr add {address}/24 dev {wire}")
        ip(f"-n {name} link set {wire} up")
        ip(f"-n {name} link set lo up")
    yield
    for name in MACHINES:
        ip(f"netns del {name}")


def test_two_machines_train_together_by_torchrun(machines: None, whole: Path, pairs: Path, tmp_path: Path) -> None:
    line = words(pairs, tmp_path, "-e", "3")
    meeting = "--nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-id test --rdzv-endpoint 10.77.0.1:29471"
    trainings = []
    for name, (wire, address) in MACHINES.items():
        inside = ["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={wire}", "OMP_NUM_THREADS=1"]
        inside.append(f"XDG_CACHE_HOME={tmp_path / 'cache'}")
        host = "is_host=1" if address == "10.77.0.1" else "is_host=0"
        torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting.split(), "--local-addr", address]
        torchrun += ["--rdzv-conf", host, "-m"]
        trainings.append(
            subprocess.Popen(
                [*inside, *torchrun, "gesso", *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    said = [training.communicate(timeout=300) for training in trainings]
    assert [training.returncode for training in trainings] == [0, 0], said
    assert weights(tmp_path / "run") == weights(whole)
    assert [record["images"] for record in read_log(tmp_path / "run" / "log.jsonl")][-1] == 72
