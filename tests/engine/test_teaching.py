"""A student's teacher: what it fixes, what it is refused for, its copy in the run, and a resume without it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import Gesso, refused
from conftest import toy, write_teacher
from gesso.engine import checkpoint, teaching
from gesso.engine import train as loop
from gesso.engine.finish import table
from gesso.engine.runs import read_recipe
from gesso.engine.score import score_run
from gesso.engine.teaching import FOLDER, adopted
from gesso.engine.train import resume, train
from gesso.errors import UsageError
from gesso.predicting.folder import translate_folder
from gesso.recipe import Checkpoints, DistillRecipe, Recipe, from_json
from gesso.recipes import RECIPES


@pytest.fixture
def teacher(pairs: Path, tmp_path: Path) -> Path:
    return write_teacher("pix2pix", pairs, tmp_path / "large")


def student(teacher: Path, **changes: Any) -> Any:
    """Of which nothing is said but its teacher, and how long."""
    base = RECIPES["pix2pix-distill"]()
    return dataclasses.replace(base, teacher=str(teacher), device="cpu", precision="fp32", compile="off", **changes)


def weights_of(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    return checkpoint.read(checkpoint.list_checkpoints(run)[-1]).weights


def same(a: Path, b: Path) -> bool:
    ours, theirs = weights_of(a), weights_of(b)
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[n][key], theirs[n][key]) for n in ours for key in ours[n]
    )


def test_what_is_not_said_is_as_the_teacher_was_trained(teacher: Path) -> None:
    theirs, ours = read_recipe(teacher), adopted(student(teacher, seed=3))
    assert isinstance(ours, DistillRecipe)
    assert (ours.data, ours.epochs, ours.batch_size, ours.optimizer, ours.schedule) == (
        theirs.data, theirs.epochs, theirs.batch_size, theirs.optimizer, theirs.schedule
    )  # type: ignore[attr-defined]  # fmt: skip
    assert ours.generator == dataclasses.replace(theirs.generator, ngf=3)  # type: ignore[attr-defined]
    assert ours.discriminator == theirs.discriminator  # type: ignore[attr-defined]
    assert ours.seed == 3 and ours.distill.lambda_features == 1.0
    assert from_json(ours.to_json()) == ours


def test_what_is_said_is_kept(teacher: Path) -> None:
    ours = adopted(student(teacher, epochs=7))
    assert ours.epochs == 7


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--data.channels-a 1", "--data.channels-a 1: the teacher's is 3, and a student's must be the same; leave"),
        ("--generator.norm instance", "--generator.norm instance: the teacher's is batch, and a student's must be"),
        ("--generator.padding zero", "--generator.padding zero: the teacher's is reflect"),
        ("--direction BtoA", "--direction BtoA: the teacher's is AtoB"),
        ("--data.load-size 286", "--data.load-size 286: the teacher's is 36"),  # which is the recipe's own default
        ("--discriminator.ndf 8", "--discriminator.ndf 8: the teacher's is 4, and its weights are to be begun with"),
        ("--generator.separable", "--generator.separable: a U-Net has no residual blocks"),
    ],
)
def test_a_flag_that_conflicts_with_the_teacher_is_refused(
    gesso: Gesso, teacher: Path, tmp_path: Path, flags: str, told: str
) -> None:
    refused(gesso("train", "pix2pix-distill", "--teacher", teacher, "--runs", tmp_path / "runs", *flags.split()), told)


def test_a_teacher_that_cannot_teach_is_refused(gesso: Gesso, pairs: Path, teacher: Path, tmp_path: Path) -> None:
    other = write_teacher("cyclegan", pairs, tmp_path / "other")
    command = ("train", "pix2pix-distill", "--runs", tmp_path / "runs")
    refused(gesso(*command), "--teacher: name the run that is to teach, one of pix2pix or pix2pix-distill")
    refused(gesso(*command, "--teacher", tmp_path / "none"), f"--teacher {tmp_path / 'none'}: there is no such run")
    refused(gesso(*command, f"--teacher={other}"), "a cyclegan, which cannot teach a pix2pix-distill; name a run of")


def test_a_teacher_without_its_discriminator_is_refused_or_done_without(teacher: Path, tmp_path: Path) -> None:
    found = checkpoint.find(teacher, "latest", print)
    checkpoint.save(teacher, 30, found.model, {"G": found.weights["G"]}, {}, {}, read_recipe(teacher).to_json())
    recipe = student(teacher, epochs=1 / 12)
    with pytest.raises(UsageError, match=r"--distill.discriminator teacher: .* has no D; begin with others by"):
        train(recipe, runs=tmp_path, name="run")
    new = dataclasses.replace(recipe, distill=dataclasses.replace(recipe.distill, discriminator="new"))
    assert train(new, runs=tmp_path, name="run").finished


def test_the_discriminator_begins_with_the_teachers_weights(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(loop, "_loop", lambda s, stop: first.append(s.model.networks["D"].state_dict()))
    monkeypatch.setattr(loop, "_end", lambda s, finished: [])
    train(student(teacher), runs=tmp_path, name="run")
    theirs = checkpoint.find(teacher, "latest", print).weights["D"]
    assert all(torch.equal(first[0][key], value) for key, value in theirs.items())


def test_the_teacher_is_copied_once_and_is_in_no_checkpoint(teacher: Path, tmp_path: Path) -> None:
    run = train(student(teacher, epochs=0.5), runs=tmp_path, name="run").path
    assert same(run / FOLDER, teacher)
    assert not [name for name in weights_of(run) if name.startswith("T")]
    out = tmp_path / "out"
    kept = {"run": run / FOLDER, "out": out, "inputs": Path(read_recipe(run).data.root) / "test", "device": "cpu"}
    assert translate_folder(**kept).written == 4  # type: ignore[arg-type]


def test_averaged_weights_teach_where_there_are(pairs: Path, tmp_path: Path) -> None:
    large = train(toy("pix2pix", pairs, ema=20.0, epochs=1), runs=tmp_path, name="large").path
    run = train(student(large, epochs=1 / 12), runs=tmp_path, name="run").path
    theirs = checkpoint.find(large, "best", print).weights
    assert all(torch.equal(value, theirs["G_ema"][key]) for key, value in weights_of(run / FOLDER)["G"].items())


def stopped(recipe: Recipe, where: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of `recipe` that a kill ended after its first checkpoint."""

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_report", kill)
        with pytest.raises(Killed):
            train(recipe, runs=where, name="run")
    return where / "run"


@pytest.mark.parametrize("name", ["pix2pix-distill", "cyclegan-distill"])
def test_a_run_that_is_moved_and_has_lost_its_teacher_ends_in_the_same_bits(
    name: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = write_teacher(name.removesuffix("-distill"), pairs, tmp_path / "large")
    recipe = dataclasses.replace(toy(name, pairs, checkpoints=Checkpoints(every=0.5)), teacher=str(large))
    whole = train(recipe, runs=tmp_path, name="whole").path
    run = stopped(recipe, tmp_path / "here", monkeypatch)
    shutil.rmtree(large)
    moved = Path(shutil.move(run, tmp_path / "moved"))
    assert resume(moved).finished
    assert same(moved, whole)


def test_a_copy_that_is_damaged_is_taken_from_the_teacher_again(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped(student(teacher, checkpoints=Checkpoints(every=0.5)), tmp_path / "here", monkeypatch)
    file = checkpoint.list_checkpoints(run / FOLDER)[0] / "G.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert resume(run).finished
    said = capsys.readouterr()
    assert f"taking it from {teacher} again" in said.out + said.err
    assert same(run / FOLDER, teacher)


@pytest.mark.parametrize("gone", [False, True])
def test_a_copy_that_is_damaged_or_gone_and_has_no_teacher_any_more_is_one_line(
    gone: bool, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gesso: Gesso
) -> None:
    run = stopped(student(teacher, checkpoints=Checkpoints(every=0.5)), tmp_path / "here", monkeypatch)
    shutil.rmtree(teacher)
    if gone:
        shutil.rmtree(run / FOLDER)
    else:
        file = checkpoint.list_checkpoints(run / FOLDER)[0] / "G.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    said = gesso("resume", run)
    refused(said, f"{FOLDER}.*; and --teacher {teacher}: there is no such run or checkpoint; bring that run back")
    assert not [line for line in said.out if "again" in line]


def test_a_teacher_that_is_gone_is_told_of_with_the_way_on(gesso: Gesso, teacher: Path) -> None:
    shutil.rmtree(teacher)
    said = gesso("train", "pix2pix-distill", "--teacher", teacher)
    refused(
        said, "there is no such run or checkpoint; a student that was begun goes on without it, by: gesso resume RUN"
    )


def test_another_teacher_under_the_same_name_is_another_run(
    teacher: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = student(teacher, checkpoints=Checkpoints(every=0.5))
    stopped(recipe, tmp_path, monkeypatch)
    weights = weights_of(teacher)
    weights["G"] = {key: value + 1 for key, value in weights["G"].items()}
    checkpoint.save(teacher, 48, "pix2pix", weights, {}, {}, read_recipe(teacher).to_json())
    with pytest.raises(UsageError, match=r"run of another recipe: --taught.digest"):
        train(recipe, runs=tmp_path, name="run")


def test_a_digest_is_of_names_shapes_and_bytes(teacher: Path) -> None:
    found = teaching.read_teacher(student(teacher))
    first = next(iter(found.weights["G"]))
    other = {**found.weights, "G": {**found.weights["G"], first: found.weights["G"][first] + 1e-6}}
    assert dataclasses.replace(found, weights=other).digest != found.digest
    assert teaching.read_teacher(student(teacher)).digest == found.digest


def test_a_finished_student_has_its_table_in_metrics_report_and_evaluation(
    teacher: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = toy("pix2pix", pairs, epochs=1)
    small = dataclasses.replace(plain, generator=dataclasses.replace(plain.generator, ngf=3))  # type: ignore[attr-defined]
    scratch = train(small, runs=tmp_path, name="scratch").path
    run = train(student(teacher, epochs=1, compare=str(scratch)), runs=tmp_path, name="run").path
    rows = json.loads((run / "metrics.json").read_text())["models"]["rows"]
    assert [row["model"] for row in rows] == ["teacher", "student from scratch", "student distilled"]
    assert rows[0]["parameters"] > 2 * rows[2]["parameters"] and rows[0]["macs"] > rows[2]["macs"]
    best = checkpoint.find(run, "best", print).path
    assert rows[2]["bytes"] == (best / "G.safetensors").stat().st_size
    page = (run / "index.html").read_text()
    assert "Side by side" in page and "times fewer parameters" in page
    (run / "metrics.json").unlink()
    text = "\n".join(table(score_run(run, device="cpu")))
    assert "student from scratch" in text and "student distilled against teacher" in text
    assert json.loads((run / "metrics.json").read_text())["models"]["rows"][2]["scores"] == rows[2]["scores"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none", "there is no such run"),
        ("other", "it translates both ways, and another run AtoB"),
        ("large", "it has --generator.ngf 6, and the student --generator.ngf 3; name a run of the student's network"),
    ],
)
def test_a_run_that_cannot_be_compared_with_is_refused_before_the_first_step(
    name: str, told: str, pairs: Path, teacher: Path, tmp_path: Path
) -> None:
    write_teacher("cyclegan", pairs, tmp_path / "other")
    with pytest.raises(UsageError, match=f"^--compare {tmp_path / name}: {told}"):
        train(student(teacher, compare=str(tmp_path / name)), runs=tmp_path, name="run")
    assert not (tmp_path / "run").exists()


def test_a_student_is_not_what_another_is_compared_with(teacher: Path, tmp_path: Path) -> None:
    first = train(student(teacher, epochs=1 / 12), runs=tmp_path, name="first").path
    with pytest.raises(UsageError, match=f"^--compare {first}: it had a teacher itself; name a run of the student's"):
        train(student(teacher, compare=str(first)), runs=tmp_path, name="second")


def test_a_run_to_compare_with_that_is_gone_by_the_end_costs_a_remark(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, whole = tmp_path / "none", loop._loop
    shutil.copytree(teacher, other)

    def lose(*of: Any) -> bool:
        shutil.rmtree(other)
        return whole(*of)

    monkeypatch.setattr(loop, "_loop", lose)
    alike = dataclasses.replace(student(teacher).generator, ngf=6)
    run = train(student(teacher, generator=alike, epochs=1 / 12, compare=str(other)), runs=tmp_path, name="run").path
    table = json.loads((run / "metrics.json").read_text())["models"]
    assert [row["model"] for row in table["rows"]] == ["teacher", "student distilled"]
    assert "--compare" in table["protocol"] and "there is no such run" in table["protocol"]


def test_runs_side_by_side_from_the_command_line(gesso: Gesso, teacher: Path, pairs: Path, tmp_path: Path) -> None:
    small = train(toy("pix2pix", pairs, epochs=1 / 12), runs=tmp_path, name="small").path
    said = gesso("compare-models", teacher, small, "--device", "cpu", "-d", "fp32")
    assert said.code == 0
    assert [line.split()[0] for line in said.out[:3]] == ["model", "large", "small"]
    other = write_teacher("cyclegan", pairs, tmp_path / "other")
    refused(gesso("compare-models", teacher), "compare-models: name two runs or more")
    refused(gesso("compare-models", other, small), "it translates both ways, and another run AtoB")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("large", "large: named twice, .*large is the same checkpoint; name each once"),
        ("large/checkpoints/000000024", "000000024: named twice, .*large is the same checkpoint; name each once"),
        ("a.onnx", "a.onnx: a file; only runs, checkpoints and published models are put side by side"),
    ],
)
def test_what_cannot_stand_beside_a_run_is_refused(
    name: str, told: str, gesso: Gesso, teacher: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    refused(gesso("compare-models", teacher, tmp_path / name), told)


@pytest.mark.parametrize(
    ("first", "told"),
    [(39, "3.9 times fewer parameters"), (10, "as many parameters"), (2.5, "4.0 times more parameters")],
)
def test_a_larger_model_has_more_times_and_not_a_fraction_of_fewer(first: float, told: str) -> None:
    from gesso.engine.comparing import verdicts

    rows = [{"model": name, "parameters": n, "macs": 1, "ms": 1.0} for name, n in (("a", first), ("b", 10))]
    assert verdicts({"rows": rows}) == [f"b against a: {told}, as many multiply-accumulates, as many milliseconds"]


def test_a_gap_is_closed_by_the_share_of_the_way_to_the_teacher() -> None:
    from gesso.engine.comparing import verdicts

    def row(name: str, l1: float) -> dict[str, Any]:
        return {"model": name, "parameters": 10, "macs": 8, "ms": 2.0, "bytes": 1, "scores": {"AtoB/L1": l1}}

    rows = [row("teacher", 0.1), row("student from scratch", 0.2), row("student distilled", 0.14)]
    table = {"rows": rows, "preferred": "AtoB/L1", "higher": {"AtoB/L1": False}}
    assert verdicts(table)[1].startswith("distilling closes 60% of the gap in AtoB/L1")
    rows[0]["scores"]["AtoB/L1"] = 0.3
    assert "the teacher is not better in AtoB/L1" in verdicts(table)[1]
