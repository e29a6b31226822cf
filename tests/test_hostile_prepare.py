"""A folder at its worst, as in test_hostile.py, given to each `gesso data prepare`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hostile import by_own_flag, refused_and_taken, write_hostile_files
from PIL import Image

from told import Told, calm, commands

COUNT = 300


@dataclass(frozen=True)
class Worst:
    """flat/ and, of the same files, train/CLASS/, pairs of A/ and B/, a city and Cityscapes' frames. Names of files
    that `read_image` refuses, with the reason, and takes."""

    base: Path
    bad: dict[str, str]
    good: list[str]


@pytest.fixture(scope="module")
def worst(tmp_path_factory: pytest.TempPathFactory) -> Worst:
    base = tmp_path_factory.mktemp("hostile")
    files = write_hostile_files(base / "flat", COUNT, seed=2027)
    photo = base / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)).save(photo)
    city = base / "msls" / "train_val" / "oslo" / "database" / "images"
    frames = [base / "cityscapes" / kind / "train" / "ulm" for kind in ("leftImg8bit", "gtFine")]
    folders = [base / "classes" / "train" / kind for kind in ("dark", "light")]
    for folder in (city, *frames, *folders, base / "A", base / "B"):
        folder.mkdir(parents=True)
    for i, path in enumerate(files):
        os.link(path, folders[i % 2] / path.name)
        os.link(path, base / "A" / path.name)
        os.link(photo, base / "B" / f"{path.stem}.png")
        os.link(path, city / path.name)
        os.link(path, frames[0] / f"ulm_{i:06d}_000000_leftImg8bit.png")
        os.link(photo, frames[1] / f"ulm_{i:06d}_000000_gtFine_color.png")
    bad, good = refused_and_taken(sorted(files))
    return Worst(base, {path.name: reason for path, reason in bad.items()}, [path.name for path in good])


@dataclass(frozen=True)
class Done:
    """What each command said, by name; what it made is below `out`, under the same name."""

    out: Path
    said: dict[str, Told]


@pytest.fixture(scope="module")
def done(worst: Worst, tmp_path_factory: pytest.TempPathFactory) -> Done:
    out, base = tmp_path_factory.mktemp("out"), worst.base
    lines: dict[str, list[object]] = {
        "splits": ["splits", base / "flat"],
        "splits-skip": ["splits", base / "flat", "--skip-bad"],
        "imagenet": ["imagenet", base / "classes", "--processes", 1],
        "imagenet-skip": ["imagenet", base / "classes", "--processes", 1, "--skip-bad", "--shorter-side", 20],
        "pairs": ["pairs", base / "A", base / "B"],
        "pairs-smooth": ["pairs", base / "A", base / "B", "--sizes", "smooth"],
        "msls": ["msls", base / "msls", "--shorter-side", 256],
        "cityscapes": ["cityscapes", base / "cityscapes"],
    }
    asked = [["data", "prepare", *line, "-o", out / name] for name, line in lines.items()]
    return Done(out, dict(zip(lines, commands(out / "cache", *asked), strict=True)))


def test_no_command_ends_in_a_traceback_or_fills_the_memory(done: Done) -> None:
    for told in done.said.values():
        calm(told)


@pytest.mark.parametrize("name", ["splits", "imagenet", "pairs", "pairs-smooth", "msls", "cityscapes"])
def test_a_bad_file_is_named_in_one_line_and_nothing_passes_for_whole(name: str, worst: Worst, done: Done) -> None:
    told = done.said[name]
    assert told.code == 2
    (line,) = told.err
    order = sorted({*worst.bad, *worst.good})  # by which Cityscapes' frames are numbered
    called = {name: (f"/{name}: ", f"_{Path(name).stem}: ", f"/ulm_{order.index(name):06d}_") for name in worst.bad}
    assert [name for name in called if worst.bad[name] in line and any(part in line for part in called[name])], line
    assert not (done.out / name).exists()


@pytest.mark.parametrize("name", ["splits", "imagenet"])
def test_how_many_are_bad_is_said_where_they_may_be_left_out(name: str, worst: Worst, done: Done) -> None:
    (line,) = done.said[name].err
    sized = {path.name for path in (worst.base / "flat").iterdir()}
    assert line.startswith(f"gesso: {len(sized & set(worst.bad))} images cannot be read, the first ")
    assert len(done.said[name].out) == 21  # 20 of them and how many more


def test_splits_hold_each_good_file_once(worst: Worst, done: Done) -> None:
    told = done.said["splits-skip"]
    assert (told.code, told.err) == (0, [])
    placed = sorted(path.name for path in (done.out / "splits-skip").rglob("*") if path.is_file())
    assert placed == sorted(worst.good)
    assert f"({len(worst.bad)} files left out)" in told.out[-1]


def test_shards_hold_each_good_file_once_and_the_manifest_says_why_not_the_others(worst: Worst, done: Done) -> None:
    told = done.said["imagenet-skip"]
    assert (told.code, told.err) == (0, [])
    manifest = json.loads((done.out / "imagenet-skip" / "manifest.json").read_text())
    left_out = {Path(place.rpartition(":")[0]).name: reason for place, reason in manifest["left_out"].items()}
    assert left_out == by_own_flag(worst.bad)
    assert told.out[-1].endswith(f"train {len(worst.good)} ({len(worst.bad)} files left out)")
