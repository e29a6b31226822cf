"""`gesso data fetch` and `prepare` on small sets, a set fetched on the way to a training, and one that was moved."""

import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from PIL import Image

import gesso as package
from commands import Gesso, refused, train_words
from conftest import toy
from gesso.commands import prepare
from gesso.data.prepare.cityscapes import prepare_cityscapes
from gesso.data.prepare.imagenet import prepare_imagenet
from gesso.data.prepare.msls import prepare_msls
from gesso.data.prepare.pairs import prepare_pairs
from gesso.data.prepare.splits import prepare_splits
from gesso.engine import locating
from gesso.engine.runs import read_recipe
from gesso.engine.train import located
from gesso.recipe import ClassData
from publications import CITYSCAPES, picture, pix2pix_set, served, write_cityscapes, write_imagenet, write_msls

PREPARATIONS: dict[str, Callable[..., Any]] = {
    "cityscapes": prepare_cityscapes,
    "imagenet": prepare_imagenet,
    "msls": prepare_msls,
    "pairs": prepare_pairs,
    "splits": prepare_splits,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a mirror on loopback that has facades."""
    with served(pix2pix_set("facades")) as address:
        yield address


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed))


# Fetching.


def test_fetch_lists_what_it_knows(gesso: Gesso) -> None:
    said = gesso("data", "fetch", "list")
    assert (said.code, said.err) == (0, [])
    assert any(line.startswith("facades ") and "CMP Facade Database" in line for line in said.out)


def test_fetch_unpacks_a_set_and_says_what_it_is(gesso: Gesso, server: str, tmp_path: Path) -> None:
    said = gesso("data", "fetch", "facades", "--out", tmp_path, "--mirror", server)
    assert (said.code, said.err) == (0, [])
    assert said.out[-1].startswith(f"{tmp_path / 'facades'}: pairs: facades and their labels (CMP")
    assert sorted(path.name for path in (tmp_path / "facades" / "val").iterdir()) == ["0.jpg", "1.jpg"]
    refused(gesso("data", "fetch", "facades", "--out", tmp_path, "--mirror", server), "facades is there already")


def test_fetch_refuses_what_it_cannot_get(gesso: Gesso, server: str, tmp_path: Path) -> None:
    refused(
        gesso("data", "fetch", "faces", "--out", tmp_path),
        "data fetch faces: no such set, perhaps you meant facades; there are facades",
    )
    refused(
        gesso("data", "fetch", "maps", "--out", tmp_path, "--mirror", "there"), "--mirror there: must be an address"
    )
    refused(gesso("data", "fetch", "maps", "--out", tmp_path, "--mirror", server), "the server answers 404")
    assert not (tmp_path / "maps").exists()


def test_training_says_how_to_get_a_missing_public_set(gesso: Gesso, tmp_path: Path) -> None:
    words = train_words(tmp_path / "facades", "--runs", tmp_path / "runs")
    command = f"gesso data fetch facades --out {tmp_path}"
    refused(gesso(*words), f"facades: no such folder; `{command}` downloads it, and so does --data.fetch")
    assert not (tmp_path / "runs").exists()


def test_training_fetches_a_missing_public_set_where_told_to(
    gesso: Gesso, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesso.data.fetch._mirrored", lambda *_: (f"{server}/pix2pix/datasets/facades.tar.gz", None))
    words = train_words(tmp_path / "facades", "--runs", tmp_path / "runs", "--data.fetch")
    assert gesso(*words).code == 0
    assert (tmp_path / "facades" / "train" / "0.jpg").exists()
    assert gesso(*words).code == 0  # it is there now, and nothing is fetched


def test_fetching_does_not_help_an_unknown_folder(gesso: Gesso, tmp_path: Path) -> None:
    refused(gesso(*train_words(tmp_path / "mine", "--data.fetch")), "mine: no such folder$")


# Preparing.


@pytest.mark.parametrize("name", PREPARATIONS)
def test_flags_of_a_preparation_are_the_arguments_of_its_function(
    name: str, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = dict(inspect.signature(PREPARATIONS[name]).parameters)
    told = {flag: wanted.pop(flag, None) for flag in ("progress", "say")}
    given: dict[str, Any] = {}

    def prepared(**values: Any) -> Any:
        given.update(values)
        raise KeyboardInterrupt

    monkeypatch.setattr(f"gesso.data.prepare.{name}.prepare_{name}", prepared)
    assert gesso("data", "prepare", name, "x", *(["y"] if name == "pairs" else []), "-o", "out").code == 130
    assert given.keys() - told.keys() == wanted.keys()
    assert {flag: given[flag] for flag, parameter in wanted.items() if parameter.default is not parameter.empty} == {
        flag: parameter.default for flag, parameter in wanted.items() if parameter.default is not parameter.empty
    }
    text = "\n".join(gesso("data", "prepare", name, "--help").out)
    for flag, hint in get_type_hints(PREPARATIONS[name]).items():
        if getattr(hint, "__origin__", None) is not None and all(isinstance(each, str) for each in get_args(hint)):
            assert f"--{flag} {{{','.join(get_args(hint))}}}" in text


def test_every_preparation_is_a_command() -> None:
    assert prepare.COMMANDS.keys() == PREPARATIONS.keys()


def test_prepare_cityscapes(gesso: Gesso, tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    out = tmp_path / "out"
    words = ["--width", 32, "--height", 16, "--layout", "pairs"]
    said = gesso("data", "prepare", "cityscapes", *(tmp_path / name for name in CITYSCAPES), "-o", out, *words)
    assert said == (0, [f"{out}: train 3, val 1"], [])
    with Image.open(next((out / "train").iterdir())) as pair:
        assert pair.size == (64, 16)
    words = ["data", "prepare", "cityscapes", tmp_path, "-o"]
    refused(gesso(*words, out), "out is not empty")
    refused(gesso(*words, tmp_path / "o", "--width", 1), "--width 1: must lie in")
    refused(gesso(*words, tmp_path / "o", "--colours", "train"), "no \\*_gtFine_labelIds.png belongs to it")


def test_prepare_imagenet(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_imagenet(tmp_path / "raw")
    said = gesso("data", "prepare", "imagenet", tmp_path / "raw", "-o", tmp_path / "out", "--per-shard", 8)
    assert said == (0, [f"{tmp_path / 'out'}: train 8, val 4"], [])
    assert json.loads((tmp_path / "out" / "classes.json").read_text())["classes"] == ["n01440764", "n02119789"]
    refused(gesso("data", "prepare", "imagenet", tmp_path / "out", "-o", tmp_path / "o"), "no ImageNet here; name")


def test_prepare_imagenet_names_bad_images(gesso: Gesso, tmp_path: Path) -> None:
    for class_ in ("a", "b"):
        save(tmp_path / "raw" / "train" / class_ / "1.png", 1)
    (tmp_path / "raw" / "train" / "a" / "2.png").write_bytes(b"no image")
    words = ["data", "prepare", "imagenet", tmp_path / "raw", "-o", tmp_path / "out"]
    said = gesso(*words)
    refused(said, "1 image cannot be read, the first .*2.png.*--skip-bad")
    assert "2.png" in said.out[0]
    said = gesso(*words, "--skip-bad")
    assert said.code == 0 and said.out[-1] == f"{tmp_path / 'out'}: train 2 (1 files left out)"


def test_prepare_msls_prints_its_table(gesso: Gesso, tmp_path: Path) -> None:
    write_msls(tmp_path / "volume.zip")
    out = tmp_path / "out"
    said = gesso("data", "prepare", "msls", tmp_path / "volume.zip", "-o", out, "--per-city", 2)
    assert (said.code, said.err) == (0, [])
    assert [line.split()[0] for line in said.out] == ["City", "austin", "zurich", "Total", f"{out}:"]
    assert said.out[-1] == f"{out}: austin 2, zurich 2 (1 files left out)"
    words = ["data", "prepare", "msls", tmp_path / "volume.zip", "-o", tmp_path / "o", "--cities", "bern"]
    refused(gesso(*words), "--cities bern: not in these sources, which have austin, zurich")


def test_prepare_pairs(gesso: Gesso, tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / "labels" / f"{i}.png", i)
        save(tmp_path / "photos" / f"{i}.png", i + 9)
    out = tmp_path / "out"
    words = ["data", "prepare", "pairs", tmp_path / "labels", tmp_path / "photos"]
    assert gesso(*words, "-o", out, "--val", 1, "--test", 1) == (0, [f"{out}: train 3, val 1, test 1"], [])
    (tmp_path / "photos" / "0.png").unlink()
    refused(gesso(*words, "-o", tmp_path / "o"), "0.png: no image of this name on the other side .* --alone skip")


def test_prepare_splits(gesso: Gesso, tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "all" / ("a" if i % 2 else "b") / f"{i}.png", i)
    out = tmp_path / "out"
    words = ["data", "prepare", "splits", tmp_path / "all", "--val", 1, "--test", 0]
    assert gesso(*words, "-o", out, "--how", "hardlink") == (0, [f"{out}: train 4, val 2"], [])
    refused(gesso(*words, "-o", tmp_path / "o", "--val", 9), "--val 9.* only 3 images, none is left to train")


def test_shards_may_be_named_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_imagenet(tmp_path / "raw")
    prepare_imagenet([tmp_path / "raw"], tmp_path / "out")
    root = f"{tmp_path}/out/{{train,val}}-000000.tar"
    recipe = located(toy("densenet-bc-cifar", Path(root)))
    assert (recipe.data.root, recipe.data.names) == (root, ("n01440764", "n02119789"))


# A data set that was moved.


def test_resume_writes_the_new_place_down(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(pairs, old)
    run = package.train(toy("pix2pix", old, epochs=0.25), runs=tmp_path / "runs", name="it").path
    old.rename(new)
    refused(gesso("resume", run, "-e", 0.5), f"{old}: no such folder")
    assert gesso("resume", run, "-e", 0.5, "--data-root", new).code == 0
    assert read_recipe(run).data.root == str(new)
    assert gesso("resume", run, "-e", 0.75).code == 0


def test_resume_refuses_another_data_set(gesso: Gesso, classes: Path, tmp_path: Path) -> None:
    run = package.train(toy("densenet-bc-cifar", classes, epochs=0.25), runs=tmp_path / "runs", name="it").path
    for i in range(2):
        save(tmp_path / "other" / "train" / "dark" / f"{i}.png", i)
        save(tmp_path / "other" / "train" / "bright" / f"{i}.png", i)
    before = (run / "recipe.json").read_bytes()
    told = "other: its classes are no longer those .*runs/it was begun with: new: bright; gone: light; bring those back"
    refused(gesso("resume", run, "--data-root", tmp_path / "other"), told)
    refused(gesso("resume", run, "--data.root", tmp_path / "nowhere"), "nowhere")
    assert (run / "recipe.json").read_bytes() == before


def test_resume_lists_the_classes_of_a_moved_set_once_before_it_writes_the_place_down(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = package.train(toy("densenet-bc-cifar", classes, epochs=0.25), runs=tmp_path / "runs", name="it").path
    listed = []
    names = locating.class_names

    def counted(data: ClassData) -> tuple[str, ...]:
        listed.append(read_recipe(run).data.root)
        return names(data)

    monkeypatch.setattr(locating, "class_names", counted)
    package.resume(run, epochs=0.5, data_root=str(shutil.copytree(classes, tmp_path / "new")))
    assert listed == [str(classes), str(tmp_path / "new")]  # and once more when the run is opened, as every run is
