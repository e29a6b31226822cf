"""What a user did wrong with numbers, folders, runs and disks: one line and exit code 2, and nothing is changed."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import TINY, Gesso, contents, refused, train_words
from gesso.engine import checkpoint

# Numbers, folders and images.


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
        (["--start-from", "G_Z=weights.pth"], r"--start-from G_Z=.*weights.pth: networks are G, D"),
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


def test_a_student_without_a_flag_is_asked_for_its_teacher(gesso: Gesso) -> None:
    refused(gesso("train", "pix2pix-distill"), "--teacher: name the run that is to teach")


def test_empty_word_is_not_taken_for_the_working_folder(gesso: Gesso) -> None:
    refused(gesso("data", "check", ""), "an argument is empty, perhaps a shell variable that is not set")


def test_name_in_a_message_does_not_steer_the_terminal(gesso: Gesso) -> None:
    refused(gesso("data", "check", "red\x1b[31m"), r"red\\x1b\[31m: no such folder")


def test_empty_value_of_a_flag_is_one(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    said = gesso("bench", "converge", "pix2pix-demo", "--data-root", "", "--seeds", 0)
    refused(said, "--seeds 0: must be 1 or more")


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


def test_another_length_alone_names_the_command_that_gives_it(gesso: Gesso, run: Path, pairs: Path) -> None:
    words = train_words(pairs, "--runs", run.parent, "--name", run.name)
    refused(gesso(*words, "-e", 7), r"to another length: --epochs 7 \(was .*gesso resume .* -e 7")


def test_mended_command_takes_over_a_run_that_never_began(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    words = train_words(pairs, "--runs", tmp_path / "runs")
    refused(gesso(*words, "--start-from", "nowhere"), "nowhere: there is no such run or checkpoint")
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "runs" / f"pix2pix-{pairs.name}").mkdir()  # as an older version or a kill leaves it
    refused(gesso(*words, "--start-from", "nowhere"), "nowhere: there is no such run or checkpoint")
    assert len(list((tmp_path / "runs").iterdir())) == 1
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
    resource = pytest.importorskip("resource")
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
            f"{runs}.* cannot be written: .*(no such folder|permission denied|read-only|a file stands)",
        )
    refused(gesso("translate", run, pairs / "test", "-o", "/proc/gesso"), "/proc/gesso cannot be written")
    refused(gesso("data", "synth", "pairs", "/proc/gesso", "--count", 1, "--size", 64), "/proc/gesso")


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write anywhere")
def test_read_only_folder(gesso: Gesso, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o500)
    refused(gesso(*train_words(pairs, "--runs", tmp_path / "runs")), "cannot be written: permission denied")
