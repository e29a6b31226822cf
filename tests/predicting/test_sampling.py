"""Sampling: the same seed gives the same images, films loop and show what they say, and nothing is written over."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from translating import make_run

from conftest import toy
from gesso.data.fits import real_fit
from gesso.data.images import read_image
from gesso.data.single import open_images
from gesso.data.store import PlainStore
from gesso.engine import checkpoint
from gesso.engine.average import Average
from gesso.engine.judging.generation import SEED, GenerationJudge
from gesso.engine.runs import read_recipe
from gesso.engine.state import load_for_use, load_weights, weights_of
from gesso.errors import UsageError
from gesso.models import build_model
from gesso.models.latents import latents
from gesso.predicting.sampling import _in_one_palette, path_through, sample_run, slerp
from gesso.recipe import BUILTIN_STREETS, ImageData, Recipe

SIDE, GAP = 32, 4


def dcgan(**data: Any) -> Recipe:
    recipe = toy("dcgan", Path("nowhere"))
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **data))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints at 0, 10 and 20 images with weights of their own; the best is 0. Images are colourful and differ."""
    path = make_run(tmp_path_factory.mktemp("runs") / "dcgan", dcgan(), 3)
    for found in checkpoint.list_checkpoints(path):
        kept = checkpoint.read(found)
        strong = {name: {k: 12 * v if v.dim() == 4 else v for k, v in w.items()} for name, w in kept.weights.items()}
        checkpoint.save(path, kept.images, "dcgan", strong, {}, {}, dcgan().to_json())
    return path


def sample(run: Path, out: Path, **options: Any) -> Path:
    lines = sample_run(run=run, out=out, **{"device": "cpu", "precision": "fp32", **options})
    assert len(lines) == 1 and str(out) in lines[0]
    return out


def by_hand(run: Path, noise: torch.Tensor, which: str = "000000000") -> np.ndarray:
    """N×S×S×C uint8, one image at a time, without any of gesso's own steps but the network."""
    model = build_model(dcgan())
    load_weights({"G": model.networks["G"]}, checkpoint.find(run, which, print))
    with torch.no_grad():
        made = torch.cat([model.networks["G"].eval()(z[None]) for z in noise])
    return ((made + 1) * 127.5).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for rounding."""
    return one.shape == other.shape and int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


def away(frame: np.ndarray, image: np.ndarray) -> float:
    """Levels between the means of 4×4 pixels: what dithering and WebP's halved colour leave as it was."""
    small = (pixels.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean((1, 3)) for pixels in (frame, image))
    return float(np.abs(np.subtract(*small)).mean())


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as film:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]


def test_files_are_what_the_network_makes_of_each_latent_vector(run: Path, tmp_path: Path) -> None:
    out = sample(run, tmp_path / "deep" / "out", kind="files", count=70)
    paths = sorted(out.iterdir())
    assert [paths[0].name, paths[-1].name, len(paths)] == ["00000.png", "00069.png", 70]
    expected = by_hand(run, latents(0, range(70), 8))
    assert all(close(read_image(path), image) for path, image in zip(paths, expected, strict=True))
    assert len({path.read_bytes() for path in paths}) == 70


def test_fewer_images_are_the_first_of_more(run: Path, tmp_path: Path) -> None:
    few, many = (sample(run, tmp_path / str(count), kind="files", count=count) for count in (3, 66))
    for path in few.iterdir():
        assert close(read_image(path), read_image(many / path.name))


def test_the_sheets_of_a_training_can_be_made_again(run: Path, tmp_path: Path) -> None:
    recipe: Any = read_recipe(run)
    model: Any = build_model(recipe)
    load_for_use(model, checkpoint.find(run, "best", print))
    unread = PlainStore(open_images(ImageData(root=BUILTIN_STREETS), "val"), real_fit(recipe.data))
    sheet = GenerationJudge(model, unread, None, 0, None, print).sheet(torch.device("cpu"), 3)
    sample(run, tmp_path / "sheet.png", seed=SEED, count=9)
    assert close(read_image(tmp_path / "sheet.png"), sheet)


def test_latent_vectors_are_standard_normal() -> None:
    drawn = latents(3, range(400), 100)
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
    assert abs(float(torch.corrcoef(drawn[:2])[0, 1])) < 0.4


def test_same_seed_gives_the_same_picture(run: Path, tmp_path: Path) -> None:
    one, again, other = (
        sample(run, tmp_path / f"{name}.png", seed=seed) for name, seed in (("one", 5), ("again", 5), ("other", 6))
    )
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()


@pytest.mark.parametrize(
    ("count", "columns", "cells"), [(64, 0, (8, 8)), (7, 0, (3, 3)), (7, 5, (2, 5)), (2, 9, (1, 2))]
)
def test_grid_is_laid_out(count: int, columns: int, cells: tuple[int, int], run: Path, tmp_path: Path) -> None:
    picture = read_image(sample(run, tmp_path / "grid.png", count=count, columns=columns))
    assert picture.shape[:2] == tuple(n * (SIDE + GAP) - GAP for n in cells)
    last = count - 1
    y, x = (place * (SIDE + GAP) for place in divmod(last, cells[1]))
    assert close(picture[y : y + SIDE, x : x + SIDE], by_hand(run, latents(0, range(count), 8))[last])


def test_checkpoint_is_chosen(run: Path, tmp_path: Path) -> None:
    picture = read_image(sample(run, tmp_path / "grid.png", count=1, checkpoint="latest"))
    assert close(picture, by_hand(run, latents(0, range(1), 8), "000000020")[0])


def test_averaged_weights_are_used_where_they_are(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", dcgan())
    model = build_model(dcgan())
    model.initialize(0)
    average = Average({"G": model.networks["G"]}, 10.0, 1.0)
    model.initialize(1)  # the average keeps the weights of seed 0, which are also those of the checkpoint at 0
    checkpoint.save(path, 50, "dcgan", weights_of(model, average), {}, {}, dcgan().to_json())
    plain = sample(path, tmp_path / "plain.png", checkpoint="000000000")
    averaged = sample(path, tmp_path / "averaged.png", checkpoint="000000050")
    assert plain.read_bytes() == averaged.read_bytes()


@pytest.mark.parametrize("channels", [1, 4])
def test_files_keep_the_channels_of_the_model(channels: int, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", dcgan(channels=channels))
    out = sample(path, tmp_path / "out", kind="files", count=1)
    assert read_image(out / "00000.png").shape == (SIDE, SIDE, channels)
    assert read_image(sample(path, tmp_path / "grid.png", count=1)).shape == (SIDE, SIDE, 3)


def test_slerp_goes_along_the_great_circle() -> None:
    start, end = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    half = slerp(start, end, 0.5)
    assert torch.allclose(half, torch.tensor([0.5**0.5, 0.5**0.5, 0]))
    assert torch.allclose(slerp(start, end, 1 / 3), torch.tensor([3**0.5 / 2, 0.5, 0]))
    a, b = latents(0, range(2), 100)
    assert torch.allclose(slerp(a, b, 0.0), a) and torch.allclose(slerp(a, b, 1.0), b, atol=1e-6)
    assert torch.allclose(slerp(a, 2 * a, 0.5), 1.5 * a) and bool(slerp(a, -a, 0.5).isfinite().all())


def test_walk_passes_every_point_and_closes() -> None:
    points = torch.nn.functional.normalize(latents(0, range(4), 50))
    path = path_through(points, 40)
    assert torch.allclose(path[::10], points, atol=1e-6)
    steps = (torch.cat([path, path[:1]])[1:] - path).norm(dim=1)
    assert float(steps.max()) < 2 * float(steps.min())  # the step from the last to the first is one like the others


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_walk_is_an_endless_film_of_what_the_network_makes(suffix: str, run: Path, tmp_path: Path) -> None:
    out = sample(run, tmp_path / f"walk{suffix}", kind="walk", count=3, frames=12)
    with Image.open(out) as film:
        assert film.info["loop"] == 0
    shown = frames(out)
    expected = by_hand(run, path_through(latents(0, range(3), 8), 12))
    assert len(shown) == 12
    for frame, image in zip(shown, expected, strict=True):
        assert away(frame, image) < 3


def test_colours_of_a_film_are_chosen_from_all_its_frames() -> None:
    """Frames of two colours each, 100 in all: every pixel keeps its own."""
    rng = np.random.default_rng(0)
    true = [rng.integers(0, 256, (2, 1, 3), np.uint8).repeat(32, 1).repeat(16, 0) for _ in range(50)]
    shown = _in_one_palette([Image.fromarray(image) for image in true])
    assert len({bytes(frame.getpalette() or b"") for frame in shown}) == 1
    for frame, image in zip(shown, true, strict=True):
        assert close(np.asarray(frame.convert("RGB")), image)


def test_walk_as_a_picture_shows_the_frames_in_a_row(run: Path, tmp_path: Path) -> None:
    strip = read_image(sample(run, tmp_path / "walk.png", kind="walk", count=2, frames=5))
    assert strip.shape == (SIDE, 5 * (SIDE + GAP) - GAP, 3)
    expected = by_hand(run, path_through(latents(0, range(2), 8), 5))
    assert all(close(strip[:, i * (SIDE + GAP) :][:, :SIDE], expected[i]) for i in range(5))


def test_progress_shows_the_same_noise_through_every_checkpoint(run: Path, tmp_path: Path) -> None:
    shown = frames(sample(run, tmp_path / "film.webp", kind="progress", count=4))
    assert len(shown) == 3
    for frame, which in zip(shown, ("000000000", "000000010", "000000020"), strict=True):
        first = by_hand(run, latents(0, range(4), 8), which)[0]
        assert away(frame[:SIDE, :SIDE], first) < 3
    captions = [frame[2 * SIDE + GAP :] for frame in shown]
    assert all(caption.shape[0] > 8 and caption.min() < 100 and caption.max() > 240 for caption in captions)
    assert not np.array_equal(captions[0], captions[1])


def test_progress_keeps_the_first_and_the_last_of_many_checkpoints(run: Path, tmp_path: Path) -> None:
    two = frames(sample(run, tmp_path / "two.gif", kind="progress", count=1, frames=2))
    all_three = frames(sample(run, tmp_path / "three.gif", kind="progress", count=1))
    assert len(two) == 2
    assert np.abs(two[1].astype(float) - all_three[2]).mean() < 8


def test_progress_names_a_damaged_checkpoint_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run(tmp_path / "run", dcgan(), 3)
    (path / "checkpoints" / "000000010" / "G.safetensors").write_bytes(b"no")
    assert len(frames(sample(path, tmp_path / "film.gif", kind="progress", count=1))) == 2
    assert "G.safetensors is not what was written" in capsys.readouterr().err


def test_progress_wants_more_than_one_checkpoint(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", dcgan())
    with pytest.raises(UsageError, match=r"has kept 1 checkpoint, .*another run with --checkpoints\.keep 0"):
        sample(path, tmp_path / "film.gif", kind="progress")


@pytest.mark.parametrize(("kind", "name"), [("grid", "x.png"), ("walk", "x.gif"), ("progress", "x.webp")])
def test_what_is_there_is_not_written_over(kind: str, name: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UsageError, match=rf"{name}: is there already"):
        sample(run, tmp_path / name, kind=kind)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_files_that_are_there_are_refused_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "00002.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"00002\.png is there already"):
        sample(run, tmp_path, kind="files", count=4)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


Case = tuple[str, dict[str, Any], str]
CASES: list[Case] = [
    ("x.jpg", {}, r"--out .*x\.jpg: a grid is written as \.png, \.webp"),
    ("x.png", {"kind": "progress"}, r"a progress is written as \.gif, \.webp"),
    ("x.png", {"kind": "sheet"}, "--kind sheet: choose one of grid, files, walk, progress"),
    ("x.png", {"count": -1}, "--count -1: must be 1 or more"),
    ("x.png", {"seed": -1}, "--seed -1: must be 0 or more"),
    ("x.gif", {"kind": "walk", "count": 1}, "--count 1: a walk goes through 2 points"),
    ("x.gif", {"kind": "walk", "count": 9, "frames": 8}, "--frames 8: fewer than the 9 points"),
    ("x.png", {"count": 10**6}, "make fewer images, or use --kind files"),
    ("x.webp", {"count": 500, "columns": 500}, "WebP 16383 at most"),
]


@pytest.mark.parametrize(("name", "options", "message"), CASES, ids=[case[2] for case in CASES])
def test_refusals_name_the_flag(name: str, options: dict[str, Any], message: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        sample(run, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_long_film_may_be_webp(run: Path, tmp_path: Path) -> None:
    out = sample(run, tmp_path / "walk.webp", kind="walk", count=2, frames=500)
    with Image.open(out) as film:  # which may show a frame for longer instead of twice
        shown = [(frame.load(), frame.info["duration"])[1] for frame in ImageSequence.Iterator(film)]
    assert sum(shown) == 500 * 50


@pytest.mark.parametrize(
    ("name", "use"), [("pix2pix", "translate"), ("cyclegan", "translate"), ("densenet121", "classify")]
)
def test_other_models_are_refused_with_what_they_are_for(name: str, use: str, tmp_path: Path) -> None:
    recipe = toy(name, Path("nowhere"))
    if name == "densenet121":
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=("a", "b")))
    path = make_run(tmp_path / "run", recipe)
    with pytest.raises(UsageError, match=rf"used with `gesso {use}`; sample wants a dcgan"):
        sample(path, tmp_path / "x.png")


def test_interrupted_write_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    replace: Callable[..., Path] = interrupted
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            sample(run, tmp_path / "x.gif", kind="walk", count=2, frames=3)
    assert list(tmp_path.iterdir()) == []
