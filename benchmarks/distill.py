"""What distillation brings: a teacher, small students from scratch and distilled, over several seeds.

    python benchmarks/distill.py
    python benchmarks/distill.py --seeds 1 --epochs 4 --images 200
    python benchmarks/distill.py --model cyclegan-distill --discriminator new --teacher-epochs 10 --epochs 5

The built-in streets at 64 px. The teacher is trained once for each seed, and so is each student, from scratch and with
the teacher: the same images in the same order, the same first weights, the same number of steps. Each is scored on
streets that none was trained on, at the checkpoint with the lowest L1. Both are exported to ONNX and timed in turns, in
onnxruntime, on one image of the training's size and on one of 256 px.

The question is whether a student with an eighth of the work or less, in a third of the time, closes half of the gap in
L1 that a student from scratch leaves to the teacher. Runs are kept, and a study that was interrupted goes on.
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gesso.engine.comparing import SCRATCH, STUDENT, TEACHER
from gesso.engine.train import train
from gesso.exporting import Options, load_source
from gesso.exporting.graph import graphs
from gesso.exporting.onnx import as_onnx, converted, runner
from gesso.recipe import Distillation, Generator
from gesso.recipes import RECIPES

BASES = {
    "pix2pix-distill": "pix2pix-demo",
    "cyclegan-distill": "cyclegan-demo",
    "cyclegan-distill-mindspore": "cyclegan-demo",
}
FASTER = "faster"
WARM_UP, TIMED = 5, 50


def study(options: argparse.Namespace, seed: int) -> dict[str, dict[Any, Any]]:
    """Train the three of one seed; the rows of their table by name, and how much faster the student is."""
    runs = Path(options.runs)
    base: Any = RECIPES[BASES[options.model]]()
    subset = {"train_subset": options.images} if options.images else {}
    large = dataclasses.replace(
        base,
        seed=seed,
        epochs=options.epochs or base.epochs,
        precision="fp32",
        device="cpu",
        compile="off",
        data=dataclasses.replace(base.data, **subset),
        generator=dataclasses.replace(base.generator, **_network(options)),
    )
    name = f"{options.kind}-{seed}"
    longer = dataclasses.replace(large, epochs=options.teacher_epochs or large.epochs)
    teacher = train(longer, runs=runs, name=f"teacher-{name}").path
    small = dataclasses.replace(
        large,
        generator=dataclasses.replace(
            large.generator, ngf=max(1, large.generator.ngf // options.narrower), separable=options.separable
        ),
    )
    scratch = train(small, runs=runs, name=f"scratch-{name}").path
    student: Any = dataclasses.replace(
        RECIPES[options.model](),
        seed=seed,
        device="cpu",
        precision="fp32",
        compile="off",
        teacher=str(teacher),
        compare=str(scratch),
        epochs=large.epochs,
    )
    student = dataclasses.replace(
        student,
        generator=dataclasses.replace(student.generator, ngf=small.generator.ngf, separable=options.separable),
        distill=_weights(student.distill, options),
    )
    run = train(student, runs=runs, name=f"{options.model}-{name}{options.suffix}").path
    rows = json.loads((run / "metrics.json").read_text())["models"]["rows"]
    return {row["model"]: row for row in rows} | {FASTER: faster(teacher, run)}


def faster(teacher: Path, student: Path) -> dict[int, float]:
    """How many times as fast as its teacher a student is in onnxruntime on one image, by the image's side in pixels:
    the ratio of the medians of passes that alternate."""
    networks = []
    for run in (teacher, student):
        source = load_source(run)
        graph = graphs(source, Options())[0]
        networks.append((runner(as_onnx(converted(graph), graph), graph), graph.about))
    ratios = {}
    for side in (networks[0][1].size, 256):
        image = np.random.default_rng(0).uniform(-1, 1, (1, networks[0][1].channels_in, side, side)).astype(np.float32)
        taken: list[list[float]] = [[], []]
        for _ in range(WARM_UP + TIMED):
            for (network, _about), times in zip(networks, taken, strict=True):
                start = time.perf_counter()
                network(image)
                times.append(time.perf_counter() - start)
        slow, fast = (statistics.median(times[WARM_UP:]) for times in taken)
        ratios[side] = slow / fast
    return ratios


def _network(options: argparse.Namespace) -> dict[str, Any]:
    if options.kind == "own":
        return {}
    return {"kind": "resnet", "blocks": 6, "upsample": Generator.upsample}


def _weights(distill: Distillation, options: argparse.Namespace) -> Distillation:
    given = {name: getattr(options, name) for name in ("lambda_features", "lambda_output", "discriminator")}
    return dataclasses.replace(distill, **{name: value for name, value in given.items() if value is not None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=BASES, default="pix2pix-distill")
    parser.add_argument("--kind", choices=("own", "resnet"), default="own", help="the demo's own network, or a ResNet")
    parser.add_argument("--narrower", type=int, default=4, help="filters of the teacher to one of the student")
    parser.add_argument("--separable", action="store_true", help="depthwise-separable blocks in the student")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--epochs", type=float, default=0, help="of the students; 0: the demo's")
    parser.add_argument("--teacher-epochs", type=float, default=0, help="0: as long as the students")
    parser.add_argument("--images", type=int, default=0, help="training images; 0: the demo's")
    parser.add_argument("--lambda-features", type=float, help="without: the recipe's")
    parser.add_argument("--lambda-output", type=float, help="without: the recipe's")
    parser.add_argument("--discriminator", choices=("teacher", "new"), help="without: the recipe's")
    parser.add_argument("--suffix", default="", help="of the students' names, to try other weights beside them")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", default="runs/distill")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    closed, score = [], ""
    told = []
    for seed in range(options.first, options.first + options.seeds):
        rows = study(options, seed)
        score = next(name for name in rows[TEACHER]["scores"] if name.endswith("/L1"))
        large, alone, taught = (rows[name]["scores"][score] for name in (TEACHER, SCRATCH, STUDENT))
        share = (alone - taught) / (alone - large) if alone != large else float("nan")
        closed.append(share)
        less = rows[TEACHER]["macs"] / rows[STUDENT]["macs"]
        speed = ", ".join(f"{ratio:.1f} at {side} px" for side, ratio in rows[FASTER].items())
        told.append(f"{seed:>4} {large:>10.4f} {alone:>10.4f} {taught:>10.4f} {share:>8.0%} {less:>8.1f}  {speed}")
    print(f"\n{options.model}, {score} on held-out streets; MACs: the teacher's to one of the student's")
    print(f"{'seed':>4} {'teacher':>10} {'scratch':>10} {'distilled':>10} {'closed':>8} {'MACs':>8}  times as fast")
    print("\n".join(told))
    print(f"gap closed: mean {statistics.fmean(closed):.0%}, least {min(closed):.0%}, of {len(closed)} seeds")


if __name__ == "__main__":
    main()
