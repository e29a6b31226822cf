"""SIGKILL at any moment costs time and nothing else: the resumed run ends in the bits of one that was not killed.

Each model is trained once without a stop, and then several times with kills: at random moments, while a
checkpoint is being written, while the image cache is being built, and during the final scores and report. After
every kill the run folder must be sound; at the end every tensor of every network, of the averages, of the
optimizers and of the image pools must be the uninterrupted run's, and so must the scores on the way.
The moments come from a fixed seed, but what the child is doing then depends on the machine.
"""

import dataclasses
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from kill_harness import Server

from conftest import toy, write_classes, write_pairs
from gesso.data.prepare.imagenet import prepare_imagenet
from gesso.engine import checkpoint
from gesso.engine.runlog import read_log
from gesso.engine.runs import read_recipe
from gesso.recipe import Checkpoints, Recipe, Schedule, Tracking

IMAGES = 24
MODELS = {
    "pix2pix": "pix2pix",
    "cyclegan": "cyclegan",
    "pix2pix-distill": "pix2pix-distill",
    "cyclegan-distill": "cyclegan-distill",
    "dcgan": "dcgan",
    "densenet": "densenet-demo",
    "densenet on shards": "densenet-demo",
}
WANTED = {"log": 8, "checkpoint": 7, "cache": 3, "finish": 3}
FEWER = {"log": 4, "checkpoint": 3, "cache": 0, "finish": 1}
"""Kills of each kind for the translators, and for the other models, with which they share the loop; those of a
checkpoint or a cache count only if it was left half written."""
MOST_LIVES = 150


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", {"train": 24, "val": 2, "test": 2})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "classes")


@pytest.fixture(scope="module")
def shards(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in tar shards, which are read as they are needed."""
    out = tmp_path_factory.mktemp("data") / "shards"
    prepare_imagenet([classes], out, per_shard=5, processes=1, say=lambda line: None)
    return out


def recipe_of(kind: str, data: Path) -> Recipe:
    """Everything on that has a state: dropout, image pools, averages, a schedule, a best checkpoint."""
    recipe = toy(
        MODELS[kind],
        data,
        epochs=1,
        batch_size=1 if "pix2pix" in kind or "cyclegan" in kind else 3,
        ema=20.0,
        deterministic=True,
        schedule=Schedule(decay="cosine", delay=0.5, warmup="linear", warmup_epochs=0.25, granularity="step"),
        checkpoints=Checkpoints(every=3 / 24, keep=2),
        tracking=Tracking(log_every=2, sheet_every=0.5, sheet_images=1, trackers=()),
    )
    replace = dataclasses.replace
    if recipe.model == "dcgan":
        return replace(
            recipe,
            evaluation=replace(recipe.evaluation, every=6 / 24, metrics=()),
            networks=replace(recipe.networks, ngf=2, ndf=2, spectral_norm=True),
            loss=replace(recipe.loss, r1=1.0, r1_every=2, augment=("color", "translation", "cutout")),
        )
    recipe = replace(recipe, evaluation=replace(recipe.evaluation, every=6 / 24))
    if recipe.model == "densenet":
        return replace(
            recipe,
            data=replace(recipe.data, cache="off" if kind == "densenet on shards" else "on"),
            network=replace(recipe.network, dropout=0.5),
            loss=replace(recipe.loss, mixup=0.2, cutmix=1.0),
        )
    return replace(
        recipe,
        generator=replace(recipe.generator, ngf=2, dropout=0.5),
        # A student's begins with its teacher's weights.
        discriminator=replace(recipe.discriminator, **({} if "distill" in kind else {"ndf": 2, "layers": 1})),
        loss=replace(recipe.loss, pool_size=6),
    )


def job_of(
    recipe: Recipe, runs: Path, name: str, kill: tuple[str, float] | None = None, lines: int = 0
) -> dict[str, Any]:
    """`recipe` as the run `name`, which has an image cache of its own."""
    own = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, cache_dir=str(runs / f"{name}.cache")))
    return {
        "recipe": own.to_json(), "runs": str(runs), "name": name, "images": IMAGES, "kill": kill, "lines": lines
    }  # fmt: skip


def check_sound(run: Path) -> None:
    """What must hold at every moment, the process dead or alive."""
    log = read_log(run / "log.jsonl")
    there = checkpoint.list_checkpoints(run)
    for path in there:
        checkpoint.read(path)
    if there:
        assert read_recipe(run).model == checkpoint.read(there[-1]).model
        assert log[0]["kind"] == "start"
    for pointer in ("latest", "best"):
        if (run / "checkpoints" / pointer).exists():
            assert (run / "checkpoints" / pointer).read_text().strip() in {path.name for path in there}


def bits(value: Any) -> Any:
    """`value` with every tensor replaced by its type, shape and bytes, which == compares exactly, NaN and all."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else value


def end_of(run: Path) -> dict[str, Any]:
    """All that a run ends in: the newest checkpoint to the bit, which one is best, scores and sheets on the way."""
    last = checkpoint.read(checkpoint.list_checkpoints(run)[-1])
    log = read_log(run / "log.jsonl")
    return {
        "weights": bits(last.weights),
        "training": bits(last.training()),
        "progress": last.progress,
        "checkpoints": [path.name for path in checkpoint.list_checkpoints(run)],
        "latest, best": [
            path.read_text() for path in sorted((run / "checkpoints").glob("[lb]e*s*t")) if path.is_file()
        ],
        "metrics.json": re.sub(r'"ms": [\d.]+', "", (run / "metrics.json").read_text()),  # time is never twice the same
        "scores": [(r["images"], r["scores"]) for r in log if r["kind"] == "metric"],
        "sheets": [(r["images"], (run / r["file"]).read_bytes()) for r in log if r["kind"] == "sheet"],
    }


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("kind", MODELS)
def test_killed_runs_end_in_the_bits_of_one_that_was_not(
    kind: str, data: Path, classes: Path, shards: Path, server: Server, tmp_path: Path
) -> None:
    recipe = recipe_of(kind, {"densenet": classes, "densenet on shards": shards}.get(kind, data))
    wanted = WANTED if kind in ("pix2pix", "cyclegan") else FEWER
    assert server.live(job_of(recipe, tmp_path, "whole"))["code"] == 0, (tmp_path / "whole.out").read_text()
    whole = end_of(tmp_path / "whole")
    assert len(whole["scores"]) == (0 if kind == "dcgan" else 4)
    assert len(whole["sheets"]) == 2 and "best" in whole["progress"]

    rng = random.Random(kind)
    kills: Counter[str] = Counter()
    longest = {"log": 0.05, "checkpoint": 0.004, "cache": 0.006, "finish": 0.1}  # seconds
    lives = itertools.count()
    for number in itertools.count():
        name = f"killed-{number}"
        between = ["log", "checkpoint"] * 3
        rng.shuffle(between)
        for when in ["cache", *between, "finish"]:
            if kills[when] >= wanted[when] and when != "finish":
                continue
            assert next(lives) < MOST_LIVES, f"too few kills hit: {kills}"
            kill = (when, rng.uniform(0, longest[when]))
            life = server.live(job_of(recipe, tmp_path, name, kill, rng.randrange(7)))
            assert life["code"] in (0, -9), (tmp_path / f"{name}.out").read_text()
            kills[when] += life["hit"]
            check_sound(tmp_path / name)
            if not life["killed"]:
                break
        assert server.live(job_of(recipe, tmp_path, name))["code"] == 0, (tmp_path / f"{name}.out").read_text()
        ended = end_of(tmp_path / name)
        assert [key for key in whole if ended[key] != whole[key]] == [], f"{name} after {dict(kills)}"
        assert left_over(tmp_path / name) + left_over(tmp_path / f"{name}.cache") == []
        if all(kills[when] >= least for when, least in wanted.items()):
            break
    assert sum(kills.values()) >= (20 if wanted is WANTED else 8)
    assert kills["checkpoint"] >= (5 if wanted is WANTED else 3)
