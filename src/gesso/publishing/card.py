"""The card of a published model: what a stranger must know before she uses it, in the form that the hub reads.

It says what the run has written down, and what is not known it calls so. Scores stand with their baselines and their
protocol, as in the run's report, and nothing is measured anew. Every command on it runs.
"""

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import gesso
from gesso.engine import figures_models
from gesso.engine.judging import OURS, columns
from gesso.engine.report import changed_flags
from gesso.engine.state import used_keys
from gesso.hub import is_hub
from gesso.models.translation import Translator
from gesso.networks.macs import macs
from gesso.publishing.subject import SHEET, Subject
from gesso.publishing.words import (
    LICENCES,
    UNLICENSED,
    about,
    classes_of,
    code,
    images_of_sheet,
    limits,
    number,
    papers,
    plain,
    purpose,
    scores,
    verbatim,
    what_goes_in,
)
from gesso.recipe import BUILTIN_STREETS, Kind
from gesso.recipe.classification import ClassificationRecipe
from gesso.recipe.distill import DistillRecipe
from gesso.recipes import RECIPES

TASKS: dict[Kind, str] = {
    "translator": "image-to-image",
    "generator": "unconditional-image-generation",
    "classifier": "image-classification",
}
"""The hub's names of what models do."""
METRICS = {"top1": "accuracy", "top5": "top_5_accuracy", "L1": "mae"}
"""The hub's names of scores, where they are not ours in small letters."""
INSTALLED = "installed from a checkout as its README says (`pip install -c constraints.txt .`)"
"""Where gesso comes from; not from a package index."""
ARROWS: dict[str | None, str] = {"lower": " ↓", "higher": " ↑"}
"""By which way is better, what stands behind the name of a score."""
PREPARATION = (
    "preprocess", "load_size", "crop_size", "image_size", "resize", "flip", "half", "normalization", "layout",
)  # fmt: skip
"""Fields of a recipe's data that say what became of a picture before the model saw it; no model has all."""


def write_card(subject: Subject, place: str, sizes: Mapping[str, int]) -> str:
    """The card of `subject` in Markdown.

    place  what a user names it by: hub:OWNER/NAME, or the folder's name
    sizes  bytes of each published file, by name
    """
    sections = {
        "Use": _use(subject, place),
        "Data": _data(subject),
        "Scores": _scores(subject),
        "Samples": _samples(subject),
        "Cost": _cost(subject, sizes),
        "Limits": [f"- {line}" for line in limits(subject)],
        "Training": _training(subject),
        "Provenance": _provenance(subject),
        "Citation": [f"- {paper}" for paper in papers(subject.recipe)],
        "Licence": [verbatim(subject.asked.licence) or f"**{UNLICENSED}.**"],
    }
    told = [line for title, lines in sections.items() if lines for line in (f"## {title}", "", *lines, "")]
    start = [f"# {verbatim(subject.title)}", "", _sentences(purpose(subject), about(subject)), ""]
    return "\n".join(["---", _front_matter(subject), "---", "", *start, *told]).rstrip() + "\n"


def _front_matter(subject: Subject) -> str:
    """What the hub's own pages and searches know of the model, as YAML."""
    from huggingface_hub import ModelCardData

    recipe, licence = subject.recipe, subject.asked.licence
    known = LICENCES.get(licence.lower().removesuffix("-only").removesuffix("-or-later"))
    results = _results(subject)
    return ModelCardData(
        license=(known or "other") if licence else None,
        license_name=None if known else re.sub(r"[^a-z0-9.-]+", "-", licence.lower())[:60].strip("-.") or None,
        library_name="gesso",
        pipeline_tag=TASKS[recipe.kind],
        tags=["gesso", recipe.model, *([recipe.recipe] if recipe.recipe in RECIPES else [])],
        datasets=list(subject.asked.datasets) or None,
        model_name=subject.title if results else None,
        eval_results=results or None,
        description=subject.asked.about or None,
    ).to_yaml()


def _results(subject: Subject) -> list[Any]:
    """The model's own scores, as the hub's `model-index` has them."""
    from huggingface_hub import EvalResult

    rows = subject.metrics.get("rows")
    ours = (
        [row for row in rows if isinstance(row, dict) and row.get("method") == OURS] if isinstance(rows, list) else []
    )
    return [
        EvalResult(
            task_type=TASKS[subject.recipe.kind],
            dataset_type=next(iter(subject.asked.datasets), subject.data_name),
            dataset_name=subject.data_name,
            dataset_split=str(subject.metrics.get("split", "")) or None,
            metric_type=METRICS.get(name, name.lower().replace(" ", "_")),
            metric_name=f"{name} {row.get('direction', '')}".strip(),
            metric_value=row[name],
        )
        for row in ours
        for name in columns([row])
        if isinstance(row[name], int | float) and math.isfinite(row[name])
    ]


def _use(subject: Subject, place: str) -> list[str]:
    recipe = subject.recipe
    named = shlex.quote(place)
    if recipe.kind == "translator":
        assert isinstance(subject.model, Translator)
        directions = list(subject.model.translations)
        use = [f"gesso translate {named} photos/ -o out-{each}/ --direction {each}" for each in directions]
        if len(directions) == 1:
            use = [f"gesso translate {named} photos/ -o out/"]
    elif recipe.kind == "generator":
        use = [f"gesso sample {named} -o sheet.png -n 16"]
    else:
        use = [f"gesso classify {named} photos/ --top 3"]
    root = recipe.data.root
    score = f"gesso evaluate {named}" + (
        "" if root == BUILTIN_STREETS else " --data-root " + shlex.quote(f"datasets/{subject.data_name}")
    )
    pinned = "`@COMMIT` behind the name pins what is used." if is_hub(place) else "The name is this folder's."
    return [
        _sentences(what_goes_in(subject), about(subject), f"With gesso {gesso.__version__} or newer, {INSTALLED}:"),
        "",
        "```sh",
        *use,
        "```",
        "",
        f"{pinned} The scores below are those of",
        "",
        "```sh",
        score,
        "```",
        "",
        "where the data set is at hand. There is no pickle in this model, and none of its files is code.",
    ]


def _data(subject: Subject) -> list[str]:
    recipe = subject.recipe
    data, environment = recipe.data, subject.environment
    counted = environment.get("training images")
    seen = f"Its training split has {number(counted)} images." if isinstance(counted, int) and counted else ""
    if subject.imported:
        told = "What it was trained on is not known here: the weights were imported."
    elif data.root == BUILTIN_STREETS:
        told = f"The streets that gesso renders itself. {seen}"
    else:
        named = f" ({', '.join(map(code, subject.asked.datasets))} on the hub)" if subject.asked.datasets else ""
        told = f"The data set {code(subject.data_name)}{named}, which is not published with the model. {seen}"
    fields = [f"{name.replace('_', ' ')} {value}" for name, value in vars(data).items() if name in PREPARATION]
    lines = [told.strip(), "", f"Preparation: {', '.join(fields)}."]
    if isinstance(recipe, ClassificationRecipe):
        lines += ["", classes_of(recipe)]
    return lines


def _scores(subject: Subject) -> list[str]:
    metrics = subject.metrics
    tables = scores(subject)
    if not tables:
        return ["This checkpoint was not scored, so how good it is nobody has measured."]
    lines: list[str] = []
    for table in tables:
        heads = [name + ARROWS.get(way, "") for name, way in table.columns]
        body = [[row.method, *(f"**{text}**" if best else text for text, best in row.cells)] for row in table.rows]
        lines += [f"### {table.direction}", ""] if table.direction else []
        lines += [*_table(["method", *heads], body), "", *([table.verdict, ""] if table.verdict else [])]
    lines += [
        f"↓ lower, ↑ higher is better; split {code(str(metrics.get('split', '')))}. How they were measured:",
        "",
    ]
    lines += [f"- {plain(line)}" for line in str(metrics.get("protocol", "")).splitlines() if line.strip()]
    if models := figures_models.models(metrics):
        lines += ["", "### Beside other models", "", *_table(models["columns"], models["rows"]), ""]
        lines += [f"- {plain(line)}" for line in models["remarks"]]
    return lines


def _samples(subject: Subject) -> list[str]:
    if not subject.sheet:
        return []
    at = subject.sheet.images
    side = "before" if at < subject.found.images else "after"
    when = "" if at == subject.found.images else f" It was drawn after {number(at)} images, {side} this checkpoint."
    return [f"![{images_of_sheet(subject)}]({SHEET})", "", f"{images_of_sheet(subject)}. Not chosen by anybody.{when}"]


def _cost(subject: Subject, sizes: Mapping[str, int]) -> list[str]:
    inputs, rows = subject.model.inputs(), []
    for name, key in used_keys(subject.found, subject.model.used).items():
        network, file = subject.model.networks[name], f"{key}.safetensors"
        shape = "×".join(map(str, inputs[name].shape[1:]))
        rows.append(
            [
                name,
                f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.3f} M",
                f"{macs(network, inputs[name]) / 1e9:.3f} G for {shape}",
                f"{file}, {sizes[file] / 1e6:.2f} MB",
            ]
        )
    return _table(["network", "parameters", "multiply-accumulates", "file"], rows)


def _training(subject: Subject) -> list[str]:
    recipe = subject.recipe
    if subject.imported:
        return [
            "By another program. Of `recipe.json` the architecture is what the weights tell, the rest are defaults."
        ]
    origin, changed = changed_flags(recipe)
    lines = [f"By {origin}" + (", which was changed in:" if changed else ", as it is."), ""]
    if changed:
        lines += [
            *_table(
                ["flag", "in the recipe"],
                [[f"`{flag}`", f"`{there}`" if there.strip("'") else "–"] for flag, there in changed],
            ),
            "",
        ]
    if recipe.recipe in RECIPES:
        flags = [flag for flag, _ in changed]
        lines += ["The same training:", "", "```text", " ".join(["gesso train", recipe.recipe, *flags]), "```"]
    return lines


def _provenance(subject: Subject) -> list[str]:
    found, environment = subject.found, subject.environment
    named = ("gesso", "commit", "torch", "device")
    parts = [f"{name} {environment[name]}" for name in named if environment.get(name)]
    parts += [verbatim(str(environment["hardware"]))] if environment.get("hardware") else []
    weights = "averaged weights" if subject.averaged else "weights as they were trained"
    lines = [f"checkpoint {found.path.name}, {number(found.images)} images seen, {weights}"]
    if parts:
        lines.append(("imported with " if subject.imported else "trained with ") + ", ".join(parts))
    lines.append(f"published with gesso {gesso.__version__}")
    lines.append(f"SHA-256 of the checkpoint's manifest in its run: `{subject.digest}`")
    lines += [
        f"{name}: imported from {code(origin['file'])}, SHA-256 `{origin['sha256']}`"
        for name, origin in subject.imported.items()
    ]
    if isinstance(subject.recipe, DistillRecipe):
        lines.append(
            f"taught by {code(subject.recipe.teacher)}, SHA-256 of its weights `{subject.recipe.taught.digest}`"
        )
    if subject.recipe.start_from:
        lines.append(f"begun with the weights of {', '.join(map(code, subject.recipe.start_from))}")
    lines.append("`manifest.json` has a digest of every file of the model; gesso verifies them whenever it reads it")
    return [f"- {line}" for line in lines]


def _sentences(*told: str) -> str:
    """Those that are not empty, in one paragraph. None that a user gave begins it, where Markdown has its marks."""
    return " ".join(filter(None, told))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    body = [[plain(cell).replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in body]
    return [lines[0], "|" + "---|" * len(body[0]), *lines[1:]]
