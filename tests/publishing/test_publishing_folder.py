"""A published folder is a checkpoint that every command takes, and holds nothing of the machine it comes from."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from published import RECIPES, USE, pictures, untrained

from commands import TINY, Gesso, contents, refused
from gesso.engine import checkpoint
from gesso.recipe import from_json


@pytest.fixture
def shared(run: Path, tmp_path: Path, gesso: Gesso) -> Path:
    """The toy run of pix2pix, published."""
    assert gesso("publish", run, "--to", tmp_path / "shared", "--licence", "MIT").code == 0
    return tmp_path / "shared"


def test_a_published_model_translates_as_its_run(
    run: Path, shared: Path, pairs: Path, tmp_path: Path, gesso: Gesso
) -> None:
    for model, out in ((run, "a"), (shared, "b")):
        assert gesso("translate", model, pairs / "test", "-o", tmp_path / out, *USE).code == 0
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b") != {}


def test_a_published_model_has_the_scores_of_its_run(run: Path, shared: Path, pairs: Path, gesso: Gesso) -> None:
    ours = gesso("evaluate", shared, "--data-root", pairs, "--device", "cpu").out
    theirs = gesso("evaluate", run, "--device", "cpu").out
    named = [line.replace(run.joinpath("checkpoints", "best").read_text().strip(), "shared") for line in theirs]
    assert ours == named
    assert any("gesso" in line for line in ours)


def test_without_its_data_set_a_published_model_asks_for_it(run: Path, shared: Path, gesso: Gesso) -> None:
    refused(gesso("evaluate", shared, "--device", "cpu"), r"published without its data set \(pairs\).*--data-root")
    refused(gesso("compare-models", run, shared, *USE), r"published without its data set \(pairs\).*--data-root")


def test_published_models_are_compared_on_a_data_set(run: Path, shared: Path, pairs: Path, gesso: Gesso) -> None:
    said = gesso("compare-models", run, shared, "--data-root", pairs, *USE)
    assert said.code == 0
    assert [line.split()[0] for line in said.out[1:3]] == ["toy", "shared"]


def test_a_published_generator_makes_the_same_images(tmp_path: Path, gesso: Gesso) -> None:
    run = untrained(tmp_path / "run", RECIPES["dcgan"](tmp_path), averaged=True)
    gesso("publish", run, "--to", tmp_path / "shared")
    for model, out in ((run, "a"), (tmp_path / "shared", "b")):
        assert gesso("sample", model, "-o", tmp_path / out / "x.png", "-n", 4, *USE).code == 0
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b") != {}


def test_a_published_classifier_names_the_same_classes(classes: Path, tmp_path: Path, gesso: Gesso) -> None:
    run = untrained(tmp_path / "run", RECIPES["densenet"](classes))
    gesso("publish", run, "--to", tmp_path / "shared")
    said = [gesso("classify", each, classes / "val", "--json", *USE).out for each in (run, tmp_path / "shared")]
    assert said[0] == said[1] and len(said[0]) == 6


def test_the_used_networks_alone_are_published_averaged_where_they_are(tmp_path: Path, gesso: Gesso) -> None:
    run = untrained(tmp_path / "run", RECIPES["cyclegan"](tmp_path), averaged=True)
    gesso("publish", run, "--to", tmp_path / "used")
    gesso("publish", run, "--to", tmp_path / "all", "--networks", "all")
    assert set(checkpoint.read(tmp_path / "used").weights) == {"G_A_ema", "G_B_ema"}
    assert set(checkpoint.read(tmp_path / "all").weights) == set(checkpoint.find(run, "best", print).weights)


def test_nothing_is_pickled(shared: Path) -> None:
    assert {path.suffix for path in shared.iterdir()} == {".json", ".md", ".png", ".safetensors"}
    assert checkpoint.read(shared).training() == {}


def test_training_starts_from_what_was_published(shared: Path, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    words = ["train", "pix2pix", "--data.root", pairs, *TINY, "--direction", "AtoB"]
    said = gesso(*words, "--runs", tmp_path / "new", "--name", "next", "--start-from", shared)
    assert said.code == 0
    assert [line for line in said.err if "published without" in line] == [
        f"--start-from {shared}: published without D, which begin anew"
    ]


def test_a_published_model_teaches(shared: Path, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    small = ["--generator.ngf", 2, "--distill.discriminator", "new", "-e", 0.25, "--device", "cpu", "--compile", "off"]
    words = ["train", "pix2pix-distill", "--teacher", shared, "--data.root", pairs, *small]
    assert gesso(*words, "--runs", tmp_path / "new", "--name", "student").code == 0


def test_a_published_model_is_no_run_to_resume(shared: Path, gesso: Gesso) -> None:
    before = contents(shared)
    refused(gesso("resume", shared), "is a checkpoint or a published model, and not a run.*--start-from")
    assert contents(shared) == before


def test_nothing_of_the_machine_is_published(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    """Whatever in a run may name a place does so here."""
    recipe: Any = from_json((run / "recipe.json").read_text())
    private = tmp_path / "home of somebody"
    recipe = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, root=str(private / "cats"), cache_dir=str(private / "cache")),
        evaluation=dataclasses.replace(recipe.evaluation, inception=str(private / "i.pt"), lpips=str(private / "l.pt")),
        start_from=(f"G={private}/g.pth", "D=/srv/secret/d.pth"),
    )
    (run / "recipe.json").write_text(recipe.to_json())
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["protocol"] += f"\nInception: {private}/i.pt (sha256 12)\nlabels/photos by /var/other/x.pt, ~/y.pt"
    (run / "metrics.json").write_text(json.dumps(metrics))
    environment = json.loads((run / "environment.json").read_text())
    environment["imported"] = {"G": {"file": f"{private}/latest_net_G.pth", "sha256": "12"}}
    (run / "environment.json").write_text(json.dumps(environment))
    assert gesso("publish", run, "--to", tmp_path / "shared").code == 0
    told = b"\n".join(contents(tmp_path / "shared").values())
    for place in (str(tmp_path), "home of somebody", "secret", "/var/other", "~/", str(Path.cwd())):
        assert place.encode() not in told, place
    for name in ("cats", "i.pt (sha256 12)", "labels/photos by x.pt, y.pt", "latest_net_G.pth"):
        assert name.encode() in told, name


def test_the_author_hears_what_she_may_not_want(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    said = gesso("publish", run, "--to", tmp_path / "a")
    assert "no licence was given: nobody may use it; give one with --licence" in said.err[0]
    assert "sheet.png shows pictures of the data set" in said.err[1]
    assert not [line for line in said.err if line.startswith("gesso:")]  # as errors do
    said = gesso("publish", run, "--to", tmp_path / "b", "--licence", "MIT", "--no-sheet")
    assert said.err == [] and not (tmp_path / "b" / "sheet.png").exists()


def test_a_published_model_is_replaced_only_when_that_is_said(run: Path, shared: Path, gesso: Gesso) -> None:
    before = contents(shared)
    refused(gesso("publish", run, "--to", shared), "a published model is there already; --replace")
    assert contents(shared) == before
    assert gesso("publish", run, "--to", shared, "--replace", "--name", "Second").code == 0
    assert "# Second" in (shared / "README.md").read_text()
    assert sorted(path.name for path in shared.parent.iterdir()) == ["runs", "shared"]


@pytest.mark.parametrize("what", ["notes", "run", "checkpoint", "damaged", "file", "link"])
def test_nothing_else_is_ever_replaced(what: str, run: Path, shared: Path, tmp_path: Path, gesso: Gesso) -> None:
    place = {"run": run, "checkpoint": next((run / "checkpoints").glob("0*"))}.get(what, shared)
    if what == "notes":
        (shared / "notes.txt").write_text("mine")
    elif what == "damaged":
        (shared / "recipe.json").write_text("{}")
    elif what == "file":
        place = tmp_path / "file"
        place.write_text("mine")
    elif what == "link":
        place = tmp_path / "link"
        place.symlink_to(shared)
    before = contents(tmp_path)
    refused(gesso("publish", run, "--to", place, "--replace"), f"--to {place}: ")
    assert contents(tmp_path) == before


def test_a_name_may_be_as_long_as_names_are(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    assert gesso("publish", run, "--to", tmp_path / ("n" * 255)).code == 0


def test_a_folder_is_published_again_as_it_was_edited(shared: Path, tmp_path: Path, gesso: Gesso) -> None:
    (shared / "README.md").write_text("# Mine\n")
    refused(gesso("publish", shared, "--to", tmp_path / "b", "--licence", "MIT"), "published already, .*README.md")
    assert gesso("publish", shared, "--to", tmp_path / "b").code == 0
    assert contents(shared) == contents(tmp_path / "b")


def test_the_same_run_is_published_in_the_same_bytes(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    for parent in ("a", "b"):
        gesso("publish", run, "--to", tmp_path / parent / "model")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("name", ["README.md", "sheet.png"])
def test_a_link_out_of_a_published_folder_is_not_followed(
    name: str, shared: Path, tmp_path: Path, gesso: Gesso
) -> None:
    (tmp_path / "private").write_bytes((shared / name).read_bytes())
    (shared / name).unlink()
    (shared / name).symlink_to(tmp_path / "private")
    refused(gesso("publish", shared, "--to", tmp_path / "b"), f"{name}: not a file of this folder")
    assert not (tmp_path / "b").exists()


def test_a_sheet_that_is_no_picture_is_not_published(run: Path, shared: Path, tmp_path: Path, gesso: Gesso) -> None:
    for sheet in (shared / "sheet.png", *(run / "samples").glob("*.png")):
        sheet.write_text("secret")
    for model in (run, shared):
        refused(gesso("publish", model, "--to", tmp_path / "b"), r"\.png: not a PNG")
    assert gesso("publish", run, "--to", tmp_path / "b", "--no-sheet").code == 0


@pytest.mark.parametrize("name", ["G.safetensors", "recipe.json", "manifest.json", "environment.json"])
def test_a_changed_byte_is_found(name: str, shared: Path, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    content = bytearray((shared / name).read_bytes())
    content[len(content) // 2] ^= 1
    (shared / name).write_bytes(content)
    refused(gesso("translate", shared, pairs / "test", "-o", tmp_path / "out", *USE), "shared: damaged, ")


def test_a_checkpoint_is_published_with_what_its_run_says(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    best = run / "checkpoints" / (run / "checkpoints" / "best").read_text().strip()
    gesso("publish", best, "--to", tmp_path / "a" / "model")
    gesso("publish", run, "--to", tmp_path / "b" / "model")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_files_that_are_links_are_read(shared: Path, pairs: Path, tmp_path: Path, gesso: Gesso) -> None:
    """As the hub's cache has them."""
    blobs = Path(shutil.move(shared, tmp_path / "blobs"))
    shared.mkdir()
    for path in blobs.iterdir():
        (shared / path.name).symlink_to(path)
    assert gesso("translate", shared, pairs / "test", "-o", tmp_path / "out", *USE).code == 0


@pytest.mark.parametrize(
    "flag", ["--name", "--about", "--licence", "--dataset", "--to", "export --licence", "import --name"]
)
def test_texts_that_are_not_utf8_are_refused_by_their_flag(
    flag: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gesso: Gesso
) -> None:
    monkeypatch.chdir(tmp_path)
    command, _, flag = flag.rpartition(" ")
    words = {"export": [], "import": ["--from", "junyanz", "-o", "x"]}.get(command, ["--to", "x"])
    before = contents(tmp_path)
    refused(gesso(command or "publish", run, *words, flag, "\udcff"), rf"{flag} \S+: not text in UTF-8")
    assert contents(tmp_path) == before


def test_a_data_set_may_have_a_name_that_is_not_utf8(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    recipe: Any = from_json((run / "recipe.json").read_text())
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root="/data/cats\udcff"))
    (run / "recipe.json").write_text(recipe.to_json())
    assert gesso("publish", run, "--to", tmp_path / "shared").code == 0
    assert "cats\\udcff" in (tmp_path / "shared" / "README.md").read_text()
