"""What is said of a run once it is trained: its scores with their protocol, and pictures to look at."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesso.engine import checkpoint
from gesso.engine.checkpoint import Checkpoint
from gesso.engine.comparing import beside_teacher
from gesso.engine.comparing import lines as table_of_models
from gesso.engine.judging import Judge, Row, columns
from gesso.engine.judging.shard import WHOLE, Shard, shard_of
from gesso.engine.launch import Choices
from gesso.engine.runs import METRICS
from gesso.engine.state import load_for_use
from gesso.files import write_atomically
from gesso.processes import ALONE, World
from gesso.progress import Bar, Say
from gesso.recipe import DistillRecipe

FLATTERED = "the split that is scored here"
"""In a protocol: that the images which chose the checkpoint are those that it is scored on."""


@dataclass(frozen=True)
class Scored:
    """What a judge has found of a checkpoint: `images` seen by then, the table, and what `Judge.details` gave."""

    images: int
    rows: list[Row]
    details: dict[str, Any]


def finish(
    run: Path, judge: Judge, scored: Scored | None, choices: Choices, say: Say, world: World = ALONE
) -> list[Row]:
    """Score the best checkpoint by `judge`, write the report's gallery; print the table.

    scored: what `judge` has found already, which is not done again where it is of the best checkpoint

    With --evaluation.split none only the gallery is written, no metrics.json, and the table is empty.
    """
    with world.main_first():
        found = checkpoint.find(run, "best", say)
    if not judge.model.recipe.evaluation.wanted:
        load_for_use(judge.model, found)
        if world.main:
            judge.write_gallery(run, choices.device.value)
        say(f"nothing was scored, as --evaluation.split none asks; gesso evaluate {run} does")
        return []
    if scored and scored.images != found.images:
        scored = None
    metrics = score(found, judge, choices, shard=shard_of(world), scored=scored)
    recipe, precision = judge.model.recipe, choices.precision.value
    if isinstance(recipe, DistillRecipe):
        metrics["models"] = beside_teacher(recipe, run, found, metrics["rows"], recipe.device, precision, say, world)
    if world.main:
        write_metrics(run, metrics)
        judge.write_gallery(run, choices.device.value)
    for line in table(metrics):
        say(line)
    rows: list[Row] = metrics["rows"]
    return rows


def score(
    found: Checkpoint,
    judge: Judge,
    choices: Choices,
    batch_size: int = 0,
    shard: Shard = WHOLE,
    scored: Scored | None = None,
) -> dict[str, Any]:
    """What goes into metrics.json: the table of `found` by `judge` and the protocol. scored: that table, where it is
    known already."""
    averaged = load_for_use(judge.model, found)
    device = choices.device.value
    if not scored:
        with Bar(f"scoring {judge.split}", 1) as bar:
            rows = judge.rows(device, batch_size=batch_size, progress=bar.update, shard=shard)
        scored = Scored(found.images, rows, judge.details())
    weights = "averaged weights, " if averaged else ""
    arithmetic = f"weights: checkpoint {found.path.name}, {weights}{choices.precision.value} on {device}"
    protocol = [*judge.protocol(), arithmetic, *how_chosen(found, judge.split)]
    return {
        "checkpoint": found.path.name,
        "images": found.images,
        "split": judge.split,
        "rows": scored.rows,
        "better": {name: "higher" if higher else "lower" for name, higher in judge.scored.items()},
        "protocol": "\n".join(protocol),
        **scored.details,
    }


def how_chosen(found: Checkpoint, split: str) -> list[str]:
    """What chose `found`, for the protocol of its scores on `split`; nothing where no score did."""
    best = found.progress.get("best", {})
    if best.get("images") != found.images or "split" not in best:  # not the best, or saved before this was written down
        return []
    seen = f"; {FLATTERED}, so its scores are a little flattering" if best["split"] == split else ""
    return [f"checkpoint: chosen by {best['name']} on split {best['split']}{seen}"]


def write_metrics(run: Path, metrics: dict[str, Any]) -> None:
    write_atomically(run / METRICS, json.dumps(metrics, indent=2) + "\n")


def table(metrics: dict[str, Any]) -> list[str]:
    """The scores as lines of text, the protocol under them."""
    rows: list[Row] = metrics["rows"]
    protocol = [f"  {line}" for line in metrics["protocol"].splitlines()]
    if not rows:
        return [f"split {metrics['split']}: nothing was scored", *protocol, *compared(metrics)]
    names = columns(rows)
    directed = any(row["direction"] for row in rows)
    widths = {name: max(11, len(name) + 2) for name in names}
    method = max(14, *(len(row["method"]) + 2 for row in rows))
    lines = [("direction  " if directed else "") + "method".ljust(method) + "".join(n.rjust(widths[n]) for n in names)]
    for row in rows:
        scores = "".join((f"{row[n]:.4f}" if n in row else "–").rjust(widths[n]) for n in names)
        lines.append((f"{row['direction']:<11}" if directed else "") + row["method"].ljust(method) + scores)
    return [*lines, *protocol, *compared(metrics)]


def compared(metrics: dict[str, Any]) -> list[str]:
    """The models side by side, where there are several, as lines of text below an empty one."""
    return ["", *table_of_models(metrics["models"])] if "models" in metrics else []
