"""Pictures in tiles: how near they come to the picture in one go, whether seams show, and what memory they take.

    python benchmarks/tiles.py compare --run runs/NAME
    python benchmarks/tiles.py statistics --run runs/NAME --size 2048
    python benchmarks/tiles.py giant --run runs/NAME --size 20000

compare: a street is translated in one go, and in tiles with each of several ways to normalise them. Told are the mean
difference to the picture in one go in grey levels; the largest shift of brightness that a tile has; and the step at
seams: how far pixels on both sides of where two tiles meet differ, over how far those near it do, in shares of the same
in the picture in one go (1: no seam).

statistics: how far pieces of a picture made of streets come out from what they are by exact statistics, with those of
ever smaller thumbnails and of ever more crops.

giant: a picture made of streets is written to a temporary folder and translated by `gesso translate --tile` in a
process of its own, whose peak memory is told. Without --run, a small generator that has learned nothing is taken.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gesso.data.images import read_image, resize, write_image
from gesso.data.streamed import Rows, Shown, open_rows, write_rows
from gesso.data.streets import render
from gesso.engine import checkpoint
from gesso.engine.runs import read_recipe
from gesso.engine.state import find_checkpoint, load_for_use, weights_of
from gesso.models import build_model
from gesso.models.base import using
from gesso.models.translation import Translator
from gesso.predicting import tiles
from gesso.predicting.folder import LAYERS_ALIVE, PICTURES_ALIVE, translate_folder
from gesso.predicting.tiles import TiledTranslator, tiling
from gesso.predicting.tiles_layout import Axis
from gesso.recipe import Generator, TranslationRecipe
from gesso.recipes import RECIPES

NEAR = 24
"""Pixels to both sides of a seam that its step is compared with."""
Pictures = Sequence[np.ndarray]
Places = Sequence[tuple[int, int]]


class Own(TiledTranslator):
    """Each tile by its own statistics, as if it were a picture."""

    def _take_statistics(self, rows: Rows, down: Axis, across: Axis) -> None:
        pass

    def _through(self, pictures: Pictures, places: Places) -> Tensor:
        self._whole.begin()
        return super()._through(pictures, places)


class Thumbnail(TiledTranslator):
    """By the statistics of the picture shrunk to a tile (Chen et al., AAAI 2022)."""

    def _take_statistics(self, rows: Rows, down: Axis, across: Axis) -> None:
        self._whole.begin()
        scale = self._tiles.tile / max(rows.height, rows.width)
        small = resize(rows.read(0, rows.height), round(rows.width * scale), round(rows.height * scale))
        self._through([small], [(0, 0)])


class Neighbours(TiledTranslator):
    """By the mean of the own statistics of a tile and of the eight around it (Ho et al., ECCV 2022)."""

    def _take_statistics(self, rows: Rows, down: Axis, across: Axis) -> None:
        table = {}
        self._table: dict[tuple[int, int], list[list[Tensor]]] = {}
        for top in down.starts:
            band = rows.read(top, min(top + down.side, rows.height))
            for left in across.starts:
                self._whole.begin()
                super()._through([band[:, left : left + across.side]], [(top, left)])
                table[top, left] = [norm.moments for norm in self._whole._norms]
        for top, left in table:
            near = [
                moments
                for (y, x), moments in table.items()
                if abs(y - top) <= down.side and abs(x - left) <= across.side
            ]
            self._table[top, left] = [
                [torch.stack(parts).mean(0) for parts in zip(*layer, strict=True)] for layer in zip(*near, strict=True)
            ]

    def _through(self, pictures: Pictures, places: Places) -> Tensor:
        for norm, (mean, variance) in zip(self._whole._norms, self._table[places[0]], strict=True):
            norm.moments = mean, variance
        return super()._through(pictures, places)


class Crops(TiledTranslator):
    """What gesso does where a picture is larger than what it looks at for statistics: by crops all over it."""

    share = 1 / 4

    def _take_statistics(self, rows: Rows, down: Axis, across: Axis) -> None:
        before = tiles.EXACT, tiles.SAMPLE
        tiles.EXACT, tiles.SAMPLE = 0, int(self.share * down.padded * across.padded * self._pixel_bytes)
        super()._take_statistics(rows, down, across)
        tiles.EXACT, tiles.SAMPLE = before


class FewCrops(Crops):
    share = 1 / 16


WAYS: dict[str, type[TiledTranslator]] = {
    "its own": Own,
    "thumbnail": Thumbnail,
    "neighbours, 3x3": Neighbours,
    "crops, 1/16 of it": FewCrops,
    "crops, 1/4 of it": Crops,
    "the whole picture": TiledTranslator,
}


def untrained(at: Path) -> Path:
    """A run of a small ResNet with instance norm that has learned nothing."""
    small = Generator(ngf=8, blocks=2, init="kaiming", upsample="resize")
    recipe = replace(RECIPES["pix2pix-demo"](), generator=small, device="cpu")  # type: ignore[call-arg]
    at.mkdir(parents=True)
    (at / "recipe.json").write_text(recipe.to_json())
    model = build_model(recipe)
    model.initialize(0)
    checkpoint.save(at, 0, recipe.model, weights_of(model, None), {}, {}, recipe.to_json())
    return at


def translator(way: type[TiledTranslator], run: Path, tile: int, overlap: int) -> TiledTranslator:
    recipe = read_recipe(run)
    assert isinstance(recipe, TranslationRecipe)
    model = build_model(recipe)
    assert isinstance(model, Translator)
    load_for_use(model, find_checkpoint(run, "best"))
    network = model.networks[next(iter(model.translations.values())).network]
    return way(
        network,
        tiling(tile, overlap, network, recipe.generator),
        channels=(3, 3),
        values=LAYERS_ALIVE * recipe.generator.ngf + PICTURES_ALIVE * 6,
        device=torch.device("cpu"),
        mode=recipe.generator.test_mode,
        most=1,
        max_pixels=10**10,
    )


def step(made: np.ndarray, axis: Axis, beside: int = 0) -> float:
    """Mean difference of columns of H×W×C on both sides of where two tiles meet, or so many pixels beside that, over
    that near it."""
    differences = np.abs(np.diff(made.astype(np.float32), axis=1)).mean((0, 2))
    seams = [(a + axis.side + b) // 2 - 1 + beside for a, b in zip(axis.starts, axis.starts[1:], strict=False)]
    near = [seam + k for seam in seams for k in range(-NEAR, NEAR + 1) if k]
    return float(differences[seams].mean() / differences[near].mean())


def compare(run: Path, size: int, tile: int, overlap: int, scene: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture, once = Path(folder, "a.png"), Path(folder, "once")
        write_image(picture, render(0, scene, size, size).colour)
        translate_folder(run=run, inputs=picture, out=once, device="cpu", precision="fp32")
        whole = read_image(once / "a.png").astype(np.float32)
        print(f"{'statistics of':18} {'difference':>10} {'brightness':>10} {'seams':>6} {'rows':>6} {'seconds':>7}")
        for name, way in WAYS.items():
            worker = translator(way, run, tile, overlap)
            start = time.perf_counter()
            worker.translate(picture, Path(folder, "b.tif"))
            seconds = time.perf_counter() - start
            made = read_image(Path(folder, "b.tif")).astype(np.float32)
            axis, shift = worker._axis(size), made - whole
            sides = [slice(first, first + axis.side) for first in axis.starts]
            brightness = max(np.abs(shift[y, x].mean((0, 1))).max() for y in sides for x in sides)
            seams = step(made, axis) / step(whole, axis)
            rows = step(made.swapaxes(0, 1), axis) / step(whole.swapaxes(0, 1), axis)
            print(
                f"{name:18} {np.abs(shift).mean():10.3f} {brightness:10.2f} {seams:6.3f} {rows:6.3f} {seconds:7.1f}",
                flush=True,
            )


def statistics(run: Path, size: int) -> None:
    worker = translator(TiledTranslator, run, 512, 64)
    print(f"{'statistics of':18} {'label maps':>16} {'photos':>16}   (difference, shift of brightness)")
    told: dict[str, list[str]] = {}
    for labels in (True, False):
        picture = np.concatenate(list(streets(size, 512, labels)))
        spots = [(int(y), int(x)) for y, x in np.random.default_rng(1).integers(0, (size - 256) // 4, (12, 2)) * 4]

        def pieces() -> Tensor:
            cut = [picture[y : y + 256, x : x + 256] for y, x in spots]  # noqa: B023 - called in the same round
            return worker._through(cut, spots) * 127.5  # noqa: B023

        def tell(name: str) -> None:
            shift = pieces() - exact  # noqa: B023
            figures = f"{float(shift.abs().mean()):8.2f} {float(shift.mean((0, 2, 3)).abs().max()):7.2f}"
            told.setdefault(name, []).append(figures)

        with using({"": worker._network}, worker._mode):
            worker._whole.begin()
            worker._through([picture], [(0, 0)])
            exact = pieces()
            for shrunk in (2, 4, 8, 16):
                worker._whole.begin()
                worker._through([resize(picture, size // shrunk, size // shrunk)], [(0, 0)])
                tell(f"thumbnail, 1/{shrunk}")
            for side in (32, 64, 128):
                for pixels in (2**16, 2**18, 2**20):
                    places = tiles.scattered((size, size), (side, side), pixels // side**2, 4)
                    worker._whole.begin(crops=True)
                    worker._through([picture[y : y + side, x : x + side] for y, x in places], places)
                    tell(f"{len(places)} crops of {side}")
    for name, figures in told.items():
        print(f"{name:18} {' '.join(figures)}")


def streets(size: int, side: int = 1000, labels: bool = True) -> Iterator[np.ndarray]:
    """The rows of a square picture made of twelve streets, each `side` pixels wide, in changing order."""
    rng = np.random.default_rng(0)
    drawn = [render(0, i, side, side) for i in range(12)]
    scenes = [scene.colour if labels else scene.photo for scene in drawn]
    for top in range(0, size, side):
        band = np.concatenate([scenes[i] for i in rng.integers(0, len(scenes), -(-size // side))], axis=1)
        yield band[: size - top, :size]


def giant(run: Path, size: int, tile: int, overlap: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture, out = Path(folder, "a.tif"), Path(folder, "out")
        write_rows(picture, streets(size), (size, size, 3), np.uint8, Shown(dpi=(300, 300)))
        words = ["translate", run, picture, "-o", out, "--tile", tile, "--overlap", overlap]
        words += ["--max-pixels", size * size, "--device", "cpu", "-d", "fp32"]
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "gesso", *map(str, words)])
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit("the translation failed")
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        before, after = (path.stat().st_size / 1e9 for path in (picture, out / "a.tif"))
        print(
            f"{size}x{size} pixels, {before:.2f} GB in, {after:.2f} GB out: {seconds / 60:.1f} min, "
            f"{size * size / seconds / 1e6:.2f} Mpixel/s, peak memory {peak / 1e9:.2f} GB"
        )
        axis = translator(TiledTranslator, run, tile, overlap)._axis(size)
        with open_rows(out / "a.tif", 3, size * size) as rows:
            tops = range(0, size - 512, max(512, size // 16))
            bands = (rows.read(top, top + 512) for top in tops)
            steps = [[step(band, axis, beside) for beside in (0, -100, -50, 50, 100)] for band in bands]
        at, *elsewhere = np.mean(steps, axis=0)
        told = ", ".join(f"{ratio:.3f}" for ratio in elsewhere)
        print(f"step at seams over the step near them: {at:.3f}; elsewhere: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare", "statistics", "giant"))
    parser.add_argument("--run", type=Path, help="of a translator of colour pictures")
    parser.add_argument("--size", type=int, default=1536, help="sides of the picture (%(default)s)")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--scene", type=int, default=3, help="compare: which street (%(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = chosen.run or untrained(Path(folder, "run"))
        if chosen.what == "compare":
            compare(run, chosen.size, chosen.tile, chosen.overlap, chosen.scene)
        elif chosen.what == "statistics":
            statistics(run, chosen.size)
        else:
            giant(run, chosen.size, chosen.tile, chosen.overlap)


if __name__ == "__main__":
    main()
