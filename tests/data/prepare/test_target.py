"""The folder being filled: nothing under its name until it is whole, and no work done twice."""

import threading
from pathlib import Path

import pytest

from gesso.data.prepare.target import Prepared, checked_target, filling, over
from gesso.errors import DiskError, UsageError


def test_the_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "set"
    with filling(out, {}) as folder:
        (folder / "x").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["x"]
    assert [path.name for path in out.parent.iterdir()] == ["set"]


def test_an_empty_folder_may_be_the_target(tmp_path: Path) -> None:
    with filling(tmp_path, {}) as folder:
        (folder / "x").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_ended_try_goes_on_with_the_same_settings_and_starts_anew_with_others(tmp_path: Path) -> None:
    out = tmp_path / "set"

    def left(settings: dict[str, object]) -> set[str]:
        with pytest.raises(KeyboardInterrupt), filling(out, settings) as folder:
            there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
            (folder / "sub").mkdir(exist_ok=True)
            (folder / "sub" / ".half.tmp").write_text("x")
            (folder / f"{settings['size']}").write_text("x")
            raise KeyboardInterrupt
        assert not out.exists()
        return there

    assert left({"size": 1}) == set()
    assert left({"size": 1}) == {"1", "sub"}
    assert left({"size": 2}) == set()
    with filling(out, {"size": 2}) as folder:
        assert not list(folder.rglob("*.tmp"))
    assert {path.name for path in out.iterdir()} == {"2", "sub"}


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with filling(tmp_path / "set", {}), pytest.raises(UsageError, match="another process is preparing it"):
        # A second thread would share the lock object's count; another object in this process does not.
        filling(tmp_path / "set", {}).__enter__()


def test_a_strangers_folder_of_the_hidden_name_is_left_alone(tmp_path: Path) -> None:
    stranger = tmp_path / ".set.partial"
    stranger.mkdir()
    (stranger / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="none of gesso's unfinished folders"), filling(tmp_path / "set", {}):
        pass
    assert (stranger / "mine.txt").read_text() == "keep"


def test_half_a_note_of_the_settings_is_a_killed_try_of_gessos(tmp_path: Path) -> None:
    (tmp_path / ".set.partial").mkdir()
    (tmp_path / ".set.partial" / ".0123456789abcdef.tmp").write_text("{")
    with filling(tmp_path / "set", {}) as folder:
        (folder / "mine").write_text("whole")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("out", "says"),
    [("full", "is not empty"), ("file", "is a file"), ("source/new", "lies inside"), ("source", "lies inside")],
)
def test_targets_that_would_do_harm_are_refused(tmp_path: Path, out: str, says: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("keep")
    (tmp_path / "file").write_text("keep")
    (tmp_path / "source").mkdir()
    with pytest.raises(UsageError, match=says):
        checked_target(tmp_path / out, [tmp_path / "source"])


def test_the_current_folder_is_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="in use as the current folder"):
        checked_target(Path())


def test_a_target_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(DiskError, match="a file stands where a folder must be"), filling(tmp_path / "file" / "set", {}):
        pass


def test_work_keeps_its_order_and_tells_its_progress() -> None:
    seen: list[tuple[int, int]] = []
    assert over(lambda i: i * i, range(40), 3, lambda done, total: seen.append((done, total))) == [
        i * i for i in range(40)
    ]
    assert seen == [(i + 1, 40) for i in range(40)]


def test_the_first_error_ends_the_work() -> None:
    done: list[int] = []
    lock = threading.Lock()

    def work(i: int) -> None:
        if i == 5:
            raise UsageError("five")
        with lock:
            done.append(i)

    with pytest.raises(UsageError, match="five"):
        over(work, range(10_000), 2)
    assert len(done) < 100


def test_what_was_prepared_reads_well() -> None:
    assert str(Prepared({"train": 3, "val": 1})) == "train 3, val 1"
    assert str(Prepared({"train": 3}, left_out=2)) == "train 3 (2 files left out)"
