"""sample, classify and compare-dumps on toy runs, from the command line and from Python."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import gesso as package
from commands import Gesso, refused
from conftest import toy
from gesso.recipe import Tracking


@pytest.fixture(scope="module")
def generator(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy run of dcgan. Not to be written to."""
    recipe = toy("dcgan", pairs, epochs=1)
    recipe = dataclasses.replace(
        recipe,
        evaluation=dataclasses.replace(recipe.evaluation, metrics=()),
        tracking=Tracking(sheet_images=2, trackers=()),
    )
    return package.train(recipe, runs=tmp_path_factory.mktemp("use"), name="dcgan").path


@pytest.fixture(scope="module")
def classifier(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy run of densenet. Not to be written to."""
    recipe = toy("densenet-bc-cifar", classes, epochs=1)
    return package.train(recipe, runs=tmp_path_factory.mktemp("use"), name="densenet").path


def test_sample_makes_a_sheet(generator: Path, gesso: Gesso, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    said = gesso("sample", generator, "-o", out, "-n", 6, "--columns", 3, "--device", "cpu", "-d", "fp32")
    assert said.code == 0 and str(out) in "\n".join(said.out)
    with Image.open(out) as sheet:
        assert sheet.width > sheet.height > 2 * 32


def test_sample_makes_files(generator: Path, gesso: Gesso, tmp_path: Path) -> None:
    said = gesso("sample", generator, "-o", tmp_path / "made", "-n", 3, "--kind", "files", "--device", "cpu")
    assert said.code == 0 and len(list((tmp_path / "made").glob("*.png"))) == 3


def test_sample_arguments_arrive(gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def sample_run(**values: object) -> list[str]:
        asked.update(values)
        return ["one line", "another"]

    monkeypatch.setattr("gesso.predicting.sampling.sample_run", sample_run)
    flags = "--kind walk --seed 3 --columns 4 --frames 9 --checkpoint latest"
    words = [*flags.split(), "--device", "cpu", "-d", "bf16", "-n", 5]
    assert gesso("sample", "runs/it", "-o", "walk.gif", *words) == (0, ["one line", "another"], [])
    assert asked == {
        "run": Path("runs/it"), "out": Path("walk.gif"), "count": 5, "kind": "walk", "seed": 3, "columns": 4,
        "frames": 9, "checkpoint": "latest", "device": "cpu", "precision": "bf16",
    }  # fmt: skip


def test_sample_refuses_other_runs_and_numbers(generator: Path, run: Path, gesso: Gesso, tmp_path: Path) -> None:
    refused(gesso("sample", run, "-o", tmp_path / "x.png"), "pix2pix, which is used with `gesso translate`")
    refused(gesso("sample", tmp_path / "nowhere", "-o", tmp_path / "x.png"), "nowhere: there is no such run")
    refused(gesso("sample", generator, "-o", tmp_path / "x.png", "-n", -1), "--count -1: must be 1 or more")
    refused(gesso("sample", generator, "-o", tmp_path / "x.txt"), "x.txt: a grid is written as .png")
    refused(gesso("sample", generator), "missing --out")
    assert not list(tmp_path.glob("x.*"))


def test_classify_prints_a_table(classifier: Path, classes: Path, gesso: Gesso) -> None:
    said = gesso("classify", classifier, classes / "val" / "dark", "--device", "cpu", "-d", "fp32")
    header, *rows = [line.split() for line in said.out]
    assert said.code == 0 and header == ["file", "score", "class"]
    assert [Path(row[0]).name for row in rows] == ["0.png", "0.png", "1.png", "1.png", "2.png", "2.png"]
    assert {row[2] for row in rows} == {"%"} and {row[3] for row in rows} == {"dark", "light"}
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert float(first[1]) >= float(second[1])
        assert float(first[1]) + float(second[1]) == pytest.approx(100, abs=0.02)


def test_the_columns_of_classify_stand_below_each_other(
    classifier: Path, classes: Path, gesso: Gesso, tmp_path: Path
) -> None:
    picture = (classes / "val" / "dark" / "0.png").read_bytes()
    for name in ("a.png", "much-longer-name.png", "a-name-that-takes\ntwo-lines.png"):
        (tmp_path / name).write_bytes(picture)
    header, *rows = gesso("classify", classifier, tmp_path, "--device", "cpu").out
    assert {row.index(" %  ") + len(" %") for row in rows} == {header.index("score") + len("score")}
    assert all(row[header.index("class") :] in ("dark", "light") for row in rows)


def test_classify_prints_lines_of_json_alone(classifier: Path, classes: Path, gesso: Gesso) -> None:
    said = gesso("classify", classifier, classes / "val", "--json", "--top", 1, "-b", 4, "--device", "cpu")
    records = [json.loads(line) for line in said.out]
    assert said.code == 0 and len(records) == 6
    for record in records:
        ((found,),) = [record["classes"]]
        assert set(record) == {"file", "classes"} and found["class"] in ("dark", "light") and 0.5 <= found["score"] <= 1


def test_classify_names_what_it_cannot_read_and_ends_in_2(
    classifier: Path, classes: Path, gesso: Gesso, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    (tmp_path / "good.png").write_bytes((classes / "val" / "dark" / "0.png").read_bytes())
    said = gesso("classify", classifier, tmp_path, "--device", "cpu")
    assert said.code == 2 and said.err[-1] == f"gesso: {tmp_path / 'bad.png'}: empty file"
    assert sum("good.png" in line for line in said.out) == 2
    said = gesso("classify", classifier, tmp_path, "--json", "--device", "cpu")
    assert said.code == 2
    assert json.loads(said.out[0]) == {"file": str(tmp_path / "bad.png"), "error": "empty file"}
    assert "classes" in json.loads(said.out[1])


def test_classify_refuses_other_runs_and_inputs(
    classifier: Path, run: Path, classes: Path, gesso: Gesso, tmp_path: Path
) -> None:
    refused(gesso("classify", run, classes), "pix2pix, which is used with `gesso translate`")
    refused(gesso("classify", classifier, tmp_path / "nowhere"), "nowhere: there is no such picture or folder")
    refused(gesso("classify", classifier, classes, "--top", 0), "--top 0: must be 1 or more")
    refused(gesso("classify", classifier), "missing INPUTS")


def write_dump(folder: Path, weight: float) -> Path:
    """A run's dump of one step, with one tensor."""
    name = "network/classifier/weight/bias"
    about = {"step": "0", "images": "0", "precision": "fp32", "device": "cpu", "gesso": "0", "order": f'["{name}"]'}
    (folder / "dumps").mkdir(parents=True)
    save_file({name: torch.tensor([1.0, weight])}, folder / "dumps" / "step-000000.safetensors", about)
    return folder


def test_compare_dumps_tells_the_same_from_others(gesso: Gesso, tmp_path: Path) -> None:
    a, b = write_dump(tmp_path / "a", 1), write_dump(tmp_path / "b", 1.01)
    said = gesso("compare-dumps", a, a / "dumps")
    assert (said.code, said.err) == (0, [])
    assert said.out[-1].startswith("within 0.001: 1 of 1 weights")
    said = gesso("compare-dumps", a, b)
    assert said.code == 1
    assert any(line.startswith("first difference: network/classifier/weight/bias") for line in said.out)
    assert gesso("compare-dumps", a, b, "--tolerance", 0.1).code == 0


def test_compare_dumps_refuses_what_has_none(gesso: Gesso, tmp_path: Path) -> None:
    a = write_dump(tmp_path / "a", 1)
    (tmp_path / "b").mkdir()
    refused(gesso("compare-dumps", a, tmp_path / "b"), "b: no dumps here")
    refused(gesso("compare-dumps", tmp_path / "nowhere", a), "nowhere: there is no such")
    refused(gesso("compare-dumps", a, a, "--tolerance", -1), "--tolerance -1: must be 0 or more")


def test_python_has_sample_and_classify(generator: Path, classifier: Path, classes: Path, tmp_path: Path) -> None:
    lines = package.sample(run=generator, out=tmp_path / "sheet.png", count=2, device="cpu", precision="fp32")
    assert lines and (tmp_path / "sheet.png").exists()
    records = list(package.classify(run=classifier, inputs=classes / "val", device="cpu", precision="fp32"))
    assert len(records) == 6 and all(len(record["classes"]) == 2 for record in records)
