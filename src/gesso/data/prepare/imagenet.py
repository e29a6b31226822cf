"""ImageNet, from the authors' archives or from class folders, to tar shards that are read at random.

`ILSVRC2012_img_train.tar` holds a tar for each class. Neither it nor they are unpacked: one pass over the headers says
where each picture lies in the one file, and every process reads its pictures from there. The classes are the synsets
in the order of their names, as everywhere in the field. The result, besides the shards:

    index.jsonl     where each sample lies (see data/shards_index.py)
    classes.json    the synsets in the order of their numbers, and their names where those are known
    manifest.json   from what and how it was made, and which images were left out
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gesso.data.folders import list_images
from gesso.data.images import SUFFIXES
from gesso.data.order import checked_seed
from gesso.data.prepare.devkit import Truth, read_names, read_truth
from gesso.data.prepare.packing import PARTS, Encoding, Item, pack, plan
from gesso.data.prepare.target import SETTINGS, Prepared, checked_target, digest, filling, tell_bad
from gesso.data.shards import CLASSES
from gesso.data.shards_index import INDEX, members, write_index
from gesso.errors import DataError, UsageError
from gesso.files import disk_errors, write_atomically
from gesso.progress import Progress, Say, silent

TRAIN_TAR, VAL_TAR, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class _Found:
    """The sources: `train` and `val` are the authors' tars or folders of class folders."""

    train: Path | None
    val: Path | None
    devkit: Path | None


def prepare_imagenet(
    sources: Sequence[Path],
    out: Path,
    *,
    val_labels: Path | None = None,
    synsets: Path | None = None,
    per_shard: int = 10_000,
    shard_mb: int = 1000,
    shorter_side: int = 0,
    quality: int = 90,
    seed: int = 0,
    processes: int = 0,
    skip_bad: bool = False,
    max_pixels: int = 100_000_000,
    say: Say = print,
    progress: Progress = silent,
) -> Prepared:
    """Shards `train-000000.tar …` and `val-000000.tar …` in `out`, which must not exist or be empty.

    sources: the authors' two tars (and development kit), or a folder that holds them, or one with train/CLASS/ and
    val/CLASS/. val_labels: the classes of the validation images where the kit is not there (`read_truth` has the
    forms); synsets: lines with a synset and its name. per_shard, shard_mb: most images and about the most MB of a
    shard. shorter_side: shrink larger images to so many pixels, as JPEG of `quality`; 0 keeps the files as they are.
    processes: 0 means one a core. The same command again goes on where a kill ended it.

    UsageError for flags, and where an unfinished preparation with other settings stands in the way; DataError where
    something is missing, or images are bad and not `skip_bad`; DiskError where the disk refuses.
    """
    checked_seed(seed)
    _checked_flags(per_shard, shard_mb, shorter_side, quality, processes)
    out = checked_target(out, sources)
    found = _find(sources)
    items, classes, names = _items(found, val_labels, synsets)
    encoding = Encoding(shorter_side, quality, max_pixels)
    settings: dict[str, object] = {
        "sources": {split: digest((f"{i.key} {i.class_}", i.size) for i in part) for split, part in items.items()},
        "classes": classes,
        "per_shard": per_shard,
        "shard_mb": shard_mb,
        "seed": seed,
        **asdict(encoding),
    }
    # Not in the manifest: a copy of the same archives makes the same shards.
    begun = settings | {
        "files": {split: digest((f"{i.key} {i.offset}", i.changed) for i in part) for split, part in items.items()}
    }
    _same_plan(out, begun)
    with filling(out, begun) as folder:
        shards = [
            shard for split, part in items.items() for shard in plan(folder, split, part, per_shard, shard_mb, seed)
        ]
        packed = pack(shards, encoding, processes=processes, skip_bad=skip_bad, progress=progress)
        bad = [one for part in packed for one in part.bad]
        tell_bad(bad, skip_bad, say)
        write_atomically(folder / CLASSES, json.dumps({"classes": classes, "names": names}, indent=1))
        manifest = {"settings": settings, "left_out": dict(bad)}
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))
        write_atomically(folder / INDEX, write_index([part.line for part in packed]))
        with disk_errors(folder):
            for part in (folder / PARTS).iterdir():
                part.unlink()
            (folder / PARTS).rmdir()
    counts = {
        split: sum(part.images for part, shard in zip(packed, shards, strict=True) if shard.split == split)
        for split in items
    }
    return Prepared(counts, len(bad))


def _checked_flags(per_shard: int, shard_mb: int, shorter_side: int, quality: int, processes: int) -> None:
    for flag, value, least in (
        ("per-shard", per_shard, 1),
        ("shard-mb", shard_mb, 1),
        ("shorter-side", shorter_side, 0),
        ("processes", processes, 0),
    ):
        if value < least:
            raise UsageError(f"--{flag} {value}: must be at least {least}")
    if not 1 <= quality <= 100:
        raise UsageError(f"--quality {quality}: must be 1 to 100")


def _same_plan(out: Path, settings: dict[str, object]) -> None:
    """UsageError where `out` was begun with other settings: hours of work are not thrown away by a mistyped flag."""
    begun = out.with_name(f".{out.name}.partial") / SETTINGS
    if not begun.is_file():
        return
    with disk_errors(begun):
        before = json.loads(begun.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(settings))
    if changed := [name for name in now if before.get(name) != now[name]]:
        raise UsageError(
            f"{out} was begun with other {', '.join(changed)}; give the same command as then, name another folder, or "
            f"remove {begun.parent}"
        )


def _find(sources: Sequence[Path]) -> _Found:
    train = val = devkit = None
    for source in (path.expanduser() for path in sources):
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        inside = [source / name for name in (TRAIN_TAR, "train", VAL_TAR, "val", DEVKIT)]
        for path in filter(Path.exists, inside) if source.is_dir() else [source]:
            name = path.name.lower()
            if "devkit" in name:
                devkit = devkit or path
            elif "train" in name:
                train = train or path
            elif "val" in name:
                val = val or path
            else:
                raise DataError(f"{path}: neither {TRAIN_TAR}, {VAL_TAR} nor {DEVKIT}; name it as its authors do")
    if train is None and val is None:
        raise DataError(
            f"{', '.join(map(str, sources))}: no ImageNet here; name {TRAIN_TAR} and {VAL_TAR}, or a folder with "
            "train/ and val/ that hold a folder a class"
        )
    return _Found(train, val, devkit)


def _items(
    found: _Found, val_labels: Path | None, synsets: Path | None
) -> tuple[dict[str, list[Item]], list[str], list[str]]:
    """The images of each split, the classes, and the names of the classes ([] where not known)."""
    by_class: dict[str, dict[str, list[Item]]] = {}
    truth = Truth({}, {})
    if found.train is not None:
        by_class["train"] = _class_tars(found.train) if found.train.is_file() else _class_folders(found.train)
    classes = sorted(by_class.get("train", {}))
    if found.val is not None and found.val.is_dir():
        by_class["val"] = _class_folders(found.val)
    elif found.val is not None:
        flat = _members(found.val, 0, found.val.stat().st_size, str(found.val))
        labels = val_labels or found.devkit
        if labels is None:
            raise DataError(
                f"{found.val}: holds no classes; put {DEVKIT} beside it, or name a list of them with --val-labels"
            )
        truth = read_truth(labels, [item.key for item in flat], classes)
        by_class["val"] = {}
        for item in flat:
            by_class["val"].setdefault(truth.synsets[item.key], []).append(item)
    classes = classes or sorted(by_class["val"])
    names = truth.names if synsets is None else read_names(synsets)
    number = {class_: i for i, class_ in enumerate(classes)}
    numbered: dict[str, list[Item]] = {}
    for split, of_class in by_class.items():
        if strange := next((class_ for class_ in of_class if class_ not in number), None):
            raise DataError(f"{found.val}: class {strange} is not among the {len(classes)} classes of {found.train}")
        numbered[split] = [
            item._replace(class_=number[class_]) for class_ in sorted(of_class) for item in of_class[class_]
        ]
        _distinct(numbered[split])
    return numbered, classes, [names.get(class_, "") for class_ in classes] if names else []


def _class_tars(path: Path) -> dict[str, list[Item]]:
    """The images of each class from the tar of class tars, as ranges of the one file."""
    classes: dict[str, list[Item]] = {}
    for outer in _scan(path, 0, path.stat().st_size, str(path)):
        class_, dot, suffix = outer[0].rpartition("/")[2].rpartition(".")
        if not dot or suffix != "tar" or not class_ or class_ in classes:
            raise DataError(f"{path}: {outer[0][:200]!r} is not the tar of one class; name the authors' {TRAIN_TAR}")
        images = _members(path, outer[1], outer[1] + outer[2], f"{path}:{outer[0]}")
        classes[class_] = [item._replace(key=_key(class_, item.key)) for item in images]
    return _some(classes, path)


def _members(path: Path, start: int, end: int, where: str) -> list[Item]:
    found: list[Item] = []
    changed = path.stat().st_mtime_ns
    for name, offset, size in _scan(path, start, end, where):
        stem, _, suffix = name.rpartition("/")[2].rpartition(".")
        if f".{suffix.lower()}" in SUFFIXES and stem and not stem.startswith("."):
            found.append(Item(_plain(stem), 0, suffix.lower(), str(path), offset, size, changed))
    if not found:
        raise DataError(f"{where}: no images in it")
    return found


def _scan(path: Path, start: int, end: int, where: str) -> list[tuple[str, int, int]]:
    """(name, offset, size) of the files of the tar that stands at `start` of a file and must not reach past `end`."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            found = [(member.name, member.offset, member.size) for member in members(file, where)]
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error})") from None
    if any(offset + size > end for _, offset, size in found):
        raise DataError(f"{where}: damaged or cut off; copy it again")
    return found


def _class_folders(folder: Path) -> dict[str, list[Item]]:
    classes: dict[str, list[Item]] = {}
    for path in list_images(folder)[0]:
        class_, *_, base = path.relative_to(folder).parts
        if base == class_:
            raise DataError(f"{path}: stands beside the class folders; put it into the folder of its class")
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
        item = Item(
            _key(class_, path.stem), 0, path.suffix.lower()[1:], str(path), 0, status.st_size, status.st_mtime_ns
        )
        classes.setdefault(class_, []).append(item)
    return _some(classes, folder)


def _some(classes: dict[str, list[Item]], where: Path) -> dict[str, list[Item]]:
    if not classes:
        raise DataError(f"{where}: no classes with images in it")
    return classes


def _key(class_: str, stem: str) -> str:
    """A sample's key, which tells its class."""
    class_, stem = _plain(class_), _plain(stem)
    return stem if stem.startswith(f"{class_}_") else f"{class_}_{stem}"


def _plain(name: str) -> str:
    """A name for a member of a tar: without dots, since the suffix begins at the first one."""
    return re.sub(r"[^\w-]", "_", name)[:200]


def _distinct(items: Sequence[Item]) -> None:
    seen: dict[str, Item] = {}
    for item in items:
        other = seen.setdefault(item.key, item)
        if other is not item:
            raise DataError(f"{item.path}: two images of the key {item.key}, the other in {other.path}; rename one")
