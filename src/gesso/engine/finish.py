"""What is said of a run once it is trained: its scores with their protocol, and pictures to look at."""

import json
from pathlib import Path
from typing import Any

from gesso.data.sources import evaluation_split, open_source
from gesso.data.store import Store, evaluation_fit, open_store
from gesso.engine import checkpoint
from gesso.engine.checkpoint import Checkpoint
from gesso.engine.evaluate import Row, evaluate, protocol
from gesso.engine.launch import Choices
from gesso.engine.runs import METRICS
from gesso.engine.sheets import write_slider
from gesso.engine.state import AVERAGED, load_into
from gesso.errors import CheckpointError
from gesso.files import write_atomically
from gesso.metrics.paired import PAIRED
from gesso.models.base import Model
from gesso.progress import Bar, Say


def finish(run: Path, model: Model, choices: Choices, say: Say) -> list[Row]:
    """Score the best checkpoint on the held-out split, draw the slider's pictures; print the table."""
    found = checkpoint.find(run, "best", say)
    store = held_out(model, say)
    metrics = score(model, found, choices, store)
    write_metrics(run, metrics)
    write_slider(run, model, store, choices.device.value, None)
    for line in table(metrics):
        say(line)
    rows: list[Row] = metrics["rows"]
    return rows


def load_for_use(model: Model, found: Checkpoint) -> bool:
    """The checkpoint's generators into `model`, averaged ones where it has them; whether it had."""
    if found.model != model.config.model:
        raise CheckpointError(f"{found.path}: a checkpoint of {found.model}, not of {model.config.model}")
    averaged = any(name.endswith(AVERAGED) for name in found.weights)
    for name in model.generators:
        key = name + AVERAGED if averaged else name
        if key not in found.weights:
            raise CheckpointError(f"{found.path}: it has no network {key}")
        load_into(model.networks[name], found.weights[key], f"{found.path}/{key}.safetensors")
    return averaged


def held_out(model: Model, say: Say, split: str = "auto") -> Store:
    """The images to score a checkpoint on.

    auto: test, or val where there is no test, so that a checkpoint is not scored on what chose it.
    """
    data = model.config.data
    source = open_source(data, evaluation_split(data, split, ("test", "val")), not model.aligned)
    return open_store(source, evaluation_fit(data), data, say)


def score(model: Model, found: Checkpoint, choices: Choices, store: Store, batch_size: int = 8) -> dict[str, Any]:
    """What goes into metrics.json: the table of `found` on `store` and the protocol."""
    averaged = load_for_use(model, found)
    with Bar(f"scoring {store.source.split}", 1) as bar:
        rows = evaluate(model, store, choices.device.value, batch_size=batch_size, progress=bar.update)
    arithmetic = f"{choices.precision.value} on {choices.device.value}"
    return {
        "checkpoint": found.path.name,
        "images": found.images,
        "split": store.source.split,
        "rows": rows,
        "protocol": protocol(model, store, found.path.name, averaged, arithmetic),
    }


def write_metrics(run: Path, metrics: dict[str, Any]) -> None:
    write_atomically(run / METRICS, json.dumps(metrics, indent=2) + "\n")


def table(metrics: dict[str, Any]) -> list[str]:
    """The scores as lines of text, the protocol under them."""
    rows: list[Row] = metrics["rows"]
    if not rows:
        return [f"split {metrics['split']} has no pairs, so there is no right answer to score against"]
    lines = [f"{'direction':<10} {'method':<14}" + "".join(f"{name:>9}" for name in PAIRED)]
    for row in rows:
        scores = "".join(f"{row[name]:9.4f}" if name in row else f"{'–':>9}" for name in PAIRED)
        lines.append(f"{row['direction']:<10} {row['method']:<14}{scores}")
    return [*lines, *(f"  {line}" for line in metrics["protocol"].splitlines())]
