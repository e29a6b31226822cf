"""gesso's DCGAN and DenseNet-121 steps beside plain eager float32 ones, in one run on one machine.

    python benchmarks/model_steps.py
    python benchmarks/model_steps.py --steps 10 --threads 1

The two contenders of a model take their steps in turn in one process, so that a machine whose speed drifts slows
both. For DenseNet it also measures how many images a second the host decodes, cuts and resizes for it, from JPEGs and
from the cache, on the same number of threads, beside what the step takes.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gesso.data.fits import class_fit
from gesso.data.samples import Samples
from gesso.data.single import open_classes
from gesso.data.store import open_store
from gesso.devices import facts
from gesso.engine.launch import choose, prepare
from gesso.models import build_model
from gesso.recipe import ClassData, Recipe
from gesso.recipes import RECIPES
from reference_densenet import ReferenceDenseNet
from reference_gan import ReferenceDCGAN

CLASSES = 100


def gesso_step(recipe: Recipe, batch: dict[str, torch.Tensor]) -> tuple[Callable[[], None], torch.device]:
    model = build_model(recipe)
    model.initialize(0)
    choices = choose(recipe, model, 1, {})
    prepare(model, None, choices, train=True)
    print(
        f"gesso: {choices.device.value}, {choices.precision.value}, channels_last {choices.channels_last.value}, eager"
    )
    device, rng = choices.device.value, np.random.default_rng(0)
    on_device = {role: value.to(device) for role, value in batch.items()}

    def step() -> None:
        model.train_step(on_device, rng)

    return step, device


def in_turn(plain: Callable[[], None], ours: Callable[[], None], device: torch.device, steps: int) -> None:
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for i in range(steps + 2):
        for name, step in (("plain", plain), ("ours", ours)):
            start = time.perf_counter()
            step()
            facts(device).synchronize(device)
            if i >= 2:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    ratio = statistics.median(a / b for a, b in zip(seconds["plain"], seconds["ours"], strict=True))
    for name, times in seconds.items():
        print(f"  {name:<6} {statistics.median(times):8.3f} s a step")
    print(f"  speed-up {ratio:.2f}")


def dcgan(batch_size: int, steps: int) -> None:
    print(f"\nDCGAN, 64 px, batch {batch_size}")
    images = torch.rand(batch_size, 3, 64, 64) * 2 - 1
    ours, device = gesso_step(RECIPES["dcgan"](), {"image": images})
    plain, real = ReferenceDCGAN(), images.to(device)
    plain.G.to(device), plain.D.to(device)
    in_turn(lambda: plain.train_step(real), ours, device, steps)


def densenet(batch_size: int, size: int, steps: int) -> None:
    print(f"\nDenseNet-121, {size} px, batch {batch_size}, {CLASSES} classes")
    images, labels = torch.rand(batch_size, 3, size, size) * 2 - 1, torch.randint(CLASSES, (batch_size,))
    base = RECIPES["densenet121"]()
    data = dataclasses.replace(base.data, image_size=size, resize=size, names=tuple(map(str, range(CLASSES))))
    ours, device = gesso_step(dataclasses.replace(base, data=data), {"image": images, "label": labels})
    plain = ReferenceDenseNet(CLASSES)
    plain.network.to(device)
    on_device = (images.to(device), labels.to(device))
    in_turn(lambda: plain.train_step(*on_device), ours, device, steps)


def feeding(size: int, threads: int, count: int = 256) -> None:
    """Images a second that the host prepares from JPEGs of ImageNet's usual size."""
    print(f"\npreparing images for DenseNet: 500x375 JPEGs to {size} px on {threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            (Path(folder) / "train" / name).mkdir(parents=True)
            for i in range(count // 2):
                small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
                small.resize((500, 375)).save(Path(folder) / "train" / name / f"{i}.jpg", quality=90)
        for cache in ("off", "on"):
            data = ClassData(root=folder, image_size=size, resize=size, cache=cache, cache_dir=f"{folder}/cache")
            fit, view = class_fit(data)
            source = open_classes(data, "train")
            store = open_store(source, fit, data, lambda line: None)
            samples = Samples(
                store,
                view,
                class_of=source.class_of,
                batch_size=32,
                seed=0,
                device=torch.device("cpu"),
                workers=threads,
            )
            next(samples)
            start = time.perf_counter()
            for _ in range(count // 32):
                next(samples)
            rate = count / (time.perf_counter() - start)
            print(f"  {'from the cache' if cache == 'on' else 'from files':<15} {rate:7.0f} images/s")
            samples.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dcgan(128, options.steps)
    densenet(32, 64, options.steps)
    densenet(32, 224, options.steps)
    feeding(224, options.threads)


if __name__ == "__main__":
    main()
