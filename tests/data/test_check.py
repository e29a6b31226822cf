"""`gesso data check`: each kind of trouble is found and named, and a sound set has none."""

from pathlib import Path

import numpy as np
import pytest
from hostile import write_hostile_files
from toy_shards import picture, write_shards, write_tar

from gesso.data.check import Report, check, format_report
from gesso.data.images import read_image, write_image
from gesso.data.layouts import WHOLE, Laid
from gesso.data.prepare.imagenet import prepare_imagenet
from gesso.errors import BadImage, DataError

RNG = np.random.default_rng(0)


def put(path: Path, width: int = 16, height: int = 8, channels: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, RNG.integers(0, 256, (height, width, channels), dtype=np.uint8))
    return path


def found(report: Report) -> dict[str, tuple[str, str]]:
    return {f.path.relative_to(report.root).as_posix(): (f.severity, f.reason) for f in report.findings}


def test_a_sound_set_has_no_findings(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / f"train/{i}.png")
    report = check(tmp_path)
    assert report.findings == ()
    assert report.images == 4 and report.layouts == {"train": Laid("pairs", {"pairs": 4})}
    assert report.sizes == {(16, 8): 4} and report.modes == {"RGB 8-bit": 4}


def test_unreadable_files_are_bad_with_their_reasons(tmp_path: Path) -> None:
    put(tmp_path / "train/0.png")
    (tmp_path / "train/1.png").touch()
    (tmp_path / "train/2.png").write_bytes(put(tmp_path / "whole.png").read_bytes()[:200])
    (tmp_path / "train/3.jpg").write_text("hello")
    findings = found(check(tmp_path))
    assert findings["train/1.png"] == ("bad", "empty file")
    assert findings["train/2.png"][0] == "bad" and "truncated" in findings["train/2.png"][1]
    assert findings["train/3.jpg"][0] == "bad" and "not an image" in findings["train/3.jpg"][1]
    assert check(tmp_path).bad == 3


def test_too_large_images_are_bad(tmp_path: Path) -> None:
    put(tmp_path / "train/0.png")
    assert "more than --max-pixels 100" in found(check(tmp_path, max_pixels=100))["train/0.png"][1]


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("x.jpg", lambda path: put(path.with_suffix(".png")).rename(path), "named .jpg, but its content is PNG"),
        ("x.png", lambda path: write_image(path, np.full((8, 16, 3), 7, np.uint8)), "one colour all over"),
        ("x.txt", lambda path: path.write_text("hello"), "left out: not an image"),
        ("x.dat", lambda path: put(path.with_suffix(".png")).rename(path), "left out: PNG by its content"),
        ("x.png", lambda path: put(path, width=17), "17 pixels wide: cannot be halved"),
        ("x.png", lambda path: put(path, width=64, height=32), "64 x 32: area 16 times"),
        ("x.png", lambda path: put(path, width=32, height=4), "32 x 4: width over height 4 times"),
        ("0.webp", lambda path: put(path), "same name as 0.png"),
    ],
)
def test_odd_files_are_found(tmp_path: Path, name: str, make: object, reason: str) -> None:
    for i in range(12):
        put(tmp_path / f"train/{i}.png")
    make(tmp_path / "train" / name)  # type: ignore[operator]
    (finding,) = check(tmp_path).findings
    assert finding.severity == "odd" and reason in finding.reason
    assert finding.path.name == name


@pytest.mark.parametrize(
    ("names", "laid"),
    [
        (["train/0.png", "val/0.png"], {"train": Laid("pairs", {"pairs": 1}), "val": Laid("pairs", {"pairs": 1})}),
        (["A/train/0.png", "B/train/0.png"], {"train": Laid("folders", {"A": 1, "B": 1})}),
        (["A/0.png", "B/0.png"], {"train": Laid("folders", {"A": 1, "B": 1})}),
        (["trainA/0.png", "trainA/1.png", "trainB/0.png"], {"train": Laid("unpaired", {"A": 2, "B": 1})}),
        (["train/cat/0.png", "train/dog/x/0.png"], {"train": Laid("classes", {"cat": 1, "dog": 1})}),
        (["berlin/0.png", "paris/1.png", "2.png"], {WHOLE: Laid("images", {"image": 3})}),
    ],
)
def test_layouts_are_told_as_training_finds_them(names: list[str], laid: dict[str, Laid], tmp_path: Path) -> None:
    for name in names:
        put(tmp_path / name, width=8)
    assert check(tmp_path).layouts == laid


def test_pairs_in_sub_folders_are_no_classes(tmp_path: Path) -> None:
    for name in ("train/berlin/0.png", "train/paris/0.png", "train/paris/west/1.png"):
        put(tmp_path / name, width=16, height=8)
    report = check(tmp_path)
    assert report.layouts == {"train": Laid("nested", {"berlin": 1, "paris": 2})} and report.findings == ()
    lines = format_report(report).splitlines()
    assert "layout   train: pairs side by side (3 files in 2 folders)" in lines
    assert any(line.startswith("for      translators") for line in lines)


def test_images_of_odd_widths_are_no_pairs(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / f"train/{i}.png", width=15)
    report = check(tmp_path)
    assert report.layouts == {"train": Laid("images", {"image": 4})} and report.findings == ()


def test_shards_are_read_whole(tmp_path: Path) -> None:
    write_shards(tmp_path, "train", shards=2, each=4)
    write_tar(tmp_path / "val-000000.tar", {"0.png": picture(0), "0.cls": b"0", "1.png": b"torn", "1.cls": b"1"})
    report = check(tmp_path)
    counts = {str(class_): count for class_, count in enumerate((2, 2, 2, 1, 1))}
    assert report.layouts == {"train": Laid("shards", counts, 2), "val": Laid("shards", {"0": 1, "1": 1}, 1)}
    assert report.bad == 1 and report.sizes == {(6, 4): 9}
    lines = format_report(report).splitlines()
    assert any(line.startswith(f"bad  {tmp_path}/val-000000.tar:1: ") for line in lines)
    assert "layout   train: 2 shards (5 classes, 8 images), val: 1 shard (2 classes, 2 images)" in lines


def test_a_sample_of_a_shard_without_a_class_is_bad_as_it_stops_a_training(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-000000.tar", {"0.png": picture(0), "0.cls": b"0", "1.png": picture(1)})
    assert [str(finding.path) for finding in check(tmp_path).findings if "no class" in finding.reason] == [
        f"{tmp_path}/train-000000.tar:1"
    ]
    assert check(tmp_path).bad == 1


def test_a_shard_with_other_bytes_than_its_index_tells_is_bad(tmp_path: Path) -> None:
    put(tmp_path / "set" / "train" / "a" / "0.png", width=8)
    prepare_imagenet([tmp_path / "set"], tmp_path / "out", processes=1)
    assert check(tmp_path / "out").bad == 0
    (shard,) = (tmp_path / "out").glob("*.tar")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1  # behind the images, which all can be read
    shard.write_bytes(content)
    (finding,) = check(tmp_path / "out").findings
    assert (finding.path, finding.severity) == (shard, "bad") and "SHA-256 in its index.jsonl" in finding.reason


def test_the_report_says_what_trains_on_the_layout(tmp_path: Path) -> None:
    for name in ("train/cat/0.png", "train/dog/0.png"):
        put(tmp_path / name, width=8)
    lines = format_report(check(tmp_path)).splitlines()
    assert "layout   train: class folders (2 classes, 2 images)" in lines
    assert any(line.startswith("for      classifiers (densenet)") for line in lines)


def test_a_set_of_varied_sizes_is_not_odd(tmp_path: Path) -> None:
    for i in range(10):
        put(tmp_path / f"trainA/{i}.png", width=8 * 2 ** (i % 5), height=16)
    assert check(tmp_path).findings == ()


def test_names_without_a_partner_are_odd(tmp_path: Path) -> None:
    for name in ("A/1.png", "A/2.png", "B/2.png", "B/3.png"):
        put(tmp_path / name)
    findings = found(check(tmp_path))
    assert set(findings) == {"A/1.png", "B/3.png"}
    assert all(severity == "odd" and "no image of this name" in reason for severity, reason in findings.values())


def test_progress_reaches_the_number_of_files(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path / f"{i}.png")
    heard: list[tuple[int, int]] = []
    check(tmp_path, workers=2, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError):
            check(root)


def test_the_report_names_every_file_and_sums_up(tmp_path: Path) -> None:
    put(tmp_path / "train/1.png")
    (tmp_path / "train/2.png").touch()
    (tmp_path / "train/notes.txt").write_text("hello")
    lines = format_report(check(tmp_path)).splitlines()
    assert lines[0] == f"bad  {tmp_path}/train/2.png: empty file"
    assert lines[1] == f"odd  {tmp_path}/train/notes.txt: left out: not an image"
    assert f"{tmp_path}: 2 images and 1 other files" in lines
    assert "sizes    16 x 8 (1)" in lines and lines[-1] == "found    1 bad, 1 odd"


def test_unpaired_folders_are_for_those_alone_that_need_no_pairs(tmp_path: Path) -> None:
    for folder in ("trainA", "trainB"):
        put(tmp_path / folder / "1.png")
    (told,) = [line for line in format_report(check(tmp_path)).splitlines() if line.startswith("for ")]
    assert "cyclegan" in told and "pix2pix" not in told


def test_every_damaged_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    unreadable = set()
    for path in write_hostile_files(tmp_path, 300, seed=5):
        try:
            read_image(path)
        except BadImage:
            unreadable.add(path)
    report = check(tmp_path)
    assert {finding.path for finding in report.findings if finding.severity == "bad"} == unreadable
    assert len(format_report(report).splitlines()) == len(report.findings) + 7


def test_a_finding_is_one_line_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").touch()
    assert format_report(check(tmp_path)).splitlines()[0] == rf"bad  {tmp_path}/two\nlines.png: empty file"
