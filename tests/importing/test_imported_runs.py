"""What every other command makes of an imported run, and what cannot be exported for other programs."""

import dataclasses
from pathlib import Path

import pytest
import torch
from bringing import imported, same_file, saved
from reference_networks import ReferenceResNet, ReferenceUNet

from commands import Gesso, refused
from conftest import toy
from gesso.engine import checkpoint
from gesso.engine.guard import Guard
from gesso.engine.runlog import read_log
from gesso.engine.runs import read_environment, read_recipe
from gesso.engine.state import find_checkpoint, restore
from gesso.engine.train import train
from gesso.models import build_model
from gesso.models.pix2pix import Pix2Pix
from gesso.processes import ALONE


@pytest.fixture
def brought(gesso: Gesso, tmp_path: Path) -> Path:
    """An imported pix2pix of 32 px."""
    file = saved(tmp_path / "latest_net_G.pth", ReferenceUNet(3, 3, 4, 5, "batch"))
    imported(gesso, "junyanz", tmp_path / "runs" / "imported", file)
    return tmp_path / "runs" / "imported"


def test_it_translates_and_is_scored(brought: Path, pairs: Path, gesso: Gesso, tmp_path: Path) -> None:
    assert gesso("translate", brought, pairs / "test", "-o", tmp_path / "out", "--device", "cpu").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    said = gesso("evaluate", brought, "--data-root", pairs, "--device", "cpu")
    assert said.code == 0
    assert any(line.startswith("AtoB") for line in said.out)


def test_its_report_and_log_say_where_it_came_from(brought: Path) -> None:
    notes = [record["text"] for record in read_log(brought / "log.jsonl") if record["kind"] == "note"]
    assert notes[0].startswith("imported: G: U-Net of 5 levels (32 px), ngf 4, batch norm, dropout 0.5 (supposed)")
    assert read_environment(brought)["imported"]["G"]["file"].endswith("latest_net_G.pth")
    assert "U-Net of 5 levels" in (brought / "index.html").read_text()


def test_it_is_resumed_and_says_once_that_the_optimizers_begin_anew(brought: Path, pairs: Path, gesso: Gesso) -> None:
    words = ["resume", brought, "--data.root", pairs, "-e"]
    first = gesso(*words, 1)
    assert first.code == 0
    told = [line for line in first.out if "the optimizers begin anew" in line]
    assert told == ["imported weights: there is no optimizer state with them, so the optimizers begin anew"]
    assert find_checkpoint(brought).images == 24
    assert "imported" not in read_environment(brought)
    second = gesso(*words, 2)
    assert second.code == 0
    assert not any("begin anew" in line for line in second.out)


def test_a_run_that_goes_back_to_its_import_forgets_what_it_trained(brought: Path) -> None:
    recipe = read_recipe(brought)
    model = build_model(recipe)
    assert isinstance(model, Pix2Pix)
    model.make_optimizers(False)
    parameter = next(model.networks["G"].parameters())
    model.optimizers["G"].state[parameter] = {"step": torch.ones(1)}
    model.pool.images.append(torch.ones(1, 6, 8, 8))
    with torch.no_grad():
        parameter.fill_(7)
    restore(model, None, Guard(recipe.guard, model, ALONE, fp16=False), find_checkpoint(brought))
    assert not model.pool.images and not model.optimizers["G"].state
    assert not bool((parameter == 7).any())


def test_a_resume_trains_from_the_imported_weights(brought: Path, pairs: Path, gesso: Gesso, tmp_path: Path) -> None:
    """To the same as --start-from: the first step of both begins with the same networks and fresh optimizers."""
    steps = ["--data.root", pairs, "-e", "0.08"]
    assert gesso("resume", brought, *steps).code == 0
    assert gesso("resume", brought, *steps).code == 0  # finished: nothing more is trained
    given = brought / "checkpoints" / "000000000"
    recipe = dataclasses.replace(read_recipe(brought), start_from=(str(given),))
    other = train(recipe, runs=tmp_path, name="other").path
    ours, theirs = (find_checkpoint(run).weights["G"] for run in (brought, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_training_may_start_from_it(brought: Path, pairs: Path, tmp_path: Path) -> None:
    base = toy("pix2pix", pairs, epochs=1 / 12)
    recipe = dataclasses.replace(
        base, start_from=(str(brought),), discriminator=dataclasses.replace(base.discriminator, layers=3)
    )
    assert train(recipe, runs=tmp_path, name="run").finished


def test_a_trained_run_goes_to_the_reference_and_back(run: Path, gesso: Gesso, tmp_path: Path) -> None:
    assert gesso("export", run, "--format", "junyanz", "-o", tmp_path / "there").code == 0
    files = sorted((tmp_path / "there").iterdir())
    assert [file.name for file in files] == ["latest_net_D.pth", "latest_net_G.pth"]
    imported(gesso, "junyanz", tmp_path / "again", *files)
    back, before = (find_checkpoint(folder).weights for folder in (tmp_path / "again", run))
    for name in ("G", "D"):
        assert back[name].keys() == before[name].keys()
        assert all(torch.equal(back[name][key], before[name][key]) for key in before[name])
    gesso("export", tmp_path / "again", "--format", "junyanz", "-o", tmp_path / "twice")
    assert all(same_file(file, tmp_path / "twice" / file.name) for file in files)


@pytest.mark.parametrize(
    ("recipe", "changes", "format_", "reason"),
    [
        ("cyclegan", {"upsample": "resize"}, "junyanz", "--generator.upsample resize, which the reference does not"),
        ("cyclegan", {"norm_affine": "on"}, "junyanz", "--generator.norm-affine on"),
        ("cyclegan", {"padding": "zero"}, "junyanz", "--generator.padding zero"),
        ("cyclegan", {"slope": 0.2}, "junyanz", "--generator.slope 0.2"),
        ("cyclegan", {"separable": True}, "junyanz", "--generator.separable"),
        ("cyclegan", {}, "torchvision", "is a cyclegan; it is for densenet"),
        ("pix2pix", {}, "dcgan-example", "is a pix2pix; it is for dcgan"),
    ],
)
def test_what_another_program_has_not_is_not_exported_for_it(
    recipe: str, changes: dict[str, object], format_: str, reason: str, gesso: Gesso, tmp_path: Path
) -> None:
    run = untrained(recipe, changes, tmp_path)
    refused(gesso("export", run, "--format", format_, "-o", tmp_path / "out"), reason)
    assert not (tmp_path / "out").exists()


def untrained(name: str, changes: dict[str, object], tmp_path: Path) -> Path:
    recipe = toy(name, tmp_path)
    recipe = dataclasses.replace(recipe, generator=dataclasses.replace(recipe.generator, **changes))
    model = build_model(recipe)
    weights = {key: network.state_dict() for key, network in model.networks.items()}
    checkpoint.save(tmp_path / "run", 1, recipe.model, weights, {"none": 0}, {}, recipe.to_json())
    (tmp_path / "run" / "recipe.json").write_text(recipe.to_json())
    return tmp_path / "run"


def test_one_direction_of_a_cyclegan_is_one_file(gesso: Gesso, tmp_path: Path) -> None:
    run = untrained("cyclegan", {}, tmp_path)
    assert gesso("export", run, "--format", "junyanz", "--direction", "BtoA", "-o", tmp_path / "zebra.pth").code == 0
    theirs = ReferenceResNet(3, 3, 4, 1, "instance")
    theirs.load_state_dict(torch.load(tmp_path / "zebra.pth", weights_only=True))
    refused(gesso("export", run, "--format", "junyanz", "-o", tmp_path / "two.pth"), "2 networks are 2 files")
