"""ImageNet's archives in small: the same samples as in the tars, the same bytes however often a kill interrupts it."""

import base64
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gesso.data.prepare.devkit import META, TRUTH, read_mat, read_truth
from gesso.data.prepare.imagenet import prepare_imagenet
from gesso.data.shards import ShardSource, open_shards
from gesso.errors import DataError, GessoError, UsageError

SYNSETS = ("n00001740", "n01440764", "n02119789")
# Written by scipy.io.savemat with compression: `synsets`, a 3×1 struct array with the kit's fields, whose ids 1, 2, 3
# are n02119789, n01440764 and n00001740.
MAT = b"MATLAB 5.0 MAT-file".ljust(124) + base64.b64decode(
    "AAFJTQ8AAAAaAQAAeJzjY2BgyGBhYGAD0hxAzMQAAaxQPjMQM0IxOxAXV+YVp5YUA+VZGPig4m5A7OkTHBbkbGRgaBTv6cIQ7gck"
    "4KA8vyilGM5LzsjMSSlKzYPwMlIz0zNKEGpBZlowINzDhuYeRiQMApxQcQj4YA/S74CknwWLfk4k/QJQfp6BkaGhpbmFJZI7PAiY"
    "I4FmDoifnVmikJZfoaMQVppTkFqskJuYXJRfklkMMs+AgL8Y0PxFeXg8sEe3l5uAfhZgCmCC2kteOBqamBiYm5ngcD82c1jRzAHx"
    "S1LzkjOwuAOb/5nQ/C8A97+IA4SWcKAsHH+QFY7MFIUjEBiamxiQEI5saOaA+Kl5JZkllZSG4wd7KIPCcGRxAABLbzIn"
)


def colour(class_: int, i: int) -> tuple[int, int, int]:
    return class_ * 90, i * 20, 130


def picture(class_: int, i: int, kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour(class_, i)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_300_000_000
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def train_tar(each: int = 8, **odd: bytes) -> bytes:
    """A tar of a tar for each class; `odd` replaces images by their names."""
    classes = {}
    for class_, synset in enumerate(SYNSETS):
        files = {f"{synset}_{i}.JPEG": picture(class_, i) for i in range(each)}
        classes[f"{synset}.tar"] = packed({name: odd.get(name[:-5], data) for name, data in files.items()})
    return packed(classes)


def val_tar(count: int = 6) -> bytes:
    """Image i is of class i mod 3."""
    return packed({f"ILSVRC2012_val_{i:08d}.JPEG": picture(i % 3, i) for i in range(1, count + 1)})


def devkit(path: Path, count: int = 6) -> Path:
    ids = {0: 3, 1: 2, 2: 1}  # the kit's id of each class in the order of the synsets
    truth = "".join(f"{ids[i % 3]}\n" for i in range(1, count + 1)).encode()
    files = {f"ILSVRC2012_devkit_t12/{TRUTH}": truth, f"ILSVRC2012_devkit_t12/{META}": MAT}
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    root = tmp_path / "imagenet"
    root.mkdir()
    (root / "ILSVRC2012_img_train.tar").write_bytes(train_tar())
    (root / "ILSVRC2012_img_val.tar").write_bytes(val_tar())
    devkit(root / "ILSVRC2012_devkit_t12.tar.gz")
    return root


def prepared(source: Path, out: Path, **options: object) -> str:
    flags = {"processes": 1, "per_shard": 10, "say": lambda line: None} | options
    return str(prepare_imagenet([source], out, **flags))  # type: ignore[arg-type]


def opened(root: Path, split: str) -> ShardSource:
    return open_shards(str(root), split, root / "no cache", say=lambda line: pytest.fail(line))


def samples(source: ShardSource) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Class and middle colour, to the next 10, by key."""
    found = {}
    for i, unit in enumerate(source.units):
        image = source.decode(unit)["image", i]
        middle = image[image.shape[0] // 2, image.shape[1] // 2]
        found[source.label(("image", i)).partition("/")[2]] = source.class_of(i), tuple(round(v / 10) for v in middle)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_two_archives_and_the_kit_become_shards_that_training_reads(archives: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    assert prepared(archives, out) == "train 24, val 6"
    assert sorted(contents(out)) == sorted(
        ["classes.json", "index.jsonl", "manifest.json", "val-000000.tar"] + [f"train-00000{i}.tar" for i in range(3)]
    )
    train, val = opened(out, "train"), opened(out, "val")
    assert samples(train) == {
        f"{SYNSETS[c]}_{i}": (c, tuple(round(v / 10) for v in colour(c, i))) for c in range(3) for i in range(8)
    }
    assert {key: class_ for key, (class_, _) in samples(val).items()} == {
        f"ILSVRC2012_val_{i:08d}": i % 3 for i in range(1, 7)
    }
    assert train.classes == SYNSETS
    assert json.loads((out / "classes.json").read_text())["names"] == ["entity", "tench", "kit fox, Vulpes macrotis"]


def test_each_shard_mixes_classes_and_another_seed_mixes_otherwise(archives: Path, tmp_path: Path) -> None:
    orders = []
    for seed in (0, 1):
        prepared(archives, tmp_path / f"{seed}", seed=seed)
        source = opened(tmp_path / f"{seed}", "train")
        orders.append([source.class_of(i) for i in range(24)])
        assert all(len(set(orders[-1][start : start + 8])) == 3 for start in (0, 8, 16))
    assert orders[0] != orders[1]


def test_the_tars_are_plain_webdataset_shards(archives: Path, tmp_path: Path) -> None:
    prepared(archives, tmp_path / "shards")
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as tar:
        members = tar.getmembers()
        assert all((m.mtime, m.uid, m.gid, m.uname) == (0, 0, 0, "") for m in members)
        for image, label in zip(members[::2], members[1::2], strict=True):
            key = image.name.removesuffix(".jpg")
            assert label.name == f"{key}.cls"
            found = tar.extractfile(label)
            assert found is not None and int(found.read()) == SYNSETS.index(key.split("_")[0])


def test_bytes_do_not_depend_on_the_number_of_processes(archives: Path, tmp_path: Path) -> None:
    prepared(archives, tmp_path / "one")
    prepared(archives, tmp_path / "two", processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_killed_preparation_goes_on_and_ends_in_the_same_bytes(archives: Path, tmp_path: Path) -> None:
    (archives / "ILSVRC2012_img_train.tar").write_bytes(train_tar(each=40))
    code = (
        "import sys, time; from pathlib import Path; from gesso.data.prepare import packing\n"
        "encoded = packing._encoded\n"
        "def slow(*args):\n    time.sleep(0.02)\n    return encoded(*args)\n"
        "packing._encoded = slow\n"
        "from gesso.data.prepare.imagenet import prepare_imagenet\n"
        "prepare_imagenet([Path(sys.argv[1])], Path(sys.argv[2]), per_shard=10, processes=1)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(archives), str(tmp_path / "killed")])
    partial = tmp_path / ".killed.partial"
    deadline = time.monotonic() + 60
    while len(list(partial.glob(".parts/*.json"))) < 2 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = {path: path.stat().st_mtime_ns for path in partial.glob("*.tar")}
    assert 2 <= len(done) < 13 and not (tmp_path / "killed").exists()
    assert prepared(archives, tmp_path / "killed") == "train 120, val 6"
    kept = [path for path, written in done.items() if (tmp_path / "killed" / path.name).stat().st_mtime_ns == written]
    assert len(kept) >= 2
    prepared(archives, tmp_path / "whole")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_an_unfinished_preparation_with_other_settings_is_refused(archives: Path, tmp_path: Path) -> None:
    bad = packed({f"{SYNSETS[0]}.tar": packed({"a.JPEG": picture(0, 0)[:200]})})
    (archives / "ILSVRC2012_img_train.tar").write_bytes(bad)
    (archives / "ILSVRC2012_img_val.tar").unlink()
    with pytest.raises(DataError):
        prepared(archives, tmp_path / "shards")
    with pytest.raises(UsageError, match=r"was begun with other seed; .*remove .*\.shards\.partial"):
        prepared(archives, tmp_path / "shards", seed=5)


def test_a_finished_folder_is_not_written_over(archives: Path, tmp_path: Path) -> None:
    prepared(archives, tmp_path / "shards")
    before = contents(tmp_path / "shards")
    with pytest.raises(UsageError, match="is not empty"):
        prepared(archives, tmp_path / "shards", seed=5)
    assert contents(tmp_path / "shards") == before


def test_bad_images_are_all_named_then_left_out_when_asked(archives: Path, tmp_path: Path) -> None:
    bad = {f"{SYNSETS[0]}_3": b"no image", f"{SYNSETS[2]}_5": picture(2, 5)[:300]}
    (archives / "ILSVRC2012_img_train.tar").write_bytes(train_tar(**bad))
    told: list[str] = []
    with pytest.raises(DataError, match=r"2 images cannot be read, .*--skip-bad"):
        prepared(archives, tmp_path / "shards", say=told.append)
    assert sorted(line.split(":")[1] for line in told) == sorted(bad)
    assert prepared(archives, tmp_path / "shards", skip_bad=True) == "train 22, val 6 (2 files left out)"
    assert not samples(opened(tmp_path / "shards", "train")).keys() & bad.keys()
    left_out = json.loads((tmp_path / "shards" / "manifest.json").read_text())["left_out"]
    assert {name.rpartition(":")[2] for name in left_out} == bad.keys()


def test_png_and_cmyk_that_are_called_jpeg_keep_working(archives: Path, tmp_path: Path) -> None:
    odd = {
        f"{SYNSETS[1]}_1": picture(1, 1, "PNG"),
        f"{SYNSETS[1]}_2": picture(1, 2, mode="CMYK"),
        f"{SYNSETS[1]}_3": picture(1, 3, mode="L"),
    }
    (archives / "ILSVRC2012_img_train.tar").write_bytes(train_tar(**odd))
    prepared(archives, tmp_path / "shards")
    source = opened(tmp_path / "shards", "train")
    found = samples(source)
    assert found[f"{SYNSETS[1]}_1"] == (1, (9, 2, 13)) and found[f"{SYNSETS[1]}_2"] == (1, (9, 4, 13))
    assert all(source.decode(unit)["image", i].shape[2] == 3 for i, unit in enumerate(source.units))
    whole = b"".join(data for name, data in contents(tmp_path / "shards").items() if name.endswith(".tar"))
    assert f"{SYNSETS[1]}_1.png".encode() in whole and f"{SYNSETS[1]}_2.jpg".encode() in whole


def test_larger_images_are_shrunk_and_smaller_ones_kept(archives: Path, tmp_path: Path) -> None:
    small = picture(0, 4, size=(9, 12))
    (archives / "ILSVRC2012_img_train.tar").write_bytes(train_tar(**{f"{SYNSETS[0]}_4": small}))
    prepared(archives, tmp_path / "shards", shorter_side=15)
    source = opened(tmp_path / "shards", "train")
    shapes = {source.label(("image", i)): source.decode(u)["image", i].shape for i, u in enumerate(source.units)}
    assert [shape for label, shape in shapes.items() if label.endswith(f"{SYNSETS[0]}_4")] == [(12, 9, 3)]
    assert sorted(shapes.values())[1:] == [(15, 20, 3)] * 23


def test_class_folders_become_the_same_samples(tmp_path: Path) -> None:
    root = tmp_path / "folders"
    for split, each in (("train", 5), ("val", 2)):
        for class_, name in enumerate(("a cat", "dog.x")):
            (root / split / name).mkdir(parents=True)
            for i in range(each):
                (root / split / name / f"{i}.jpg").write_bytes(picture(class_, i))
    assert prepared(root, tmp_path / "shards") == "train 10, val 4"
    train = opened(tmp_path / "shards", "train")
    assert train.classes == ("a cat", "dog.x")
    assert {key: class_ for key, (class_, _) in samples(train).items()} == {
        f"{name}_{i}": class_ for class_, name in enumerate(("a_cat", "dog_x")) for i in range(5)
    }


def test_a_validation_class_that_training_lacks_is_named(tmp_path: Path) -> None:
    for folder in ("train/a", "val/b"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        (tmp_path / "set" / folder / "0.jpg").write_bytes(picture(0, 0))
    with pytest.raises(DataError, match="class b is not among the 1 classes"):
        prepared(tmp_path / "set", tmp_path / "shards")


def test_two_images_of_one_key_are_refused(tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "a").mkdir(parents=True)
    for name in ("0.jpg", "0.png"):
        (tmp_path / "set" / "train" / "a" / name).write_bytes(picture(0, 0))
    with pytest.raises(DataError, match=r"two images of the key a_0, .*rename one"):
        prepared(tmp_path / "set", tmp_path / "shards")


@pytest.mark.parametrize(
    "line",
    [
        "ILSVRC2012_val_{i:08d}.JPEG {synset}",
        "ILSVRC2012_val_{i:08d} {number}",
        "ILSVRC2012_val_{i:08d},{synset} 85 1 499 272 ",
        "val/ILSVRC2012_val_{i:08d}.JPEG\t{number}",
        "{synset}",
    ],
)
def test_validation_classes_from_a_text_file(archives: Path, tmp_path: Path, line: str) -> None:
    lines = [line.format(i=i, synset=SYNSETS[i % 3], number=i % 3) for i in range(1, 7)]
    labels = tmp_path / "val.txt"
    labels.write_text("ImageId,PredictionString\n" * (line.count(",")) + "\n".join(lines) + "\n")
    prepared(archives, tmp_path / "shards", val_labels=labels)
    assert {key: class_ for key, (class_, _) in samples(opened(tmp_path / "shards", "val")).items()} == {
        f"ILSVRC2012_val_{i:08d}": i % 3 for i in range(1, 7)
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("490\n361\n", "line 1: not the name of an image and its class.*devkit"),
        ("n00001740\n", "classes for 1 images, but there are 6"),
        ("ILSVRC2012_val_00000001 0\n", "no class for ILSVRC2012_val_00000002"),
        ("ILSVRC2012_val_00000001 7\n", "class 7 of 3"),
        (f"ILSVRC2012_val_00000001 {'7' * 5000}\n", "line 1: not the name of an image and its class"),
        ("", "classes for 0 images"),
        ("\udcff", "not a text file"),
    ],
)
def test_senseless_validation_classes_are_one_line(archives: Path, tmp_path: Path, text: str, message: str) -> None:
    labels = tmp_path / "val.txt"
    labels.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message):
        prepared(archives, tmp_path / "shards", val_labels=labels)


def test_validation_images_without_classes_name_the_kit(archives: Path, tmp_path: Path) -> None:
    (archives / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(DataError, match=r"put ILSVRC2012_devkit_t12\.tar\.gz beside it, or .*--val-labels"):
        prepared(archives, tmp_path / "shards")


def test_names_of_synsets_may_be_given(archives: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01440764 tench, Tinca tinca\nn02119789\tkit fox\n")
    prepared(archives, tmp_path / "shards", synsets=tmp_path / "words.txt")
    assert json.loads((tmp_path / "shards" / "classes.json").read_text()) == {
        "classes": list(SYNSETS),
        "names": ["", "tench, Tinca tinca", "kit fox"],
    }


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.75])
def test_a_cut_off_archive_is_named(archives: Path, tmp_path: Path, kept: float) -> None:
    path = archives / "ILSVRC2012_img_train.tar"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"ILSVRC2012_img_train\.tar"):
        prepared(archives, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_tar_of_another_kind_is_refused(archives: Path, tmp_path: Path) -> None:
    (archives / "ILSVRC2012_img_train.tar").write_bytes(val_tar())
    with pytest.raises(DataError, match="is not the tar of one class"):
        prepared(archives, tmp_path / "shards")


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"per_shard": 0}, "per-shard"), ({"shorter_side": -1}, "shorter-side"), ({"quality": 101}, "quality")]
    + [({"seed": seed}, "seed") for seed in (-1, 2**64)],
)
def test_senseless_flags_are_named(archives: Path, tmp_path: Path, options: dict[str, object], flag: str) -> None:
    with pytest.raises(UsageError, match=f"--{flag}"):
        prepared(archives, tmp_path / "shards", **options)


def test_a_source_without_imagenet_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no ImageNet here"):
        prepared(tmp_path / "empty", tmp_path / "shards")


def test_mat_files_read_as_scipy_wrote_them() -> None:
    synsets = read_mat(MAT)["synsets"]
    assert [(s["ILSVRC2012_ID"], s["WNID"], s["words"]) for s in synsets] == [
        ((1.0,), "n02119789", "kit fox, Vulpes macrotis"),
        ((2,), "n01440764", "tench"),
        ((3,), "n00001740", "entity"),
    ]
    assert synsets[1]["children"] == (5.0, 6.0) and synsets[1]["height"] == (1.5,)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_mutated_kit_ends_in_classes_or_one_line(data: st.DataObject, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    path = devkit(tmp_path_factory.mktemp("kit") / "devkit.tar.gz")
    content = bytearray(path.read_bytes() if data.draw(st.booleans()) else MAT)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if content[:2] == MAT[:2]:
        folder = path.parent / "kit"
        (folder / "data").mkdir(parents=True)
        (folder / TRUTH).write_text("1\n2\n3\n")
        (folder / META).write_bytes(content)
        path, images = folder, ["a", "b", "c"]
    else:
        path.write_bytes(content)
        images = [f"{i}" for i in range(6)]
    try:
        assert set(read_truth(path, images, SYNSETS).synsets) == set(images)
    except GessoError as error:
        assert "\n" not in str(error) and str(path) in str(error)


def test_uneven_depths_are_brought_to_eight_bits_when_shrunk(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "train" / "a"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((40, 40), 0x8000, np.uint16)).save(folder / "deep.png")
    Image.new("RGBA", (40, 40), (10, 200, 30, 77)).save(folder / "clear.png")
    prepared(tmp_path / "set", tmp_path / "shards", shorter_side=16)
    assert samples(opened(tmp_path / "shards", "train")) == {"a_deep": (0, (13, 13, 13)), "a_clear": (0, (1, 20, 3))}
