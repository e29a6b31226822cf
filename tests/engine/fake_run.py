"""Run folders as training leaves them, in seconds and without training; and a reader of the page they give."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gesso.engine.runlog import RunLog
from gesso.recipe import CycleGANRecipe, Pix2PixRecipe, Recipe, TranslationData

PER_EPOCH = 400
START = 1_700_000_000.0
LOSSES = {
    "pix2pix": {"G_GAN": 1.2, "G_L1": 24.0, "D_real": 0.5, "D_fake": 0.45},
    "cyclegan": {"G_A": 0.4, "G_B": 0.5, "D_A": 0.2, "D_B": 0.25, "cycle_A": 2, "cycle_B": 2.5, "idt_A": 1, "idt_B": 1},
}  # fmt: skip
BASELINES = {
    "input copied": {"L1": 0.2712, "PSNR": 9.83, "SSIM": 0.2114},
    "mean target": {"L1": 0.1904, "PSNR": 12.71, "SSIM": 0.3379},
}


def picture(seed: int, size: int = 64, sharpness: float = 1.0) -> Image.Image:
    """A small landscape; the less sharp, the more it is a grey blur, as from a young generator."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    horizon = 0.45 + 0.15 * rng.random() + 0.06 * np.sin(x * (4 + 6 * rng.random()) + seed)
    sky = np.stack([0.95 - 0.4 * (1 - y), 0.75 - 0.1 * (1 - y), 0.6 + 0.35 * (1 - y)], -1)
    land = np.stack([0.25 + 0.3 * y, 0.4 + 0.15 * x, 0.3 - 0.1 * y], -1)
    image = np.where((y < horizon)[..., None], sky, land)
    sun = np.hypot(x - 0.2 - 0.6 * rng.random(), y - 0.22) < 0.09
    image[sun] = [1.0, 0.95, 0.75]
    image = sharpness * image + (1 - sharpness) * (0.5 + 0.2 * rng.standard_normal((size, size, 1)) * 0.4)
    return Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8))


def fake_log(run: Path, model: str, epochs: int, done: float, seed: int = 0) -> None:
    """A log with GAN-like noisy losses, falling scores and a linear decay of the rate."""
    rng = np.random.default_rng(seed)
    now = [START]
    with RunLog(run / "log.jsonl", clock=lambda: now[0]) as log:
        log.write("start", 0)
        for images in range(100, int(done * PER_EPOCH) + 1, 100):
            now[0] += 100 / 42
            epoch = images / PER_EPOCH
            ease = math.exp(-4 * epoch / epochs)
            losses = {
                name: scale * (0.35 + 0.65 * ease) * float(rng.lognormal(0, 0.25))
                for name, scale in LOSSES[model].items()
            }
            rate = 2e-4 * min(1.0, 2 - 2 * epoch / epochs)
            speed = {"images_per_second": float(rng.normal(42, 1.5)), "data_fraction": 0.011}
            log.write("loss", images, epoch=epoch, losses=losses, lr={"G": rate, "D": rate}, **speed)
            if images % (5 * PER_EPOCH) == 0:
                l1 = 0.105 + 0.1 * ease + float(rng.normal(0, 0.003))
                for direction in ("AtoB", "BtoA") if model == "cyclegan" else ("BtoA",):
                    l1 *= 1.15
                    scores = {"L1": l1, "PSNR": 24.5 - 70 * l1, "SSIM": 0.9 - 3 * l1}
                    log.write("metric", images, scores={f"{direction}/{k}": v for k, v in scores.items()})
                log.write("sheet", images, file=f"samples/{images:09d}.png")
                log.write("checkpoint", images, name=f"{images:09d}")
        if done >= epochs:
            log.write("finish", int(done * PER_EPOCH), seconds=now[0] - START)


def fake_run(folder: Path, model: str = "pix2pix", epochs: int = 20, done: float | None = None, size: int = 48) -> Path:
    """A run folder as training leaves it after `done` of `epochs` epochs; scored if it is finished."""
    done = epochs if done is None else done
    run = folder / f"{model}-streets"
    (run / "samples" / "slider").mkdir(parents=True)
    recipe: Recipe = (
        CycleGANRecipe(recipe="cyclegan-demo", epochs=epochs, data=TranslationData(root="builtin:streets"))
        if model == "cyclegan"
        else Pix2PixRecipe(recipe="pix2pix-demo", epochs=epochs, direction="BtoA", data=TranslationData(root="facades"))
    )
    (run / "recipe.json").write_text(recipe.to_json())
    choices = {
        "device": {"value": "cpu", "reason": "no accelerator was found"},
        "precision": {"value": "bf16", "reason": "the processor has avx512_bf16: 4.4 times the fp32 matmul rate"},
        "compile": {"value": "off", "reason": "61 s of compiling would save 40 s of this run"},
    }
    environment = {"gesso": "0.1.0", "torch": "2.13.0", "python": "3.12.3", "platform": "Linux-6.8-x86_64"}
    environment |= {"device": "AMD EPYC 9R14, 2 threads", "commit": "b837989", "started": "2026-01-01 12:00 UTC"}
    (run / "environment.json").write_text(json.dumps(environment | {"choices": choices}))
    fake_log(run, model, epochs, done)
    directions = ("AtoB", "BtoA") if model == "cyclegan" else ("",)
    for epoch in range(5, int(done) + 1, 5):
        sheet = Image.new("RGB", (3 * size + 8, 4 * size + 12), "white")
        for row in range(4):
            for column, sharpness in enumerate((1.0, min(1, 0.3 + 0.7 * epoch / epochs), 1.0)):
                at = (column * (size + 4), row * (size + 4))
                sheet.paste(picture(10 * row, size, sharpness), at)
        sheet.save(run / "samples" / f"{epoch * PER_EPOCH:09d}.png")
    for direction in directions:
        for index in range(8 if done >= 5 else 0):
            stem = f"{direction}_{index:03d}" if direction else f"{index:03d}"
            for role, sharpness in (("input", 0.25), ("output", 0.85), ("target", 1.0)):
                if role != "target" or index != 3:
                    file = run / "samples" / "slider" / f"{stem}_{role}.png"
                    picture(index, 2 * size, sharpness).save(file)
    if done >= epochs:
        (run / "metrics.json").write_text(json.dumps(fake_metrics(directions)))
    return run


def fake_metrics(directions: tuple[str, ...]) -> dict[str, Any]:
    rows = []
    for direction in directions:
        named = {"direction": direction} if direction else {}
        rows += [named | {"method": "gesso", "L1": 0.1061, "PSNR": 16.92, "SSIM": 0.5821}]
        rows += [named | {"method": method} | scores for method, scores in BASELINES.items()]
    protocol = "L1, PSNR and SSIM over RGB in [0, 1], mean over images.\nImages at 256 × 256, no crop, no flip."
    return {"protocol": protocol, "split": "test", "checkpoint": "best", "images": 106, "rows": rows}


def young(folder: Path, *records: tuple[str, int, dict[str, Any]], **recipe: Any) -> Path:
    """A run folder with a recipe and these records, a second apart."""
    run = folder / "run"
    run.mkdir()
    (run / "recipe.json").write_text(Pix2PixRecipe(recipe="pix2pix", **recipe).to_json())
    seconds = iter(range(10_000))
    with RunLog(run / "log.jsonl", clock=lambda: START + next(seconds)) as log:
        for kind, images, values in records:
            log.write(kind, images, **values)
    return run


def loss(images: int, epoch: float, **values: float) -> tuple[str, int, dict[str, Any]]:
    return "loss", images, {"epoch": epoch, "losses": values or {"G": 1.0}}


class Page(HTMLParser):
    """What a browser would see: the text, the elements, the links, and the data of the script."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(self.html)
        raw = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.html, re.DOTALL)
        assert raw is not None
        self.data = json.loads(raw[1], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())
