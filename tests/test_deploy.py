"""What lies in deploy/, checked as far as it can be without a cluster."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gesso.cli import main

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def manifests() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def test_the_batch_script_is_one_that_bash_can_read() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    subprocess.run([bash, "-n", DEPLOY / "slurm.sbatch"], check=True)


def test_options_of_the_batch_script_stand_before_its_first_command() -> None:
    """Slurm stops reading options at the first command."""
    lines = (DEPLOY / "slurm.sbatch").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]


def test_every_pod_finds_pod_0_by_the_name_of_the_service() -> None:
    there = manifests()
    job, service = there["Job"], there["Service"]["metadata"]["name"]
    pod = job["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"][-1]
    assert pod["subdomain"] == service
    assert f"{job['metadata']['name']}-0.{service}:" in command
    assert job["spec"]["template"]["metadata"]["labels"] == there["Service"]["spec"]["selector"]
    assert job["spec"]["completionMode"] == "Indexed"
    nodes = re.search(r"--nnodes (\d+)", command)
    assert nodes and int(nodes[1]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    per_node = re.search(r"--nproc-per-node (\d+)", command)
    assert per_node and int(per_node[1]) == pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_what_the_image_copies_is_here() -> None:
    for line in re.findall(r"^COPY (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line


def commands() -> list[str]:
    script = (DEPLOY / "slurm.sbatch").read_text()
    pod = manifests()["Job"]["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    return [*re.findall(r"gesso (train .*)", script), *re.findall(r"gesso (train .*)", pod)]


@pytest.mark.parametrize("command", commands())
def test_gesso_takes_the_flags(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [re.sub(r"^/.*|^\$\w+", str(tmp_path / "nothing"), word) for word in shlex.split(command)]
    assert main(words) == 2  # there are no such data, which is only found once all flags were taken
    assert "nothing" in capsys.readouterr().err
