"""The run folder: its name, what it says of itself, and who may write into it."""

import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import filelock

import gesso
from gesso.devices import Choice, hardware
from gesso.engine import checkpoint
from gesso.engine.checkpoint import list_checkpoints
from gesso.errors import CheckpointError, DataError, UsageError
from gesso.files import disk_errors, write_atomically
from gesso.hub import is_hub
from gesso.recipe import BUILTIN_STREETS, ClassData, Precision, Recipe, as_value, differences, from_json

RECIPE = checkpoint.RECIPE
ENVIRONMENT, LOG, METRICS = "environment.json", "log.jsonl", "metrics.json"
IMPORTED = "imported"
"""In the environment of a run that was imported and not yet trained: the files it came from."""


@dataclass(frozen=True)
class Opened:
    """A run folder that this process alone may write to.

    new      whether there was no such folder
    aside    where the run lies that had this name before
    """

    path: Path
    lock: filelock.BaseFileLock
    new: bool = False
    aside: Path | None = None

    def withdraw(self) -> None:
        """Leave the disk as it was before, where nothing came of the run."""
        if self.new or self.aside:
            shutil.rmtree(self.path, ignore_errors=True)
        if self.aside and not self.path.exists():
            self.aside.rename(self.path)


def default_name(recipe: Recipe) -> str:
    """RECIPE-DATA, such as cyclegan-horse2zebra."""
    root = recipe.data.root
    if isinstance(recipe.data, ClassData) and recipe.data.synthetic:
        data = "synthetic"
    elif root == BUILTIN_STREETS:
        data = "streets"
    else:
        data = re.sub(r"[^\w.-]+", "-", Path(root).expanduser().resolve().name)
    return f"{recipe.recipe}-{data or 'data'}"


def open_run(path: Path, recipe: Recipe, *, overwrite: bool) -> Opened:
    """Make `path` the run of `recipe`, or find that it is one already.

    The same recipe as the folder's resumes it. Another one is refused with the flags that differ, unless
    `overwrite`: then the old run is moved aside to `path.old-N`, not deleted. A run that never came to its
    first checkpoint, because a file or a flag was wrong, takes the mended recipe and is moved nowhere. DataError where
    the data set has other classes than when the run was begun. Whatever is raised, the disk is as it was before.
    """
    new, aside = not path.exists(), None
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; name another run with --name")
    others = path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir())
    if others and not (path / RECIPE).exists():
        raise UsageError(f"{path} holds other files and is not a run; name another run with --name")
    lock = lock_run(path)
    try:
        if overwrite and list_checkpoints(path):
            lock.release()
            free = _free_name(path)
            path.rename(free)
            aside = free
            lock = lock_run(path)
        elif list_checkpoints(path):
            before = read_recipe(path)
            if recipe.data.root == before.data.root:  # else it is another data set, which is said below
                check_classes(path, recipe, before)
            changed = differences(recipe, before)
            if len(changed) == 1 and changed[0].startswith("--epochs "):
                raise UsageError(
                    f"{path} was trained to another length: {changed[0]}; to change it use `gesso resume "
                    f"{shlex.quote(str(path))} -e {as_value(recipe.epochs)}`, or name this run with --name"
                )
            if changed:
                raise UsageError(
                    f"{path} is a run of another recipe: {', '.join(changed[:3])}"
                    f"{' …' if len(changed) > 3 else ''}; name this run with --name, or move that one aside "
                    "with --overwrite"
                )
            return Opened(path, lock)
        write_atomically(path / RECIPE, recipe.to_json())
    except BaseException:
        lock.release()
        Opened(path, lock, new, aside).withdraw()
        raise
    return Opened(path, lock, new, aside)


def check_classes(path: Path, ours: Recipe, theirs: Recipe) -> None:
    """DataError where the data set of `ours` has other classes than when the run at `path` was begun with `theirs`."""
    if told := _other_classes(ours, theirs):
        raise DataError(
            f"{ours.data.root}: its classes are no longer those that {path} was begun with: {told}; bring those back, "
            "or train another run"
        )


def _other_classes(ours: Recipe, theirs: Recipe) -> str:
    """How the classes of a data set differ from those with which a run on it was begun; empty where they do not."""
    if not (isinstance(ours.data, ClassData) and isinstance(theirs.data, ClassData)):
        return ""
    now, before = ours.data.names, theirs.data.names
    if now == before:
        return ""
    told = []
    for names, others, what in ((now, before, "new"), (before, now, "gone")):
        if strange := [name for name in names if name not in others]:
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            told.append(f"{what}: {', '.join(strange[:3])}{more}")
    return "; ".join(told) or "they stand in another order"


def refuse_checkpoint(path: Path) -> None:
    """UsageError where `path` is a checkpoint, which nothing may write into."""
    if (path / checkpoint.MANIFEST).exists():
        raise UsageError(
            f"{path} is a checkpoint or a published model, and not a run; name the run that holds it, or train "
            f"another run with --start-from {shlex.quote(str(path))}"
        )


def lock_run(path: Path) -> filelock.BaseFileLock:
    """Hold the run at `path` until released or this process ends. UsageError where another process holds it, or where
    `path` is a checkpoint."""
    refuse_checkpoint(path)
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path / ".lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UsageError(f"{path} is being trained by another process; name another run with --name") from None
    return lock


def read_recipe(path: Path) -> Recipe:
    """The recipe of the run at `path`, or of the checkpoint at `path`. CheckpointError where it is neither."""
    if is_hub(path):
        raise UsageError(f"{path}: a model on the hub, not a run to go on with; train one with --start-from {path}")
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such run")
    if (path / checkpoint.MANIFEST).exists() and not (path / RECIPE).exists():
        path = path.resolve().parent.parent  # checkpoints did not always carry their recipe
    try:
        if not (path / RECIPE).is_file():  # a pipe may never end
            raise FileNotFoundError
        text = (path / RECIPE).read_text()
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(f"{path}: not a run, there is no readable {RECIPE} in it") from None
    try:
        return from_json(text)
    except (CheckpointError, RecursionError) as error:
        raise CheckpointError(f"{path / RECIPE}: {error}") from None


def read_environment(path: Path) -> dict[str, Any]:
    """What `write_environment` wrote; empty where there is none or it cannot be read."""
    try:
        content = json.loads((path / ENVIRONMENT).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    if not _are_choices(content.get("choices")):
        content.pop("choices", None)
    return content


def _are_choices(choices: Any) -> bool:
    """Whether `choices` are as `write_environment` wrote them, or an edit has spoilt them."""
    entries = choices.values() if isinstance(choices, dict) else [None]
    if not all(isinstance(entry, dict) and isinstance(entry.get("value"), str) for entry in entries):
        return False
    precision, compiled = (choices.get(name, {}).get("value") for name in ("precision", "compile"))
    return precision in get_args(Precision) and compiled in ("True", "False")


def write_environment(path: Path, choices: dict[str, Choice[Any]], images: int, processes: int = 1) -> None:
    """Versions, machine, commit, number of processes and of training images, and every automatic choice with its
    reason."""
    content = {
        **versions(),
        **_where(choices),
        "processes": processes,
        "training images": images,
        "commit": source_commit(),
        "command": command(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "choices": _recorded(choices),
    }
    write_atomically(path / ENVIRONMENT, json.dumps(content, indent=2) + "\n")


def changed_choices(environment: dict[str, Any], choices: dict[str, Choice[Any]]) -> list[str]:
    """Names of the `choices` that a run's weights depend on and that are others than its `environment` has recorded."""
    recorded = {name: entry["value"] for name, entry in environment.get("choices", {}).items()}
    return [name for name in ("precision", "compile") if recorded and recorded[name] != _value(choices[name])]


def rewrite_choices(path: Path, choices: dict[str, Choice[Any]]) -> None:
    """Put `choices` into the environment of the run at `path`, which goes on with them."""
    content = {**read_environment(path), **_where(choices), "choices": _recorded(choices)}
    write_atomically(path / ENVIRONMENT, json.dumps(content, indent=2) + "\n")


def _recorded(choices: dict[str, Choice[Any]]) -> dict[str, dict[str, str]]:
    return {name: {"value": _value(choice), "reason": choice.reason} for name, choice in choices.items()}


def _where(choices: dict[str, Choice[Any]]) -> dict[str, str]:
    device = choices["device"].value
    return {"device": str(device), "hardware": hardware(device)}


def _value(choice: Choice[Any]) -> str:
    return str(choice.value)


def versions() -> dict[str, str]:
    """Of gesso, Python, the platform and the packages that can change a result."""
    return {
        "gesso": gesso.__version__,
        **{name: metadata.version(name) for name in ("torch", "accelerate", "numpy", "Pillow", "torchmetrics")},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def command() -> str:
    """The words that this process was started with, as they would be typed again."""
    program = Path(sys.argv[0])
    words = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*words, *sys.argv[1:]])


def source_commit() -> str:
    """The git commit of gesso's own source where it is a checkout, with + where files differ from it."""
    here = Path(gesso.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD") if git("ls-files", "errors.py") else ""
        return commit + ("+" if commit and git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _free_name(path: Path) -> Path:
    number = 1
    while path.with_name(f"{path.name}.old-{number}").exists():
        number += 1
    return path.with_name(f"{path.name}.old-{number}")
