"""Translating pictures: each at its own size and depth, as the network makes it, in batches that fit."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from translating import by_hand, make_run, photos, picture, resnet_run, results, translate, unet_run, with_channels

from gesso.data.images import write_image
from gesso.devices import ACCELERATORS, Choice, facts
from gesso.engine import checkpoint
from gesso.engine.launch import ready_model
from gesso.errors import UsageError
from gesso.models.base import Model
from gesso.models.translation import Translator
from gesso.predicting import folder
from gesso.recipes import RECIPES


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resnet_run(tmp_path_factory.mktemp("runs") / "resnet")


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unet_run(tmp_path_factory.mktemp("runs") / "unet")


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
    original = Translator.chosen

    def spied(model: Translator, direction: Any) -> Any:
        model.networks["G_A"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
        return original(model, direction)

    monkeypatch.setattr(Translator, "chosen", spied)
    translate(resnet, photos(tmp_path / "in", [(60, 120), (8, 12)]), tmp_path / "out", resize=40)
    assert len(models) == 1
    assert seen == [(1, 3, 20, 40), (1, 3, 8, 12)]


def test_picture_that_needs_more_memory_than_is_free_is_named_and_not_tried(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(device: torch.device) -> Any:
        return dataclasses.replace(facts(device), free_memory=lambda _: 2_000_000)

    monkeypatch.setattr(folder, "facts", poor)
    done = translate(resnet, photos(tmp_path / "in", [(64, 64), (400, 400), (32, 32)]), tmp_path / "out")
    assert done.written == 2
    (error,) = done.bad
    assert error.path.name == "01_400x400.png" and "use --tile 512, or to shrink it --resize" in error.reason


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
