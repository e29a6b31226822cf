"""Files that change between two tries, all of them to pictures of the same number of bytes, are prepared anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gesso.data.prepare.cityscapes import prepare_cityscapes
from gesso.data.prepare.imagenet import prepare_imagenet
from gesso.data.prepare.msls import prepare_msls
from gesso.data.prepare.pairs import prepare_pairs
from gesso.data.prepare.splits import prepare_splits
from gesso.errors import UsageError

NAMES = {
    "cityscapes": ["leftImg8bit/train/ulm/ulm_{}_leftImg8bit.png", "gtFine/train/ulm/ulm_{}_gtFine_color.png"],
    "imagenet": ["train/a/{}.bmp", "train/b/{}.bmp"],
    "msls": ["train_val/oslo/query/images/{}.bmp"],
    "pairs": ["A/{}.bmp", "B/{}.bmp"],
    "splits": ["{}.bmp"],
}
PREPARE: dict[str, Callable[..., object]] = {
    "cityscapes": lambda root, out: prepare_cityscapes([root], out, width=8, height=8),
    "imagenet": lambda root, out: prepare_imagenet([root], out, processes=1),
    "msls": lambda root, out: prepare_msls([root], out),
    "pairs": lambda root, out: prepare_pairs(root / "A", root / "B", out, val=2, test=0),
    "splits": lambda root, out: prepare_splits(root, out, val=2, test=0),
}


def write(root: Path, kind: str, shade: int) -> None:
    for name in NAMES[kind]:
        for i in range(8):
            path = root / name.format(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (shade, i, 0)).save(path, compress_level=0)
            os.utime(path, (shade, shade))  # the clock of a disk may be coarser than a test


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def end_early(kind: str, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try whose files are all there, but that ends before the folder gets its name."""
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            PREPARE[kind](root, out)
    assert not out.exists() and out.with_name(f".{out.name}.partial").is_dir()


@pytest.mark.parametrize("kind", ["cityscapes", "msls", "pairs", "splits"])
def test_pictures_of_changed_files_are_made_anew(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "source", kind, 10)
    end_early(kind, tmp_path / "source", tmp_path / "out", monkeypatch)
    write(tmp_path / "source", kind, 200)
    PREPARE[kind](tmp_path / "source", tmp_path / "out")
    PREPARE[kind](tmp_path / "source", tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_shards_of_changed_files_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "source", "imagenet", 10)
    end_early("imagenet", tmp_path / "source", tmp_path / "out", monkeypatch)
    write(tmp_path / "source", "imagenet", 200)
    with pytest.raises(UsageError, match=r"out was begun with other files; .*remove .*\.out\.partial"):
        PREPARE["imagenet"](tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize("kind", PREPARE)
def test_a_target_inside_its_source_is_refused(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, 10)
    inside = tmp_path / "A" / "new" if kind == "pairs" else tmp_path / "new"
    with pytest.raises(UsageError, match=r"new lies inside .*, from which it is made"):
        PREPARE[kind](tmp_path, inside)
    assert not inside.exists()
