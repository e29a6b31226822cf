"""What the documents show is true: their commands run, their flags exist, their defaults and links are right.

Every `gesso …` line of a fenced block is run in this process, in the order of its document, in a folder that has
toy data under the names that the documents use. `shrunk` is all that is changed about a command.
"""

import ast
import contextlib
import dataclasses
import functools
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from foreign import write_foreign

import gesso
from conftest import toy, write_classes, write_pairs
from gesso.bench.exchange import export_results
from gesso.cli import commands as all_commands
from gesso.cli import main
from gesso.commands.bench import COMMANDS as BENCH_COMMANDS
from gesso.commands.data import COMMANDS as DATA_COMMANDS
from gesso.commands.prepare import COMMANDS as PREPARATIONS
from gesso.data.images import fit
from gesso.data.store import evaluation_fit, training_fit
from gesso.data.synth import write_unpaired
from gesso.predicting.alone import COMMANDS as ALONE_COMMANDS
from gesso.recipe import BUILTIN_STREETS, TranslationData
from gesso.recipes import RECIPES
from gesso.restoring import flat
from hub_site import Hub
from inline import run_inline
from measured import measured
from publications import pix2pix_set, served, write_cityscapes, write_imagenet, write_msls

pytest_plugins = ("hub_fixture",)

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w.-]*")

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)

PAIRED_SETS = ("facades", "maps", "cityscapes")
UNPAIRED_SETS = ("horse2zebra",)
IMAGE_SETS = ("flowers",)
CLASS_SETS = ("imagenette", "cifar10")
PICTURE_FOLDERS = ("photos", "labels")
FETCHED_SETS = ("night2day", "edges2shoes")


TRAINING = "-e 1 -b 1 -d fp32 --device cpu --compile off --data.train-subset 4 --data.evaluate-subset 2"
SMALL = {
    "pix2pix": "--data.load-size 36 --data.crop-size 32 --generator.ngf 2 --generator.blocks 1 --generator.depth 5 "
    "--discriminator.ndf 2 --discriminator.layers 2",
    "dcgan": "-b 2 -e 2 --checkpoints.every 1 --data.image-size 32 --data.crop 28 "
    "--networks.latent 8 --networks.ngf 2 --networks.ndf 2 --evaluation.metrics",
    "densenet": "-b 2 --data.image-size 32 --data.resize 32 "
    "--network.blocks 1 1 --network.growth 4 --network.initial 8",
}
SMALL["cyclegan"] = SMALL["pix2pix"]
SMALL["pix2pix-distill"] = SMALL["cyclegan-distill"] = f"{SMALL['pix2pix']} --generator.ngf 1"
ALONE = "--devices 1 --max-restarts 0"
"""Several processes have tests of their own; each start of torch takes seconds."""


def shrunk(command: list[str]) -> list[str]:
    """`command` at toy size: the flags below are put behind its own, and the last of a kind counts.

    What it does, to which data and to which run, stays. So do losses, schedules, layouts and preprocessing.
    """
    match command[1:3]:
        case [_, model] if model.endswith(".onnx"):  # an exported model, which is as small as its run was
            small = ""
        case ["train", name]:
            steps = "--steps-per-epoch 3" if "--steps-per-epoch" in command else ""
            ours = "--generator.ngf 1" if "--generator.ngf" in command else ""  # as a student has, to stand beside one
            small = f"{TRAINING} {SMALL[RECIPES[name]().model]} {ALONE} {steps} {ours}"
        case ["resume", _]:
            small = f"{ALONE} -e 2" if "-e" in command else ALONE
        case ["evaluate" | "translate" | "sample" | "classify" | "compare-models" as name, _]:
            small = "--device cpu -d fp32" + " --devices 1" * (name == "evaluate")
        case ["data", "synth"]:
            small = f"--count {15 if 'classes' in command else 4} --size 32"
        case ["data", "prepare"] if command[3] in ("pairs", "splits"):
            small = "--val 1 --test 0"
        case ["data", "prepare"] if command[3] == "cityscapes":
            small = "--width 40 --height 36"
        case ["demo", *_]:
            small = "--no-open"  # its recipe is made small by the fixture `workplace`
        case ["bench", "run"]:
            small = "--steps 1 --warmup 1 --repeats 1 --devices 1 --mode train --compile off -d fp32 --device cpu"
            own = command[command.index("--") + 1 :] if "--" in command else []
            ours = command[: command.index("--")] if "--" in command else command
            return [*ours, *small.split(), "--", *own, *SMALL[RECIPES[command[3]]().model].split()]
        case ["bench", "converge"]:
            small = "--seeds 1 -e 1 --device cpu -d fp32"
        case _:
            small = ""
    return command + small.split()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on loopback that has the sets that the documents fetch."""
    files = {path: content for name in FETCHED_SETS for path, content in pix2pix_set(name).items()}
    with served(files) as address:
        yield address


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, hub: Hub) -> Path:
    """A current folder with toy data under the documents' names; public sets are on `server`; the demo is a toy."""
    (tmp_path / "downloads").mkdir()
    write_cityscapes(tmp_path / "downloads")
    write_imagenet(tmp_path / "downloads")
    write_msls(tmp_path / "downloads" / "msls_images_vol_1.zip")
    write_foreign(tmp_path)
    monkeypatch.setattr("gesso.bench.fresh.run_python", run_inline)
    monkeypatch.setattr("gesso.data.fetch._mirrored", lambda url, mirror: (server + urlsplit(url).path, None))
    for name in PAIRED_SETS:
        write_pairs(tmp_path / "datasets" / name, {"train": 4, "val": 2, "test": 2})
    for name in UNPAIRED_SETS:
        write_unpaired(tmp_path / "datasets" / name, count=4, size=36)
    for folder in (*PICTURE_FOLDERS, *(f"datasets/{name}" for name in IMAGE_SETS)):
        write_pairs(tmp_path / folder, {"some": 2})
    for name in ("base.jsonl", "head.jsonl"):
        export_results([measured(number) for number in range(5)], tmp_path / name)
    for name in CLASS_SETS:
        root = write_classes(tmp_path / "datasets" / name)
        shutil.copytree(root / "val", root / "test")
    demo = toy(
        "pix2pix-demo", Path("unused"), batch_size=4, data=TranslationData(BUILTIN_STREETS, load_size=36, crop_size=32)
    )
    demo = dataclasses.replace(demo, data=dataclasses.replace(demo.data, train_subset=8, evaluate_subset=2))
    # Under its docstring, which has the example that `gesso train` shows.
    monkeypatch.setitem(RECIPES, "pix2pix-demo", functools.wraps(RECIPES["pix2pix-demo"])(lambda: demo))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(document: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block."""
    yield from FENCE.findall(document.read_text())


def commands(document: Path) -> list[list[str]]:
    """The lines of fenced blocks that call gesso, as words."""
    lines = (line for _, text in blocks(document) for line in text.replace("\\\n", " ").splitlines())
    words = (shlex.split(line.removeprefix("$ "), comments=True) for line in lines if "gesso " in line)
    return [each for each in words if each[:1] == ["gesso"]]


def run(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command, as a shell would see them."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(command[1:])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return code, output.getvalue()


@each_document
def test_every_command_that_is_shown_runs(document: Path, workplace: Path) -> None:
    for command in commands(document):
        code, output = run(shrunk(command))
        assert code == 0, f"{document.name} shows `{shlex.join(command)}`, which gives {code}:\n{output}"


@each_document
def test_every_python_that_is_shown_runs(document: Path, workplace: Path) -> None:
    for language, text in blocks(document):
        if language == "python":
            exec(compile(ast.parse(text), f"{document.name}", "exec"), {})


def test_documents_show_commands_at_all() -> None:
    shown = {command[1] for document in DOCUMENTS for command in commands(document)}
    assert shown >= all_commands().keys() - {"demo"}  # which is shown as `make demo`


@each_document
def test_every_make_target_that_is_shown_exists(document: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = document.read_text()
    shown = re.findall(r"^(?: {4})?make ([\w-]+)", text, re.MULTILINE) + re.findall(r"`make ([\w-]+)`", text)
    assert set(shown) <= set(targets)


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    """Every flag of every command, read from its help."""
    pages = [["gesso", "train", name, "--help"] for name in RECIPES]
    pages += [["gesso", name, "--help"] for name in all_commands() if name not in ("train", "data", "bench")]
    pages += [["gesso", "data", name, "--help"] for name in DATA_COMMANDS]
    pages += [["gesso", name, "model.onnx", "--help"] for name in ALONE_COMMANDS]
    pages += [["gesso", "bench", name, "--help"] for name in BENCH_COMMANDS]
    pages += [["gesso", "data", "prepare", name, "--help"] for name in PREPARATIONS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        shown = [run(page) for page in pages]
    assert all(code == 0 for code, _ in shown)
    return {flag for _, text in shown for flag in FLAG.findall(text)}


@each_document
def test_every_flag_that_is_named_exists(document: Path, known_flags: set[str]) -> None:
    spoken = (words for text in INLINE.findall(document.read_text()) if (words := text.split()))
    ours = [words for words in spoken if words[0] == "gesso" or words[0].startswith("-")]
    named = {flag.rstrip(".") for words in ours for word in words for flag in FLAG.findall(word)}
    named = {flag for flag in named if not re.fullmatch(r"-\d+", flag)}
    assert named - known_flags == set()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_in_the_guide(name: str) -> None:
    for document in ("README.md", "docs/training.md"):
        assert f"| `{name}` |" in (ROOT / document).read_text()


def shown(value: object) -> str:
    """A default as the tables write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(shown, value)) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value) or "–"


def defaults(name: str) -> dict[str, str]:
    """Flag by flag, the defaults of recipe `name`."""
    values = flat(dataclasses.asdict(RECIPES[name]()))
    return {f"--{field.replace('_', '-')}": shown(value) for field, value in values.items() if field != "recipe"}


def test_every_field_of_the_recipes_has_a_row_with_its_default() -> None:
    """Rows are | `--flag` | default | meaning |, or with a column for pix2pix and one for cyclegan."""
    text = "\n".join((ROOT / "docs" / name).read_text() for name in ("training.md", "data.md"))
    ours, theirs = defaults("pix2pix"), defaults("cyclegan")
    for flag in {**ours, **theirs}:
        row = re.search(rf"^\| `{re.escape(flag)}`[^|]*\|(.*)\|$", text, re.MULTILINE)
        assert row, f"{flag} has no row"
        cells = [cell.strip() for cell in row[1].split("|")]
        if len(cells) == 3:
            assert cells[:2] == [ours.get(flag, ""), theirs.get(flag, "")], flag
        else:
            assert cells[0] in (ours.get(flag), theirs.get(flag)), flag
            assert ours.get(flag, cells[0]) == theirs.get(flag, cells[0]), f"{flag} needs two columns"


@pytest.mark.parametrize(("name", "guide"), [("dcgan", "generation.md"), ("densenet121", "classification.md")])
def test_every_field_of_the_other_models_has_a_row_with_its_default(name: str, guide: str) -> None:
    """In the model's own guide, or else in those of all models, where a flag may have a row for each of them."""
    for flag, default in defaults(name).items():
        if flag == "--data.names":  # which a run writes down, and nobody types
            continue
        told = told_defaults(flag, guide) or told_defaults(flag, "data.md", "training.md")
        assert default in told, f"{flag} is {default}, the guides say {told}"


def test_every_field_that_students_have_besides_has_a_row_with_its_defaults() -> None:
    recipes = ("pix2pix-distill", "cyclegan-distill", "cyclegan-distill-mindspore")
    own = [flag for flag in defaults(recipes[0]) if flag.startswith(("--teacher", "--compare", "--distill."))]
    assert len(own) == 5
    for flag in own:
        assert told_defaults(flag, "shipping.md") == [defaults(name)[flag] for name in recipes], flag


def told_defaults(flag: str, *documents: str) -> list[str]:
    """The cells between `flag` and its meaning, of all rows in `documents`."""
    text = "\n".join((ROOT / "docs" / name).read_text() for name in documents)
    rows = re.findall(rf"^\| `{re.escape(flag)}`[^|]*\|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for row in rows for cell in row.split("|")[:-1]]


def test_table_of_preprocessing_is_what_happens() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    picture = np.zeros((400, 600, 3), np.uint8)
    for choice in ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{choice}` |"))
        resized, trained, scored = (re.findall(r"\d+×\d+", cell)[0] for cell in row.split("|")[2:5])
        data = TranslationData(preprocess=choice)  # type: ignore[arg-type]
        before, after = (training_fit(data)(picture), evaluation_fit(data)(picture))
        assert resized == f"{before.shape[2]}×{before.shape[1]}", choice
        assert trained == (f"{data.crop_size}×{data.crop_size}" if "crop" in choice else resized), choice
        assert scored == f"{after.shape[2]}×{after.shape[1]}", choice
    wide = fit(picture, "scale_width_and_crop", 600, 256)
    assert wide.shape[:2] == (400, 600)


def anchors(document: Path) -> set[str]:
    """The links that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", document.read_text())):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{document.name} links to {link}"


def test_tree_of_the_source_names_files_that_are_there() -> None:
    tree = next(text for _, text in blocks(ROOT / "README.md") if text.startswith("src/gesso/"))
    source = Path(gesso.__file__).parent
    there = {path.name + "/" * path.is_dir() for path in source.rglob("*")}
    named = re.findall(r"[a-z0-9_]+(?:\.py|/)", tree.removeprefix("src/gesso/\n"))
    assert named and set(named) <= there
