"""Models for others: a folder, or a repository on the hub, that has weights, recipe and a card, and no pickle.

What is published is a checkpoint as `engine/checkpoint.py` reads it, so every command that takes one takes it. Card and
pictures lie beside it and not in its manifest: on the hub people edit the card, and the weights are whole all the same.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
from PIL import Image

from gesso.engine.checkpoint import MANIFEST, PUBLISHED, RECIPE, Checkpoint, read
from gesso.engine.pulling import at_hand
from gesso.errors import CheckpointError, UsageError
from gesso.files import disk_errors, sync_folder
from gesso.hub import Pushed, is_hub, parse_name, push
from gesso.publishing.card import write_card
from gesso.publishing.subject import CARD, SHEET, Asked, load_subject
from gesso.publishing.words import UNLICENSED
from gesso.recipe import BUILTIN_STREETS

__all__ = ["Asked", "Published", "publish"]


@dataclass(frozen=True)
class Published:
    """Where a model was published, the folder or on the hub, and what its author had better know of it."""

    where: Path | Pushed
    warnings: list[str]


def publish(run: Path, to: str, asked: Asked, *, public: bool = False, replace: bool = False) -> Published:
    """Publish the model at `run`, a run or a checkpoint, in the folder `to` or as hub:OWNER/NAME[@BRANCH].

    One that is published already is taken as it lies there, with the card as it was edited. All of it appears, or
    nothing. A GessoError says what to mend.

    public   of a new repository on the hub: all may see it, not its owner alone
    replace  a published model that lies in the folder already
    """
    name = parse_name(to) if is_hub(to) else None
    if public and name is None:
        raise UsageError(f"--public: {to} is a folder, seen by whom its permissions say; leave it out")
    files, warnings = _files(run, to, asked)
    if name:
        return Published(push(name, files, public=public, message="Publish with gesso"), warnings)
    _put_back(Path(to).absolute())
    _check_place(Path(to), replace)
    return Published(_write(Path(to), files), warnings)


def _files(run: Path, to: str, asked: Asked) -> tuple[dict[str, bytes], list[str]]:
    """All that is published, by name, and what is to be said of it."""
    run = at_hand(run)
    if there := _published(run):
        if asked != Asked():
            raise UsageError(f"{run}: published already, so it goes as it is; edit its {CARD}, or publish its run anew")
        return {path.name: _content(path) for path in sorted(run.iterdir()) if _is_ours(path, there)}, []
    subject = load_subject(run, asked)
    files = subject.files()
    warnings = [] if asked.licence else [f"{UNLICENSED}; give one with --licence"]
    if subject.sheet:
        files[SHEET] = _picture(subject.sheet.path)
        if subject.recipe.data.root != BUILTIN_STREETS:
            warnings.append(
                f"{SHEET} shows pictures of the data set, whose licence must allow that; --no-sheet leaves it out"
            )
    place = to if is_hub(to) else Path(to).resolve().name
    card = write_card(subject, place, {name: len(content) for name, content in files.items()})
    return {**files, CARD: card.encode(errors="backslashreplace")}, warnings


def _content(path: Path) -> bytes:
    """What the file at `path`, in a published folder, holds. CheckpointError where a link brings it from elsewhere.

    The hub's client has links in its snapshots/COMMIT/, to files in blobs/ beside snapshots/.
    """
    file, folder = path.resolve(), path.parent.resolve()
    places = [folder, folder.parent.parent / "blobs"] if folder.parent.name == "snapshots" else [folder]
    if not file.is_file() or not any(file.is_relative_to(place) for place in places):
        raise CheckpointError(f"{path}: not a file of this folder; put the file itself there, or take it away")
    return _picture(path) if path.name == SHEET else path.read_bytes()


def _picture(path: Path) -> bytes:
    """The PNG at `path`. CheckpointError where it is none, since whatever it is would be published."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
    except Exception:  # Pillow raises whatever the damage leads to
        raise CheckpointError(f"{path}: not a PNG, so it is not published; leave the sheet out, or mend it") from None
    return content


def _published(folder: Path) -> Checkpoint | None:
    """The published model in `folder`; None where there is something else, or nothing."""
    if not (folder / MANIFEST).exists():
        return None
    found = read(folder)
    return found if PUBLISHED in found.progress else None


def _is_ours(path: Path, found: Checkpoint) -> bool:
    """Whether gesso publishes files of the name of `path` with `found`."""
    return _may_be_ours(path) and (path.suffix != ".safetensors" or path.stem in found.weights)


def _may_be_ours(path: Path) -> bool:
    """Whether gesso publishes files of the name of `path` with some model."""
    return path.name in (MANIFEST, RECIPE, CARD, SHEET, "environment.json") or path.suffix == ".safetensors"


def _check_place(folder: Path, replace: bool) -> None:
    """UsageError unless a model can be published in `folder`."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError(f"--to {folder}: is no folder; name another")
    there = sorted(folder.iterdir())
    if not there:
        return
    try:
        found = _published(folder)
    except CheckpointError as error:
        raise UsageError(f"--to {folder}: holds what cannot be told from a model of yours: {error}") from None
    strange = next((path.name for path in there if not (found and _is_ours(path, found))), "")
    if strange:
        raise UsageError(f"--to {folder}: holds other files, such as {strange}; name an empty folder, or a new one")
    if not replace:
        raise UsageError(f"--to {folder}: a published model is there already; --replace puts this one in its place")


def _put_back(place: Path) -> None:
    """What a kill left beside `place`: the model that was there, where no new one is in its place; the rest goes."""
    with disk_errors(place):
        left = _left(place, "old.")
        if left and place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
            place.rmdir()
        if left and not place.exists() and not place.is_symlink():
            left.pop(0).rename(place)
        if left and not _is_whole(place):  # then what is left may be the only copy
            left = []
        for path in (*left, *_left(place, "")):
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        return _published(folder) is not None
    except CheckpointError:
        return False


def _left(place: Path, kind: str) -> list[Path]:
    """The temporary folders of `kind` beside `place` whose process is no more, the newest first."""
    pattern = re.compile(rf"{re.escape(_start(place))}([0-9]{{1,9}})\.{re.escape(kind)}tmp")
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


def _start(place: Path) -> str:
    """What the names of temporary folders beside `place` begin with: its name, where that leaves room for the rest."""
    name = os.fsencode(place.name)
    return f".{place.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()}."


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    """Make `folder` hold `files`, and nothing else; DiskError leaves what was there."""
    place = folder.absolute()
    beside, before = (place.with_name(f"{_start(place)}{os.getpid()}.{kind}tmp") for kind in ("", "old."))
    with disk_errors(folder):
        try:
            beside.mkdir(parents=True)
            for name, content in files.items():
                with (beside / name).open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(beside)
            if place.exists():
                place.rename(before)
            try:
                beside.rename(place)
            except BaseException:
                if before.exists():
                    before.rename(place)
                raise
            sync_folder(place.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            if place.exists():
                shutil.rmtree(before, ignore_errors=True)
    return folder
