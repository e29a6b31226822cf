"""What is published of a run: one checkpoint and what the run says of it, but nothing of the machine it lies on.

Recipes and environments hold paths, and so do scores where a network was named by its file. Others can do nothing with
them, and a folder's name may be a person's. Of each path its last name stays.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gesso
from gesso.engine.anchoring import last_name, named_alone
from gesso.engine.checkpoint import MANIFEST, PUBLISHED, RECIPE, Checkpoint, Weights, images_of, packed
from gesso.engine.pulling import name_of
from gesso.engine.report import read_object
from gesso.engine.runs import ENVIRONMENT, IMPORTED, METRICS, read_environment, read_recipe, versions
from gesso.engine.state import find_checkpoint, load_for_use, used_keys
from gesso.errors import UsageError
from gesso.files import shown
from gesso.hub import is_repo
from gesso.models import build_model
from gesso.models.base import Model
from gesso.recipe import BUILTIN_STREETS, Recipe
from gesso.restoring import flat

CARD, SHEET = "README.md", "sheet.png"
LONGEST = 300
"""Characters of the longest `about`."""
KEPT = ("processes", "training images", "commit", "device", "hardware")
"""Of a run's environment, beside versions and choices."""

_JOINERS = "\u200c\u200d"
"""Invisible characters that change what is seen: of emoji such as families, and of Persian words."""


def one_line(text: str) -> str:
    """`text` in one line, without the characters that steer a terminal, or turn or hide text (Unicode's Cc and Cf)."""
    seen = (c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in seen).split())


@dataclass(frozen=True)
class Asked:
    """What the user says of a publication.

    checkpoint  best, latest, or the number of one
    networks    used: those alone that are used after training; all: also those that only training needs
    title       of the card; empty for the run's name
    about       what the model's pictures show, such as "A: photos of facades, B: label maps"; empty where that is not
                said. UsageError where it is longer than `LONGEST`
    licence     of the weights, an SPDX name or a text; empty where none is given
    datasets    names on the hub of the data sets it was trained on. UsageError where one cannot be a name there
    sheet       whether the sample sheet goes with it, which shows pictures of the data set

    Title, about and licence are kept as `one_line` makes them, so that blanks are nothing wherever it is asked.
    """

    checkpoint: str = "best"
    networks: Literal["used", "all"] = "used"
    title: str = ""
    about: str = ""
    licence: str = ""
    datasets: tuple[str, ...] = ()
    sheet: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", one_line(self.title))
        object.__setattr__(self, "about", one_line(self.about))
        object.__setattr__(self, "licence", one_line(self.licence))
        for name in self.datasets:
            if not is_repo(name):
                raise UsageError(
                    f"--dataset {shown(name)}: not a name on the hub; write OWNER/NAME or NAME, of letters, digits, -, "
                    "_ and ."
                )
        if len(self.about) > LONGEST:
            raise UsageError(
                f"--about: {len(self.about)} characters, and it has {LONGEST} at most; shorten it, and write the rest "
                f"into {CARD} where it was published"
            )


@dataclass(frozen=True)
class Sheet:
    """A sample sheet, and the images that the model had seen when it was drawn."""

    path: Path
    images: int


@dataclass(frozen=True)
class Subject:
    """A model to publish.

    name         of its run
    recipe       with names in place of paths
    model        its used networks alone, with the weights that are used
    averaged     whether those are averaged ones
    missing      networks of the model that are not published, since only training needs them
    found        the checkpoint; digest: SHA-256 of its manifest, hexadecimal
    weights      what is published, by the names that the checkpoint has for it
    metrics      what metrics.json says of this checkpoint; empty where it was not scored
    environment  how it was trained; imported: what it was imported from, a file's name and digest by network
    """

    asked: Asked
    name: str
    recipe: Recipe
    model: Model
    averaged: bool
    missing: tuple[str, ...]
    found: Checkpoint
    digest: str
    weights: Weights
    metrics: dict[str, Any]
    environment: dict[str, Any]
    imported: dict[str, dict[str, str]]
    sheet: Sheet | None

    @property
    def title(self) -> str:
        """The card's title."""
        return self.asked.title or one_line(self.name)

    @property
    def data_name(self) -> str:
        """What the data set is called."""
        root = self.recipe.data.root
        return "streets" if root == BUILTIN_STREETS else root or "unknown"

    def files(self) -> dict[str, bytes]:
        """The checkpoint's files by name."""
        progress: dict[str, Any] = {
            name: self.found.progress[name] for name in ("best", "networks") if name in self.found.progress
        }
        progress[PUBLISHED] = {"checkpoint": self.found.path.name, "digest": self.digest, "gesso": gesso.__version__}
        texts = {RECIPE: self.recipe.to_json(), ENVIRONMENT: json.dumps(self.environment, indent=2) + "\n"}
        return packed(self.found.images, self.recipe.model, self.weights, progress, texts)


def load_subject(run: Path, asked: Asked) -> Subject:
    """What is to be published of `run`, a run or a checkpoint. CheckpointError where there is none whole."""
    found, recipe = find_checkpoint(run, asked.checkpoint), read_recipe(run)
    model = build_model(recipe)
    networks = tuple(model.networks)
    model.networks, model.teachers = {name: model.networks[name] for name in model.used}, {}
    averaged = load_for_use(model, found)
    keys = list(found.weights) if asked.networks == "all" else list(used_keys(found, model.used).values())
    owner = found.path.parent.parent if found.path.parent.name == "checkpoints" else run
    environment = read_environment(owner)
    private = _Private(recipe, owner)
    metrics = read_object(owner / METRICS, [])
    return Subject(
        asked=asked,
        name=name_of(run),
        recipe=named_alone(recipe),
        model=model,
        averaged=averaged,
        missing=tuple(name for name in networks if name not in keys and name not in model.used),
        found=found,
        digest=hashlib.sha256((found.path / MANIFEST).read_bytes()).hexdigest(),
        weights={key: found.weights[key] for key in keys},
        metrics=private.without(metrics) if metrics.get("checkpoint") == found.path.name else {},
        environment=private.without(_told(environment)),
        imported=_imported(environment),
        sheet=_sheet(owner / "samples", found.images) if asked.sheet else None,
    )


def _told(environment: dict[str, Any]) -> dict[str, Any]:
    """Of a run's environment what others may need. Why something was chosen names what is on the machine."""
    names = [name for name in versions() if name != "platform"]
    told = {name: environment[name] for name in (*names, *KEPT) if name in environment}
    choices = environment.get("choices") or {}
    return told | {"choices": {name: {"value": each["value"], "reason": ""} for name, each in choices.items()}}


def _imported(environment: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the run's networks were imported from; empty where they were trained, or the run does not tell."""
    origins = environment.get(IMPORTED)
    return {
        name: {"file": last_name(str(origin.get("file", ""))), "sha256": str(origin.get("sha256", ""))}
        for name, origin in (origins.items() if isinstance(origins, dict) else ())
        if isinstance(origin, dict)
    }


def _sheet(folder: Path, images: int) -> Sheet | None:
    """The sheet that was drawn nearest to when the model had seen `images`."""
    drawn = [Sheet(path, images_of(Path(path.stem))) for path in folder.glob("*.png") if path.stem.isdecimal()]
    return min(drawn, key=lambda sheet: (abs(sheet.images - images), sheet.images), default=None)


class _Private:
    """The places on this machine that a run knows of, to be taken out of what it says."""

    def __init__(self, recipe: Recipe, owner: Path) -> None:
        texts = (text for value in flat(asdict(recipe)).values() for text in _texts(value))
        named = (text.partition("=")[2] or text for text in texts)  # --start-from has NETWORK=FILE
        places = {text for text in named if Path(text).is_absolute()}
        places |= {str(path) for path in (owner, owner.resolve(), Path.cwd(), Path.home())}
        self._places = sorted(places, key=len, reverse=True)  # so that none is cut within another

    def without(self, value: Any) -> Any:
        """JSON's `value` with the last name of every path in its texts."""
        if isinstance(value, dict):
            return {self.without(key): self.without(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.without(each) for each in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        for place in self._places:
            if len(place) > 1:
                text = text.replace(place, last_name(place))
        return _PATH.sub("", text)


_PATH = re.compile(r"(?<![\w.:/\\])(?:~[/\\]|(?:[A-Za-z]:)?[/\\][^\s/\\]+[/\\])(?:[^\s/\\]+[/\\])*")
"""The folders in front of a file's name. Not what stands between words, such as in label/photo, nor a URL's."""


def _texts(value: Any) -> Iterator[str]:
    """The texts in a field of a recipe."""
    for each in value if isinstance(value, tuple | list) else (value,):
        if isinstance(each, str):
            yield each
