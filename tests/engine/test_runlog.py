"""The run's log: valid JSON whatever happens, only the line being written is lost, no curve doubles back."""

import itertools
import json
import math
import os
from pathlib import Path

import pytest

from gesso.engine.runlog import RunLog, read_log
from gesso.errors import DiskError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def test_a_record_comes_back_as_it_was_written(path: Path) -> None:
    with RunLog(path, clock=lambda: 1700000000.1234) as log:
        log.write("loss", 400, epoch=0.5, losses={"G_GAN": 1.25}, lr={"G": 2e-4}, data_fraction=0.01)
    assert read_log(path) == [
        {
            "kind": "loss",
            "images": 400,
            "time": 1700000000.123,
            "epoch": 0.5,
            "losses": {"G_GAN": 1.25},
            "lr": {"G": 2e-4},
            "data_fraction": 0.01,
        }
    ]


def test_a_line_is_in_the_file_before_the_log_is_closed(path: Path) -> None:
    log = RunLog(path)
    log.write("note", 0, text="first")
    assert json.loads(path.read_text())["text"] == "first"
    log.close()


def test_a_log_that_is_opened_again_is_appended_to(path: Path) -> None:
    for text in ("one", "two"):
        with RunLog(path) as log:
            log.write("note", 0, text=text)
    assert [r["text"] for r in read_log(path)] == ["one", "two"]


@pytest.mark.parametrize("kept", [1, 10, 40])
def test_after_a_cut_line_the_next_starts_on_its_own(path: Path, kept: int) -> None:
    with RunLog(path) as log:
        log.write("note", 0, text="whole")
        log.write("note", 1, text="cut by a kill")
    whole, cut = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole + cut[:kept])
    with RunLog(path) as log:
        log.write("note", 2, text="after")
    assert [r["text"] for r in read_log(path)] == ["whole", "after"]
    assert path.read_bytes().splitlines()[1] == cut[:kept]


def test_a_line_that_lacks_only_its_end_is_kept(path: Path) -> None:
    with RunLog(path) as log:
        log.write("note", 0, text="whole")
    os.truncate(path, path.stat().st_size - 1)
    with RunLog(path) as log:
        log.write("note", 1, text="after")
    assert [r["text"] for r in read_log(path)] == ["whole", "after"]


def test_numbers_that_json_lacks_stay_valid_json_and_come_back(path: Path) -> None:
    with RunLog(path) as log:
        log.write("loss", 1, losses={"G": math.nan, "D": math.inf, "L1": -math.inf}, rates=[math.nan, 1.0])

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    raw = json.loads(path.read_text(), parse_constant=refuse)
    assert raw["losses"] == {"G": "nan", "D": "inf", "L1": "-inf"}
    (record,) = read_log(path)
    assert math.isnan(record["losses"]["G"]) and math.isnan(record["rates"][0])
    assert (record["losses"]["D"], record["losses"]["L1"]) == (math.inf, -math.inf)


def test_a_note_may_say_nan(path: Path) -> None:
    with RunLog(path) as log:
        log.write("note", 0, text="nan")
    assert read_log(path)[0]["text"] == "nan"


def test_text_of_any_script_and_with_line_breaks_is_one_line(path: Path) -> None:
    text = "Zwölf\nBoxkämpfer \u2028 </script> \ud800"
    with RunLog(path) as log:
        log.write("note", 0, text=text)
    assert path.read_bytes().count(b"\n") == 1
    assert read_log(path)[0]["text"].startswith("Zwölf\nBoxkämpfer \u2028 </script>")


def test_what_is_done_again_after_a_resume_is_read_once(path: Path) -> None:
    with RunLog(path, clock=itertools.count().__next__) as log:
        log.write("start", 0)
        for images in (100, 200, 300):
            log.write("loss", images, losses={"G": 1.0})
        log.write("checkpoint", 200, name="000000200")
        log.write("metric", 300, scores={"L1": 0.1})
        log.write("sheet", 300, file="samples/000000300.png")
        log.write("checkpoint", 300, name="damaged")
        log.write("note", 300, text="kept: it was said")
        log.write("resume", 200)
        for images in (300, 400):
            log.write("loss", images, losses={"G": 2.0})
    records = read_log(path)
    assert [(r["kind"], r["images"]) for r in records] == [
        ("start", 0),
        ("loss", 100),
        ("loss", 200),
        ("checkpoint", 200),
        ("note", 300),
        ("resume", 200),
        ("loss", 300),
        ("loss", 400),
    ]
    assert [r["losses"]["G"] for r in records if r["kind"] == "loss"] == [1.0, 1.0, 2.0, 2.0]


def test_lines_that_are_no_records_are_skipped(path: Path) -> None:
    good = '{"kind": "note", "images": 0, "time": 1, "text": "good"}'
    bad = ["[]", "7", "{}", '{"kind": "loss"}', "\0\0\0", "[" * 100_000, '{"kind": 3, "images": 0}']
    path.write_bytes("\n".join([*bad, good, ""]).encode() + b"\xff\xfe\n")
    assert [r["text"] for r in read_log(path)] == ["good"]


def test_no_log_has_no_records(path: Path) -> None:
    assert read_log(path) == []


def test_a_log_that_cannot_be_written_is_one_line_naming_it(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"missing.log\.jsonl cannot be written: no such folder"):
        RunLog(tmp_path / "missing" / "log.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_naming_the_log() -> None:
    with (
        RunLog(Path("/dev/full")) as log,
        pytest.raises(DiskError, match=r"/dev/full cannot be written: the disk is full; free some space"),
    ):
        log.write("note", 0, text="x")
