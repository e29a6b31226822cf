"""An exported model run again, on real pictures, and compared with torch: what differs too much is not written."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gesso.data.images import resize
from gesso.errors import UsageError
from gesso.exporting.graph import Graph
from gesso.exporting.pictures import Tried, tried_on
from gesso.exporting.source import Options, Source
from gesso.metrics.paired import l1
from gesso.progress import tell

Run = Callable[[np.ndarray], np.ndarray]
"""Runs an exported model: its input to the output that is compared."""

BATCHES = (1, 2)
ALLOWED = {"fp32": ("largest", 1.0), "fp16": ("largest", 50.0), "int8": ("mean", 100.0)}
"""Which difference to torch may be how many times --tolerance. int8 has 255 steps in each layer: single pixels can be
anywhere, and only the mean tells whether it works."""
LEVEL = 2 / 255
"""One grey level, in units of [-1, 1]: by so much rounding to bytes may differ where the numbers hardly do."""
SCORED = 32
"""Pictures that an int8 model is scored on; it is calibrated on as many others."""


@dataclass
class Difference:
    """The largest and the mean difference over all that was compared."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0

    def add(self, made: np.ndarray, expected: np.ndarray) -> None:
        difference = np.abs(made.astype(np.float64) - expected)
        # NaN, the maximum of which is NaN and no larger than anything, must not pass for equal.
        self.largest = max(self.largest, float(np.nan_to_num(difference.max(), nan=np.inf)))
        self.total += float(np.nan_to_num(difference, nan=np.inf).sum())
        self.count += difference.size

    @property
    def mean(self) -> float:
        return self.total / self.count


def check(run: Run, graph: Graph, source: Source, options: Options, name: str) -> None:
    """Compare what `run` makes with torch and tell the difference; UsageError where it is larger than is allowed."""
    tried = tried_on(source, graph.about.direction, max(BATCHES))
    difference, shapes = Difference(), []
    for inputs in _sized(tried, graph):
        shapes.append("x".join(map(str, inputs.shape[:0:-1][:2])))
        for batch in BATCHES:
            some = np.resize(inputs, (batch, *inputs.shape[1:]))
            difference.add(_number(run(some)), _number(_expected(graph, some)))
    kind, times = ALLOWED[options.precision]
    allowed = options.tolerance * times + (LEVEL if options.uint8 and graph.about.kind != "classifier" else 0)
    at = f" at {', '.join(shapes)}" if graph.about.kind == "translator" else ""
    tell(
        f"{name}: against torch on {tried.what}{at}, batch {' and '.join(map(str, BATCHES))}: "
        f"largest difference {difference.largest:.2g}, mean {difference.mean:.2g} (passes: {kind} {allowed:.2g})"
    )
    found = {"largest": difference.largest, "mean": difference.mean}[kind]
    if not found <= allowed:
        raise UsageError(
            f"--tolerance {options.tolerance:g}: {name} differs from torch by {found:.2g} ({kind}), more than "
            f"{allowed:.2g}; nothing was written"
        )


def score(run: Run, graph: Graph, source: Source, name: str) -> None:
    """Tell what the arithmetic of `run` costs: how far its results are from torch's, and the scores of both.

    L1 is that of `metrics.paired`, in [0, 1]; of a classifier, between the probabilities.
    """
    tried = tried_on(source, graph.about.direction, 2 * SCORED).half(1)
    inputs = [as_input(single[None], graph) for single in tried.inputs]
    made = [torch.from_numpy(_number(run(each))) for each in inputs]
    expected = [torch.from_numpy(_number(_expected(graph, each))) for each in inputs]
    if graph.about.kind == "classifier":
        ours, theirs = ([int(shares.argmax()) for shares in each] for each in (made, expected))
        apart = np.mean([float((a - b).abs().mean()) for a, b in zip(made, expected, strict=True)])
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        told = f"L1 to torch {apart:.4f}; the same class in {same} of {len(ours)}"
        if tried.labels:
            told += f"; top-1 {_share(ours, tried.labels):.4f}, torch's {_share(theirs, tried.labels):.4f}"
    else:
        told = f"L1 to torch {_mean_l1(made, expected):.4f}"
        if tried.targets:
            targets = [torch.from_numpy(_number(each[None])) for each in tried.targets]
            told += f"; L1 to the targets {_mean_l1(made, targets):.4f}, torch's {_mean_l1(expected, targets):.4f}"
    tell(f"{name}: {graph.about.precision} on {tried.what}: {told}")


def _mean_l1(made: list[Tensor], others: list[Tensor]) -> float:
    """Over pictures, each 1×C×H×W in [-1, 1]."""
    return float(np.mean([float(l1(a, b)) for a, b in zip(made, others, strict=True)]))


def _share(found: list[int], labels: list[int]) -> float:
    """Of all, how many were found to be what they are."""
    return sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)


def as_input(inputs: np.ndarray, graph: Graph) -> np.ndarray:
    """Pictures, uint8, as `graph` takes them; latent vectors as they are."""
    return inputs if graph.about.uint8 or inputs.dtype != np.uint8 else _number(inputs).astype(np.float32)


def _number(values: np.ndarray) -> np.ndarray:
    """Bytes as numbers in [-1, 1]; numbers as they are."""
    return values.astype(np.float32) / np.float32(127.5) - 1 if values.dtype == np.uint8 else values


def _expected(graph: Graph, inputs: np.ndarray) -> np.ndarray:
    """What torch makes of the inputs of `graph`, in [-1, 1]; rounded to bytes where the graph does."""
    made: Tensor = graph.reference(torch.from_numpy(_number(inputs)))
    if graph.about.uint8 and graph.about.kind != "classifier":
        made = ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return made.numpy()


def _sized(tried: Tried, graph: Graph) -> list[np.ndarray]:
    """N×C×H×W at a quarter of the training's size, at it, and at a size that is no square and fits no network; for
    other networks than translators N×… as they come."""
    if graph.about.kind != "translator":
        return [as_input(np.stack(tried.inputs), graph)]
    side = graph.about.size
    sizes = [(side // 4, side // 4), (side, side), (side * 3 // 4 + 9, side * 5 // 4 + 7)]
    return [
        as_input(np.stack([_resized(image, max(1, wide), max(1, high)) for image in tried.inputs]), graph)
        for high, wide in sizes
    ]


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.ascontiguousarray(
        resize(np.ascontiguousarray(image.transpose(1, 2, 0)), width, height).transpose(2, 0, 1)
    )
