"""The reference's files in, the reference's numbers out, and its files again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bringing import imported, network_of, same_file, same_numbers, saved, settled
from reference_networks import ReferencePatchGAN, ReferencePixelGAN, ReferenceResNet, ReferenceUNet
from safetensors.torch import save_file
from torch import nn

from commands import Gesso, refused
from gesso.engine.checkpoint import read
from gesso.engine.runs import read_recipe

GENERATORS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "resnet6": (lambda: ReferenceResNet(3, 3, 4, 6, "instance"), (3, 32)),
    "resnet9-batch-dropout": (lambda: ReferenceResNet(1, 3, 4, 9, "batch", dropout=True), (1, 32)),
    "resnet9-instance-dropout": (lambda: ReferenceResNet(3, 1, 4, 9, "instance", dropout=True), (3, 32)),
    "unet128": (lambda: ReferenceUNet(3, 3, 4, 7, "batch", dropout=True), (3, 128)),
    "unet256-instance": (lambda: ReferenceUNet(3, 4, 4, 8, "instance", dropout=True), (3, 256)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_draws_what_it_drew_there_and_goes_back_unchanged(name: str, gesso: Gesso, tmp_path: Path) -> None:
    build, (channels, side) = GENERATORS[name]
    theirs = settled(build())
    file, run = saved(tmp_path / "latest_net_G.pth", theirs), tmp_path / "run"
    imported(gesso, "junyanz", run, file)
    images = torch.rand(1, channels, side, side) * 2 - 1
    assert gesso("export", run, "--format", "junyanz", "-o", tmp_path / "back").code == 0
    assert same_file(file, tmp_path / "back" / "latest_net_G.pth")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["latest_net_G.pth"]  # no made-up discriminator
    assert same_numbers(network_of(run, "G"), theirs, images)


FORMS: dict[str, tuple[Callable[[], nn.Module], dict[str, object], str]] = {
    "zero": (lambda: ReferenceResNet(3, 3, 4, 2, "instance", "zero"), {"padding": "zero"}, "zero padding"),
    "replicate": (lambda: ReferenceResNet(3, 3, 4, 2, "batch", "replicate"), {"padding": "replicate"}, "replicate"),
    "zero-dropout": (
        lambda: ReferenceResNet(3, 3, 4, 2, "batch", "zero", dropout=True),
        {"padding": "zero", "dropout": 0.5},
        "dropout 0.5",
    ),
    "affine": (lambda: ReferenceResNet(3, 3, 4, 2, "affine"), {"norm_affine": "on"}, "with scale and shift"),
    "no-blocks": (lambda: ReferenceResNet(3, 3, 4, 0, "instance"), {"blocks": 0}, "0 blocks"),
}


@pytest.mark.parametrize("name", FORMS)
def test_other_forms_of_the_resnet_are_told_apart(name: str, gesso: Gesso, tmp_path: Path) -> None:
    build, fields, words = FORMS[name]
    theirs = settled(build())
    flags = ["--padding", "replicate"] if name == "replicate" else []
    said = imported(gesso, "junyanz", tmp_path / "run", saved(tmp_path / "latest_net_G.pth", theirs), *flags)
    recipe = read_recipe(tmp_path / "run")
    assert {field: getattr(recipe.generator, field) for field in fields} == fields  # type: ignore[attr-defined]
    assert words in said.out[0]
    assert same_numbers(network_of(tmp_path / "run", "G"), theirs, torch.rand(1, 3, 32, 32) * 2 - 1)


def test_both_generators_and_their_discriminators_are_a_cyclegan(gesso: Gesso, tmp_path: Path) -> None:
    networks = {
        "G_A": ReferenceResNet(3, 1, 4, 2, "instance"),
        "G_B": ReferenceResNet(1, 3, 4, 2, "instance"),
        "D_A": ReferencePatchGAN(1, 4, 4, "instance"),
        "D_B": ReferencePatchGAN(3, 4, 4, "instance"),
    }
    files = [saved(tmp_path / f"15_net_{n}.pth", settled(each, i)) for i, (n, each) in enumerate(networks.items())]
    imported(gesso, "junyanz", tmp_path / "run", *files)
    recipe = read_recipe(tmp_path / "run")
    assert (recipe.model, recipe.data.channels_a, recipe.data.channels_b) == ("cyclegan", 3, 1)  # type: ignore[attr-defined]
    assert recipe.discriminator.layers == 4  # type: ignore[attr-defined]
    assert same_numbers(network_of(tmp_path / "run", "D_B"), networks["D_B"], torch.rand(1, 3, 64, 64))
    gesso("export", tmp_path / "run", "--format", "junyanz", "-o", tmp_path / "back")
    assert all(same_file(file, tmp_path / "back" / f"latest_{file.name.partition('_')[2]}") for file in files)


def test_a_discriminator_that_a_cyclegan_has_not_is_told(gesso: Gesso, tmp_path: Path) -> None:
    files = [saved(tmp_path / f"latest_net_{n}.pth", ReferenceResNet(3, 3, 4, 1, "instance")) for n in ("G_A", "G_B")]
    other = saved(tmp_path / "latest_net_D.pth", ReferencePatchGAN(6, 4, 1, "instance"))
    said = imported(gesso, "junyanz", tmp_path / "run", *files, other)
    assert "D: left out, a CycleGAN has D_A and D_B" in said.out


@pytest.mark.parametrize(("name", "direction"), [("latest_net_G_A", "AtoB"), ("latest_net_G_B", "BtoA")])
def test_one_generator_of_a_cyclegan_has_the_direction_of_its_name(
    name: str, direction: str, gesso: Gesso, tmp_path: Path
) -> None:
    file = saved(tmp_path / f"{name}.pth", ReferenceResNet(3, 1, 4, 1, "instance"))
    said = imported(gesso, "junyanz", tmp_path / "run", file)
    recipe = read_recipe(tmp_path / "run")
    source, target = ("a", "b") if direction == "AtoB" else ("b", "a")
    assert recipe.direction == direction  # type: ignore[attr-defined]
    assert (getattr(recipe.data, f"channels_{source}"), getattr(recipe.data, f"channels_{target}")) == (3, 1)
    assert "supposed" not in said.out[0]


@pytest.mark.parametrize(("flags", "dropout"), [([], 0.5), (["--dropout", "-1"], 0.5), (["--dropout", "0"], 0.0)])
def test_a_unet_has_the_references_dropout_unless_another_is_given(
    flags: list[str], dropout: float, gesso: Gesso, tmp_path: Path
) -> None:
    file = saved(tmp_path / "latest_net_G.pth", ReferenceUNet(3, 3, 4, 5, "batch"))
    said = imported(gesso, "junyanz", tmp_path / "run", file, *flags)
    assert read_recipe(tmp_path / "run").generator.dropout == dropout  # type: ignore[attr-defined]
    assert ("(supposed)" in said.out[0].partition("dropout")[2].partition(",")[0]) == (dropout == 0.5)


def test_a_pix2pix_of_the_other_direction(gesso: Gesso, tmp_path: Path) -> None:
    G = saved(tmp_path / "latest_net_G.pth", ReferenceUNet(3, 1, 4, 5, "batch"))
    D = saved(tmp_path / "latest_net_D.pth", ReferencePixelGAN(4, 4, "batch"))
    imported(gesso, "junyanz", tmp_path / "run", G, D, "--direction", "BtoA", "--dropout", 0)
    recipe = read_recipe(tmp_path / "run")
    assert (recipe.data.channels_a, recipe.data.channels_b) == (1, 3)  # type: ignore[attr-defined]
    assert (recipe.discriminator.kind, recipe.generator.dropout) == ("pixel", 0)  # type: ignore[attr-defined]


def test_an_export_says_in_which_direction_and_with_which_flags_it_is_read(gesso: Gesso, tmp_path: Path) -> None:
    G, run = saved(tmp_path / "latest_net_G.pth", ReferenceUNet(3, 1, 4, 7, "batch")), tmp_path / "run"
    imported(gesso, "junyanz", run, G, "--direction", "BtoA", "--dropout", 0)
    said = gesso("export", run, "--format", "junyanz", "-o", tmp_path / "back")
    there = "--netG unet_128 --norm batch --ngf 4 --output_nc 1 --no_dropout --direction BtoA"
    flags = ["--direction", "BtoA", "--dropout", "0"]
    assert said.err == [f"latest_net_G.pth (BtoA), there: {there}; back here: gesso import {' '.join(flags)}"]
    imported(gesso, "junyanz", tmp_path / "again", tmp_path / "back" / "latest_net_G.pth", *flags)
    assert read_recipe(tmp_path / "again") == read_recipe(run)


@pytest.mark.parametrize(
    ("dropout", "mode", "told"),
    [
        ("0.5", "train", ""),
        ("0.5", "eval", "; back here: gesso import, then gesso translate --mode eval"),
        ("0", "eval", "; back here: gesso import --dropout 0, then gesso translate --mode eval"),
    ],
)
def test_an_export_says_what_makes_its_pictures_the_runs_here(
    dropout: str, mode: str, told: str, gesso: Gesso, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    file = saved(tmp_path / "latest_net_G.pth", ReferenceUNet(3, 3, 4, 7, "batch"))
    imported(gesso, "junyanz", run, file, "--dropout", dropout)
    recipe = run / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"test_mode": "train"', f'"test_mode": "{mode}"'))
    (said,) = gesso("export", run, "--format", "junyanz", "-o", tmp_path / "back").err
    assert said.removeprefix(said.partition("; back here")[0]) == told


def test_a_resnets_dropout_comes_back_at_its_rate(gesso: Gesso, tmp_path: Path) -> None:
    plain = ReferenceResNet(3, 3, 4, 6, "batch", dropout=True)
    file, run = saved(tmp_path / "latest_net_G.pth", plain), tmp_path / "run"
    imported(gesso, "junyanz", run, file, "--dropout", "0.3")
    (said,) = gesso("export", run, "--format", "junyanz", "-o", tmp_path / "back").err
    assert ", and in its code nn.Dropout(0.3)" in said and said.endswith("; back here: gesso import --dropout 0.3")
    assert read_recipe(run).generator.dropout == 0.3  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "direction"), [("latest_net_G_A", "BtoA"), ("own_G_B", "AtoB")])
def test_a_name_that_tells_the_other_direction_comes_back_as_what_it_is(
    name: str, direction: str, gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path / "latest_net_G.pth", ReferenceUNet(3, 3, 4, 7, "batch"))
    imported(gesso, "junyanz", "run", file, "--direction", direction)
    (said,) = gesso("export", "run", "--format", "junyanz", "-o", f"{name}.pth").err
    hint = said.partition("; back here: gesso import ")[2].split()
    assert hint[0] == f"G={name}.pth"
    imported(gesso, "junyanz", "again", *hint)
    assert read_recipe(tmp_path / "again") == read_recipe(tmp_path / "run")


ALIKE = "--norm instance --ngf 4 --no_dropout, and in its code ResnetGenerator with n_blocks=2"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "back"], f"latest_net_G_A.pth (AtoB) and latest_net_G_B.pth (BtoA), there: {ALIKE}"),
        (["-o", "back", "--direction", "BtoA"], f"latest_net_G_B.pth (BtoA), there: {ALIKE}"),
        (["-o", "one.pth", "--direction", "AtoB"], f"one.pth (AtoB), there: {ALIKE}"),
        (
            ["-o", "one.pth", "--direction", "BtoA"],
            f"one.pth (BtoA), there: {ALIKE}; back here: gesso import --direction BtoA",
        ),
    ],
    ids=["both", "G_B", "renamed G_A", "renamed G_B"],
)
def test_an_export_of_a_cyclegan_says_what_each_file_draws(
    words: list[str], told: str, gesso: Gesso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [saved(tmp_path / f"latest_net_{n}.pth", ReferenceResNet(3, 3, 4, 2, "instance")) for n in ("G_A", "G_B")]
    imported(gesso, "junyanz", tmp_path / "run", *files)
    assert gesso("export", tmp_path / "run", "--format", "junyanz", *words).err == [told]


def test_statistics_of_instance_norm_from_before_torch_0_4_are_left_out(gesso: Gesso, tmp_path: Path) -> None:
    theirs = settled(ReferenceResNet(3, 3, 4, 2, "instance"))
    old = dict(theirs.state_dict())
    for name in list(old):
        norm = int(name.split(".")[1]) + 1
        if name.endswith("bias") and "conv_block" not in name and norm < 20:
            old |= {f"model.{norm}.running_mean": torch.ones(1), f"model.{norm}.running_var": torch.ones(1)}
    torch.save(old, tmp_path / "latest_net_G.pth")
    said = imported(gesso, "junyanz", tmp_path / "run", tmp_path / "latest_net_G.pth")
    assert "running statistics, from before PyTorch 0.4, are left out" in said.out[0]
    assert same_numbers(network_of(tmp_path / "run", "G"), theirs, torch.rand(1, 3, 32, 32))


def test_a_network_without_norm_has_no_biases_there(gesso: Gesso, tmp_path: Path) -> None:
    theirs = ReferenceResNet(3, 3, 4, 2, "none").state_dict()
    bare = {name: t for name, t in theirs.items() if name.endswith("weight") or name.startswith("model.19.")}
    torch.save(bare, tmp_path / "latest_net_G.pth")
    imported(gesso, "junyanz", tmp_path / "run", tmp_path / "latest_net_G.pth")
    assert not read(tmp_path / "run" / "checkpoints" / "000000000").weights["G"]["model.1.bias"].any()
    gesso("export", tmp_path / "run", "--format", "junyanz", "-o", tmp_path / "G.pth")
    assert same_file(tmp_path / "latest_net_G.pth", tmp_path / "G.pth")


@pytest.mark.parametrize("form", ["module", "safetensors", "wrapped", "legacy", "half"])
def test_a_file_may_come_in_several_forms(form: str, gesso: Gesso, tmp_path: Path) -> None:
    theirs = ReferenceResNet(3, 3, 4, 1, "batch").state_dict()
    path = tmp_path / ("latest_net_G.safetensors" if form == "safetensors" else "latest_net_G.pth")
    if form == "safetensors":
        save_file(theirs, path)
    elif form == "legacy":
        torch.save(theirs, path, _use_new_zipfile_serialization=False)
    else:
        prefix = "module." * (form == "module")
        dtype = torch.float16 if form == "half" else torch.float32
        state = {prefix + name: t.to(dtype) if t.is_floating_point() else t for name, t in theirs.items()}
        torch.save({"state_dict": state, "epoch": 3} if form == "wrapped" else state, path)
    imported(gesso, "junyanz", tmp_path / "run", path)
    ours = read(tmp_path / "run" / "checkpoints" / "000000000").weights["G"]
    expected = {name: t.half().float() if form == "half" and t.dim() else t for name, t in theirs.items()}
    assert all(torch.equal(ours[name], expected[name]) for name in theirs)


@pytest.mark.parametrize(
    ("files", "flags", "reason"),
    [
        ({"latest_net_D.pth": "D"}, [], "a discriminator alone; give its generator too"),
        ({"a.pth": "G", "b.pth": "G"}, [], r"a\.pth: which network it is does not stand in its name"),
        ({"latest_net_G.pth": "G", "5_net_G.pth": "G"}, [], "is G already"),
        ({"latest_net_G.pth": "G", "latest_net_G_A.pth": "G"}, [], "G, G_A: give one generator, or G_A and G_B"),
        ({"latest_net_G_A.pth": "G"}, ["--direction", "BtoA"], "--direction BtoA: .* is G_A, which draws AtoB"),
        ({"latest_net_G.pth": "G"}, ["--blocks", "3"], "--blocks 3: of no use for the files of junyanz"),
        ({"latest_net_G.pth": "G"}, ["--blocks", "-1"], "--blocks -1: must be 0 or more"),
        ({"latest_net_G.pth": "unet"}, ["--dropout", "1"], r"--dropout 1: must lie in \[0, 1\)"),
        ({"latest_net_G.pth": "unet"}, ["--dropout", "-0.5"], r"--dropout -0\.5: must lie in \[0, 1\)"),
        ({"latest_net_G.pth": "unet"}, ["--dropout", "nan"], r"--dropout nan: must lie in \[0, 1\)"),
        (
            {"latest_net_G.pth": "G"},
            ["--dropout", "0.5"],
            r"--dropout 0\.5: .*latest_net_G.pth has no dropout in its blocks",
        ),
        ({"latest_net_G.pth": "unet"}, ["--padding", "reflect"], "--padding reflect: no residual block here has"),
        ({"latest_net_G.pth": "G"}, ["--padding", "symmetric"], "--padding symmetric: the reference's blocks have"),
        ({"latest_net_G.pth": "G", "latest_net_D.pth": "D"}, [], "of 3 channels; a pix2pix's, .* sees 6"),
        ({"latest_net_G_A.pth": "G", "latest_net_G_B.pth": "other"}, [], "not of one CycleGAN"),
    ],
)
def test_files_that_are_no_model_are_refused(
    files: dict[str, str], flags: list[str], reason: str, gesso: Gesso, tmp_path: Path
) -> None:
    networks = {
        "G": ReferenceResNet(3, 3, 4, 1, "instance"),
        "D": ReferencePatchGAN(3, 4, 1, "instance"),
        "other": ReferenceResNet(3, 3, 4, 2, "instance"),
        "unet": ReferenceUNet(3, 3, 4, 5, "batch"),
    }
    paths = [saved(tmp_path / name, networks[each]) for name, each in files.items()]
    refused(gesso("import", *paths, "--from", "junyanz", "-o", tmp_path / "run", *flags), reason)
    assert not (tmp_path / "run").exists()
