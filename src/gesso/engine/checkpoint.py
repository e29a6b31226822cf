"""Checkpoints that are whole or not there.

`checkpoints/NNN/` (NNN: images seen) holds one safetensors file a network, `training.pt` with optimizers, pools
and weight averages (loaded with weights_only), the run's `recipe.json`, so that the folder can be used wherever it
is taken, and a manifest with a digest of each file. It is written beside, synced, then renamed, so a kill at any
moment leaves the checkpoints that were there. `latest` and `best` are one-line files that name one. Reading
verifies every digest; a damaged checkpoint is reported and the one before it is used.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save as saved_bytes
from safetensors.torch import save_file
from torch import Tensor

from gesso.engine.weights import load_tensors
from gesso.errors import CheckpointError
from gesso.files import disk_errors, sync_folder, write_atomically
from gesso.progress import Say

MANIFEST, RECIPE, TRAINING = "manifest.json", "recipe.json", "training.pt"
NUMBER = "[0-9]{1,18}"
PUBLISHED = "published"
"""In the progress of a checkpoint that `gesso publish` wrote: where it came from."""
Weights = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """A whole, verified checkpoint."""

    path: Path
    images: int
    model: str
    weights: Weights
    """state_dict of each network by name; with averaging, also NAME_ema."""
    progress: dict[str, Any]
    """What the loop must remember: the best score so far and the like; JSON."""

    def training(self) -> dict[str, Any]:
        """Optimizers, pools and what else only a resume needs; empty for a published model, which has none of it."""
        path = self.path / TRAINING
        if PUBLISHED in self.progress and not path.exists():
            return {}
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever the damage leads to
            raise CheckpointError(f"{path}: cannot be read: {error}") from None
        return state


def save(
    run: Path,
    images: int,
    model: str,
    weights: Weights,
    training: dict[str, Any],
    progress: dict[str, Any],
    recipe: str,
) -> Path:
    """Write `run/checkpoints/NNN` and name it in `latest`. DiskError leaves everything as it was.

    `recipe` is the recipe's JSON, as `Recipe.to_json` gives it.
    """
    root = run / "checkpoints"
    path = root / f"{images:09d}"
    beside = root / f".{path.name}.{os.getpid()}.tmp"
    with disk_errors(path):
        try:
            beside.mkdir(parents=True)
            for name, tensors in weights.items():
                save_file({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, _file(beside, name))
            with (beside / TRAINING).open("wb") as file:
                torch.save(training, file)
            (beside / RECIPE).write_bytes(recipe.encode())
            files = {each.name: _sync_and_digest(each) for each in sorted(beside.iterdir())}
            manifest = {"model": model, "images": images, "progress": progress, "files": files}
            (beside / MANIFEST).write_bytes(_manifest_text(manifest).encode())  # as text, Windows would add \r
            _sync_and_digest(beside / MANIFEST)
            sync_folder(beside)
            if path.exists():  # only a damaged one, or one from before a resume that went further back
                _discard(path)
            beside.rename(path)
            sync_folder(root)
        except (SafetensorError, RuntimeError) as error:
            if refusal := _os_error(error):
                raise refusal from error
            raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    write_atomically(root / "latest", path.name + "\n")
    return path


def packed(
    images: int, model: str, weights: Weights, progress: dict[str, Any], texts: dict[str, str]
) -> dict[str, bytes]:
    """The files of a checkpoint by name, for a model that goes elsewhere: as `save` would write them, but with nothing
    that only a resume needs, and so nothing that is pickled.

    texts: the recipe's JSON and what else is to be kept and verified with the weights, by name
    """
    files = {
        f"{name}.safetensors": saved_bytes({key: t.detach().cpu().contiguous() for key, t in tensors.items()})
        for name, tensors in weights.items()
    }
    files |= {name: text.encode() for name, text in texts.items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = {"model": model, "images": images, "progress": progress, "files": digests}
    return {**files, MANIFEST: _manifest_text(manifest).encode()}


def mark_best(run: Path, path: Path) -> None:
    """Name `path` in `best`."""
    write_atomically(run / "checkpoints" / "best", path.name + "\n")


def settle(run: Path, found: Checkpoint, keep: int) -> dict[str, Any]:
    """Bring the folder to the state right after `found` was saved; the best score that it remembers.

    A kill may have come between a save and the pointers and the pruning that follow it, and a run that goes back has
    marked what came later.
    """
    write_atomically(run / "checkpoints" / "latest", found.path.name + "\n")
    best = dict(found.progress.get("best", {}))
    marked = found.path.with_name(f"{best['images']:09d}") if best else None
    if marked and marked.is_dir():
        mark_best(run, marked)
    else:  # there may be the mark of one after `found`
        best, pointer = {}, run / "checkpoints" / "best"
        with disk_errors(pointer):
            pointer.unlink(missing_ok=True)
    prune(run, keep)
    return best


def prune(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best; 0 keeps all.

    The newest is the one that `latest` names. Those after it were damaged when the run was resumed and do not
    count; the run writes over them when it comes there again.
    """
    root = run / "checkpoints"
    latest, best = _named(root, "latest"), _named(root, "best")
    newest = int(latest) if re.fullmatch(NUMBER, latest) else -1
    there = [path for path in list_checkpoints(run) if images_of(path) <= newest]
    for path in there[: -keep or None] if keep else []:
        if path.name != best:
            _discard(path)


def drop_after(run: Path, path: Path) -> None:
    """Remove the checkpoints after `path`, since what came after it is not good; `settle` then goes on with it."""
    for later in list_checkpoints(run):
        if images_of(later) > images_of(path):
            _discard(later)


def sweep(run: Path) -> None:
    """Remove what was being written, or pruned, when the run was killed."""
    for folder in (run, run / "checkpoints", run / "samples", run / "samples" / "slider"):
        for left in folder.glob(".*.tmp"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def list_checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, oldest first, not verified."""
    root = run / "checkpoints"
    there = root.iterdir() if root.is_dir() else ()
    return sorted((path for path in there if path.name.isdecimal() and path.is_dir()), key=images_of)


def images_of(path: Path) -> int:
    """The images that the checkpoint at `path` has seen, by its name: nine digits, or more from 10⁹ on."""
    return int(path.name)


def read(path: Path) -> Checkpoint:
    """The checkpoint in folder `path`. CheckpointError where it is not one, or any of its bytes changed."""
    try:
        if not (path / MANIFEST).is_file():  # a pipe may never end
            raise FileNotFoundError
        text = (path / MANIFEST).read_bytes().decode()  # read_text would not see \n become \r
        manifest = json.loads(text)
        del manifest["digest"]
        if _manifest_text(manifest) != text:
            raise ValueError
        files: dict[str, str] = dict(manifest["files"])
        model, images, progress = str(manifest["model"]), int(manifest["images"]), dict(manifest["progress"])
    except OSError:
        raise CheckpointError(f"{path}: not a checkpoint, there is no readable {MANIFEST}") from None
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: damaged, {MANIFEST} is not what was written") from None
    weights: Weights = {}
    for name, digest in files.items():
        if Path(name).name != name:
            raise CheckpointError(f"{path}: damaged, {MANIFEST} names a file outside the checkpoint")
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{path}: damaged, {name} is missing")
        try:
            if _digest(file) != digest:
                raise CheckpointError(f"{path}: damaged, {name} is not what was written")
            if file.suffix == ".safetensors":
                weights[file.stem] = load_tensors(file)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: damaged, {name} cannot be read: {error}") from None
    return Checkpoint(path, images, model, weights, progress)


def find(run: Path, which: str, say: Say) -> Checkpoint:
    """The run's `latest` or `best` checkpoint, or the one named `which`.

    Where it is damaged, `say` gets a line and the newest whole one before it is used.
    """
    root = run / "checkpoints"
    there = list_checkpoints(run)
    if not there:
        raise CheckpointError(f"{run}: no checkpoint here yet")
    name = which
    if which == "latest":
        name = there[-1].name
    elif which == "best":
        name = _named(root, "best")
        if not (name.isdecimal() and (root / name).is_dir()):
            if name:  # a run without scores has no best
                say(f"{root / 'best'}: names no checkpoint that is here; using the newest")
            name = there[-1].name
    elif re.fullmatch(NUMBER, which):  # isdigit takes ² too, and int refuses thousands of digits
        name = f"{int(which):09d}"
    if name not in {path.name for path in there}:
        choices = ", ".join(path.name for path in there)
        raise CheckpointError(f"{run}: no checkpoint {which}; there are latest, best, {choices}")
    damaged: list[str] = []
    for path in reversed([path for path in there if images_of(path) <= int(name)]):
        try:
            found = read(path)
        except CheckpointError as error:
            damaged.append(str(error))
        else:
            for line in damaged:
                say(f"{line}; using {path.name} before it")
            return found
    raise CheckpointError(f"{damaged[0]}, and no whole checkpoint before it; train again with --overwrite")


def _manifest_text(manifest: dict[str, Any]) -> str:
    """The manifest with a digest of itself, so that no byte of a checkpoint goes unwatched."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    return json.dumps({"digest": digest, **manifest}, indent=2) + "\n"


def _os_error(error: Exception) -> OSError | None:
    """What the disk said, if it is what went wrong; None where the mistake is ours.

    PyTorch's archive writer complains about its position in the file and keeps the disk's refusal as the error's
    context; safetensors has it in its text alone, as "I/O error: No space left on device (os error 28)".
    """
    if isinstance(error.__context__, OSError):
        return error.__context__
    told = re.search(r"I/O error: (.*) \(os error (\d+)\)", str(error))
    # The number comes twice because Windows counts its errors otherwise, and takes them in the fourth place.
    return OSError(int(told[2]), told[1], None, int(told[2])) if told else None


def _file(folder: Path, network: str) -> Path:
    return folder / f"{network}.safetensors"


def _named(root: Path, pointer: str) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (root / pointer).read_text().strip()
    return ""


def _discard(path: Path) -> None:
    """Remove a checkpoint so that a kill in the middle leaves none that looks whole."""
    gone = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync_and_digest(file: Path) -> str:
    with file.open("r+b") as opened:  # Windows syncs only what is open for writing
        os.fsync(opened.fileno())
    return _digest(file)
