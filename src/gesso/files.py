"""Writing so that a reader, a kill or a full disk never meets half a file.

Every file that gesso writes goes through `atomic_file`, or is written inside `disk_errors`; so whatever a disk
refuses, anywhere, is the same one line that names the path and the mend.
"""

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from gesso.errors import DiskError

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space and give the same command again",
    errno.EDQUOT: "your disk quota is used up; free some space and give the same command again",
    errno.EROFS: "the disk is read-only; name another folder",
    errno.ENOENT: "no such folder, or one that takes no files; name another folder",
    errno.EACCES: "permission denied; name another folder",
    errno.EPERM: "permission denied; name another folder",
    errno.EEXIST: "a file stands where a folder must be; name another folder",
    errno.ENOTDIR: "a file stands where a folder must be; name another folder",
    errno.EISDIR: "a folder stands where a file must be; name another file",
    errno.ENAMETOOLONG: "a name is longer than this disk takes; give a shorter one",
    errno.EFBIG: "no file may be so large here; raise the limit (ulimit -f) or name another folder",
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Inside, an OSError becomes a DiskError: one line that names `path` and the mend."""
    try:
        yield
    except OSError as error:
        mend = _MENDS.get(error.errno or 0, error.strerror or str(error))
        raise DiskError(f"{path} cannot be written: {mend}") from error


@contextlib.contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which gets the name `path` when the block ends without an error, and else is
    gone. DiskError where the disk refuses; so inside, no other file's OSError may come through.

    With `sync` the bytes are on the disk before the name is, so that a loss of power leaves no empty file.
    Without, the system writes them when it likes: for many files that can be made again.
    """
    beside = hidden(path)
    with disk_errors(path):
        try:
            with open(beside, "x+b", opener=_nameless) as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
                if not beside.exists():
                    _give_name(file, beside, sync)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _nameless(path: str, flags: int) -> int:
    """For `open`: a file on the disk of `path` that has no name yet, so that not even a kill leaves it behind. One of
    that name, where system or disk have no such files.
    """
    if hasattr(os, "O_TMPFILE"):
        with contextlib.suppress(OSError):
            return os.open(Path(path).parent, os.O_TMPFILE | os.O_RDWR, 0o666)
    return os.open(path, flags, 0o666)


def _give_name(file: BinaryIO, path: Path, sync: bool) -> None:
    """Name a file from `_nameless`; a copy of it, where it is too late for the file itself: /proc is not there, or the
    disk does not do it. So there every byte is written twice.
    """
    number = file.fileno()
    try:
        os.link(f"/proc/self/fd/{number}", path, src_dir_fd=number)  # with src_dir_fd Python follows the link of /proc
    except OSError:
        file.seek(0)
        with path.open("xb") as copy:
            shutil.copyfileobj(file, copy)
            if sync:
                copy.flush()
                os.fsync(copy.fileno())


def write_atomically(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """`path` holds either what it held or all of `content` (text as UTF-8), as `atomic_file` says."""
    with atomic_file(path, sync=sync) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_all(contents: Iterable[tuple[Path, bytes | memoryview]], *, replace: bool = True) -> list[Path]:
    """Write each content under its path, in folders that are made where they are missing; gives the paths.

    All are on the disk before the first gets its name. So where the disk refuses one of them, or `contents`, of which
    one at a time is held, ends in an error, what was there stays, and nothing else does, no folder either. DiskError
    names the path that was refused.

    Of several files, those of before leave their names before the first new one comes, and the first path's comes last.
    So a process that is killed right then leaves files of one writing only, and not the file that the others belong to.

    Without `replace` nothing is written over: FileExistsError, whose `filename` is the path, where something has one of
    the names when its turn comes, were it written a moment ago by another process.
    """
    beside: dict[Path, Path] = {}
    aside: dict[Path, Path] = {}
    folders: list[Path] = []
    whole = False
    try:
        for path, content in contents:
            with disk_errors(path):
                folders += [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():  # known now, and not when others have been renamed
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                beside[path] = hidden(path)
                with beside[path].open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        whole = True
        for path in beside if replace and len(beside) > 1 else ():  # a lone file takes its place in one step
            with disk_errors(path), contextlib.suppress(FileNotFoundError):
                aside[path] = hidden(path)
                path.rename(aside[path])
        for path, written in reversed(beside.items()):
            if replace:
                with disk_errors(path):
                    written.replace(path)
            else:
                _name_new(written, path)
    except BaseException:
        if any(map(os.path.lexists, beside.values())):  # else none is there yet, or all have their names
            _undo(beside, aside, whole=whole)
        for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    finally:
        for left in (*aside.values(), *beside.values()):
            with contextlib.suppress(OSError):
                left.unlink()
    return list(beside)


def _name_new(written: Path, path: Path) -> None:
    """Give `written` the name `path` too, or in place of its own. FileExistsError where something has it.

    A link to it fails by itself where there is something, so that of two processes one is refused. A disk that has no
    links, such as FAT, leaves a moment between the look and the renaming.
    """
    try:
        os.link(written, path)
    except OSError as error:
        if isinstance(error, FileExistsError) or os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        with disk_errors(path):
            written.rename(path)


def _undo(beside: dict[Path, Path], aside: dict[Path, Path], *, whole: bool) -> None:
    """Take away what `write_all` has written, and give those of before their names again; empties `aside`.

    whole: all are written, so one that is not beside its path any more has been moved there
    """
    for path, written in beside.items():
        if whole and _named(written):
            path.unlink(missing_ok=True)
        written.unlink(missing_ok=True)
    for path, old in aside.items():
        with contextlib.suppress(OSError):  # there was none, mostly
            old.replace(path)
    aside.clear()


def _named(written: Path) -> bool:
    """Whether a file that was `written` has got its name: is linked to, or moved."""
    try:
        return written.lstat().st_nlink > 1
    except FileNotFoundError:
        return True


def hidden(path: Path) -> Path:
    """A new name beside `path`, short, because `path` may have the longest name there is."""
    return path.with_name(f".{secrets.token_hex(8)}.tmp")


def probe(folder: Path) -> None:
    """OSError unless a file can be made in `folder`; leaves none. Permissions alone do not tell, as for root."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def shown(path: Path | str) -> str:
    """`path` for a line of a table or a report: a name may hold line breaks and whatever else steers a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a loss of power, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
