"""Translating folders: every picture at its own size and depth, under its own name, or named with the reason."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import toy
from gesso.data.images import read_image, write_image
from gesso.devices import ACCELERATORS, Choice, facts
from gesso.engine import checkpoint
from gesso.engine.launch import ready_model
from gesso.engine.state import load_weights, weights_of
from gesso.errors import CheckpointError, DiskError, UsageError
from gesso.models import build_model
from gesso.models.base import Model
from gesso.predicting import folder
from gesso.predicting.folder import Done, translate_folder
from gesso.recipe import Data, Recipe
from gesso.recipes import RECIPES


def make_run(path: Path, recipe: Recipe, checkpoints: int = 1) -> Path:
    """The folder of an untrained run; each of its checkpoints has other weights."""
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(recipe.to_json())
    model = build_model(recipe)
    for i in range(checkpoints):
        model.initialize(i)
        checkpoint.save(path, 10 * i, recipe.model, weights_of(model, None), {}, {}, recipe.to_json())
    checkpoint.mark_best(path, path / "checkpoints" / "000000000")
    return path


def with_channels(name: str, a: int, b: int) -> Recipe:
    recipe = toy(name, Path("nowhere"))
    loss: Any = dataclasses.replace(recipe.loss, lambda_identity=0) if name == "cyclegan" else recipe.loss  # type: ignore[attr-defined]
    return dataclasses.replace(recipe, data=Data(load_size=36, crop_size=32, channels_a=a, channels_b=b), loss=loss)


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a CycleGAN: ResNets, instance norm, eval mode; multiples of 4."""
    return make_run(tmp_path_factory.mktemp("runs") / "resnet", toy("cyclegan", Path("nowhere")), 3)


@pytest.fixture(scope="session")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the paper's pix2pix: U-Net, batch norm and dropout on when translating; multiples of 32."""
    return make_run(tmp_path_factory.mktemp("runs") / "unet", toy("pix2pix", Path("nowhere")))


def picture(height: int, width: int, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)


def photos(at: Path, sizes: list[tuple[int, int]]) -> Path:
    at.mkdir()
    for i, (height, width) in enumerate(sizes):
        write_image(at / f"{i:02d}_{width}x{height}.png", picture(height, width, seed=i))
    return at


def translate(run: Path, inputs: Path, out: Path, **options: Any) -> Done:
    return translate_folder(run=run, inputs=inputs, out=out, **{"device": "cpu", "precision": "fp32", **options})


def results(out: Path) -> dict[str, np.ndarray]:
    """Every file below `out` by its name, whole; a half-written one would be here too, hidden or not."""
    return {path.relative_to(out).as_posix(): read_image(path) for path in sorted(out.rglob("*")) if path.is_file()}


def by_hand(run: Path, image: np.ndarray, network: str = "G_A") -> np.ndarray:
    """What the newest checkpoint's network makes of H×W×C uint8, without any of gesso's own steps but the network."""
    found = checkpoint.find(run, "000000000", print)
    model = build_model(Recipe.from_json((run / "recipe.json").read_text()))
    load_weights({network: model.networks[network]}, found)
    with torch.no_grad():
        made = model.networks[network].eval()(torch.from_numpy(image / 127.5 - 1).float().permute(2, 0, 1)[None])[0]
    return ((made + 1) * 127.5).permute(1, 2, 0).numpy()


SIZES = [(1, 1), (2, 3), (5, 7), (16, 16), (37, 53), (3, 200), (64, 31), (120, 4)]


@pytest.mark.parametrize("name", ["resnet", "unet"])
def test_result_has_the_size_of_the_picture(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    inputs = photos(tmp_path / "in", SIZES)
    done = translate(request.getfixturevalue(name), inputs, tmp_path / "out")
    assert (done.written, done.bad) == (len(SIZES), [])
    assert [array.shape[:2] for array in results(tmp_path / "out").values()] == SIZES


def test_result_is_what_the_network_makes(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(24, 36)])
    translate(resnet, inputs, tmp_path / "out")
    (made,) = results(tmp_path / "out").values()
    assert np.abs(made - by_hand(resnet, picture(24, 36))).max() <= 0.51


@pytest.mark.parametrize(("direction", "network"), [("AtoB", "G_A"), ("BtoA", "G_B")])
def test_direction_chooses_the_network(direction: Any, network: str, resnet: Path, tmp_path: Path) -> None:
    translate(resnet, photos(tmp_path / "in", [(16, 16)]), tmp_path / "out", direction=direction)
    (made,) = results(tmp_path / "out").values()
    assert np.abs(made - by_hand(resnet, picture(16, 16), network)).max() <= 0.51


def test_direction_that_was_not_trained_is_refused(unet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--direction BtoA: this pix2pix was trained AtoB only"):
        translate(unet, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", direction="BtoA")


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("form", ["png", "tif", "same"])
def test_sixteen_bits_stay_sixteen(ending: str, form: str, resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / f"deep.{ending}", picture(16, 20, dtype=np.uint16))
    write_image(tmp_path / "in" / f"flat.{ending}", picture(16, 20))
    translate(resnet, tmp_path / "in", tmp_path / "out", suffix=form)
    made = results(tmp_path / "out")
    kept = ending if form == "same" else form
    assert {name: array.dtype for name, array in made.items()} == {f"deep.{kept}": np.uint16, f"flat.{kept}": np.uint8}
    assert len(np.unique(made[f"deep.{kept}"])) > 256


@pytest.mark.parametrize("form", ["jpg", "webp"])
def test_sixteen_bits_become_eight_where_the_format_has_no_more(form: str, resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "deep.png", picture(16, 20, dtype=np.uint16))
    translate(resnet, tmp_path / "in", tmp_path / "out", suffix=form)
    assert results(tmp_path / "out")[f"deep.{form}"].dtype == np.uint8


@pytest.fixture
def bf16_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has bfloat16 instructions, whatever it has."""
    row = dataclasses.replace(ACCELERATORS["cpu"], best_precision=lambda device: Choice("bf16", "it is faster"))
    monkeypatch.setitem(ACCELERATORS, "cpu", row)


@pytest.mark.usefixtures("bf16_by_default")
def test_sixteen_bits_are_translated_in_fp32_by_themselves(
    resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = photos(tmp_path / "in", [(16, 20)])
    write_image(inputs / "deep.png", picture(16, 20, dtype=np.uint16))
    for out, precision in (("auto", "auto"), ("fp32", "fp32"), ("bf16", "bf16")):
        translate(resnet, inputs, tmp_path / out, precision=precision)
    made = {out: results(tmp_path / out)["deep.png"] for out in ("auto", "fp32", "bf16")}
    assert (made["auto"] == made["fp32"]).all()
    assert (made["auto"] != made["bf16"]).mean() > 0.9
    said = capsys.readouterr().err.splitlines()
    assert "fp32 (some of these pictures have 16 bits, of which bf16 would lose eight)" in said[0]
    assert ["bf16 (asked for)" in line for line in said] == [False, False, True]


@pytest.mark.usefixtures("bf16_by_default")
@pytest.mark.parametrize("case", ["eight bits", "a format of eight bits", "unreadable"])
def test_where_no_sixteen_bits_would_be_lost_the_device_chooses(
    case: str, resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = photos(tmp_path / "in", [(16, 20)])
    if case == "a format of eight bits":
        write_image(inputs / "deep.png", picture(16, 20, dtype=np.uint16))
    if case == "unreadable":
        (inputs / "bad.png").write_bytes(b"not a picture")
    translate(resnet, inputs, tmp_path / "out", precision="auto", suffix="jpg" if "format" in case else "png")
    assert "bf16 (it is faster)" in capsys.readouterr().err


def test_places_and_names_are_kept(resnet: Path, tmp_path: Path) -> None:
    for name in ("b.png", "deep/er/c.jpg", "deep/d.bmp", "ünï code/e f.webp"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / name, picture(8, 8))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    translate(resnet, tmp_path / "in", tmp_path / "out")
    assert list(results(tmp_path / "out")) == ["b.png", "deep/d.png", "deep/er/c.png", "ünï code/e f.png"]


def test_same_keeps_the_suffix(resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = ["a.JPG", "a.png", "b.bmp", "c.tiff", "d.webp"]
    for name in names:
        write_image(tmp_path / "in" / name, picture(8, 8))
    translate(resnet, tmp_path / "in", tmp_path / "out", suffix="same")
    assert list(results(tmp_path / "out")) == names


def test_pictures_that_share_a_stem_do_not_overwrite_each_other(resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, name in enumerate(["a.jpg", "a.png", "a.jpg.png", "b.png"]):
        write_image(tmp_path / "in" / name, picture(8 + i, 8, seed=i))
    done = translate(resnet, tmp_path / "in", tmp_path / "out")
    made = results(tmp_path / "out")
    assert done.written == len(made) == 4
    assert sorted(array.shape[0] for array in made.values()) == [8, 9, 10, 11]
    assert made["a.png.png"].shape[0] == 9 and made["b.png"].shape[0] == 11


def test_results_that_are_there_are_refused_before_anything_is_written(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8), (9, 9)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_9x9.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"01_9x9\.png .*--existing skip"):
        translate(resnet, inputs, tmp_path / "out")
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"mine"]


def test_skip_leaves_results_and_counts_them(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8), (9, 9)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_9x9.png").write_bytes(b"mine")
    done = translate(resnet, inputs, tmp_path / "out", existing="skip")
    assert (done.written, done.skipped) == (1, 1)
    assert (tmp_path / "out" / "01_9x9.png").read_bytes() == b"mine"


def test_replace_writes_results_anew(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8), (9, 9)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_9x9.png").write_bytes(b"mine")
    assert translate(resnet, inputs, tmp_path / "out", existing="replace").written == 2
    assert results(tmp_path / "out")["01_9x9.png"].shape == (9, 9, 3)


@pytest.mark.parametrize("place", ["in", "in/out", "in/deep/out"])
def test_results_inside_the_inputs_are_refused(place: str, resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    with pytest.raises(UsageError, match="results would be taken for inputs"):
        translate(resnet, inputs, tmp_path / place)
    assert len(list(inputs.rglob("*"))) == 1


def test_no_picture_is_replaced_by_its_own_result(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    (source,) = inputs.iterdir()
    before = source.read_bytes()
    with pytest.raises(UsageError, match="is one of the pictures"):
        translate(resnet, source, inputs, existing="replace")
    assert source.read_bytes() == before


def test_one_file(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 12), (8, 12)])
    translate(resnet, inputs / "01_12x8.png", tmp_path / "out")
    assert list(results(tmp_path / "out")) == ["01_12x8.png"]


@pytest.mark.parametrize("which", ["best", "latest", "10", "000000010"])
def test_checkpoint_is_chosen_by_name(which: str, resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    number = {"best": "000000000", "latest": "000000020"}.get(which, "000000010")
    translate(resnet, inputs, tmp_path / "asked", checkpoint=which)
    translate(resnet / "checkpoints" / number, inputs, tmp_path / "expected")
    others = [n for n in ("000000000", "000000010", "000000020") if n != number]
    asked, expected = (results(tmp_path / out)["00_8x8.png"] for out in ("asked", "expected"))
    assert (asked == expected).all()
    for other in others:
        translate(resnet, inputs, tmp_path / other, checkpoint=other)
        assert (results(tmp_path / other)["00_8x8.png"] != asked).any()


def test_a_checkpoint_can_be_used_wherever_it_is_taken(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)])
    translate(resnet, inputs, tmp_path / "expected", checkpoint="10")
    moved = shutil.copytree(resnet / "checkpoints" / "000000010", tmp_path / "elsewhere")
    translate(moved, inputs, tmp_path / "made")
    made, expected = (results(tmp_path / out)["00_8x8.png"] for out in ("made", "expected"))
    assert (made == expected).all()


def test_a_checkpoint_from_before_they_carried_recipes_takes_its_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", toy("cyclegan", Path("nowhere")))
    path = run / "checkpoints" / "000000000"
    (path / "recipe.json").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["recipe.json"], manifest["digest"]
    (path / "manifest.json").write_text(checkpoint._manifest_text(manifest))
    assert translate(path, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out").written == 1


def test_checkpoint_that_is_not_there_is_refused_with_those_that_are(resnet: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint 7; there are latest, best, 000000000"):
        translate(resnet, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", checkpoint="7")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("a", "b"), [(1, 3), (4, 1), (3, 4), (2, 2), (1, 1)])
def test_channels_follow_the_model_whatever_the_picture_has(a: int, b: int, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", with_channels("pix2pix-resnet9", a, b))
    (tmp_path / "in").mkdir()
    for channels in (1, 2, 3, 4):
        write_image(tmp_path / "in" / f"{channels}.png", picture(8, 12, channels))
    Image.fromarray(picture(8, 12)).quantize(9).save(tmp_path / "in" / "palette.png")
    done = translate(run, tmp_path / "in", tmp_path / "out")
    assert (done.written, done.bad) == (5, [])
    assert {array.shape for array in results(tmp_path / "out").values()} == {(8, 12, b)}


def test_format_that_cannot_hold_the_models_channels_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", with_channels("pix2pix-resnet9", 3, 4))
    with pytest.raises(UsageError, match="--format jpg: JPEG cannot hold the 4 channels"):
        translate(run, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", suffix="jpg")
    assert not (tmp_path / "out").exists()


def test_file_without_an_images_suffix_has_none_to_keep(resnet: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(8, 8))
    bare = (tmp_path / "a.png").rename(tmp_path / "bare")
    with pytest.raises(UsageError, match="--format same: bare does not end in an image's suffix"):
        translate(resnet, bare, tmp_path / "out", suffix="same")
    assert translate(resnet, bare, tmp_path / "out").written == 1


def test_batching_changes_nothing(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(20, 20)] * 5 + [(9, 33)] * 2 + [(20, 20)])
    made = {}
    for batch in (1, 4):
        translate(resnet, inputs, tmp_path / str(batch), batch_size=batch)
        made[batch] = results(tmp_path / str(batch))
    assert list(made[1]) == list(made[4]) and len(made[1]) == 8
    for name, alone in made[1].items():
        assert np.abs(alone.astype(int) - made[4][name]).max() <= 1


def captured(monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """The models that `translate_folder` makes from here on."""
    models: list[Model] = []

    def ready(*arguments: Any) -> Any:
        model, choices = ready_model(*arguments)
        models.append(model)
        return model, choices

    monkeypatch.setattr(folder, "ready_model", ready)
    return models


def test_train_mode_repeats_and_leaves_the_network_as_it_was(
    unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = captured(monkeypatch)
    inputs = photos(tmp_path / "in", [(32, 32), (32, 32), (20, 40)])
    for out in ("one", "two"):
        translate(unet, inputs, tmp_path / out, mode="train")
    translate(unet, inputs / "01_32x32.png", tmp_path / "alone", mode="train")
    translate(unet, inputs, tmp_path / "eval", mode="eval")
    one, two, alone, without = (results(tmp_path / out) for out in ("one", "two", "alone", "eval"))
    assert all((one[name] == two[name]).all() for name in one)
    assert (alone["01_32x32.png"] == one["01_32x32.png"]).all()  # not a matter of its neighbours
    assert (without["00_32x32.png"] != one["00_32x32.png"]).any()
    found = checkpoint.find(unet, "latest", print)
    for model in models:
        state = model.networks["G"].state_dict()
        assert all(torch.equal(state[key], value) for key, value in found.weights["G"].items())
        assert model.networks["G"].training  # as it was made


def test_recipes_own_mode_is_the_default(unet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(32, 32)])
    assert RECIPES["pix2pix"]().generator.test_mode == "train"
    for mode in ("recipe", "train"):
        translate(unet, inputs, tmp_path / mode, mode=mode)
    assert (results(tmp_path / "recipe")["00_32x32.png"] == results(tmp_path / "train")["00_32x32.png"]).all()


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (2, 300), (10, 12)])
def test_resize_gives_the_picture_its_size_back(size: tuple[int, int], resnet: Path, tmp_path: Path) -> None:
    translate(resnet, photos(tmp_path / "in", [size]), tmp_path / "out", resize=32)
    (made,) = results(tmp_path / "out").values()
    assert made.shape == (*size, 3)


def test_resize_shows_the_network_a_smaller_picture(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = captured(monkeypatch)
    seen: list[torch.Size] = []
    original = folder._translation

    def spied(model: Model, direction: Any) -> Any:
        model.networks["G_A"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
        return original(model, direction)

    monkeypatch.setattr(folder, "_translation", spied)
    translate(resnet, photos(tmp_path / "in", [(60, 120), (8, 12)]), tmp_path / "out", resize=40)
    assert len(models) == 1
    assert seen == [(1, 3, 20, 40), (1, 3, 8, 12)]


def test_unreadable_pictures_are_named_and_the_others_done(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(8, 8)] * 6)
    for i in (0, 2, 5):
        (inputs / f"0{i}_8x8.png").write_bytes(b"not a picture")
    done = translate(resnet, inputs, tmp_path / "out", batch_size=2)
    assert done.written == 3
    assert [error.path.name for error in done.bad] == ["00_8x8.png", "02_8x8.png", "05_8x8.png"]
    assert list(results(tmp_path / "out")) == ["01_8x8.png", "03_8x8.png", "04_8x8.png"]


def test_picture_that_needs_more_memory_than_is_free_is_named_and_not_tried(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(device: torch.device) -> Any:
        return dataclasses.replace(facts(device), free_memory=lambda _: 2_000_000)

    monkeypatch.setattr(folder, "facts", poor)
    done = translate(resnet, photos(tmp_path / "in", [(64, 64), (400, 400), (32, 32)]), tmp_path / "out")
    assert done.written == 2
    (error,) = done.bad
    assert error.path.name == "01_400x400.png" and "use --resize" in error.reason


def test_no_more_pictures_share_a_batch_than_fit_into_memory(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(device: torch.device) -> Any:
        return dataclasses.replace(facts(device), free_memory=lambda _: 1_200_000)  # two of 64×64 with ngf 4

    sizes: list[int] = []
    original = folder._Work.translate

    def counted(self: Any, batch: list[Any]) -> Any:
        sizes.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(folder, "facts", poor)
    monkeypatch.setattr(folder._Work, "translate", counted)
    translate(resnet, photos(tmp_path / "in", [(64, 64)] * 5), tmp_path / "out", batch_size=4)
    assert sizes == [2, 2, 1]


def failing(at: int, error: BaseException, original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, but the call number `at` raises `error`."""
    calls = iter(range(10**6))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) == at:
            raise error
        return original(*arguments, **options)

    return call


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_interrupt_leaves_only_whole_results(
    error: BaseException, resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = photos(tmp_path / "in", [(16, 16)] * 8)
    monkeypatch.setattr(folder._Work, "translate", failing(3, error, folder._Work.translate))
    with pytest.raises(type(error)):
        translate(resnet, inputs, tmp_path / "out", batch_size=1)
    made = results(tmp_path / "out")  # reads every file that is there
    assert list(made) == ["00_16x16.png", "01_16x16.png", "02_16x16.png"]


def test_full_disk_leaves_only_whole_results(resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = photos(tmp_path / "in", [(16, 16)] * 4)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", failing(2, full, Path.replace))
    with pytest.raises(DiskError, match="free some space"):
        translate(resnet, inputs, tmp_path / "out", batch_size=1)
    assert not list((tmp_path / "out").glob(".*"))
    assert len(results(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "--batch-size 0: must be 1 or more"),
        ({"resize": -1}, "--resize -1: must be 0 or more"),
        ({"device": "tpu9"}, "--device tpu9"),
        ({"precision": "tf32"}, "--precision tf32: cpu has"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    options: dict[str, Any], message: str, resnet: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        translate(resnet, photos(tmp_path / "in", [(8, 8)]), tmp_path / "out", **options)


def test_folder_without_pictures_is_refused(resnet: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    with pytest.raises(UsageError, match="no pictures in this folder"):
        translate(resnet, tmp_path / "in", tmp_path / "out")
