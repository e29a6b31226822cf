"""Dividing a folder: by names, for ever, and with copies kept together."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gesso.data.prepare.splits import divide, prepare_splits
from gesso.errors import DataError, DiskError, UsageError

NAMES = [f"{kind}/{i:04d}.jpg" for kind in ("cat", "dog") for i in range(500)]


def picture(name: str) -> bytes:
    """An image of its own for each name."""
    pixels = io.BytesIO()
    Image.frombytes("L", (len(name), 1), name.encode()).save(pixels, "PNG")
    return pixels.getvalue()


def filled(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(name))
    return root


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fractions_are_met_about() -> None:
    places = list(divide(NAMES, 0.2, 0.1, 0).values())
    assert 160 < places.count("val") < 240 and 70 < places.count("test") < 130


def test_counts_are_met_in_each_class() -> None:
    places = divide(NAMES, 50, 20, 0)
    for kind in ("cat", "dog"):
        here = [split for name, split in places.items() if name.startswith(kind)]
        assert (here.count("val"), here.count("test"), here.count("train")) == (50, 20, 430)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_no_command_takes_is_named(seed: int) -> None:
    with pytest.raises(UsageError, match=f"--seed {seed}: must lie in"):
        divide(NAMES, 0.2, 0.1, seed)


def test_another_seed_divides_otherwise() -> None:
    assert divide(NAMES, 0.2, 0.1, 0) != divide(NAMES, 0.2, 0.1, 1)
    assert divide(NAMES, 0.2, 0.1, 0) == divide(NAMES[::-1], 0.2, 0.1, 0)


@settings(max_examples=50, deadline=None)
@given(st.sets(st.text("abc/é", min_size=1, max_size=6), max_size=20), st.integers(0, 5))
def test_names_that_are_added_move_no_other(added: set[str], seed: int) -> None:
    before = divide(NAMES, 0.2, 0.1, seed)
    after = divide([*sorted(added - set(NAMES)), *NAMES], 0.2, 0.1, seed)
    assert {name: after[name] for name in NAMES} == before


def test_by_counts_one_more_moves_at_most_one_of_each_split() -> None:
    before = divide(NAMES, 50, 20, 0)
    for i in range(20):
        after = divide([*NAMES, f"cat/new{i}.jpg"], 50, 20, 0)
        assert sum(after[name] != before[name] for name in NAMES) <= 2


def test_accents_spelled_in_two_ways_are_one_name() -> None:
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    for seed in range(20):
        places = [divide([*NAMES, name], 0.4, 0.3, seed)[name] for name in (composed, decomposed)]
        assert places[0] == places[1]


@pytest.mark.parametrize(
    ("val", "test", "says"),
    [
        (-0.1, 0.1, "--val -0.1"),
        (0.1, 1.5, "--test 1.5"),
        (0.1, 20, "two fractions or two counts"),
        (0.5, 0.5, "must stay below 1"),
        (300, 200, "cat has only 500 images"),
        (0.0001, 0, "no image of 1000 falls to val"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(val: float, test: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        divide(NAMES, val, test, 0)


@pytest.mark.parametrize("how", ["copy", "hardlink"])
def test_class_folders_keep_their_names(tmp_path: Path, how: Any) -> None:
    source = filled(tmp_path / "all", [*NAMES[:30], *NAMES[-30:], "notes.txt"])
    done = prepare_splits(source, tmp_path / "out", val=5, test=3, how=how, workers=2)
    assert done.counts == {"train": 44, "val": 10, "test": 6} and done.left_out == 1
    found = files(tmp_path / "out")
    assert {name.split("/", 1)[1]: data for name, data in found.items()} == {
        name: data for name, data in files(source).items() if name != "notes.txt"
    }
    (one,) = (tmp_path / "out").glob("*/cat/0000.jpg")
    assert one.samefile(source / "cat/0000.jpg") == (how == "hardlink") and not one.is_symlink()


def test_copies_never_end_in_two_splits(tmp_path: Path) -> None:
    source = filled(tmp_path / "all", [f"{i:03d}.png" for i in range(60)])
    for i in range(60):
        (source / f"copy{i:03d}.png").write_bytes((source / f"{i:03d}.png").read_bytes())
    prepare_splits(source, tmp_path / "out", val=0.3, test=0.3)
    where: dict[bytes, set[str]] = {}
    for name, data in files(tmp_path / "out").items():
        where.setdefault(data, set()).add(name.split("/")[0])
    assert len(where) == 60 and all(len(splits) == 1 for splits in where.values())
    assert {split for splits in where.values() for split in splits} == {"train", "val", "test"}


def test_copies_count_as_many_as_they_are(tmp_path: Path) -> None:
    source = filled(tmp_path / "all", [f"{i:03d}.png" for i in range(20)])
    for i in range(10):
        (source / f"x{i}.png").write_bytes(picture("000.png"))
    done = prepare_splits(source, tmp_path / "out", val=4, test=4)
    assert done.counts == {"train": 22, "val": 4, "test": 4}


@pytest.mark.parametrize(
    ("lots", "val", "told"),
    [
        ([5], 1, "no image of 5 falls to val; they are all equal, and equal images stay together; add others"),
        ([3, 3], 1, "equal images stay together, and only 2 of these differ; give larger counts, or add images"),
        ([3, 3], 0.0001, "equal images stay together, and only 2 of these differ; give counts, or add images"),
    ],
)
def test_a_split_that_copies_leave_empty_is_told_as_that(lots: list[int], val: float, told: str) -> None:
    same = {f"{lot}-{i}": f"{lot}-0" for lot, many in enumerate(lots) for i in range(many)}
    with pytest.raises(UsageError, match=told):
        divide(list(same), val, val, 0, same)


def test_the_longest_names_there_are_are_taken(tmp_path: Path) -> None:
    source = filled(tmp_path / "all", [f"cat/{'x' * 250}{i}.jpg" for i in range(3)])
    assert prepare_splits(source, tmp_path / "out", val=1, test=1).counts == {"train": 1, "val": 1, "test": 1}


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = filled(tmp_path / "all", NAMES[:20]), tmp_path / "out"
    replace, calls = Path.replace, 0

    def fills_up(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += path.suffix == ".tmp" and target.suffix == ".jpg"
        if calls > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fills_up)
    with pytest.raises(DiskError, match="the disk is full") as caught:
        prepare_splits(source, out, val=2, test=2, workers=1)
    assert "\n" not in str(caught.value) and not out.exists()
    kept = {name: (tmp_path / ".out.partial" / name).stat().st_mtime_ns for name in files(tmp_path / ".out.partial")}
    monkeypatch.undo()
    prepare_splits(source, out, val=2, test=2)
    assert len(files(out)) == 20
    same = [name for name, time in kept.items() if (out / name).is_file() and (out / name).stat().st_mtime_ns == time]
    assert len(same) == 5


def test_a_disk_that_cannot_link_says_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UsageError, match=r"Invalid cross-device link.*--how copy"):
        prepare_splits(filled(tmp_path / "all", NAMES[:20]), tmp_path / "out", val=2, test=2, how="hardlink")


def test_a_folder_that_is_divided_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="already divided, it has train/"):
        prepare_splits(filled(tmp_path / "all", ["train/1.png", "2.png"]), tmp_path / "out")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        prepare_splits(filled(tmp_path / "all", ["notes.txt"]), tmp_path / "out")


def test_an_unreadable_image_stops_it_and_is_named(tmp_path: Path) -> None:
    source = filled(tmp_path / "all", NAMES[:20])
    (source / NAMES[3]).write_bytes(picture(NAMES[3])[:30])
    said: list[str] = []
    with pytest.raises(DataError, match=r"^1 image cannot be read, the first .*cat/0003\.jpg: .*--skip-bad"):
        prepare_splits(source, tmp_path / "out", say=said.append)
    assert len(said) == 1 and said[0].startswith(f"{source / NAMES[3]}: ")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


def test_unreadable_images_are_left_out_if_asked(tmp_path: Path) -> None:
    source = filled(tmp_path / "all", NAMES[:20])
    for name in NAMES[3:5]:
        (source / name).write_bytes(b"")
    said: list[str] = []
    done = prepare_splits(source, tmp_path / "out", val=2, test=2, skip_bad=True, say=said.append)
    assert done.left_out == 2 and said == [f"{source / name}: empty file" for name in NAMES[3:5]]
    assert sum(done.counts.values()) == 18 == len(files(tmp_path / "out"))


def test_a_link_to_nothing_is_one_line(tmp_path: Path) -> None:
    source = filled(tmp_path / "all", NAMES[:20])
    (source / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"gone\.png: "):
        prepare_splits(source, tmp_path / "out")
