"""The processes that pack shards: none outlives the command, so none writes into the folder of the next try."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.prepare.imagenet import prepare_imagenet
from gesso.data.prepare.packing import PARTS, Encoding, Item, Shard, write_shard

# Tells when the first shard is there, and then leaves the others to its processes.
PREPARE = """
import sys, time
from pathlib import Path
from gesso.data.prepare.imagenet import prepare_imagenet

def tell(done, total):
    print(done, flush=True)
    time.sleep(600)

if __name__ == "__main__":
    prepare_imagenet([Path(sys.argv[1])], Path(sys.argv[2]), per_shard=5, shard_mb=1, processes=2, progress=tell)
"""


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """train/CLASS/ of 200 images."""
    rng = np.random.default_rng(0)
    for class_ in "ab":
        folder = tmp_path / "set" / "train" / class_
        folder.mkdir(parents=True)
        for i in range(100):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "set"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_processes_that_pack_end_with_a_command_that_is_killed(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "prepare.py").write_text(PREPARE)
    command = [sys.executable, str(tmp_path / "prepare.py"), str(folders), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        child.kill()
        child.communicate(timeout=30)  # nobody has the pipe any more, so nobody is left
    prepare_imagenet([folders], tmp_path / "out", per_shard=5, shard_mb=1, processes=1)
    prepare_imagenet([folders], tmp_path / "whole", per_shard=5, shard_mb=1, processes=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_shard_with_bad_images_gets_no_name_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    shard = Shard("train", tmp_path / "train-000000.tar", [Item("bad", 0, "jpg", str(tmp_path / "bad.jpg"), 0, 8, 0)])
    packed = write_shard(shard, Encoding(), skip_bad=False)
    assert [name for name, _ in packed.bad] == [f"{tmp_path / 'bad.jpg'}:bad"] and not packed.line
    assert sorted(path.name for path in tmp_path.rglob("*")) == [PARTS, "bad.jpg"]


def test_the_index_tells_the_digest_of_each_shard(folders: Path, tmp_path: Path) -> None:
    prepare_imagenet([folders], tmp_path / "out", per_shard=100, processes=1)
    lines = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    told = {line["name"]: line["sha256"] for line in lines if "name" in line}
    assert told == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").glob("*.tar")
    }
