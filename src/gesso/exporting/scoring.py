"""What int8 costs and what it saves: a model beside its float32 self, on pictures that it was not calibrated on."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from gesso.exporting.checking import Run, as_input, as_number
from gesso.exporting.graph import Graph
from gesso.exporting.pictures import SCORED, tried_on
from gesso.exporting.source import Source
from gesso.metrics.paired import l1
from gesso.progress import say, tell


@dataclass(frozen=True)
class Built:
    """An exported model: the content of its files by suffix, the main one first, and what runs it."""

    files: dict[str, bytes]
    run: Run

    @property
    def size(self) -> float:
        """Of all files, in MB."""
        return sum(map(len, self.files.values())) / 1e6


def score(int8: Built, float32: Built, graph: Graph, source: Source, name: str) -> None:
    """Tell size, time and score of `int8`, each beside that of `float32` in the same runtime, and their distance.

    L1 is that of `metrics.paired`, in [0, 1]; of a classifier, between the probabilities.
    """
    tried = tried_on(source, graph.about.direction, 2 * SCORED).half(1)
    say(f"{name}: running int8 and fp32 in turn on {tried.what}")
    inputs = [as_input(single[None], graph) for single in tried.inputs]
    (made, taken), (expected, taken32) = _in_turn((int8.run, float32.run), inputs)
    told = [
        f"{int8.size:.2f} MB, fp32 {float32.size:.2f} MB",
        f"{taken:.2f} ms a picture, fp32 {taken32:.2f} ms",
        f"L1 to fp32 {_l1(made, expected, graph):.4f}",
    ]
    if graph.about.kind == "classifier":
        classes, classes32 = ([int(shares.argmax()) for shares in each] for each in (made, expected))
        told.append(f"the same class in {_count_same(classes, classes32)} of {len(classes)}")
        if tried.labels:
            top1, top1_32 = (_count_same(each, tried.labels) / len(each) for each in (classes, classes32))
            told.append(f"top-1 {top1:.4f}, fp32 {top1_32:.4f}")
    elif tried.targets:
        targets = [each[None] for each in tried.targets]
        told.append(f"L1 to the targets {_l1(made, targets, graph):.4f}, fp32 {_l1(expected, targets, graph):.4f}")
    tell(f"{name}: int8 on {tried.what}: {'; '.join(told)}")


def _in_turn(runs: tuple[Run, ...], inputs: list[np.ndarray]) -> list[tuple[list[np.ndarray], float]]:
    """For each of `runs` what it makes of each of `inputs`, and the median of the milliseconds that it takes.

    They take turns at every input, so that whatever else the machine does meets all of them.
    """
    made: list[list[np.ndarray]] = [[] for _ in runs]
    taken: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run(inputs[0])  # a runtime's first call sets up what later ones use
    for single in inputs:
        for run, results, times in zip(runs, made, taken, strict=True):
            begun = time.perf_counter()
            results.append(run(single))
            times.append((time.perf_counter() - begun) * 1e3)
    return [(results, float(np.median(times))) for results, times in zip(made, taken, strict=True)]


def _l1(made: list[np.ndarray], others: list[np.ndarray], graph: Graph) -> float:
    """The mean over results, 1×C×H×W in [-1, 1] or uint8, in [0, 1]; of probabilities, 1×K, as they are."""
    if graph.about.kind == "classifier":
        return float(np.mean([np.abs(a - b).mean() for a, b in zip(made, others, strict=True)]))
    numbers = [[torch.from_numpy(as_number(each)) for each in images] for images in (made, others)]
    return float(np.mean([float(l1(a, b)) for a, b in zip(*numbers, strict=True)]))


def _count_same(found: list[int], others: list[int]) -> int:
    return sum(a == b for a, b in zip(found, others, strict=True))
