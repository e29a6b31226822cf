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
from gesso.progress import say, tell

Run = Callable[[np.ndarray], np.ndarray]
"""Runs an exported model: its input to the output that is compared."""

BATCHES = (1, 2)
ALLOWED = {"fp32": ("largest", 1.0), "fp16": ("largest", 50.0), "int8": ("mean", 100.0)}
"""Which difference to torch may be how many times --tolerance. int8 has 255 steps in each layer: single pixels can be
anywhere, and only the mean tells whether it works."""
LEVEL = 2 / 255
"""One grey level, in units of [-1, 1]: by so much rounding to bytes may differ where the numbers hardly do."""


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
    difference, sized = Difference(), _sized(tried, graph)
    for size, inputs in sized.items():
        say(f"{name}: running it on {tried.what}{size and f' at {size}'}")
        for batch in BATCHES:
            some = np.resize(inputs, (batch, *inputs.shape[1:]))
            difference.add(as_number(run(some)), as_number(_expected(graph, some)))
    kind, times = ALLOWED[options.precision]
    allowed = options.tolerance * times + (LEVEL if options.uint8 and graph.about.kind != "classifier" else 0)
    sizes = f" at {', '.join(sized)}" if graph.about.kind == "translator" else ""
    unit = "of probabilities" if graph.about.kind == "classifier" else "in [-1, 1]"
    tell(
        f"{name}: against torch on {tried.what}{sizes}, batch {' and '.join(map(str, BATCHES))}: "
        f"largest difference {difference.largest:.2g}, mean {difference.mean:.2g} {unit} (passes: {kind} {allowed:.2g})"
    )
    found = {"largest": difference.largest, "mean": difference.mean}[kind]
    if not found <= allowed:
        raise UsageError(
            f"--tolerance {options.tolerance:g}: {name} differs from torch by {found:.2g} ({kind}), more than "
            f"{allowed:.2g}; nothing was written"
        )


def as_input(inputs: np.ndarray, graph: Graph) -> np.ndarray:
    """Pictures, uint8, as `graph` takes them; latent vectors as they are."""
    return inputs if graph.about.uint8 or inputs.dtype != np.uint8 else as_number(inputs).astype(np.float32)


def as_number(values: np.ndarray) -> np.ndarray:
    """Bytes as numbers in [-1, 1]; numbers as they are."""
    return values.astype(np.float32) / np.float32(127.5) - 1 if values.dtype == np.uint8 else values


def _expected(graph: Graph, inputs: np.ndarray) -> np.ndarray:
    """What torch makes of the inputs of `graph`, in [-1, 1]; rounded to bytes where the graph does."""
    made: Tensor = graph.reference(torch.from_numpy(as_number(inputs)))
    if graph.about.uint8 and graph.about.kind != "classifier":
        made = ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return made.numpy()


def _sized(tried: Tried, graph: Graph) -> dict[str, np.ndarray]:
    """N×C×H×W by size in words: a quarter of the training's, it, and one that is no square and fits no network; for
    other networks than translators N×… as they come, of no size."""
    if graph.about.kind != "translator":
        return {"": as_input(np.stack(tried.inputs), graph)}
    side = graph.about.size
    sizes = [(side // 4, side // 4), (side, side), (side * 5 // 4 + 7, side * 3 // 4 + 9)]
    return {
        f"{width}x{height}": as_input(np.stack([_resized(image, width, height) for image in tried.inputs]), graph)
        for width, height in [(max(1, width), max(1, height)) for width, height in sizes]
    }


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.ascontiguousarray(
        resize(np.ascontiguousarray(image.transpose(1, 2, 0)), width, height).transpose(2, 0, 1)
    )
