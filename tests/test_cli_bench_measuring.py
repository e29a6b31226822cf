"""`gesso bench run | converge | suite`, as a user calls them, on toys and in the process of the test."""

import json
import shlex
from pathlib import Path
from typing import get_args

import pytest

from commands import Gesso, refused
from gesso.bench.converge import STUDY, default_criterion
from gesso.bench.results import open_results
from gesso.bench.suite import ORIGINS, obstacle
from gesso.commands.measuring import split
from gesso.devices import ACCELERATORS
from gesso.errors import DivergenceError
from gesso.recipe import Precision
from gesso.recipes import RECIPES
from inline import run_inline

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SMALL = [
    *("--generator.ngf", "4", "--generator.depth", "5", "--discriminator.ndf", "4", "--discriminator.layers", "2"),
    *("--data.load-size", "36", "--data.crop-size", "32"),
]
TOY = ["--device", "cpu", "-d", "fp32", "-b", "2"]
SPEED = [*TOY, "--steps", "2", "--warmup", "1", "--repeats", "2", "--compile", "off"]
TRAINING = [*TOY, "-e", "0.5"]
TRAINED = [*SMALL, "--compile", "off", "--tracking.trackers"]


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.bench.fresh.run_python", run_inline)
    monkeypatch.setattr("gesso.bench.measuring.measure_matmul_peak", lambda *_: 1e11)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "bench.sqlite3"


def test_a_recipe_is_measured_shown_and_kept(gesso: Gesso, database: Path, pairs: Path) -> None:
    said = gesso("bench", "run", "pix2pix", *SPEED, "--data.root", pairs, "--database", database, "--", *SMALL)
    assert said.code == 0
    results = open_results(str(database)).query()
    assert [(r.mode, r.data) for r in results] == [
        (mode, data) for _ in range(2) for mode in ("train", "forward") for data in ("synthetic", "real")
    ]
    assert len({r.run_id for r in results}) == 1 and len({r.configuration for r in results}) == 4
    assert all(json.loads(r.recipe_json)["generator"]["ngf"] == 4 for r in results)
    assert said.out[-1] == f"{database}: 8 results added, run id {results[0].run_id}"
    assert sum(line.startswith("pix2pix ") and " fp32 " in line for line in said.out) == 4
    assert len(said.err) == 8 and all("images/s" in line for line in said.err)


def test_several_recipes_are_measured_in_one_call(gesso: Gesso, database: Path) -> None:
    words = [*SPEED, "--mode", "forward", "--repeats", "1", "--database", database]
    assert gesso("bench", "run", "pix2pix", "cyclegan", *words, "--data.root", "synthetic", "--", *SMALL).code == 0
    assert {r.model for r in open_results(str(database)).query()} == {"pix2pix", "cyclegan"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run", r"bench run: name a recipe; there are pix2pix"),
        ("run pix3pix", r"bench run pix3pix: no such recipe, perhaps you meant pix2pix"),
        ("run pix2pix --steps 0", r"--steps 0: must be 1 or more"),
        ("run pix2pix --warmup 0", r"--warmup 0: must be 1 or more"),
        ("run pix2pix --price-per-hour -1", r"--price-per-hour -1: must be 0 or more"),
        ("run pix2pix --price-per-hour nan", r"--price-per-hour nan: must be 0 or more"),
        ("run pix2pix --price-per-hour inf", r"--price-per-hour inf: must be 0 or more"),
        ("run pix2pix --machine 'a\nb'", r"--machine 'a\\nb': holds characters that cannot be shown"),
        ("run pix2pix -- --precision bf16", r"--precision stands behind --, .*: write it before --"),
        ("run pix2pix -b 2 -- --batch-size=4", r"--batch-size=4 stands behind --"),
        ("converge pix2pix -- --device cpu", r"--device stands behind --"),
        ("converge pix2pix --machine '\t'", r"--machine '\\t': holds characters that cannot be shown"),
        ("run pix2pix --device cpu -d tf32", r"--precision tf32: cpu has fp32, bf16"),
        ("run pix2pix --device cpu -b -1", r"--batch-size -1: must be more than 0"),
        ("run pix2pix --data.root nowhere", r"--data\.root nowhere: no such folder"),
        ("run pix2pix -- --nothing 3", r"--nothing is not recognised; see gesso train pix2pix --help"),
        ("run pix2pix --devices 0", r"--devices 0: must be 1 or more"),
        ("converge pix2pix --seeds 0", r"--seeds 0: must be 1 or more"),
        ("converge pix2pix --at-most 3", r"--at-least, --at-most: name the score .* with --score"),
        ("converge pix2pix --score FID", r"--score FID: give it one bound, --at-least or --at-most"),
        ("converge pix2pix --fail-below 20", r"--fail-below 20: must be from 0 to 1"),
        ("suite destinations", r"suite destinations: choose one of origins"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: str, says: str, gesso: Gesso, database: Path) -> None:
    refused(gesso("bench", *shlex.split(words)), says)


def test_help_and_docs_name_every_precision(gesso: Gesso) -> None:
    said = " ".join(gesso("bench", "run", "--help").out)
    row = next(line for line in DOCS.read_text().splitlines() if line.startswith("| `--precision`"))
    for text in (said.partition("One or several of")[2].partition("arithmetic")[0], row):
        assert [name for name in get_args(Precision) if name not in text] == []


def test_a_launcher_cannot_start_the_bench(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "here", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    refused(gesso("bench", "run", "pix2pix"), "call it once, with --devices")


def test_flags_of_the_recipe_stand_behind_the_dashes() -> None:
    assert split(["a", "--b", "--", "--c", "--"]) == (["a", "--b"], ["--c", "--"])
    assert split(["a"]) == (["a"], [])


# Convergence.


def converge(gesso: Gesso, tmp_path: Path, pairs: Path, *more: object) -> list[str]:
    places = ["--runs", tmp_path / "runs", "--database", tmp_path / "bench.sqlite3", "--data.root", pairs]
    said = gesso("bench", "converge", "pix2pix", "--seeds", 2, *TRAINING, *places, *more, "--", *TRAINED)
    return [str(said.code), *said.out, *said.err]


def test_seeds_are_trained_reported_and_kept_and_finished_ones_only_read(
    gesso: Gesso, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = converge(gesso, tmp_path, pairs)
    results = open_results(str(tmp_path / "bench.sqlite3")).query(kind="converge")
    assert [r.metrics["seed"] for r in results] == [0, 1]
    assert {"loss/G_GAN", "loss/G_L1", "loss/D_real", "loss/D_fake", "score/AtoB/L1"} <= results[0].metrics.keys()
    assert results[0].metrics["loss/G_L1"] != results[1].metrics["loss/G_L1"]
    assert "--generator.ngf 4" in results[0].environment["variant"]
    monkeypatch.setattr("gesso.bench.fresh.run_python", lambda *words: pytest.fail("trained again"))
    again = converge(gesso, tmp_path, pairs)
    assert [line for line in again if " results added" not in line] == [
        line for line in first if " results added" not in line
    ]
    assert f"{tmp_path / 'bench.sqlite3'}: 0 results added" in again


def test_another_criterion_is_shown_and_not_kept(gesso: Gesso, tmp_path: Path, pairs: Path) -> None:
    converge(gesso, tmp_path, pairs)
    said = converge(gesso, tmp_path, pairs, "--score", "AtoB/L1", "--at-least", "1e9", "--fail-below", "0.5")
    assert said[0] == "1"
    assert any(line.startswith("0 of 2 seeds converged: finite losses, and AtoB/L1 at least 1e+09") for line in said)
    assert any("was begun with another criterion" in line for line in said)
    assert len(open_results(str(tmp_path / "bench.sqlite3")).query()) == 2


def test_rows_of_a_study_from_before_variants_were_kept_stay_as_they_were(
    gesso: Gesso, tmp_path: Path, pairs: Path
) -> None:
    folder = tmp_path / "runs" / "converge-pix2pix"
    folder.mkdir(parents=True)
    begun = {"run_id": "old", "criterion": str(default_criterion(RECIPES["pix2pix"]()))}
    (folder / STUDY).write_text(json.dumps(begun))
    converge(gesso, tmp_path, pairs)
    result = open_results(str(tmp_path / "bench.sqlite3")).query()[0]
    assert (result.run_id, "variant" in result.environment) == ("old", False)


def test_a_seed_that_diverged_has_not_converged_and_the_next_is_trained(
    gesso: Gesso, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(words: list[str], out: Path) -> int:
        code = run_inline(words, out)
        return DivergenceError.exit_code if "seed-0" in words else code

    monkeypatch.setattr("gesso.bench.fresh.run_python", diverging)
    said = converge(gesso, tmp_path, pairs)
    assert any("seed 0: diverged" in line for line in said)
    results = open_results(str(tmp_path / "bench.sqlite3")).query()
    assert results[0].metrics["converged"] == 0
    assert "score/AtoB/L1" not in results[0].metrics and "score/AtoB/L1" in results[1].metrics


def test_a_folder_of_another_recipe_is_refused(gesso: Gesso, tmp_path: Path, pairs: Path) -> None:
    converge(gesso, tmp_path, pairs)
    said = converge(gesso, tmp_path, pairs, "--epochs", "1")
    assert said[0] == "2"
    assert "was trained by another recipe: --epochs 1 (was 0.5); name this study with --name" in said[-1]
    (tmp_path / "runs" / "converge-pix2pix" / STUDY).write_text("{")
    assert "cannot be read; remove it" in converge(gesso, tmp_path, pairs)[-1]


# The origins.


def test_every_origins_command_can_be_read(gesso: Gesso, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = gesso("bench", "suite", "origins", "--list").out
    commands = [shlex.split(line) for line in lines if line.startswith("gesso ")]
    assert all(("--compile" in command) == (command[2] == "run") for command in commands)  # as the suite runs them
    assert len(commands) == len(ORIGINS) == len(set(map(tuple, commands)))
    assert {command[3] for command in commands} == {
        *("cyclegan-gaudi", "cyclegan-mindspore", "densenet121", "dcgan-msls", "pix2pix-resnet9")
    }

    class ReadError(Exception):
        """The command came to where the machine is asked."""

    def read(*_: object) -> None:
        raise ReadError

    monkeypatch.setattr("gesso.launching.starts", read)
    for command in commands:
        with pytest.raises(ReadError):
            gesso(*command[1:])


def test_a_listed_command_has_the_flags_that_were_given(gesso: Gesso) -> None:
    lines = gesso("bench", "suite", "origins", "--list", "--steps", 7, "--runs", "there", "--machine", "lab").out
    commands = [line for line in lines if line.startswith("gesso ")]
    assert all("--machine lab" in line for line in commands)
    assert all("--steps 7" in line for line in commands if " run " in line)
    assert sum("--runs there" in line for line in commands) == 1
    assert not any("--database" in line for line in commands)


def test_a_listed_command_measures_as_the_suite_does_whatever_the_defaults_of_run_are(gesso: Gesso) -> None:
    commands = [line for line in gesso("bench", "suite", "origins", "--list").out if line.startswith("gesso ")]
    shape = "--compile off --steps 50 --warmup 10 --repeats 3 --device auto"
    assert all((shape if " run " in line else "--runs runs --device auto") in line for line in commands)


def test_what_this_machine_cannot_run_is_named(gesso: Gesso, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[list[str]] = []
    for name in ("run", "converge"):
        monkeypatch.setattr(f"gesso.commands.measuring.{name}", lambda words: called.append(words) or 0)
    said = gesso("bench", "suite", "origins", "--device", "cpu", "--datasets", tmp_path)
    skipped = [line for line in said.out if line.startswith("skipped: ")]
    assert any("8 cards, fp32: needs 8 cards, this machine has 1 of cpu" in line for line in skipped)
    assert any("1 card, tf32: needs tf32, cpu has fp32, bf16" in line for line in skipped)
    assert any("convergence" in line and "needs the data set" in line for line in skipped)
    assert len(called) + len(skipped) == len(ORIGINS)
    assert all(
        "--device" in words and words.index("--device") < words.index("--", words.index("--device"))
        for words in called
        if "--" in words
    )


def test_a_data_set_that_is_there_is_measured_too(tmp_path: Path) -> None:
    (tmp_path / "facades").mkdir()
    entry = next(entry for entry in ORIGINS if entry.command == "converge")
    assert ACCELERATORS["cpu"].count() == 1 and obstacle(entry, "cpu", tmp_path) == ""
    golden = next(entry for entry in ORIGINS if entry.recipe == "pix2pix-resnet9")
    assert str(tmp_path / "facades") in golden.words(tmp_path)
    assert "synthetic" in golden.words(tmp_path / "elsewhere")
