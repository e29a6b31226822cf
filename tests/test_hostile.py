"""A folder at its worst: 300 damaged image files beside good ones, through every command that reads images.

Here the translators; the other models and the preparation of data sets are in files beside this one.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hostile import by_own_flag, refused_and_taken, write_hostile_files
from PIL import Image

from gesso.data.images import image_size
from gesso.engine import checkpoint
from told import Told, calm, commands

COUNT = 300


@dataclass(frozen=True)
class Worst:
    """The data set, and which files of its trainA `read_image` refuses and takes."""

    root: Path
    bad: dict[Path, str]
    good: list[Path]


@pytest.fixture(scope="module")
def worst(tmp_path_factory: pytest.TempPathFactory) -> Worst:
    root = tmp_path_factory.mktemp("hostile") / "root"
    write_hostile_files(root / "trainA", COUNT, seed=2026)
    rng = np.random.default_rng(1)
    for name in ("trainA", "trainB", "testA", "testB"):
        (root / name).mkdir(exist_ok=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (20 + i, 30, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"good-{i}.png")
    # Sound, small on the disk, and as large in memory as --data.max-pixels lets pass.
    Image.new("RGB", (9990, 9990), "teal").save(root / "trainB" / "giant.png", compress_level=1)
    return Worst(root, *refused_and_taken(sorted((root / "trainA").iterdir())))


@pytest.fixture(scope="module")
def checked(worst: Worst, tmp_path_factory: pytest.TempPathFactory) -> Told:
    (told,) = commands(tmp_path_factory.mktemp("cache"), ["data", "check", worst.root])
    return told


WAYS = [("auto", False), ("off", False), ("auto", True), ("off", True)]


@dataclass(frozen=True)
class Trained:
    """What `gesso train` said for each way of reading, then `gesso translate`; and where they wrote."""

    runs: Path
    by_way: dict[tuple[str, bool], Told]
    translated: Told
    out: Path


@pytest.fixture(scope="module")
def trained(worst: Worst, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    base = tmp_path_factory.mktemp("trained")
    sizes = "--data.load-size 36 --data.crop-size 32 --generator.ngf 4 --generator.blocks 1 --discriminator.ndf 4"
    few = "-b 2 -e 0.03 -d fp32 --device cpu --compile off --tracking.sheet-images 1"
    train = ["train", "cyclegan", "--data.root", worst.root, "--runs", base, *sizes.split(), *few.split()]
    trains = [
        [*train, "--name", f"{cache}-{skip}", "--data.cache", cache, *(["--data.skip-bad"] if skip else [])]
        for cache, skip in WAYS
    ]
    translate = ["translate", base / "auto-True", worst.root / "trainA", "-o", base / "out", "--device", "cpu"]
    *by_way, translated = commands(base / "cache", *trains, translate)
    return Trained(base, dict(zip(WAYS, by_way, strict=True)), translated, base / "out")


def test_set_is_hostile_and_not_hopeless(worst: Worst) -> None:
    assert len(worst.bad) > 100
    assert len(worst.good) > 50


def test_check_names_each_bad_file_and_no_other(worst: Worst, checked: Told) -> None:
    calm(checked)
    assert checked.code == 2
    named = [match.groups() for line in checked.out if (match := re.match(r"bad +(.+?): (.+)", line))]
    assert {Path(path): reason for path, reason in named} == by_own_flag(worst.bad)
    assert len(named) == len(worst.bad)
    assert any(line.startswith("found") and f"{len(worst.bad)} bad" in line for line in checked.out)


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_training_names_a_bad_file_and_stops_before_the_first_step(cache: str, worst: Worst, trained: Trained) -> None:
    told = trained.by_way[cache, False]
    calm(told)
    first, reason = next(iter(worst.bad.items()))
    mend = f"`gesso data check {worst.root}` lists all such files, --data.skip-bad trains without them"
    assert (told.code, told.err) == (2, [f"gesso: {first}: {reason}; {mend}"])
    assert not (trained.runs / f"{cache}-False" / "log.jsonl").exists()


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_training_without_the_bad_files_says_how_many(cache: str, worst: Worst, trained: Trained) -> None:
    told = trained.by_way[cache, True]
    calm(told)
    assert (told.code, told.err) == (0, [])
    files = len(worst.bad) + len(worst.good) + 7  # those of trainB
    assert any(f"left out {len(worst.bad)} of {files} files, the first {next(iter(worst.bad))}" in o for o in told.out)
    assert any(f"{len(worst.good)} an epoch" in line for line in told.out)
    assert checkpoint.list_checkpoints(trained.runs / f"{cache}-True")


def test_cache_changes_no_weight(trained: Trained) -> None:
    files = ("G_A.safetensors", "D_B.safetensors")
    cached, plain = (checkpoint.list_checkpoints(trained.runs / f"{cache}-True")[-1] for cache in ("auto", "off"))
    assert [(cached / name).read_bytes() for name in files] == [(plain / name).read_bytes() for name in files]


def test_translate_writes_each_good_picture_and_names_each_bad_one(worst: Worst, trained: Trained) -> None:
    told = trained.translated
    calm(told)
    assert told.code == 2
    assert [line for line in told.err if line.startswith("gesso: ")] == [
        f"gesso: {path}: {reason}" for path, reason in by_own_flag(worst.bad).items()
    ]
    written = {path.name: image_size(path) for path in trained.out.iterdir()}
    assert written == {f"{path.stem}.png": image_size(path) for path in worst.good}
    assert told.out == [f"{len(written)} written to {trained.out}, 0 there already, {len(worst.bad)} could not be read"]
