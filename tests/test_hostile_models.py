"""A folder at its worst, as in test_hostile.py: DCGAN on flat folders and splits, DenseNet on classes and shards."""

import io
import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hostile import by_own_flag, refused_and_taken, write_hostile_files
from judged import Means, saved
from PIL import Image

from gesso.engine import checkpoint
from told import Told, calm, commands

COUNT = 300
FEW = "-b 4 -e 0.05 -d fp32 --device cpu --compile off --tracking.sheet-images 1 --data.image-size 32"
DCGAN = "--networks.latent 8 --networks.ngf 4 --networks.ndf 4 --evaluation.metrics FID"
DENSENET = "--network.blocks 1 1 --network.growth 4 --network.initial 8 --data.resize 32"
CLASSES = ("dark", "light")


@dataclass(frozen=True)
class Worst:
    """The same files in a flat folder, in train/ of splits, in train/CLASS/ of class folders, and in shards.

    bad: the reason by the name of each file that `read_image` refuses; good: the names of the others.
    """

    base: Path
    bad: dict[str, str]
    good: list[str]
    packed: list[str]
    """The names of those in the shards, which take no empty files."""

    def class_of(self, name: str) -> str:
        return CLASSES[(*self.bad, *self.good).index(name) % len(CLASSES)]


@pytest.fixture(scope="module")
def worst(tmp_path_factory: pytest.TempPathFactory) -> Worst:
    base = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(1)
    write_hostile_files(base / "flat", COUNT, seed=2026)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), np.uint8)).save(base / "flat" / f"good-{i}.png")
    bad, good = refused_and_taken(sorted((base / "flat").iterdir()))
    reasons = {path.name: reason for path, reason in bad.items()}
    packed = [path.name for path in (*bad, *good) if path.stat().st_size]
    worst = Worst(base, reasons, [path.name for path in good], packed)
    for split in ("train", "test"):
        (base / "splits" / split).mkdir(parents=True)
    for kind in CLASSES:
        for split in ("train", "val"):
            (base / "classes" / split / kind).mkdir(parents=True)
            for i in range(3):
                os.link(base / "flat" / f"good-{i}.png", base / "classes" / split / kind / f"sound-{i}.png")
    for name in (*worst.bad, *worst.good):
        os.link(base / "flat" / name, base / "splits" / "train" / name)
        os.link(base / "flat" / name, base / "classes" / "train" / worst.class_of(name) / name)
    for name in (*list(worst.bad)[:20], *worst.good[-6:]):
        os.link(base / "flat" / name, base / "splits" / "test" / name)
        os.link(base / "flat" / name, base / "classes" / "val" / worst.class_of(name) / name)
    (base / "shards").mkdir()
    for split, names in (("train", packed), ("val", packed[::8])):
        with tarfile.open(base / "shards" / f"{split}-000000.tar", "w") as tar:
            for name in names:
                tar.add(base / "flat" / name, name)
                label = tarfile.TarInfo(f"{Path(name).stem}.cls")
                label.size = 1
                tar.addfile(label, io.BytesIO(b"%d" % CLASSES.index(worst.class_of(name))))
    return worst


@dataclass(frozen=True)
class Done:
    """What each command said, by name; the runs are below `runs`."""

    runs: Path
    said: dict[str, Told]


@pytest.fixture(scope="module")
def done(worst: Worst, tmp_path_factory: pytest.TempPathFactory) -> Done:
    base = tmp_path_factory.mktemp("done")
    score = ["--evaluation.inception", saved(Means(), base / "means.pt")]

    def train(recipe: str, kind: str, more: str, *words: object) -> list[object]:
        root = ["--data.root", worst.base / kind, "--runs", base, "--name", f"{kind}{'-skip' * ('skip' in more)}"]
        return ["train", recipe, *root, *FEW.split(), *more.split(), *words]

    lines: dict[str, list[object]] = {
        "flat": train("dcgan", "flat", DCGAN, *score),
        "flat-skip": train("dcgan", "flat", f"{DCGAN} --data.skip-bad --data.cache off", *score),
        "splits": train("dcgan", "splits", f"{DCGAN} --data.cache off", *score),
        "splits-skip": train("dcgan", "splits", f"{DCGAN} --data.skip-bad", *score),
        "evaluate": ["evaluate", base / "splits-skip", "--split", "test", "--device", "cpu"],
        "classes": train("densenet121", "classes", DENSENET),
        "classes-skip": train("densenet121", "classes", f"{DENSENET} --data.skip-bad --data.cache off"),
        "shards": train("densenet121", "shards", f"{DENSENET} --data.cache off"),
        "shards-skip": train("densenet121", "shards", f"{DENSENET} --data.skip-bad"),
        "classify": ["classify", base / "classes-skip", worst.base / "flat", "--json", "--device", "cpu"],
        "check": ["data", "check", worst.base / "shards"],
    }
    return Done(base, dict(zip(lines, commands(base / "cache", *lines.values()), strict=True)))


def test_no_command_ends_in_a_traceback_or_fills_the_memory(done: Done) -> None:
    for told in done.said.values():
        calm(told)


@pytest.mark.parametrize("kind", ["flat", "splits", "classes", "shards"])
def test_training_names_a_bad_file_and_stops_before_the_first_step(kind: str, worst: Worst, done: Done) -> None:
    told = done.said[kind]
    root = worst.base / kind
    assert told.code == 2
    (line,) = told.err
    mend = f"; `gesso data check {root}` lists all such files, --data.skip-bad trains without them"
    bad = {Path(name).stem if kind == "shards" else name: reason for name, reason in worst.bad.items()}
    named = re.fullmatch(rf"gesso: {re.escape(str(root))}[/\w.-]*[/:](.+?): (.+){re.escape(mend)}", line)
    assert named, line
    assert bad[named[1]] == named[2]
    assert not (done.runs / kind / "log.jsonl").exists()


@pytest.mark.parametrize("kind", ["flat", "splits", "classes", "shards"])
def test_training_without_the_bad_files_says_how_many(kind: str, worst: Worst, done: Done) -> None:
    told = done.said[f"{kind}-skip"]
    assert (told.code, told.err) == (0, [])
    names = worst.packed if kind == "shards" else [*worst.bad, *worst.good]
    more = 2 * 3 if kind == "classes" else 0
    bad = sum(name in worst.bad for name in names)
    assert any(f"left out {bad} of {len(names) + more} files, the first " in line for line in told.out)
    assert any(f"{len(names) - bad + more} an epoch" in line for line in told.out)
    assert checkpoint.list_checkpoints(done.runs / f"{kind}-skip")


def test_evaluate_scores_what_can_be_read(worst: Worst, done: Done) -> None:
    told = done.said["evaluate"]
    assert told.code == 0, told.err
    assert any("real: splits, split test, N = 6; " in line for line in told.out), told.out


def test_classify_answers_for_each_good_picture_and_names_each_bad_one(worst: Worst, done: Done) -> None:
    told = done.said["classify"]
    assert told.code == 2
    records = {Path(record["file"]).name: record for record in map(json.loads, told.out)}
    assert {name: record["error"] for name, record in records.items() if "error" in record} == by_own_flag(worst.bad)
    assert sorted(name for name, record in records.items() if "classes" in record) == sorted(worst.good)
    for name in worst.good:
        assert sum(found["score"] for found in records[name]["classes"]) == pytest.approx(1, abs=1e-5)


def test_check_names_each_bad_sample_of_shards_and_no_other(worst: Worst, done: Done) -> None:
    told = done.said["check"]
    assert told.code == 2
    named = [match.groups() for line in told.out if (match := re.match(r"bad +(.+?\.tar):(.+?): (.+)", line))]
    stems = {Path(name).stem: reason for name, reason in by_own_flag(worst.bad).items() if name in worst.packed}
    train = {key: reason for path, key, reason in named if path.endswith("train-000000.tar")}
    assert train == stems
    assert all(stems[key] == reason for _, key, reason in named)
