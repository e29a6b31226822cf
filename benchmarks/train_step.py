"""gesso's CycleGAN step beside a plain eager float32 one (reference.py), in one run on one machine.

    python benchmarks/train_step.py                 both sizes; about 20 minutes on 2 cores
    python benchmarks/train_step.py --sizes 128 --steps 10

Each contender lives in a process of its own, so that its peak memory is its own, and they take their steps in
turn, A B C A B C, so that a machine whose speed drifts slows all of them. Given: the median step and the ratios
pair by pair, peak memory, how far the first step's gradients are from the reference's (beside them the reference
itself under bf16 autocast, since bf16 alone rounds a deep network's gradients by tens of per cent), the model
FLOP rate over the matmul peak measured in the same run, and, in a short training on cached files, the share of the time
after the first epoch that was spent waiting for data.
"""

import argparse
import dataclasses
import json
import multiprocessing as mp
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gesso.data.synth import write_pairs
from gesso.devices import choose_device, choose_precision, facts, measure_matmul_peak
from gesso.engine.launch import choose, prepare
from gesso.engine.runlog import read_log
from gesso.engine.train import train
from gesso.models import build_model
from gesso.models.cyclegan import CycleGAN
from gesso.recipe import CycleGANRecipe, Discriminator, Evaluation, Generator, Tracking, TranslationData
from gesso.recipes import RECIPES
from reference import ReferenceCycleGAN

SIZES = {128: 32, 256: 64}
"""Side in pixels, and the filters of the first layers."""
BLOCKS = 9
NAMES = ("reference", "reference, autocast", "gesso uncompiled", "gesso compiled")
NETWORKS = ("G_A", "G_B", "D_A", "D_B")


def recipe_for(size: int, compiled: bool, precision: str) -> CycleGANRecipe:
    return CycleGANRecipe(
        recipe="benchmark",
        data=TranslationData(load_size=size, crop_size=size),
        generator=Generator(ngf=SIZES[size], blocks=BLOCKS),
        discriminator=Discriminator(ndf=SIZES[size]),
        precision=precision,  # type: ignore[arg-type]
        compile="on" if compiled else "off",
    )


def initial(size: int) -> CycleGAN:
    """The networks that every contender starts from."""
    model = CycleGAN(recipe_for(size, False, "auto"))
    model.initialize(0)
    return model


def batch(size: int, device: torch.device) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {role: (torch.rand(1, 3, size, size, generator=rng) * 2 - 1).to(device) for role in "AB"}


def gradients(networks: dict[str, nn.Module]) -> dict[str, np.ndarray]:
    """Each network's gradient as one vector."""
    return {
        name: torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).float().cpu().numpy()
        for name, network in networks.items()
    }


def contender(name: str, size: int, precision: str, pipe: Connection) -> None:
    """Answer "first" with the first step's gradients, "step" with a step's seconds, "memory" with the peak."""
    model = initial(size)
    if name.startswith("reference"):
        device = choose_device("auto").value
        plain = ReferenceCycleGAN(SIZES[size], BLOCKS)
        networks: dict[str, nn.Module] = {n: getattr(plain, n) for n in NETWORKS}
        for n, network in networks.items():
            network.load_state_dict(model.networks[n].state_dict())
            network.to(device)
            if name == "reference, autocast":
                network.forward = torch.autocast(device.type, torch.bfloat16)(network.forward)
        images = batch(size, device)

        def step() -> None:
            plain.train_step(images["A"], images["B"])
    else:
        recipe = recipe_for(size, name == "gesso compiled", precision)
        fresh = build_model(recipe)
        fresh.initialize(0)
        choices = choose(recipe, fresh, 1, {})
        prepare(fresh, None, choices, train=True)
        device, networks = choices.device.value, fresh.networks
        images, rng = batch(size, device), np.random.default_rng(0)

        def step() -> None:
            fresh.train_step(images, rng)

    row = facts(device)
    while (order := pipe.recv()) != "stop":
        start = time.perf_counter()
        if order == "flops":
            with FlopCounterMode(display=False) as counter:
                step()
            pipe.send(counter.get_total_flops())
        elif order == "memory":
            pipe.send(row.peak_memory(device))
        else:
            step()
            row.synchronize(device)
            pipe.send(gradients(networks) if order == "first" else time.perf_counter() - start)


def compare(size: int, steps: int, precision: str) -> dict[str, Any]:
    """All contenders at `size`, `steps` timed steps each."""
    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in NAMES:
        pipes[name], theirs = context.Pipe()
        context.Process(target=contender, args=(name, size, precision, theirs), daemon=True).start()
        theirs.close()  # so that a contender that dies is noticed

    def ask(name: str, order: str) -> Any:
        pipes[name].send(order)
        return pipes[name].recv()

    first, seconds_first = {}, {}
    for name in NAMES:
        start = time.perf_counter()
        first[name] = ask(name, "first")
        seconds_first[name] = time.perf_counter() - start
        for _ in range(2):
            ask(name, "step")
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(steps):
        for name in NAMES:
            seconds[name].append(ask(name, "step"))
    memory = {name: ask(name, "memory") for name in NAMES}
    flops = ask("reference", "flops")
    for name in NAMES:
        pipes[name].send("stop")
    reference = seconds["reference"]
    return {
        "size": size,
        "ngf": SIZES[size],
        "flops": flops,
        "rows": [
            {
                "contender": name,
                "seconds": statistics.median(seconds[name]),
                "first_step_seconds": seconds_first[name],
                "speedup": statistics.median(a / b for a, b in zip(reference, seconds[name], strict=True)),
                "peak_memory": memory[name],
                "gradient_error": {n: relative(first[name][n], first["reference"][n]) for n in NETWORKS},
                "flops_per_second": flops / statistics.median(seconds[name]),
            }
            for name in NAMES
        ],
    }


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """‖ours − theirs‖ / ‖theirs‖."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def data_wait(size: int, precision: str) -> float:
    """The share of the time after the first epoch that a training on cached files waited for data."""
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder) / "data", count=30, size=286)
        recipe = dataclasses.replace(
            RECIPES["cyclegan"](),
            data=TranslationData(
                root=f"{folder}/data", load_size=size * 286 // 256, crop_size=size, cache_dir=f"{folder}/cache"
            ),
            generator=Generator(ngf=SIZES[size], blocks=BLOCKS),
            discriminator=Discriminator(ndf=SIZES[size]),
            epochs=3,
            compile="off",
            precision=precision,
            evaluation=Evaluation(every=0),
            tracking=Tracking(log_every=10, sheet_every=0, trackers=()),
        )
        run = train(recipe, runs=folder, name="run").path
        later = [r["data_fraction"] for r in read_log(run / "log.jsonl") if r["kind"] == "loss" and r["epoch"] > 1]
        return statistics.mean(later)


def show(result: dict[str, Any], peaks: dict[str, float]) -> None:
    print(f"\n{result['size']} px, ngf {result['ngf']}, batch 1: {result['flops'] / 1e9:.0f} GFLOP a step")
    print("| contender | step | speed-up | first | peak memory | gradients off, G_A G_B D_A D_B | GFLOP/s | of peak |")
    print("|---|---|---|---|---|---|---|---|")
    for row in result["rows"]:
        peak = peaks["fp32" if row["contender"] == "reference" else "gesso"]
        print(
            f"| {row['contender']} | {row['seconds']:.3f} s | {row['speedup']:.2f} × "
            f"| {row['first_step_seconds']:.0f} s "
            f"| {row['peak_memory'] / 1e9:.2f} GB | {' '.join(f'{e:.3f}' for e in row['gradient_error'].values())} "
            f"| {row['flops_per_second'] / 1e9:.0f} | {row['flops_per_second'] / peak:.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--steps", type=int, default=9, help="timed steps of each contender")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    device = choose_device("auto").value
    precision = choose_precision(options.precision, device)
    dtype = torch.bfloat16 if precision.value == "bf16" else torch.float32
    peaks = {"fp32": measure_matmul_peak(device, torch.float32), "gesso": measure_matmul_peak(device, dtype)}
    print(f"{device}, {facts(device).describe(device)}, torch {torch.__version__}; gesso runs {precision.value}")
    print(f"matmul peak: fp32 {peaks['fp32'] / 1e9:.0f} GFLOP/s, {precision.value} {peaks['gesso'] / 1e9:.0f} GFLOP/s")
    results = []
    for size in options.sizes:
        results.append(compare(size, options.steps, options.precision))
        show(results[-1], peaks)
    share = data_wait(128, options.precision)
    print(f"\nwaiting for data after the first epoch (128 px, uncompiled): {share:.2%} of the time")
    if options.json:
        options.json.write_text(json.dumps({"peaks": peaks, "results": results, "data_wait": share}, indent=2))


if __name__ == "__main__":
    main()
