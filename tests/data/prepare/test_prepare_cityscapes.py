"""Cityscapes' own layout, packed and unpacked, to pairs and unpaired folders."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.folders import find_split
from gesso.data.prepare import cityscapes
from gesso.data.prepare.cityscapes import ARCHIVES, prepare_cityscapes
from gesso.data.streets import CLASSES, PALETTE, TRAIN_LABELS
from gesso.data.synth import write_cityscapes_raw
from gesso.errors import BadImage, DataError, UsageError

FRAME = "gessoburg_000002_000019"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 training and 1 validation scene of 128×64 pixels, unpacked, and a test scene without real labels."""
    root = tmp_path_factory.mktemp("cityscapes") / "raw"
    write_cityscapes_raw(root, count=4, size=64)
    for name in ("leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", "gtFine/test/license.txt"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def archives(raw: Path) -> Path:
    """The folder of the two official archives."""
    folder = raw.parent / "archives"
    folder.mkdir()
    for name, part in zip(ARCHIVES, ("gtFine", "leftImg8bit"), strict=True):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("README", part)
            for path in sorted((raw / part).rglob("*.*")):
                archive.write(path, path.relative_to(raw))
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pairs_and_unpaired_folders_with_recognisable_names(raw: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = prepare_cityscapes(
        [raw], tmp_path / "out", width=32, height=32, progress=lambda done, total: seen.append((done, total))
    )
    assert done.counts == {"train": 4, "trainA": 4, "trainB": 4, "val": 1, "testA": 1, "testB": 1}
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(done.counts) and seen[-1] == (5, 5)
    pair, a, b = (pixels(tmp_path / f"out/{folder}/{FRAME}.png") for folder in ("train", "trainA", "trainB"))
    assert a.shape == (32, 32, 3)
    np.testing.assert_array_equal(pair, np.hstack([a, b]))


def test_photos_are_antialiased_and_labels_keep_their_colours(raw: Path, tmp_path: Path) -> None:
    prepare_cityscapes([raw], tmp_path / "out", width=48, height=24, layout="unpaired")
    photo = Image.open(raw / f"leftImg8bit/train/gessoburg/{FRAME}_leftImg8bit.png")
    expected = np.asarray(photo.resize((48, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels(tmp_path / f"out/trainA/{FRAME}.png"), expected)
    labels = Image.open(raw / f"gtFine/train/gessoburg/{FRAME}_gtFine_color.png")
    expected = np.asarray(labels.resize((48, 24), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(pixels(tmp_path / f"out/trainB/{FRAME}.png"), expected)


def test_train_colours_are_the_19_classes_and_black(raw: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    shutil.copytree(raw, source)
    path = source / f"gtFine/train/gessoburg/{FRAME}_gtFine_labelIds.png"
    labels = np.tile(np.arange(64, dtype=np.uint8)[:, None] % len(CLASSES), (1, 128))
    Image.fromarray(labels).save(path)
    prepare_cityscapes([source], tmp_path / "out", width=128, height=64, layout="pairs", colours="train")
    drawn = pixels(tmp_path / f"out/train/{FRAME}.png")[:, 128:]
    trained = np.isin(labels, TRAIN_LABELS)
    np.testing.assert_array_equal(drawn[trained], PALETTE[labels[trained]])
    assert not drawn[~trained].any() and trained.any() and not trained.all()


def with_ids(raw: Path, source: Path, ids: Image.Image) -> Path:
    """A copy of `raw` with other label ids of FRAME."""
    shutil.copytree(raw, source)
    ids.save(source / f"gtFine/train/gessoburg/{FRAME}_gtFine_labelIds.png", bits=8)
    return source


def test_label_ids_with_a_palette_are_its_indices(raw: Path, tmp_path: Path) -> None:
    grey = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[:, None] % len(CLASSES), (1, 128)))
    palette = grey.copy()
    palette.putpalette(PALETTE[::-1].tobytes())
    for name, ids in (("grey", grey), ("palette", palette)):
        source = with_ids(raw, tmp_path / f"{name} ids", ids)
        prepare_cityscapes([source], tmp_path / name, width=128, height=64, colours="train")
    assert contents(tmp_path / "palette") == contents(tmp_path / "grey")


@pytest.mark.parametrize(
    "ids", [Image.new("RGB", (128, 64), (7, 7, 7)), Image.new("1", (128, 64)), Image.new("I;16", (128, 64))]
)
def test_label_ids_of_another_kind_are_refused(raw: Path, tmp_path: Path, ids: Image.Image) -> None:
    source = with_ids(raw, tmp_path / "raw", ids)
    with pytest.raises(BadImage, match=rf"{FRAME}_gtFine_labelIds\.png: not a PNG of 8-bit grey or with a palette"):
        prepare_cityscapes([source], tmp_path / "out", colours="train")


def test_archives_and_folders_give_the_same_files(raw: Path, archives: Path, tmp_path: Path) -> None:
    sources = {
        "unpacked": [raw],
        "parts": [raw / "gtFine", raw / "leftImg8bit"],
        "packed": [archives / name for name in ARCHIVES],
        "folder of archives": [archives],
        "one of each": [archives / ARCHIVES[0], raw / "leftImg8bit"],
    }
    for name, paths in sources.items():
        prepare_cityscapes(paths, tmp_path / name, width=16, height=16)
    expected = contents(tmp_path / "unpacked")
    assert len(expected) == 15
    for name in sources:
        assert contents(tmp_path / name) == expected, name


def test_the_result_is_what_training_finds(raw: Path, tmp_path: Path) -> None:
    prepare_cityscapes([raw], tmp_path, width=16, height=16)
    assert find_split(tmp_path, "train", "auto", unpaired=False).layout == "pairs"
    unpaired = find_split(tmp_path, "test", "auto", unpaired=True)
    assert unpaired.layout == "unpaired" and [len(images) for images in unpaired.images.values()] == [1, 1]


def test_jpeg_on_request(raw: Path, tmp_path: Path) -> None:
    prepare_cityscapes([raw], tmp_path, width=16, height=16, layout="pairs", suffix=".jpg")
    assert (tmp_path / f"train/{FRAME}.jpg").read_bytes().startswith(b"\xff\xd8")


def test_an_ended_preparation_leaves_nothing_and_goes_on(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "out", cityscapes._pictures
    calls: list[str] = []

    def interrupted(tree: object, frame: cityscapes._Frame, *rest: object) -> object:
        calls.append(frame.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(tree, frame, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cityscapes, "_pictures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_cityscapes([raw], out, width=16, height=16, workers=1)
    assert not out.exists()
    there = len(set(calls[:2]))
    calls.clear()
    monkeypatch.setattr(cityscapes, "_pictures", lambda *given: (calls.append(given[1].name), read(*given))[1])
    prepare_cityscapes([raw], out, width=16, height=16, workers=1)
    assert len(calls) <= 5 - there
    prepare_cityscapes([raw], tmp_path / "at once", width=16, height=16)
    assert contents(out) == contents(tmp_path / "at once")


@pytest.mark.parametrize(("part", "says"), [("gtFine", "leftImg8bit.png"), ("leftImg8bit", "gtFine_color.png")])
def test_one_half_alone_is_refused(raw: Path, tmp_path: Path, part: str, says: str) -> None:
    with pytest.raises(DataError, match=rf"no \*_{says} belongs to it \(5 of 5"):
        prepare_cityscapes([raw / part], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_where_only_the_label_ids_are_there_the_flag_that_takes_them_is_named(raw: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    shutil.copytree(raw, source)
    for path in source.rglob("*_gtFine_color.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"no \*_gtFine_color\.png belongs to it.*, or take --colours train$"):
        prepare_cityscapes([source], tmp_path / "out")
    prepare_cityscapes([source], tmp_path / "out", width=16, height=16, colours="train")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match=r"x: no Cityscapes here.*gtFine_trainvaltest\.zip"):
        prepare_cityscapes([tmp_path / "x"], tmp_path / "out")


def test_a_bad_picture_names_archive_and_member(raw: Path, tmp_path: Path) -> None:
    bad = f"leftImg8bit/train/gessoburg/{FRAME}_leftImg8bit.png"
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr(bad, b"no picture")
        for path in (raw / "leftImg8bit").rglob("*.png"):
            if not path.match(bad):
                archive.write(path, path.relative_to(raw))
    with pytest.raises(BadImage, match=rf"photos\.zip: {bad}: not an image"):
        prepare_cityscapes([tmp_path / "photos.zip", raw / "gtFine"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_halves_of_different_size_are_refused(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    Image.new("RGB", (20, 10)).save(tmp_path / f"raw/gtFine/train/gessoburg/{FRAME}_gtFine_color.png")
    with pytest.raises(BadImage, match="20 x 10 pixels, but its photo has 128 x 64"):
        prepare_cityscapes([tmp_path / "raw"], tmp_path / "out")


@pytest.mark.parametrize("values", [{"width": 4}, {"height": 10**6}])
def test_sizes_out_of_range_name_their_flag(raw: Path, tmp_path: Path, values: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(values))}"):
        prepare_cityscapes([raw], tmp_path / "out", **values)


def test_a_target_that_is_not_empty_is_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UsageError, match="is not empty"):
        prepare_cityscapes([raw], tmp_path)
