"""Run folders as training leaves them, in seconds and without training; and a reader of the page they give."""

import dataclasses
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
from gesso.recipe import Recipe
from gesso.recipes import RECIPES

PER_EPOCH = 400
START = 1_700_000_000.0
LOSSES = {
    "pix2pix": {"G_GAN": 1.2, "G_L1": 24.0, "D_real": 0.5, "D_fake": 0.45},
    "cyclegan": {"G_A": 0.4, "G_B": 0.5, "D_A": 0.2, "D_B": 0.25, "cycle_A": 2, "cycle_B": 2.5, "idt_A": 1, "idt_B": 1},
    "dcgan": {"Loss_D": 1.1, "D(x)": 0.4, "D(G(z))_1": 0.4, "Loss_G": 1.6, "D(G(z))_2": 0.3, "R1": 0.02},
    "densenet": {"loss": 2.3, "train_top1": 0.5},
}  # fmt: skip
BASELINES = {
    "input copied": {"L1": 0.2712, "PSNR": 9.83, "SSIM": 0.2114},
    "mean target": {"L1": 0.1904, "PSNR": 12.71, "SSIM": 0.3379},
}
WEATHERS = [f"{weather}-{time}" for weather in ("clear", "fog", "rain") for time in ("day", "night")]


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
                log.write("metric", images, scores=fake_scores(model, ease, float(rng.normal(0, 0.003))))
                log.write("sheet", images, file=f"samples/{images:09d}.png")
                log.write("checkpoint", images, name=f"{images:09d}")
        if done >= epochs:
            log.write("finish", int(done * PER_EPOCH), seconds=now[0] - START)


def fake_scores(model: str, ease: float, noise: float) -> dict[str, float]:
    """The scores of one evaluation; `ease` falls from 1 to 0 while the model learns."""
    if model == "dcgan":
        return {"FID": 60 + 300 * ease, "KID": 0.03 + 0.2 * ease + noise, "KID std": 0.004 + 0.02 * ease}
    if model == "densenet":
        return {"top1": 0.9 - 0.7 * ease + noise, "top5": 0.99 - 0.3 * ease, "loss": 0.4 + 2 * ease}
    l1 = 0.105 + 0.1 * ease + noise
    found = {}
    for direction in ("AtoB", "BtoA") if model == "cyclegan" else ("BtoA",):
        l1 *= 1.15
        scores = {"L1": l1, "PSNR": 24.5 - 70 * l1, "SSIM": 0.9 - 3 * l1}
        found |= {f"{direction}/{name}": value for name, value in scores.items()}
    return found


def fake_recipe(model: str, epochs: int) -> Recipe:
    recipe: Any = RECIPES[{"densenet": "densenet121"}.get(model, model)]()
    names = {"names": tuple(WEATHERS)} if model == "densenet" else {}
    given = {"direction": "BtoA"} if model == "pix2pix" else {}
    data = dataclasses.replace(recipe.data, root="facades" if model == "pix2pix" else "builtin:streets", **names)
    changed: Recipe = dataclasses.replace(recipe, epochs=epochs, data=data, **given)
    return changed


def fake_run(folder: Path, model: str = "pix2pix", epochs: int = 20, done: float | None = None, size: int = 48) -> Path:
    """A run folder as training leaves it after `done` of `epochs` epochs; scored if it is finished."""
    done = epochs if done is None else done
    run = folder / f"{model}-streets"
    (run / "samples").mkdir(parents=True)
    (run / "recipe.json").write_text(fake_recipe(model, epochs).to_json())
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
    if model == "dcgan" and done >= epochs:
        (run / "samples" / "gallery").mkdir()
        for name, sharpness in (("made", 0.6), ("real", 1.0), ("00", 0.6)):
            picture(7, 4 * size, sharpness).save(run / "samples" / "gallery" / f"{name}.png")
    if model in ("cyclegan", "pix2pix"):
        fake_slider(run / "samples" / "slider", directions, 8 if done >= 5 else 0, size)
    if done >= epochs:
        metrics = {"dcgan": fake_distances, "densenet": fake_accuracies}.get(model, lambda: fake_metrics(directions))
        (run / "metrics.json").write_text(json.dumps(metrics()))
    return run


def fake_slider(folder: Path, directions: tuple[str, ...], images: int, size: int) -> None:
    folder.mkdir()
    for direction in directions:
        for index in range(images):
            stem = f"{direction}_{index:03d}" if direction else f"{index:03d}"
            for role, sharpness in (("input", 0.25), ("output", 0.85), ("target", 1.0)):
                if role != "target" or index != 3:
                    picture(index, 2 * size, sharpness).save(folder / f"{stem}_{role}.png")


def fake_metrics(directions: tuple[str, ...]) -> dict[str, Any]:
    rows = []
    for direction in directions:
        named = {"direction": direction} if direction else {}
        rows += [named | {"method": "gesso", "L1": 0.1061, "PSNR": 16.92, "SSIM": 0.5821}]
        rows += [named | {"method": method} | scores for method, scores in BASELINES.items()]
    protocol = "L1, PSNR and SSIM over RGB in [0, 1], mean over images.\nImages at 256 × 256, no crop, no flip."
    return {"protocol": protocol, "split": "test", "checkpoint": "best", "images": 106, "rows": rows}


def fake_distances() -> dict[str, Any]:
    rows = [
        {"direction": "", "method": "gesso", "FID": 71.23, "KID": 0.0421, "KID std": 0.0052},
        {"direction": "", "method": "training images", "FID": 24.05, "KID": 0.0003, "KID std": 0.0011},
    ]
    return {"protocol": "real: streets", "split": "test", "checkpoint": "best", "images": 8000, "rows": rows}


def fake_accuracies(names: list[str] = WEATHERS, each: int = 30, seed: int = 0) -> dict[str, Any]:
    """Scores, classes and confusion matrix of a classifier that is right in 4 of 5 cases, on `each` images a class."""
    rng = np.random.default_rng(seed)
    answers = [
        [int(k if rng.random() < 0.8 else rng.integers(len(names))) for _ in range(each)] for k in range(len(names))
    ]
    confusion = [np.bincount(row, minlength=len(names)).tolist() for row in answers]
    right = [confusion[k][k] for k in range(len(names))]
    rows = [
        {"direction": "", "method": "gesso", "top1": sum(right) / each / len(names), "top5": 0.98, "loss": 0.61},
        {"direction": "", "method": "most frequent", "top1": 1 / len(names), "top5": 5 / len(names)},
    ]
    classes = [{"class": name, "images": each, "accuracy": n / each} for name, n in zip(names, right, strict=True)]
    return {"split": "val", "rows": rows, "classes": classes, "confusion": confusion}


def young(folder: Path, *records: tuple[str, int, dict[str, Any]], **recipe: Any) -> Path:
    """A run folder with a recipe and these records, a second apart."""
    run = folder / "run"
    run.mkdir()
    (run / "recipe.json").write_text(dataclasses.replace(RECIPES["pix2pix"](), **recipe).to_json())
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
