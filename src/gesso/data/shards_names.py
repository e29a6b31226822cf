"""Which shards a root names, and which of them are of a split: by their names alone.

root/index.jsonl   root/train-000000.tar …  root/val-000000.tar …    as `gesso data prepare imagenet` writes them
root/train/*.tar   root/val/*.tar            shards from elsewhere; {000..146} and {train,val} in a name count too
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from gesso.data.folders import natural_key
from gesso.data.shards_bytes import AbsentError, fetch_text, is_url, open_fsspec
from gesso.data.shards_index import INDEX
from gesso.errors import DataError, UsageError

SPLIT_WORDS = {"train": {"train", "training"}, "val": {"val", "valid", "validation"}, "test": {"test", "testing"}}
"""The words in a name that tell its split."""
_MOST_SHARDS = 1_000_000


def found_shards(root: str) -> tuple[str, list[str], bytes | None]:
    """The folder of the shards with a slash at its end, their names below it, and the index if there is one.

    With an index the names are those that were asked for; none means all of it.
    """
    names: list[str] = []
    if root.endswith(".tar"):
        whole = list(_expanded(root))
        common = os.path.commonprefix(whole)  # noqa: RUF071 - cut at a slash below; commonpath would change URLs
        base = common[: common.rfind("/") + 1]
        names = [name.removeprefix(base) for name in whole]
    else:
        base = root.removesuffix(INDEX).rstrip("/") + "/"
    if not is_url(base):
        base = f"{Path(base or '.').expanduser().as_posix()}/"
        if not Path(base).is_dir():
            raise DataError(f"--data.root {root}: no such folder")
    try:
        return base, names, fetch_text(f"{base}{INDEX}")
    except AbsentError as error:
        if root.endswith(INDEX) or (not names and root.startswith(("http://", "https://"))):
            raise DataError(f"{error}; a web folder is read by its {INDEX}, or name shards with {{000..146}}") from None
    return base, names or _listed(base), None


def _listed(base: str) -> list[str]:
    """The names of all shards in a folder and in its folders, in natural order."""
    if is_url(base):
        files, path = open_fsspec(base)
        try:
            paths = [
                str(found) for depth in ("*.tar", "*/*.tar") for found in files.glob(f"{path.rstrip('/')}/{depth}")
            ]
        except Exception as error:  # each backend has its own
            raise DataError(f"{base}: cannot be listed ({str(error)[:200] or type(error).__name__})") from None
        names = [found.removeprefix(path.rstrip("/")).lstrip("/") for found in paths]
    else:
        names = [found.relative_to(base).as_posix() for found in local_tars(Path(base)) if found.is_file()]
    return sorted((name for name in names if not name.startswith(".")), key=natural_key)


def local_tars(folder: Path) -> list[Path]:
    """What is called .tar in a folder and in its folders."""
    return [*folder.glob("*.tar"), *folder.glob("*/*.tar")]


def _expanded(pattern: str) -> Iterator[str]:
    """The names that {000..146} and {train,val} stand for. UsageError where braces are neither."""
    parts: list[Sequence[str]] = []
    count = 1
    for text in re.split(r"(\{[^{}]*\})", pattern):
        choices: Sequence[str] = [text]
        if span := re.fullmatch(r"\{(\d{1,9})\.\.(\d{1,9})\}", text):
            first, last = (int(end) for end in span.groups())
            numbers = range(first, last + 1) if last - first < _MOST_SHARDS else ()
            choices = [str(i).zfill(len(span[1])) for i in numbers]
        elif text.startswith("{"):
            choices = text[1:-1].split(",")
        count *= len(choices)
        if not choices or text == "{}" or "{" in choices[0] or "}" in choices[0] or count > _MOST_SHARDS:
            raise UsageError(f"--data.root {pattern}: name shards like train-{{000..146}}.tar or {{train,val}}-0.tar")
        parts.append(choices)
    return ("".join(chosen) for chosen in product(*parts))


def belongs(name: str, split: str) -> bool:
    """Whether a shard is of `split`, by the words of its name, else of its folder's; one that names none is train's."""
    for part in reversed(name.removesuffix(".tar").split("/")):
        words = set(re.findall(r"[a-z]+", part.lower()))
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(split)}(?![A-Za-z0-9])", part) or words & SPLIT_WORDS.get(
            split, set()
        ):
            return True
        if any(words & known for known in SPLIT_WORDS.values()):
            return False
    return split == "train"
