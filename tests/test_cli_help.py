"""Instant help, one flag a field, and one line for a command that cannot be read."""

import dataclasses
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from commands import Gesso, refused
from gesso import cli
from gesso.commands import bench, data, prepare
from gesso.commands.train import TrainOptions
from gesso.parsing import one_line
from gesso.recipe import Recipe
from gesso.recipes import RECIPES
from gesso.restoring import flat

COMMANDS = [
    *([name] for name in cli.commands()),
    *(["train", name] for name in RECIPES),
    *(["data", name] for name in data.COMMANDS),
    *(["data", "prepare", name] for name in prepare.COMMANDS),
    *(["bench", name] for name in bench.COMMANDS),
]
LISTS = (["train"], ["data"], ["data", "prepare"], ["bench"])
"""Commands that only list what comes next."""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_and_defaults(words: list[str], gesso: Gesso) -> None:
    said = gesso(*words, "--help")
    text = "\n".join(said.out)
    assert (said.code, said.err) == (0, [])
    assert f"usage: gesso {' '.join(words)}" in text
    assert re.search(rf"^Example: gesso {words[0]}\b", text, re.MULTILINE)
    assert "Args:" not in text
    flags = re.findall(r"^│ +(-.*)$", text, re.MULTILINE)
    if words not in LISTS:
        assert len(flags) >= 1
        boxed = " ".join(line.strip("│ ") for line in said.out)
        described = len(re.findall(r"\((?:default: |required\))", boxed))
        assert described >= len(flags) - 1  # all but --help itself


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", RECIPES)
def test_each_promise_of_a_recipe_has_a_line_of_its_own(
    name: str, columns: int, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    help_ = gesso("train", name, "--help").out
    there = re.findall(r"^    (\w+) {2,}\S", RECIPES[name].__doc__ or "", re.MULTILINE)
    start = next(i for i, line in enumerate(help_) if line.startswith(f"  {there[0]}"))
    laid = help_[start : help_.index("", start)]
    assert [line.split()[0] for line in laid if not line.startswith("   ")] == there
    assert max(map(len, laid)) <= columns
    assert all(line.startswith(" " * len("  expected  ")) for line in laid if line.startswith("   "))


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(words: list[str], gesso: Gesso) -> None:
    said = gesso(*words)
    assert (said.code, said.err) == (0, [])
    for name in cli.commands():
        assert any(line.startswith(f"  {name} ") for line in said.out)
    assert said.out[-1].startswith("Example: gesso ")


def test_version(gesso: Gesso) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", gesso("--version").out[0])


def test_help_is_instant() -> None:
    """Under 0.3 s. Of processor time, and the best of five, so that a busy machine does not count."""
    resource = pytest.importorskip("resource")

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "gesso", "--help"], check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("words", ["sample nowhere -o x.jpg", "train pix2pix -e -1"])
def test_what_needs_no_torch_is_refused_without_it(words: str) -> None:
    code = f"import sys\nfrom gesso.cli import main\nassert main({words.split()}) == 2 and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_reader_of_the_output_may_go_away() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "gesso", "train", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 0)


# Flags and fields.


@pytest.mark.parametrize("name", RECIPES)
def test_every_field_of_a_recipe_is_a_flag_and_the_other_way_round(name: str, gesso: Gesso) -> None:
    text = "\n".join(gesso("train", name, "--help").out)
    fields = {f"--{field.replace('_', '-')}" for field in flat(dataclasses.asdict(RECIPES[name]()))}
    fields -= {"--recipe", "--data.names"}  # which a run writes down, and nobody types
    fields = {field for field in fields if not field.startswith("--taught.")}
    shown = set(re.findall(r"--[a-z][\w.-]*", text))
    negated = {flag for flag in shown if re.sub(r"(--|\.)no-", r"\1", flag) in shown - {flag}}
    run = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(TrainOptions)} - {"--recipe"}
    assert shown - negated - {"--help"} == fields | run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, dict[str, Any]]]:
    """The recipes that `gesso train` was about to train, with where to."""
    calls: list[tuple[Recipe, dict[str, Any]]] = []

    class Finished(NamedTuple):
        path: Path = Path("runs/x")
        finished: bool = True

    def train(recipe: Recipe, **where: Any) -> Finished:
        calls.append((recipe, where))
        return Finished()

    monkeypatch.setattr("gesso.engine.train.train", train)
    monkeypatch.setattr("gesso.commands.train.check", lambda recipe: None)
    return calls


def other_value(hint: Any, value: Any) -> tuple[Any, list[str]]:
    """A value of type `hint` other than `value`, and the words that give it on the command line."""
    if typing.get_origin(hint) is Literal:
        other = next(choice for choice in typing.get_args(hint) if choice != value)
        return other, [other]
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        if typing.get_origin(kind) is Literal:
            last = typing.get_args(kind)[:-3:-1]
            return last, [*last]
        return (kind(3), kind(4)), ["3", "4"]
    if hint is str:
        return "other words", ["other words"]
    return hint(value + 1), [str(value + 1)]


def leaves(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a recipe's type, dotted, with its type."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from leaves(typing.cast(type, hint), f"{prefix}{name}.")
        elif typing.get_origin(hint) is not typing.ClassVar:
            yield prefix + name, hint


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "dcgan", "densenet121"])
def test_every_flag_arrives_in_its_field(name: str, gesso: Gesso, trained: list[tuple[Recipe, dict[str, Any]]]) -> None:
    recipe = RECIPES[name]()
    values = flat(dataclasses.asdict(recipe))
    words, expected = [], {}
    for field, hint in leaves(type(recipe)):
        if field in ("recipe", "data.names"):
            expected[field] = values[field]
            continue
        flag = "--" + field.replace("_", "-")
        if hint is bool:
            folder, _, last = flag[2:].rpartition(".")
            words.append(flag if not values[field] else f"--{folder}.no-{last}" if folder else f"--no-{last}")
            expected[field] = not values[field]
        else:
            expected[field], given = other_value(hint, values[field])
            words += [flag, *given]
    assert gesso("train", name, *words).code == 0
    assert flat(dataclasses.asdict(trained[0][0])) == expected


def test_short_flags_equal_their_long_names(gesso: Gesso, trained: list[tuple[Recipe, dict[str, Any]]]) -> None:
    gesso("train", "cyclegan", "-b", "3", "-e", "7.5", "-d", "bf16")
    gesso("train", "cyclegan", "--batch-size", "3", "--epochs", "7.5", "--precision", "bf16")
    assert trained[0] == trained[1]
    assert (trained[0][0].batch_size, trained[0][0].epochs, trained[0][0].precision) == (3, 7.5, "bf16")


def test_where_a_run_goes(gesso: Gesso, trained: list[tuple[Recipe, dict[str, Any]]]) -> None:
    gesso("train", "pix2pix", "--runs", "here", "--name", "it", "--overwrite")
    assert trained[0][1] == {"runs": Path("here"), "name": "it", "overwrite": True}


# What a user did wrong in the command itself.


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ("mosaic", r"mosaic: no such command; there are train, resume"),
        ("Trian", r"Trian: no such command, perhaps you meant train; there are train, resume"),
        ("pix2pix", r"pix2pix: no such command, perhaps you meant gesso train pix2pix; there are"),
        ("train", r"train: name a recipe; there are pix2pix"),
        ("train vgg", r"train vgg: no such recipe; there are pix2pix"),
        ("train pix3pix", r"train pix3pix: no such recipe, perhaps you meant pix2pix; there are pix2pix"),
        ("data", r"data: name a command; there are synth, check"),
        ("data mend", r"data mend: no such command; there are synth, check"),
        ("data chek", r"data chek: no such command, perhaps you meant check; there are synth, check"),
        ("data fetch facade", r"data fetch facade: no such set, perhaps you meant facades; there are"),
        (
            "train pix2pix --data.rot x",
            r": --data.rot is not recognised, perhaps you meant --data.root; see gesso train",
        ),
        ("train pix2pix --batchsize 3", r"--batchsize is not recognised, perhaps you meant --batch-size;"),
        ("train pix2pix --epoch 3", r"--epoch is not recognised, perhaps you meant .*--epochs;"),
        ("train pix2pix --qqq 3", r": --qqq is not recognised; see gesso train pix2pix --help$"),
        ("train pix2pix --qqq --data.rot x", r": --qqq is not recognised; --data.rot .* meant --data.root; see"),
        ("train pix2pix extra", r": extra: too many arguments; give flags only; see"),
        ("classify run a.jpg folder", r": folder: too many arguments; give one RUN and one picture or folder; see"),
        ("train pix2pix -b two", r": --batch-size two: must be a whole number; see"),
        ("train pix2pix -b 1.5", r": --batch-size 1.5: must be a whole number; see"),
        ("train pix2pix -e many -b two", r": --epochs many: must be a number; see"),
        ("train pix2pix -b", r": --batch-size: needs a value; see"),
        ("train pix2pix -d fp8", r": --precision fp8: choose one of auto, fp32, tf32, bf16, fp16; see"),
        ("train pix2pix --generator.kind vgg", r": --generator.kind vgg: choose one of resnet, unet; see"),
        ("train pix2pix --schedule.milestones a b", r": --schedule.milestones a b: not what this flag takes; see"),
        ("translate", r": missing RUN, INPUTS, --out; see gesso translate --help"),
        ("translate run", r": missing INPUTS, --out; see"),
        ("translate run in --otu x", r": missing --out; not recognised: --otu, x; see"),
        ("translate run in -o out --direction CtoD", r": --direction CtoD: choose one of auto, AtoB, BtoA; see"),
        ("evaluate", r": missing RUN; see gesso evaluate --help"),
        ("evaluate run --split tset", r": --split tset: choose one of auto, train, val, test; see"),
        ("resume", r": missing RUN; see gesso resume --help"),
        ("resume run -e few", r": --epochs few: must be a number; see"),
        ("sample run", r": missing --out; see gesso sample --help"),
        ("sample run -o x --kind film", r": --kind film: choose one of grid, files, walk, progress; see"),
        ("classify run", r": missing INPUTS; see gesso classify --help"),
        ("compare-dumps a", r": missing B; see gesso compare-dumps --help"),
        ("data fetch", r": missing NAME; see gesso data fetch --help"),
        ("data prepare", r"data prepare: name a command; there are cityscapes, imagenet, msls, pairs, splits"),
        ("data prepare coco x -o y", r"data prepare coco: no such command; there are cityscapes"),
        ("data prepare msls -o out", r"missing SOURCES; see gesso data prepare msls --help"),
        ("data prepare pairs a -o out", r"missing B; see gesso data prepare pairs --help"),
        ("data prepare splits a", r"missing --out; see gesso data prepare splits --help"),
        ("data check", r": missing FOLDER; see gesso data check --help"),
        ("data synth pears out", r"pears: choose one of pairs, unpaired, classes, cityscapes; see"),
        ("doctor --verbose", r": --verbose is not recognised; see gesso doctor --help"),
    ],
)
def test_command_that_cannot_be_read_is_one_line(words: str, pattern: str, gesso: Gesso) -> None:
    refused(gesso(*words.split()), pattern)


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--evaluation.metrics", "fid", "Paired", "lpips"], "evaluation.metrics", ("FID", "paired", "LPIPS")),
        (["--direction", "btoa", "--name", "btoa"], "direction", "BtoA"),
        (["--direction=BTOA"], "direction", "BtoA"),
        (["-d", "FP32"], "precision", "fp32"),
    ],
)
def test_names_may_be_written_in_any_case(
    flags: list[str], field: str, value: object, gesso: Gesso, trained: list[tuple[Recipe, dict[str, Any]]]
) -> None:
    gesso("train", "pix2pix", *flags)
    assert flat(dataclasses.asdict(trained[0][0]))[field] == value
    if "--name" in flags:
        assert trained[0][1]["name"] == "btoa"


@pytest.mark.parametrize("flag", ["--data.root", "--data-root"])
def test_the_data_set_of_a_run_has_the_flag_of_training(
    flag: str, gesso: Gesso, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    scored = {"rows": [], "split": "test", "protocol": ""}
    monkeypatch.setattr("gesso.engine.score.score_run", lambda **values: asked.update(values) or scored)
    assert gesso("evaluate", "runs/it", flag, "datasets/maps").code == 0
    assert asked["data_root"] == "datasets/maps"


def test_scores_to_evaluate_may_be_written_in_any_case(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    scored = {"rows": [], "split": "test", "protocol": ""}
    monkeypatch.setattr("gesso.engine.score.score_run", lambda **values: asked.update(values) or scored)
    assert gesso("evaluate", "runs/it", "--metrics", "kid", "Fid").code == 0
    assert asked["metrics"] == ("KID", "FID")


def test_terminal_without_unicode_changes_no_message(gesso: Gesso) -> None:
    """There, tyro draws its boxes with other signs."""
    for words in ("translate run", "evaluate run --splitt x", "evaluate run -b x", "data synth pears out"):
        assert gesso(*words.split(), encoding="ascii") == gesso(*words.split(), encoding="utf-8")


def test_long_words_stay_whole_in_a_narrow_terminal(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    word = "x" * 300
    refused(gesso("train", "pix2pix", "-d", word), f"--precision {word}: choose one of")
    refused(gesso("train", "pix2pix", "-b", word), "--batch-size x{100,300}: must be")  # Python cuts it
    assert os.environ["COLUMNS"] == "40"


def test_colours_of_a_terminal_are_left_out() -> None:
    message = "\x1b[1minvalid choice \x1b[91m'x'\x1b[0m for argument '--a'. Expected one of ('b',)."
    assert one_line(f"\x1b[31m╭─\x1b[0m Invalid choice ─╮\n│ {message} │\n╰──╯\n") == "--a x: choose one of b"


def test_unknown_box_goes_through_as_it_is() -> None:
    assert one_line("╭─ News ──╮\n│ something │\n│ else      │\n╰─────────╯\n") == "something else"
    assert one_line("no box\nat all") == "no box at all"
