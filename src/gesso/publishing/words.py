"""What a card says in sentences: what the model is for, what it cannot do, whose method it is.

Limits are derived from what is known of the model. They are what its author would rather forget and its user must know.
"""

import inspect
import re
import sys

from gesso.engine import figures
from gesso.engine.finish import FLATTERED
from gesso.models.translation import Translator
from gesso.publishing.subject import Subject, one_line
from gesso.recipe import BUILTIN_STREETS, Recipe
from gesso.recipe.classification import ClassificationRecipe
from gesso.recipe.cyclegan import CycleGANRecipe
from gesso.recipe.distill import DistillRecipe
from gesso.recipe.generation import GenerationRecipe
from gesso.recipe.translation import TranslationRecipe
from gesso.recipes import RECIPES

UNLICENSED = "No licence was given: nobody may use it"
FEW = 1000
"""Training images below which a card says that they were few."""
LISTED = 50
"""Classes that a card names."""
_SAME = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0",
    "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "ofl-1.1", "osl-3.0", "pddl", "postgresql", "unlicense",
    "wtfpl", "zlib",
)  # fmt: skip
LICENCES = {name: name for name in _SAME} | {"odbl-1.0": "odbl", "pddl-1.0": "pddl"}
"""By their names in SPDX, in small letters, what the hub calls the licences that it knows; others are "other" there."""


def number(count: int) -> str:
    return f"{count:,}"


def plain(text: str) -> str:
    """`text` in one line, in which nothing is taken for HTML."""
    return one_line(text).replace("<", "&lt;")


_MARKS = re.compile(r"[\\`*_\[\]~]|&(?=#?\w+;)|^[#>+-]")


def verbatim(text: str) -> str:
    """`text` in one line that Markdown shows as it is: without links, pictures, which load from anywhere, or HTML."""
    return plain(_MARKS.sub(r"\\\g<0>", one_line(text)))


def code(name: str) -> str:
    """`name` as code, in one line."""
    return f"`{one_line(name.replace('`', ' '))}`"


def about(subject: Subject) -> str:
    """What the author says that the model's pictures show, as a sentence; empty where that was not said."""
    told = verbatim(subject.asked.about)
    return told if not told or told.endswith((".", "!", "?", "…")) else f"{told}."


def scores(subject: Subject) -> list[figures.Table]:
    """The scores, in as many decimals as `gesso evaluate` prints them with."""
    return figures.tables(subject.metrics, decimals=4)


def purpose(subject: Subject) -> str:
    """What the model does, in a sentence."""
    recipe = subject.recipe
    data = "the streets that gesso renders" if recipe.data.root == BUILTIN_STREETS else code(recipe.data.root)
    learnt = "with weights from another program" if subject.imported else f"trained on {data}"
    if isinstance(subject.model, Translator):
        there = subject.model.translations.values()
        ways = " and ".join(f"{each.source} to domain {each.target}" for each in there)
        return f"A {recipe.model} that translates pictures of domain {ways}, {learnt}."
    if isinstance(recipe, GenerationRecipe):
        size = recipe.data.image_size
        return f"A {recipe.model} that makes pictures of {size}×{size} px from noise, {learnt}."
    assert isinstance(recipe, ClassificationRecipe)
    return f"A {recipe.model} that tells which of {len(recipe.data.class_names)} classes a picture is of, {learnt}."


def what_goes_in(subject: Subject) -> str:
    """What the model takes."""
    recipe = subject.recipe
    if isinstance(recipe, TranslationRecipe):
        assert isinstance(subject.model, Translator)
        of = {"A": recipe.data.channels_a, "B": recipe.data.channels_b}
        domains = dict.fromkeys(each.source for each in subject.model.translations.values())
        channels = ", ".join(f"{of[domain]} channels of domain {domain}" for domain in domains)
        return f"It takes pictures of any size ({channels}) and gives pictures of the same size."
    if isinstance(recipe, GenerationRecipe):
        return "It takes nothing but a seed."
    assert isinstance(recipe, ClassificationRecipe)
    data = recipe.data
    return (
        f"It takes pictures of any size ({data.channels} channels); gesso resizes the shorter side to {data.resize} px "
        f"and cuts out the middle {data.image_size}×{data.image_size}."
    )


def classes_of(recipe: ClassificationRecipe) -> str:
    """The classes by name, unless they are many."""
    names = recipe.data.class_names
    if len(names) > LISTED:
        return f"{len(names)} classes, whose names are in `recipe.json`."
    return f"Classes: {', '.join(map(code, names))}."


def images_of_sheet(subject: Subject) -> str:
    """What a sample sheet shows."""
    kind = subject.recipe.kind
    if kind == "translator":
        if isinstance(subject.recipe, CycleGANRecipe):
            return "A row an image: the picture, its translation, and the way back, for both directions side by side"
        return "A row an image: the picture, its translation, and the right answer where there is one"
    if kind == "generator":
        return "Pictures made from noise"
    return "Pictures with the class that was named, green where it is right and red where not"


def limits(subject: Subject) -> list[str]:
    """What the model cannot do, what is not known of it, and what must not be concluded from it."""
    recipe = subject.recipe
    told: list[str] = []
    if isinstance(recipe, TranslationRecipe):
        size = recipe.data.crop_size
        told.append(
            f"It saw squares of {size} px. Where things are much larger or smaller than there, in pixels, its pictures "
            "are worse, and how much worse was not measured."
        )
        told.append(
            "What it draws is likely, not true: it may invent, leave out or repaint anything. Its pictures are no "
            "evidence of what is in a scene."
        )
        if isinstance(recipe, CycleGANRecipe):
            told.append(
                "It learnt from pictures without pairs. Nothing held it to keep what is where: it may swap meanings, "
                "such as one class for another, and still come back to the picture that it was given."
            )
        if recipe.generator.test_mode == "train":
            told.append(
                "It is used as the pix2pix paper tests, by the statistics of the picture at hand and with dropout on: "
                "a part of a picture comes out otherwise than within the whole. gesso fixes the seed of the dropout."
            )
    elif isinstance(recipe, GenerationRecipe):
        size = recipe.data.image_size
        told.append(f"It makes {size}×{size} px and no other size, and what is drawn cannot be chosen.")
        told.append("It may repeat training pictures nearly as they are; nobody has looked for that.")
    elif isinstance(recipe, ClassificationRecipe):
        told.append(
            "It knows its classes and nothing else: a picture of something else is given one of them all the same."
        )
        told.append("The probabilities that it gives are not calibrated.")
    if subject.imported:
        told.append("How it was trained, and on what, is known to those alone who made the imported files.")
    elif recipe.data.root == BUILTIN_STREETS:
        told.append(
            "It knows rendered streets alone. Of photos it was shown none; what it does with them was not measured."
        )
    else:
        told.append(f"It knows pictures such as those of {code(recipe.data.root)}; of others it was not asked.")
    images = subject.environment.get("training images")
    if isinstance(images, int) and 0 < images < FEW:
        told.append(f"The set that it was trained on has {number(images)} images only.")
    for table in scores(subject):
        if table.lost:
            told.append(f"{table.direction}: {table.verdict}".removeprefix(": "))
    if not subject.metrics.get("rows"):
        told.append("It was not scored.")
    elif FLATTERED in str(subject.metrics.get("protocol", "")):
        told.append("The split that chose the checkpoint is the one that it is scored on, so its scores flatter it.")
    if isinstance(recipe, DistillRecipe):
        told.append("It learnt from another model, whose mistakes it learnt too.")
    if subject.missing:
        told.append("Networks that only training needs are not here; `--start-from` begins those anew.")
    if not subject.asked.licence:
        told.append(f"{UNLICENSED}.")
    told.append("The licence of the pictures that it learnt from is another question, which nobody has answered here.")
    return told


_PAPER = re.compile(r"[A-Z][\w-]+(?: et al\.| and [A-Z]\w+)? \d{4}, arXiv \d{4}\.\d{4,5}")


def papers(recipe: Recipe) -> list[str]:
    """The papers that the model's recipes name, with where they can be read."""
    named = [RECIPES[recipe.recipe]] if recipe.recipe in RECIPES else []
    models = (recipe.model, *(recipe.teachers if isinstance(recipe, DistillRecipe) else ()))
    named += [make for make in RECIPES.values() if make().model in models]
    texts = [text for make in named for text in (inspect.getdoc(make), sys.modules[make.__module__].__doc__)]
    found = dict.fromkeys(paper for text in texts for paper in _PAPER.findall(text or ""))
    return [re.sub(r"arXiv ([\d.]+)", r"[arXiv \1](https://arxiv.org/abs/\1)", paper) for paper in found]
