"""Whether `bench compare` tells the same speed from a step slowed by a tenth, on real measurements of this machine.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/bench_gate.py --tries 20 --repeats 5

Each side of a comparison is so many repeat runs of `dcgan-demo`'s training step on synthetic tensors, each in a fresh
process as `gesso bench run` has it. A try compares a side with the next one of the same code, which must not fail, and
with one whose steps were slowed, which must; the two are measured in turns. What decides is the exit code of `gesso
bench compare --fail-below 0.95`. Kept for one thread of a machine on which little else runs: with noise the second
question needs more repeats.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gesso.bench.measuring import Job, measure
from gesso.bench.results import Result
from gesso.models.base import Batch
from gesso.models.dcgan import DCGAN
from gesso.recipes import RECIPES


def one(steps: int, slowed: float) -> None:
    """Measure once in this process, and print the result as a line."""
    train_step = DCGAN.train_step

    def slow_step(self: DCGAN, batch: Batch, rng: np.random.Generator) -> object:
        start = time.perf_counter()
        losses = train_step(self, batch, rng)
        end = time.perf_counter()
        while time.perf_counter() < end + slowed * (end - start):
            pass
        return losses

    if slowed:
        DCGAN.train_step = slow_step  # type: ignore[method-assign, assignment]
    recipe = dataclasses.replace(RECIPES["dcgan-demo"](), batch_size=16, compile="off", device="cpu")
    result = measure(Job(recipe, "train", "synthetic", steps=steps))
    assert result
    print(result.to_json())


def repeat(steps: int, slowed: float) -> str:
    words = [sys.executable, __file__, "--one", "--steps", str(steps), "--slowed", str(slowed)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def fails(folder: Path, base: list[str], head: list[str]) -> bool:
    files = [folder / "base.jsonl", folder / "head.jsonl"]
    for file, lines in zip(files, (base, head), strict=True):
        file.write_text("".join(lines))
    words = [sys.executable, "-m", "gesso", "bench", "compare", *map(str, files), "--fail-below", "0.95"]
    code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
    assert code in (0, 1), code
    return code == 1


def spread(lines: list[str]) -> float:
    """Standard deviation of the median step between runs, as a share."""
    medians = [float(np.median(Result.from_json(line).step_seconds)) for line in lines]
    return float(np.log(medians).std(ddof=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--slowed", type=float, default=0.1, help="share by which the steps of a slow side are longer")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.steps, options.slowed)
    false_alarms = caught = 0
    noises = []
    before: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(options.tries + 1):
            same: list[str] = []
            slow: list[str] = []
            for _ in range(options.repeats):
                same.append(repeat(options.steps, 0))
                if number < options.tries:
                    slow.append(repeat(options.steps, options.slowed))
            noises.append(spread(same))
            if before:
                false_alarms += fails(Path(temporary), before, same)
            if slow:
                caught += fails(Path(temporary), same, slow)
            before = same
            print(
                f"[{number}] same code failed {false_alarms}, slowed failed {caught}; noise {noises[-1]:.1%}",
                flush=True,
            )
    print(
        f"{options.repeats} repeat runs: same code failed {false_alarms} of {options.tries}, slowed by "
        f"{options.slowed:.0%} failed {caught} of {options.tries}; noise between runs {np.median(noises):.1%} (median)"
    )


if __name__ == "__main__":
    main()
