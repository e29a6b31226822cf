"""The report of a run: index.html in the run folder, one page that opens from disk without server or network.

Everything but the pictures is inside the page, so that it can be archived and opened in ten years. It is
made from the run folder's files alone and takes any of them missing: it is written many times while the run
is young, and again after an interruption. figures.py and figures_classes.py make tables and curves;
report.html.jinja, report.css and report.js decide how they look.
"""

import dataclasses
import json
import os
import re
import shlex
import statistics
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from gesso.engine import figures, figures_classes, figures_models
from gesso.engine.figures import Clock
from gesso.engine.runlog import Record, read_log
from gesso.errors import CheckpointError, UsageError
from gesso.files import write_atomically
from gesso.recipe import Recipe, as_flag, as_value, from_json
from gesso.recipes import RECIPES
from gesso.restoring import flat

PATIENCE = 15 * 60.0
"""Seconds of silence after which a run counts as stopped; three times its longest silence if that is more."""

NOT_TYPED = ("data.names", "taught.")
"""Beginnings of fields of a recipe that the data set or a teacher fills in."""

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("gesso", "engine"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}


def write_report(run: Path, now: float | None = None) -> Path:
    """Write the page of the run folder `run` and return its path; the page before it stays until it is whole.

    `now` (unix seconds, the clock's if None) is the time of writing: a run without news by then has stopped.
    UsageError where `run` is no folder, DiskError where a file cannot be read or the page not written.
    """
    if not run.is_dir():
        raise UsageError(f"{run}: not a run folder; name one that `gesso train` made")
    page = _TEMPLATES.get_template("report.html.jinja").render(_page(run, time.time() if now is None else now))
    path = run / "index.html"
    write_atomically(path, page.encode("utf-8", "backslashreplace"))
    return path


def _page(run: Path, now: float) -> dict[str, Any]:
    """All that the template shows."""
    warnings: list[str] = []
    log = read_log(run / "log.jsonl")
    recipe = read_object(run / "recipe.json", warnings)
    environment = read_object(run / "environment.json", warnings)
    metrics = read_object(run / "metrics.json", warnings)
    clock = Clock.of(log, recipe.get("epochs"))
    classes, all_classes = figures_classes.class_rows(metrics)
    sheets = _sheets(run / "samples", clock)
    pictures = _pictures(run / "samples" / "slider")
    choices = environment.pop("choices", None)
    place = shlex.quote(os.path.relpath(run) if run.resolve().is_relative_to(Path.cwd()) else str(run))
    origin, changed = _changed(recipe, warnings)
    return {
        "name": run.resolve().name,
        "model": recipe.get("model"),
        "recipe_name": recipe.get("recipe"),
        "state": _state(log, clock, now),
        "written": datetime.fromtimestamp(now, UTC),
        "facts": _facts(log, clock, environment),
        "tables": figures.tables(metrics),
        "models": figures_models.models(metrics),
        "protocol": _lines(metrics.get("protocol")),
        "scored": [(key, metrics[key]) for key in ("split", "checkpoint") if key in metrics],
        "progress": figures.progress(log, clock, figures.ways_of(metrics)),
        "sheets": sheets,
        "pictures": pictures,
        "gallery": _gallery(run / "samples" / "gallery"),
        "classes": classes,
        "all_classes": all_classes,
        "matrix": figures_classes.matrix(metrics),
        "data": {
            "unit": clock.unit,
            "losses": figures.main_chart(log, clock),
            "small": figures.small_charts(log, clock, figures.ways_of(metrics)),
            "sheets": sheets,
            "pictures": pictures,
        },
        "origin": origin,
        "changed": changed,
        "recipe": json.dumps(recipe, indent=2, ensure_ascii=False) if recipe else "",
        "environment": {key: value for key, value in environment.items() if value not in (None, "")},
        "choices": choices if isinstance(choices, dict) else {},
        "commands": [f"gesso resume {place}", f"gesso evaluate {place}"],
        "warnings": warnings + figures.diverged(figures.curves(log, "loss", "losses"), clock),
        "notes": [(clock.label(r["images"]), str(r.get("text", ""))) for r in log if r["kind"] == "note"],
    }


def read_object(path: Path, warnings: list[str]) -> dict[str, Any]:
    """The JSON object at `path`; empty where there is none, and with a warning where it cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        warnings.append(f"{path.name} cannot be read; what it holds is missing from this page.")
        return {}
    return value


def _state(log: list[Record], clock: Clock, now: float) -> dict[str, Any]:
    """Whether the run is new, running, stopped or finished; the page turns running into stopped by itself."""
    if not log:
        return {"kind": "new", "label": "Not started"}
    where = f"at {clock.label(clock.images)}" + (f" of {figures.short(clock.total)}" if clock.total else "")
    stopped = {"kind": "stopped", "label": f"Stopped {where}"}
    ends = [r["kind"] for r in log if r["kind"] in ("start", "resume", "finish")]
    if ends[-1:] == ["finish"]:
        # Epochs are rounded in the log, so a run counts as whole from half a hundredth before its end.
        whole = not (clock.total and clock.per_epoch) or clock.epochs >= 0.995 * clock.total
        return {"kind": "finished", "label": "Finished"} if whole else stopped
    silence = max((after["time"] - before["time"] for before, after in figures.steps(log)), default=0.0)
    until = log[-1]["time"] + max(PATIENCE, 3 * silence)
    if now > until:
        return stopped
    return {"kind": "running", "label": f"Running, {where}", "until": until, "later": stopped["label"]}


def _facts(log: list[Record], clock: Clock, environment: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures under the title: (name, value, remark)."""
    seconds = sum(max(0.0, after["time"] - before["time"]) for before, after in figures.steps(log))
    rates = [rate for r in log if (rate := figures.finite_or(r.get("images_per_second"), 0.0)) > 0]
    waits = [wait for r in log if (wait := figures.finite_or(r.get("data_fraction"), -1.0)) >= 0]
    seen = f"{figures.thousands(clock.images)} images"
    facts = []
    if clock.per_epoch:
        remark = f"of {figures.short(clock.total)} · {seen}" if clock.total else seen
        facts.append(("Epochs", figures.short(clock.epochs), remark))
    elif clock.images:
        facts.append(("Images", figures.thousands(clock.images), "seen"))
    if seconds:
        parts = sum(r["kind"] in ("start", "resume") for r in log)
        remark = f"in {parts} parts" if parts > 1 else ""
        left = (clock.total - clock.epochs) * clock.per_epoch
        if rates and left >= 0.005 * clock.total * clock.per_epoch:
            remark = f"about {figures.duration(left / statistics.median(rates[-50:]))} to go"
        facts.append(("Training time", figures.duration(seconds), remark))
    if rates:
        remark = f"{statistics.fmean(waits):.1%} of the time waiting for data" if waits else ""
        facts.append(("Images a second", figures.digits(statistics.median(rates), 3), remark))
    if environment.get("device"):
        facts.append(("Device", str(environment["device"]), str(environment.get("hardware", ""))))
    return facts


def _sheets(folder: Path, clock: Clock) -> list[dict[str, Any]]:
    """The sample sheets in the order of training. Their names are the images seen: 000012000.png."""
    sheets = []
    for path in sorted(folder.glob("*.png")):
        size = _png_size(path)
        if size and re.fullmatch(r"[0-9]+", path.stem):
            images = int(path.stem)
            label = clock.label(images) + (f", {figures.thousands(images)} images" if clock.per_epoch else "")
            sheets.append({"src": f"samples/{path.name}", "label": label, "width": size[0], "height": size[1]})
    return sheets


def _pictures(folder: Path) -> list[dict[str, Any]]:
    """The test images in `folder`: [DIRECTION_]NUMBER_{input,output,target}.png, the target optional."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.png")):
        name = re.fullmatch(r"(?:(.+)_)?([0-9]+)_(input|output|target)", path.stem)
        size = _png_size(path)
        if name and size:
            picture = found.setdefault((name[1] or "", int(name[2])), {})
            picture[name[3]] = f"samples/slider/{quote(path.name)}"
            if name[3] == "output":
                picture |= {"width": size[0], "height": size[1]}
    return [
        {"direction": direction, "number": number, "target": None, **picture}
        for (direction, number), picture in sorted(found.items())
        if "input" in picture and "output" in picture
    ]


def _gallery(folder: Path) -> list[dict[str, Any]]:
    """What a generator made, and real images beside it."""
    return [
        {"title": title, "src": f"samples/gallery/{name}.png", "width": size[0], "height": size[1]}
        for name, title in (("made", "Made from noise"), ("real", "Real images"))
        if (size := _png_size(folder / f"{name}.png"))
    ]


def _png_size(path: Path) -> tuple[int, int] | None:
    """(width, height) in pixels from a PNG's header; None for anything else, such as a file just begun."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    width, height = struct.unpack(">II", head[16:])
    return (width, height) if width and height else None


def _changed(values: dict[str, Any], warnings: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """`changed_flags` of the recipe whose JSON gave `values`; nothing of one that cannot be read, but a warning."""
    if not values:
        return "", []
    try:
        return changed_flags(from_json(json.dumps(values)))
    except CheckpointError as error:
        warnings.append(f"recipe.json: {error}.")
        return "", []


def changed_flags(recipe: Recipe) -> tuple[str, list[tuple[str, str]]]:
    """What a recipe came from, and where it differs: (the flag as one would type it, the value there)."""
    origin, base = _origin(recipe)
    ours, default = (flat(dataclasses.asdict(r)) for r in (recipe, base))
    return origin, [
        (as_flag(flag, value), as_flag(flag, not value) if isinstance(value, bool) else as_value(default[flag]))
        for flag, value in ours.items()
        if value != default[flag] and not flag.startswith(NOT_TYPED)
    ]


def _origin(recipe: Recipe) -> tuple[str, Recipe]:
    """What `recipe` came from: the recipe of its name, or, for one of a user's own, the defaults of its model."""
    if recipe.recipe in RECIPES and isinstance(named := RECIPES[recipe.recipe](), type(recipe)):
        return f"the recipe {recipe.recipe}", named
    return f"the defaults of {recipe.model}", type(recipe)(recipe=recipe.recipe)


def _lines(text: Any) -> list[str]:
    lines = text.splitlines() if isinstance(text, str) else text if isinstance(text, list) else []
    return [str(line) for line in lines if str(line).strip()]
