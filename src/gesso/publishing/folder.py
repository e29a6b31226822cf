"""A published model in a folder: told from anything else, read as it lies there, and put there by one rename.

The new folder is written and synced beside the old one, under a name that has the process in it. So a kill leaves what
was there, or beside it what the next publication to the same place puts back.
"""

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil
from PIL import Image

from gesso.engine.checkpoint import MANIFEST, PUBLISHED, RECIPE, Checkpoint, read
from gesso.engine.runs import ENVIRONMENT
from gesso.errors import CheckpointError, UsageError
from gesso.files import disk_errors, sync_folder
from gesso.publishing.subject import CARD, SHEET


def published(folder: Path) -> Checkpoint | None:
    """The published model in `folder`; None where there is something else, or nothing. CheckpointError where it is
    damaged."""
    if not (folder / MANIFEST).exists():
        return None
    found = read(folder)
    return found if PUBLISHED in found.progress else None


def files_of(found: Checkpoint) -> dict[str, bytes]:
    """The files of the published model `found` by name, card and sheet as they lie there, and nothing that is not
    gesso's. CheckpointError where one is a link that leads elsewhere, or the sheet is no PNG."""
    return {path.name: _read(path) for path in sorted(found.path.iterdir()) if _is_ours(path, found)}


def _read(path: Path) -> bytes:
    """What the file at `path`, in a published folder, holds. CheckpointError where a link brings it from elsewhere.

    The hub's client has links in its snapshots/COMMIT/, to files in blobs/ beside snapshots/.
    """
    file, folder = path.resolve(), path.parent.resolve()
    places = [folder, folder.parent.parent / "blobs"] if folder.parent.name == "snapshots" else [folder]
    if not file.is_file() or not any(file.is_relative_to(place) for place in places):
        raise CheckpointError(f"{path}: not a file of this folder; put the file itself there, or take it away")
    return read_sheet(path) if path.name == SHEET else path.read_bytes()


def read_sheet(path: Path) -> bytes:
    """The PNG at `path`. CheckpointError where it is none, since whatever it is would be published."""
    sheet = path.read_bytes()
    try:
        with Image.open(io.BytesIO(sheet), formats=["PNG"]) as image:
            image.verify()
    except Exception:  # Pillow raises whatever the damage leads to
        raise CheckpointError(f"{path}: not a PNG, so it is not published; leave the sheet out, or mend it") from None
    return sheet


def check(folder: Path, *, replace: bool) -> None:
    """That a model can be put into `folder`, as far as can be told before there is one. Errors are those of `put`."""
    with disk_errors(folder):
        place = _place(folder)
        _check_content(folder, replace)
        above = next(each for each in place.parents if each.exists())
        with tempfile.TemporaryDirectory(prefix=".gesso-", dir=above):  # permissions alone do not tell, as for root
            pass


def put(folder: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Make `folder` hold `files`, and nothing else; whatever ends this before leaves what was there.

    A published model that is there already gives way if `replace`. UsageError where that was not said, where there is
    anything else, or where nothing can be published; DiskError where the disk refuses.
    """
    with disk_errors(folder):
        place = _place(folder)
        _put_back(place)
        _check_content(folder, replace)
        beside, before = (place.with_name(f"{_prefix(place)}{os.getpid()}.{kind}tmp") for kind in ("", "old."))
        try:
            beside.mkdir(parents=True)
            for name, each in files.items():
                with (beside / name).open("xb") as file:
                    file.write(each)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(beside)
            try:
                while not _taken(beside, place):
                    _check_content(folder, replace)
                    _move_aside(place, before)
            finally:  # an interrupt may come right behind either rename
                if before.exists() and not place.exists():
                    before.rename(place)
            sync_folder(place.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            if place.exists():
                shutil.rmtree(before, ignore_errors=True)


def _taken(beside: Path, place: Path) -> bool:
    """Give `beside` the name `place`, unless there is anything but an empty folder; whether that was done.

    It needs no lock, which would leave a file in a folder of the user's: a rename to where something is fails in one
    step, so of several publications at once one comes first, and the others meet its model.
    """
    if not _is_free(place):
        return False
    try:
        beside.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if _is_free(place):
            with contextlib.suppress(FileNotFoundError):
                place.rmdir()  # Windows gives no folder the name of another, even of an empty one
        return False
    return True


def _move_aside(place: Path, before: Path) -> None:
    """Give the model at `place`, which may be replaced, the name `before`."""
    if not _is_free(place):
        shutil.rmtree(before, ignore_errors=True)  # another publication came while that one was aside
        with contextlib.suppress(FileNotFoundError):  # another publication has it aside
            place.rename(before)


def _place(folder: Path) -> Path:
    """Where `folder`, whatever it holds, lies. UsageError where no model is ever published."""
    if folder.is_symlink():
        raise UsageError(f"--to {folder}: is a link; name the folder itself")
    place = Path(os.path.realpath(folder))
    if os.path.ismount(place):
        raise UsageError(f"--to {folder}: is a mount point; name a folder inside it")
    if Path.cwd().is_relative_to(place):
        raise UsageError(f"--to {folder}: is the folder you are in, or has it inside; name another")
    for above in place.parents:
        if (above / RECIPE).is_file() and ((above / MANIFEST).is_file() or (above / "checkpoints").is_dir()):
            raise UsageError(f"--to {folder}: lies inside {above}, a run or a published model; name a folder elsewhere")
    return place


def _check_content(folder: Path, replace: bool) -> None:
    """UsageError where `folder` holds what does not give way to a model."""
    if _is_free(folder):
        return
    if not folder.is_dir():
        raise UsageError(f"--to {folder}: is no folder; name another")
    try:
        found = published(folder)
    except CheckpointError as error:
        raise UsageError(f"--to {folder}: holds what cannot be told from a model of yours: {error}") from None
    strange = next((path.name for path in sorted(folder.iterdir()) if not (found and _is_ours(path, found))), "")
    if strange:
        raise UsageError(f"--to {folder}: holds other files, such as {strange}; name an empty folder, or a new one")
    if not replace:
        raise UsageError(f"--to {folder}: a published model is there already; --replace puts this one in its place")


def _is_free(place: Path) -> bool:
    """Whether there is nothing at `place`, or an empty folder."""
    if place.is_symlink():
        return False
    return not place.exists() or (place.is_dir() and not any(place.iterdir()))


def _is_ours(path: Path, found: Checkpoint) -> bool:
    """Whether gesso publishes files of the name of `path` with `found`."""
    return _may_be_ours(path) and (path.suffix != ".safetensors" or path.stem in found.weights)


def _may_be_ours(path: Path) -> bool:
    """Whether gesso publishes files of the name of `path` with some model."""
    return path.name in (MANIFEST, RECIPE, ENVIRONMENT, CARD, SHEET) or path.suffix == ".safetensors"


def _put_back(place: Path) -> None:
    """What a kill left beside `place`: the model that was there, where no new one is in its place; the rest goes."""
    with disk_errors(place):
        old = _left(place, "old.")
        if old and _is_free(place):
            if place.exists():
                place.rmdir()
            old.pop(0).rename(place)
        if old and not _is_whole(place):  # then what is left may be the only copy
            old = []
        for path in (*old, *_left(place, "")):
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether a published model is in `folder`, undamaged."""
    try:
        return published(folder) is not None
    except CheckpointError:
        return False


def _left(place: Path, kind: str) -> list[Path]:
    """The temporary folders of `kind`, "old." or "", beside `place` whose process is no more, the newest first."""
    pattern = re.compile(rf"{re.escape(_prefix(place))}([0-9]{{1,9}})\.{re.escape(kind)}tmp")
    found = {}
    for path in place.parent.iterdir() if place.parent.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if not match or path.is_symlink() or not path.is_dir():
            continue
        process = int(match[1])
        if process != os.getpid() and psutil.pid_exists(process):  # ours has written nothing yet
            continue
        with contextlib.suppress(OSError):  # it is somebody else's
            if all(_may_be_ours(inside) for inside in path.iterdir()):
                found[path] = path.stat().st_mtime
    return sorted(found, key=found.__getitem__, reverse=True)


def _prefix(place: Path) -> str:
    """What the names of temporary folders beside `place` begin with: its name, where that leaves room for the rest."""
    name = os.fsencode(place.name)
    return f".{place.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()}."
