"""Pictures in tiles: as without tiles, without seams, and nothing of a picture that ends half way."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from translating import failing, make_run, photos, picture, results, translate

from commands import Gesso
from conftest import toy
from gesso.data.images import read_image, write_image
from gesso.devices import facts
from gesso.errors import DiskError, UsageError
from gesso.predicting import tiles
from gesso.recipe import Recipe

TILED: dict[str, Any] = {"tile": 64, "overlap": 40}
"""What suits the toy ResNet, which sees 19 pixels to each side."""


def run_of(path: Path, name: str = "cyclegan", **generator: Any) -> Path:
    """An untrained run whose weights are large enough that pictures matter to its results."""
    recipe = toy(name, Path("nowhere"))
    changed = dataclasses.replace(recipe.generator, init_gain=0.3, **generator)
    changed_recipe: Recipe = dataclasses.replace(recipe, generator=changed)
    return make_run(path, changed_recipe)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instance norm, one residual block: it sees 19 pixels to each side."""
    return run_of(tmp_path_factory.mktemp("runs") / "resnet")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a norm."""
    return run_of(tmp_path_factory.mktemp("runs") / "plain", norm="none")


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's pix2pix: batch norm by the batch's statistics and dropout, at depth 5: multiples of 32."""
    return run_of(tmp_path_factory.mktemp("runs") / "unet", "pix2pix")


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Plain in the upper left, busier towards the lower right: no two pieces have the same statistics."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    slope = np.stack([y / height, x / width, (y + x) / (height + width)], 2)
    noise = rng.normal(0, 0.3, (height, width, 3)) * (y * x / (height * width))[..., None]
    return np.uint8(255 * (0.2 + 0.6 * slope + noise).clip(0, 1))


def both(run: Path, image: np.ndarray, at: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """What comes of `image` in one go, and in tiles."""
    at.mkdir(exist_ok=True)
    write_image(at / "a.png", image)
    tiled = {**TILED, "suffix": "tif", **options}
    once = {name: value for name, value in options.items() if name == "mode"}
    translate(run, at / "a.png", at / "once", existing="replace", **once)
    translate(run, at / "a.png", at / "tiled", existing="replace", **tiled)
    return read_image(at / "once" / "a.png"), next(iter(results(at / "tiled").values()))


SIZES = [(200, 230), (64, 300), (65, 64), (300, 1), (1, 300), (5, 7), (129, 131)]


@pytest.mark.parametrize("size", SIZES)
def test_tiles_agree_with_the_picture_in_one_go_where_nothing_is_normalised(
    size: tuple[int, int], plain: Path, tmp_path: Path
) -> None:
    once, tiled = both(plain, scene(*size), tmp_path)
    assert tiled.shape == once.shape and np.ptp(once) > 20
    assert np.abs(once.astype(int) - tiled).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_statistics_of_a_picture_that_fits_are_exact(size: tuple[int, int], resnet: Path, tmp_path: Path) -> None:
    once, tiled = both(resnet, scene(*size), tmp_path)
    assert np.abs(once.astype(int) - tiled).max() <= 1


def test_a_unet_in_tiles_is_the_same_whichever_tiles(unet: Path, tmp_path: Path) -> None:
    """It sees too far for any overlap, so far from borders; its statistics and its dropout go by place."""
    write_image(tmp_path / "a.png", scene(512, 512))
    for tile in (384, 512):
        translate(unet, tmp_path / "a.png", tmp_path / str(tile), tile=tile, overlap=256)
    small, large = (results(tmp_path / name)["a.png"].astype(int) for name in ("384", "512"))
    assert np.abs(small - large).max() <= 1


def step(made: np.ndarray, at: list[int]) -> float:
    """How far neighbouring columns differ at the seams `at`, in shares of how far they do elsewhere beside them."""
    differences = np.abs(np.diff(made.astype(float), axis=1)).mean((0, 2))
    seams = [d for d in at if 8 < d < len(differences) - 8]
    beside = [differences[[d + k for k in range(-8, 8) if k]].mean() for d in seams]
    return float(np.mean([differences[d] for d in seams]) / np.mean(beside))


@pytest.mark.parametrize("sample", [2**30, 2**21])
def test_no_seam_shows(sample: int, resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "EXACT", sample)
    monkeypatch.setattr(tiles, "SAMPLE", sample)
    once, tiled = both(resnet, scene(256, 400), tmp_path, overlap=16)
    seams = list(range(23, 400, 48)) + list(range(47, 400, 48))
    assert step(tiled, seams) <= 1.05 * step(once, seams)


def test_brightness_is_the_pictures_where_only_crops_of_it_are_looked_at(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "EXACT", 0)
    monkeypatch.setattr(tiles, "SAMPLE", 2**22)
    taken: list[int] = []
    original = tiles.scattered
    monkeypatch.setattr(tiles, "scattered", lambda *words: taken.append(1) or original(*words))
    once, tiled = both(resnet, scene(384, 448), tmp_path)
    assert taken
    assert np.abs(once.mean((0, 1)) - tiled.mean((0, 1))).max() < 4
    assert np.abs(once.std((0, 1)) - tiled.std((0, 1))).max() < 4


def test_sixteen_bits_stay_and_so_do_profile_and_resolution(resnet: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "deep.tif", picture(90, 100, dtype=np.uint16))
    flat = Image.fromarray(picture(90, 100))
    flat.save(tmp_path / "flat.png", dpi=(200, 200), icc_profile=bytes(16) + b"RGB " + bytes(108))
    for name in ("deep.tif", "flat.png"):
        translate(resnet, tmp_path / name, tmp_path / "out", **TILED, suffix="tif", precision="auto")
    assert read_image(tmp_path / "out" / "deep.tif").dtype == np.uint16
    with Image.open(tmp_path / "out" / "flat.tif") as made:
        assert made.info["dpi"] == pytest.approx((200, 200), abs=0.01) and made.info["icc_profile"][16:20] == b"RGB "


def test_a_batch_of_tiles_changes_nothing(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(150, 170)])
    for most in (1, 4):
        translate(resnet, inputs, tmp_path / str(most), **TILED, batch_size=most)
    one, four = (results(tmp_path / name)["00_170x150.png"].astype(int) for name in ("1", "4"))
    assert np.abs(one - four).max() <= 1


REFUSED = [
    ({"tile": -1}, "--tile -1: must be 0 or more"),
    ({"tile": 64, "overlap": -1}, "--overlap -1: must be 0 or more"),
    ({"tile": 64, "resize": 32}, "--tile 64 with --resize 32: give one of them"),
    ({"tile": 63, "overlap": 8}, "--tile 63: this generator takes multiples of 4 pixels, 8 or more; use --tile 64"),
    ({"tile": 4, "overlap": 0}, "--tile 4: this generator takes multiples of 4 pixels, 8 or more; use --tile 8"),
    ({"tile": 64, "overlap": 62}, "--tile 64: neighbours would share 64 pixels (a multiple of 4), all of it; "),
    ({"tile": 64, "suffix": "jpg"}, "--format jpg: JPEG cannot be written some rows at a time, as --tile does; choose"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_tiles_that_cannot_be_are_refused(options: dict[str, Any], message: str, resnet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        translate(resnet, photos(tmp_path / "in", [(80, 80)]), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_unet_without_room_for_its_steps_is_refused(unet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tile 32: neighbours would share 32 pixels .*; use --tile 64, or less"):
        translate(unet, photos(tmp_path / "in", [(80, 80)]), tmp_path / "out", tile=32, overlap=8)


def test_a_small_overlap_is_told_of(
    unet: Path, resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = photos(tmp_path / "in", [(80, 80)])
    translate(resnet, inputs, tmp_path / "enough", tile=64, overlap=40)
    assert "--overlap" not in capsys.readouterr().err
    translate(resnet, inputs, tmp_path / "little", tile=64, overlap=36)
    said = capsys.readouterr().err
    assert "--overlap 36: this generator sees 19 pixels to each side" in said and "from --overlap 40 on" in said
    translate(unet, inputs, tmp_path / "unet", tile=64, overlap=20)
    assert (
        "--overlap 20: taken as 32, because this generator's tiles begin at multiples of 32" in capsys.readouterr().err
    )


def test_unreadable_pictures_are_named_and_the_others_done(resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(80, 80), (80, 90), (70, 200)])
    whole = (inputs / "01_90x80.png").read_bytes()
    (inputs / "01_90x80.png").write_bytes(whole[: len(whole) // 2])
    done = translate(resnet, inputs, tmp_path / "out", **TILED)
    assert done.written == 2 and [error.path.name for error in done.bad] == ["01_90x80.png"]
    assert list(results(tmp_path / "out")) == ["00_80x80.png", "02_200x70.png"]


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_an_interrupt_leaves_nothing(
    suffix: str, resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = tiles.TiledTranslator._through
    monkeypatch.setattr(tiles.TiledTranslator, "_through", failing(4, KeyboardInterrupt(), through))
    with pytest.raises(KeyboardInterrupt):
        translate(resnet, photos(tmp_path / "in", [(300, 200)]), tmp_path / "out", **TILED, suffix=suffix)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_nothing(resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = photos(tmp_path / "in", [(90, 200)])
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", failing(0, full, Path.replace))
    with pytest.raises(DiskError, match=r"out/00_200x90\.tif cannot be written: the disk is full; free some space"):
        translate(resnet, inputs, tmp_path / "out", **TILED, suffix="tif")
    assert list((tmp_path / "out").iterdir()) == []


def test_tiles_that_do_not_fit_into_memory_are_named(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(device: torch.device) -> Any:
        return dataclasses.replace(facts(device), free_memory=lambda _: 500_000)

    monkeypatch.setattr(tiles, "facts", poor)
    done = translate(resnet, photos(tmp_path / "in", [(90, 200)]), tmp_path / "out", **TILED)
    assert "tiles of 64x64 pixels" in done.bad[0].reason and "use a smaller --tile" in done.bad[0].reason


def test_the_limit_of_pixels_stays(gesso: Gesso, resnet: Path, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "in", [(80, 80)])
    said = gesso("translate", resnet, inputs, "-o", tmp_path / "out", "--tile", 128, "--max-pixels", 6000)
    assert said.code == 2 and said.err[-1].endswith("80 x 80 pixels are more than --max-pixels 6000")


@pytest.mark.parametrize(("words", "name"), [((), "00_80x80.png"), (("--tile", "128"), "00_80x80.tif")])
def test_results_are_tiffs_by_default_where_there_are_tiles(
    words: tuple[str, ...], name: str, gesso: Gesso, resnet: Path, tmp_path: Path
) -> None:
    said = gesso("translate", resnet, photos(tmp_path / "in", [(80, 80)]), "-o", tmp_path / "out", *words)
    assert said.code == 0
    assert list(results(tmp_path / "out")) == [name]
