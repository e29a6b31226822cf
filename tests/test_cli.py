"""The command line: instant help, one flag a field, and one line with exit code 2 for whatever a user can mend."""

import dataclasses
import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from gesso import cli
from gesso.cli import main
from gesso.engine import checkpoint
from gesso.models.pix2pix import Pix2Pix
from gesso.parsing import one_line
from gesso.recipe import Recipe, flat
from gesso.recipes import RECIPES

# Flags that shrink any recipe to a few steps of a toy.
SIZES = "--data.load-size 36 --data.crop-size 32 --generator.ngf 4 --generator.depth 5 --generator.blocks 1"
COSTS = "--discriminator.ndf 4 --discriminator.layers 2 -b 2 -e 0.25 -d fp32 --device cpu --compile off"
TINY = [*SIZES.split(), *COSTS.split(), "--tracking.sheet-images", "2"]


class Said(NamedTuple):
    """What a command left: its exit code, and the lines of its two streams."""

    code: int
    out: list[str]
    err: list[str]


Gesso = Callable[..., Said]


@pytest.fixture
def gesso(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gesso:
    """Run the command line in this process, in a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object, encoding: str = "utf-8") -> Said:
        capsys.readouterr()
        sys.stdout.reconfigure(encoding=encoding)  # type: ignore[union-attr]
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(code, captured.out.splitlines(), captured.err.splitlines())

    return run


@pytest.fixture(scope="session")
def run_folder(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy run of pix2pix. Not to be written to."""
    runs = tmp_path_factory.mktemp("cli") / "runs"
    assert main(["train", "pix2pix", "--data.root", str(pairs), "--runs", str(runs), "--name", "toy", *TINY]) == 0
    return runs / "toy"


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the finished toy run."""
    return Path(shutil.copytree(run_folder, tmp_path / "runs" / "toy"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(said: Said, pattern: str) -> None:
    """One line on standard error that says `pattern`, exit code 2."""
    assert said.code == 2
    assert len(said.err) == 1, said.err
    assert said.err[0].startswith("gesso: ")
    assert re.search(pattern, said.err[0]), said.err[0]
    assert "Traceback" not in "\n".join([*said.out, *said.err])


COMMANDS = [
    *([name] for name in cli.COMMANDS),
    *(["train", name] for name in RECIPES),
    ["data", "synth"],
    ["data", "check"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_and_defaults(words: list[str], gesso: Gesso) -> None:
    said = gesso(*words, "--help")
    text = "\n".join(said.out)
    assert (said.code, said.err) == (0, [])
    assert f"usage: gesso {' '.join(words)}" in text
    assert re.search(rf"^Example: gesso {words[0]}\b", text, re.MULTILINE)
    assert "Args:" not in text
    flags = re.findall(r"^│ +(-.*)$", text, re.MULTILINE)
    if words not in (["train"], ["data"]):  # these two only list what comes next
        assert len(flags) >= 1
        boxed = " ".join(line.strip("│ ") for line in said.out)
        described = len(re.findall(r"\((?:default: |required\))", boxed))
        assert described >= len(flags) - 1  # all but --help itself


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(words: list[str], gesso: Gesso) -> None:
    said = gesso(*words)
    assert (said.code, said.err) == (0, [])
    for name in cli.COMMANDS:
        assert any(line.startswith(f"  {name} ") for line in said.out)
    assert said.out[-1].startswith("Example: gesso ")


def test_version(gesso: Gesso) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", gesso("--version").out[0])


def test_help_is_instant() -> None:
    """Under 0.3 s. Of processor time, and the best of five, so that a busy machine does not count."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "gesso", "--help"], check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


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
    fields = {f"--{field.replace('_', '-')}" for field in flat(dataclasses.asdict(RECIPES[name]()))} - {"--recipe"}
    shown = set(re.findall(r"--[a-z][\w.-]*", text))
    negated = {flag for flag in shown if re.sub(r"(--|\.)no-", r"\1", flag) in shown - {flag}}
    assert shown - negated - {"--help", "--runs", "--name", "--overwrite"} == fields


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
    return calls


def other_value(hint: Any, value: Any) -> tuple[Any, list[str]]:
    """A value of type `hint` other than `value`, and the words that give it on the command line."""
    if typing.get_origin(hint) is Literal:
        other = next(choice for choice in typing.get_args(hint) if choice != value)
        return other, [other]
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        if typing.get_origin(kind) is Literal:
            return ("mlflow", "wandb"), ["mlflow", "wandb"]
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


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_every_flag_arrives_in_its_field(name: str, gesso: Gesso, trained: list[tuple[Recipe, dict[str, Any]]]) -> None:
    recipe = RECIPES[name]()
    values = flat(dataclasses.asdict(recipe))
    words, expected = [], {"recipe": name}
    for field, hint in leaves(type(recipe)):
        if field == "recipe":
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
        ("paint", r"paint: no such command; there are train, resume"),
        ("train", r"train: name a recipe; there are pix2pix"),
        ("train pix3pix", r"train pix3pix: no such recipe; there are pix2pix"),
        ("data", r"data: name a command; there are synth, check"),
        ("data mend", r"data mend: no such command; there are synth, check"),
        (
            "train pix2pix --data.rot x",
            r": --data.rot is not recognised, perhaps you meant --data.root; see gesso train",
        ),
        ("train pix2pix --batchsize 3", r"--batchsize is not recognised, perhaps you meant --batch-size;"),
        ("train pix2pix --epoch 3", r"--epoch is not recognised, perhaps you meant .*--epochs;"),
        ("train pix2pix --qqq 3", r": --qqq is not recognised; see gesso train pix2pix --help$"),
        ("train pix2pix --qqq --data.rot x", r": --qqq is not recognised; --data.rot .* meant --data.root; see"),
        ("train pix2pix extra", r": extra is not recognised; see"),
        ("train pix2pix -b two", r": --batch-size two: must be a whole number; see"),
        ("train pix2pix -b 1.5", r": --batch-size 1.5: must be a whole number; see"),
        ("train pix2pix -e many -b two", r": --epochs many: must be a number; see"),
        ("train pix2pix -b", r": --batch-size: needs a value; see"),
        ("train pix2pix -d fp8", r": --precision fp8: choose one of auto, fp32, tf32, bf16; see"),
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
        ("data check", r": missing FOLDER; see gesso data check --help"),
        ("data synth pears out", r"pears: choose one of pairs, unpaired, classes, cityscapes; see"),
        ("doctor --verbose", r": --verbose is not recognised; see gesso doctor --help"),
    ],
)
def test_command_that_cannot_be_read_is_one_line(words: str, pattern: str, gesso: Gesso) -> None:
    refused(gesso(*words.split()), pattern)


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


# What a user did wrong with numbers, folders and images.


def train_words(root: object, *more: object) -> list[str]:
    return ["train", "pix2pix", "--data.root", str(root), *TINY, *(str(word) for word in more)]


@pytest.mark.parametrize(
    ("more", "pattern"),
    [
        (["-b", 0], r"--batch-size 0: must be more than 0"),
        (["-e", -1], r"--epochs -1: must be more than 0"),
        (["-e", "nan"], r"--epochs nan: must be more than 0"),
        (["--data.crop-size", 64], r"--data.crop-size 64 is larger than --data.load-size 36"),
        (
            ["--data.load-size", 99, "--data.crop-size", 80],
            r"--data.crop-size 80: a U-Net of depth 5 needs a multiple of 32",
        ),
        (["--generator.depth", 3], r"--generator.depth 3: must lie in 5"),
        (["--data.channels-a", 5], r"--data.channels-a 5: must be 1, 2, 3 or 4"),
        (["--device", "abacus"], r"--device abacus: "),
        (["--tracking.trackers", "wandb"], r"--tracking.trackers wandb: not installed; pip install"),
        (["--data.layout", "unpaired"], r"--data.layout unpaired was asked for"),
        (["--evaluation.split", "train"], r"--evaluation.split train: choose one of"),
        (["--checkpoints.best", "AtoB/FID"], r"--checkpoints.best AtoB/FID: not scored here; there are AtoB/L1"),
        (["--start-from", "nowhere"], r"nowhere: there is no such run or checkpoint"),
        (["--start-from", "G_Z=weights.pth"], r"--start-from G_Z=weights.pth: networks are G, D"),
        (["--start-from", "G=weights.pth"], r"weights.pth: there is no such file"),
    ],
)
def test_numbers_and_names_that_make_no_sense(
    more: list[object], pattern: str, gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if more[-1] == "wandb":
        monkeypatch.setattr("gesso.engine.track.find_spec", lambda name: None)
    refused(gesso(*train_words(pairs, "--runs", tmp_path / "runs", *more)), pattern)
    assert not list(tmp_path.rglob("log.jsonl"))  # before the first step


def test_missing_root_names_the_flag(gesso: Gesso, tmp_path: Path) -> None:
    refused(gesso("train", "pix2pix", "--runs", tmp_path / "runs"), "--data.root is missing: name the folder")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [["train", "cyclegan", "--data.root"], ["data", "check"]])
def test_folders_that_cannot_be_a_data_set(words: list[str], gesso: Gesso, tmp_path: Path) -> None:
    runs = ["--runs", tmp_path / "runs"] if words[0] == "train" else []
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("words")
    (tmp_path / "texts" / "train").mkdir(parents=True)
    (tmp_path / "texts" / "train" / "notes.txt").write_text("words")
    for name, pattern in {
        "nowhere": "nowhere: no such folder",
        "file": "file: a file, not a folder",
        "empty": "the folder is empty|no images in this folder",
        "texts": "no images in this folder",
    }.items():
        refused(gesso(*words, tmp_path / name, *runs), pattern)
    assert not list((tmp_path / "runs").glob("*/checkpoints"))


# Runs and checkpoints.


@pytest.mark.parametrize("command", ["resume", "evaluate", "translate"])
def test_folder_that_is_no_run(command: str, gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    more = [pairs, "-o", tmp_path / "out"] if command == "translate" else []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("words")
    refused(gesso(command, tmp_path / "other", *more), "other: not a run, there is no readable recipe.json in it")
    refused(gesso(command, tmp_path / "nowhere", *more), "nowhere: there is no such run")
    refused(gesso(command, tmp_path / "other" / "notes.txt", *more), "notes.txt: not a run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


@pytest.mark.parametrize("command", ["resume", "evaluate", "translate"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"\xff\xfe\x00",
        lambda text: b"[1, 2]",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b'"pix2pix"', b'"cubism"'),
        lambda text: text.replace(b'"epochs"', b'"epoch"'),
        lambda text: text.replace(b'"seed": 0', b'"seed": "zero"'),
        lambda text: text.replace(b'"start_from": []', b'"start_from": "abc"'),
    ],
    ids=["binary", "list", "cut", "model", "field", "type", "tuple"],
)
def test_recipe_that_cannot_be_read(
    damage: Callable[[bytes], bytes], command: str, gesso: Gesso, run: Path, pairs: Path, tmp_path: Path
) -> None:
    file = run / "recipe.json"
    file.write_bytes(damage(file.read_bytes()))
    before = contents(run)
    more = [pairs, "-o", tmp_path / "out"] if command == "translate" else []
    refused(gesso(command, run, *more), "recipe.json")
    assert contents(run) == before
    assert not (tmp_path / "out").exists()


def test_run_of_another_recipe_is_refused_with_the_flags(gesso: Gesso, run: Path, pairs: Path) -> None:
    before = contents(run)
    words = train_words(pairs, "--runs", run.parent, "--name", run.name)
    refused(gesso(*words, "--seed", 3, "-b", 1), r"another recipe: --batch-size 1 \(was 2\), --seed 3 \(was 0\); name")
    refused(
        gesso("train", "cyclegan", "--data.root", pairs, "--runs", run.parent, "--name", run.name), "another recipe"
    )
    assert contents(run) == before


def test_mended_command_takes_over_a_run_that_never_began(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    words = train_words(pairs, "--runs", tmp_path / "runs")
    refused(gesso(*words, "--start-from", "nowhere"), "nowhere: there is no such run or checkpoint")
    assert gesso(*words).code == 0


def test_folder_of_other_files_is_not_made_a_run(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    refused(
        gesso(*train_words(pairs, "--runs", pairs.parent, "--name", pairs.name)), "holds other files and is not a run"
    )
    (tmp_path / "file").write_text("words")
    refused(gesso(*train_words(pairs, "--runs", tmp_path, "--name", "file")), "file is a file; name another run")


def test_checkpoints_of_another_model_are_refused(gesso: Gesso, run: Path, pairs: Path, tmp_path: Path) -> None:
    before = contents(run)
    weights = checkpoint.list_checkpoints(run)[-1] / "G.safetensors"
    words = ["train", "cyclegan", "--data.root", pairs, "--runs", tmp_path / "others", *TINY, "--start-from"]
    refused(gesso(*words, run), "--start-from .*: a pix2pix, not a cyclegan")
    refused(gesso(*words, f"G_A={weights}"), "G.safetensors: of another architecture")
    refused(gesso(*words, weights.parent), "--start-from .*: a pix2pix, not a cyclegan")
    refused(gesso(*words, pairs), "not a run")
    assert contents(run) == before


@pytest.mark.parametrize("command", ["resume", "evaluate", "translate"])
def test_run_whose_checkpoint_is_of_another_model(
    command: str, gesso: Gesso, run: Path, pairs: Path, tmp_path: Path
) -> None:
    text = (run / "recipe.json").read_text().replace('"ngf": 4', '"ngf": 8')
    (run / "recipe.json").write_text(text)
    before = contents(run)
    more = [pairs, "-o", tmp_path / "out"] if command == "translate" else []
    refused(gesso(command, run, *more), "of another architecture")
    assert contents(run) == before


@pytest.mark.parametrize("name", ["G.safetensors", "manifest.json"])
def test_damaged_checkpoints_are_named_when_translating(
    name: str, gesso: Gesso, run: Path, pairs: Path, tmp_path: Path
) -> None:
    for folder in checkpoint.list_checkpoints(run):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    refused(gesso("translate", run, pairs, "-o", tmp_path / "out"), f"damaged, {name} is not what was written")


# The disk.


def test_full_disk_while_the_log_is_written(gesso: Gesso, run: Path) -> None:
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").symlink_to("/dev/full")  # whatever is written there fails as on a full disk
    before = contents(run / "checkpoints")
    refused(gesso("resume", run, "-e", 1), r"log.jsonl cannot be written: the disk is full; free some space")
    assert contents(run / "checkpoints") == before


@pytest.mark.parametrize(
    ("what", "limit"), [("nothing", 0), ("weights", 30_000), ("a part of the training state", 90_000)]
)
def test_disk_that_takes_no_more(what: str, limit: int, gesso: Gesso, run: Path) -> None:
    """The system's limit of a file's size ends a write half way, as a full disk does."""
    before = contents(run / "checkpoints")
    assert max(map(len, before.values())) > limit
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, allowed[1]))
    try:
        said = gesso("resume", run, "-e", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    refused(said, str(run))
    assert contents(run / "checkpoints") == before
    assert gesso("resume", run).code == 0  # there is room again


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_disk_errors_name_the_mend(number: int, gesso: Gesso, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run / "checkpoints")

    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoint, "save_file", refuse)
    refused(gesso("resume", run, "-e", 1), r"checkpoints/0000\d+ cannot be written: .*(free some space|name another)")
    assert contents(run / "checkpoints") == before


def test_folders_that_cannot_be_written(gesso: Gesso, run: Path, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    for runs in ("/proc/gesso", "/sys/gesso", tmp_path / "file"):
        refused(
            gesso(*train_words(pairs, "--runs", runs)),
            f"{runs}.* cannot be written: .*(No such file|permission denied|read-only|a file stands)",
        )
    refused(gesso("translate", run, pairs / "test", "-o", "/proc/gesso"), "/proc/gesso cannot be written")
    refused(gesso("data", "synth", "pairs", "/proc/gesso", "--count", 1, "--size", 64), "/proc/gesso")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o500)
    refused(gesso(*train_words(pairs, "--runs", tmp_path / "runs")), "cannot be written: permission denied")


# Interrupts, and the other commands.


def test_interrupt_ends_in_130(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "doctor", interrupted)
    assert gesso("doctor") == (130, [], ["gesso: interrupted"])


def test_interrupt_of_a_run_saves_it_and_says_how_to_go_on(
    gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Pix2Pix.train_step

    def train_step(self: Pix2Pix, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Pix2Pix, "train_step", train_step)
        said = gesso(*train_words(pairs, "--runs", tmp_path, "--name", "it"))
    assert said.code == 130
    assert any(f"go on with: gesso resume {tmp_path / 'it'}" in line for line in said.out)
    assert gesso("resume", tmp_path / "it").code == 0


def test_train_evaluate_translate(gesso: Gesso, run: Path, pairs: Path, tmp_path: Path) -> None:
    said = gesso("evaluate", run, "--split", "val", "-b", 3)
    assert said.code == 0
    assert said.out[0].split() == ["direction", "method", "L1", "PSNR", "SSIM"]
    assert any("split val" in line for line in said.out)
    assert json.loads((run / "metrics.json").read_text())["split"] == "test"  # the run's own score stays
    said = gesso("translate", run, pairs / "test", "-o", tmp_path / "out")
    assert (said.code, said.out) == (0, [f"4 written to {tmp_path / 'out'}, 0 there already, 0 could not be read"])
    (tmp_path / "out" / "000.png").unlink()
    said = gesso("translate", run, pairs / "test", "-o", tmp_path / "out", "--existing", "skip")
    assert (said.code, said.out) == (0, [f"1 written to {tmp_path / 'out'}, 3 there already, 0 could not be read"])


def test_same_command_on_a_finished_run_is_well(gesso: Gesso, run: Path, pairs: Path) -> None:
    said = gesso(*train_words(pairs, "--runs", run.parent, "--name", run.name))
    assert said.code == 0
    assert said.out[-1] == f"report: {run / 'index.html'}"
    assert said.err == []


def test_synth_writes_what_check_finds_good(gesso: Gesso, tmp_path: Path) -> None:
    said = gesso("data", "synth", "pairs", tmp_path / "streets", "--count", 3, "--size", 64)
    assert (said.code, said.err) == (0, [])
    assert said.out[0].startswith(f"{tmp_path / 'streets'}: ")
    said = gesso("data", "check", tmp_path / "streets")
    assert said.code == 0
    assert "0 bad" in "\n".join(said.out)


@pytest.mark.parametrize(
    ("more", "pattern"),
    [(["--count", 0], "count"), (["--size", 2], "size"), (["--size", 10**6], "size"), (["--seed", -1], "seed")],
)
def test_synth_refuses_numbers_that_make_no_sense(
    more: list[object], pattern: str, gesso: Gesso, tmp_path: Path
) -> None:
    refused(gesso("data", "synth", "pairs", tmp_path / "streets", *more), f"--{pattern}")
    assert not (tmp_path / "streets").exists()


def test_synth_does_not_write_among_other_files(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    refused(gesso("data", "synth", "pairs", tmp_path), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_check_names_bad_files_and_ends_in_2(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "trainA").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save(
        tmp_path / "trainA" / "good.png"
    )
    (tmp_path / "trainA" / "bad.png").write_bytes(b"")
    said = gesso("data", "check", tmp_path)
    assert said.code == 2
    assert any("bad.png" in line and "empty file" in line for line in said.out)
    assert not any("good.png" in line for line in said.out)


def test_doctor_says_what_it_chose_and_why(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.engine.doctor.measure_matmul_peak", lambda device, dtype: 2e9)
    said = gesso("doctor")
    assert (said.code, said.err) == (0, [])
    text = "\n".join(said.out)
    for what in ("device", "precision", "channels_last"):
        assert re.search(rf"^{what} +\S+ \(.+\)$", text, re.MULTILINE), text
    assert re.search(r"^torch +2\.", text, re.MULTILINE)
    assert re.search(r"^matmul fp32 +2 GFLOP/s measured$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_flags_that_help(
    error: Exception, gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(Pix2Pix, "train_step", train_step)
    said = gesso(*train_words(pairs, "--runs", tmp_path, "--name", "it"))
    assert said.code == 2
    assert said.err[-1] == "gesso: out of memory; use a smaller --batch-size, --data.crop-size or --generator.ngf"


def test_other_errors_of_ours_keep_their_traceback(
    gesso: Gesso, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(*arguments: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Pix2Pix, "train_step", train_step)
    with pytest.raises(RuntimeError, match="a bug"):
        gesso(*train_words(pairs, "--runs", tmp_path, "--name", "it"))
