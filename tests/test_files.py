"""Files that appear whole or not at all, and one wording for whatever a disk refuses."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gesso.errors import DiskError
from gesso.files import disk_errors, shown, write_all, write_atomically


@contextlib.contextmanager
def disk_that_takes(size: int) -> Iterator[None]:
    """The system's limit of a file's size ends a write half way, as a full disk does."""
    resource = pytest.importorskip("resource")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, allowed[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("content", ["Grüße\n", b"\0\xff\r\n", ""])
def test_what_was_given_is_there(content: str | bytes, tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("sync", [True, False])
def test_disk_that_takes_half_leaves_the_old_file_alone(sync: bool, tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"old")
    with disk_that_takes(1000), pytest.raises(DiskError) as caught:
        write_atomically(tmp_path / "file", bytes(3000), sync=sync)
    assert str(caught.value).startswith(f"{tmp_path / 'file'} cannot be written: no file may be so large here")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


KILLED_IN_THE_MIDDLE = """
import os, pathlib, signal
from gesso.files import atomic_file
with atomic_file(pathlib.Path("file")) as file:
    file.write(bytes(3000))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without a name")
def test_a_kill_in_the_middle_of_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) == []


def refuses(*given: object, **named: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_where_a_file_gets_no_name_afterwards_its_copy_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuses)
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert names(tmp_path) == ["file"]


def test_a_system_whose_files_all_have_names_writes_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert names(tmp_path) == ["file"]


def test_a_file_has_the_rights_of_any_new_one(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_all_that_was_given_is_there(tmp_path: Path) -> None:
    pairs = {tmp_path / "a": b"new", tmp_path / "below" / "b": b"other"}
    assert write_all(pairs.items()) == [*pairs]
    assert [path.read_bytes() for path in pairs] == [b"new", b"other"]
    assert names(tmp_path / "below") == ["b"]


def test_disk_that_refuses_the_second_leaves_what_was_there_of_both(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_all([(first, b"old"), (second, b"old")])
    with disk_that_takes(1000), pytest.raises(DiskError, match="second cannot be written: no file may be so large"):
        write_all([(first, b"new"), (second, bytes(3000))])
    assert [first.read_bytes(), second.read_bytes()] == [b"old", b"old"]
    assert sorted(names(tmp_path)) == ["first", "second"]


def test_a_folder_in_the_place_of_the_second_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    write_all([(tmp_path / "first", b"old")])
    (tmp_path / "second").mkdir()
    with pytest.raises(DiskError, match="second cannot be written: a folder stands where a file must be"):
        write_all([(tmp_path / "first", b"new"), (tmp_path / "second", b"new")])
    assert (tmp_path / "first").read_bytes() == b"old"
    assert sorted(names(tmp_path)) == ["first", "second"]


def test_contents_that_end_in_an_error_leave_what_was_there(tmp_path: Path) -> None:
    def contents() -> Iterator[tuple[Path, bytes]]:
        yield tmp_path / "first", b"new"
        raise ValueError("ours")

    write_all([(tmp_path / "first", b"old")])
    with pytest.raises(ValueError, match="ours"):
        write_all(contents())
    assert (tmp_path / "first").read_bytes() == b"old"
    assert names(tmp_path) == ["first"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", range(4))
def test_what_ends_between_two_names_leaves_what_was_there(
    call: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two old files leave their names, then two new ones take them."""
    paths, calls = [tmp_path / "first", tmp_path / "second"], iter(range(100))
    write_all((path, b"old") for path in paths)

    def fail(real: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def rename(path: Path, to: Path) -> Path:
            if next(calls) == call:
                raise error
            return real(path, to)

        return rename

    with monkeypatch.context() as patch, pytest.raises((DiskError, KeyboardInterrupt)):
        patch.setattr(Path, "rename", fail(Path.rename))
        patch.setattr(Path, "replace", fail(Path.replace))
        write_all((path, b"new") for path in paths)
    assert [path.read_bytes() for path in paths] == [b"old", b"old"]
    assert sorted(names(tmp_path)) == ["first", "second"]


def no_link(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("taken", [[], ["first"], ["second"]], ids=["none", "first", "second"])
def test_without_replace_all_get_their_names_or_none_does(
    taken: list[str], links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in taken:
        (tmp_path / name).write_bytes(b"another's")
    if not links:
        monkeypatch.setattr(os, "link", no_link)
    paths = [tmp_path / "first", tmp_path / "second"]
    with contextlib.ExitStack() as expected:
        if taken:
            expected.enter_context(pytest.raises(FileExistsError, match=taken[0]))
        write_all(((path, b"new") for path in paths), replace=False)
    there = dict.fromkeys(taken, b"another's") or {"first": b"new", "second": b"new"}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == there


KILLED = """
import os, signal, sys
from pathlib import Path
from gesso.files import write_all
real, left = Path.replace, iter(range(int(sys.argv[1]), -1, -1))
Path.replace = lambda *given: os.kill(os.getpid(), signal.SIGKILL) if next(left) == 0 else real(*given)
write_all((Path(sys.argv[2]) / name, b"new") for name in ("model", "weights"))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("call", [0, 1])
def test_a_kill_between_two_names_never_leaves_an_old_file_beside_a_new_one(call: int, tmp_path: Path) -> None:
    write_all((tmp_path / name, b"old") for name in ("model", "weights"))
    done = subprocess.run([sys.executable, "-c", KILLED, str(call), str(tmp_path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    found = {name: (tmp_path / name).read_bytes() for name in names(tmp_path) if not name.startswith(".")}
    assert found == [{}, {"weights": b"new"}][call]  # and not the model, without which nothing reads the weights


def test_a_refusal_leaves_no_folder_that_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    contents = [(tmp_path / "there" / "new" / "a", b"a"), (tmp_path / "there" / "new" / "deep" / "a" / "b", b"b")]

    def stops() -> Iterator[tuple[Path, bytes]]:
        yield from contents
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_all(stops())
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


def test_writers_of_one_file_do_not_meet_beside_it(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            for _ in range(50):
                write_atomically(tmp_path / "file", letter * 5000, sync=False)
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert len(set((tmp_path / "file").read_bytes())) == 1
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "name another folder"),
        (errno.EACCES, "name another folder"),
        (errno.ENOENT, "name another folder"),
        (errno.EIO, os.strerror(errno.EIO)),
        (None, "what happened"),
    ],
)
def test_one_line_names_the_path_and_the_mend(number: int | None, mend: str) -> None:
    with pytest.raises(DiskError) as caught, disk_errors(Path("there")):
        raise OSError(number, os.strerror(number)) if number else OSError("what happened")
    assert str(caught.value).startswith("there cannot be written: ") and mend in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_errors_go_through() -> None:
    with pytest.raises(ValueError, match="ours"), disk_errors(Path("there")):
        raise ValueError("ours")


def test_a_name_is_shown_on_one_line_and_steers_no_terminal() -> None:
    assert shown(Path("ünï ☃.png")) == "ünï ☃.png"
    assert shown("a\nb\x1b[2J\udcff.png") == r"a\nb\x1b[2J\udcff.png"
