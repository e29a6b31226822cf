"""MindSpore's files in, MindSpore's numbers out."""

from pathlib import Path

import pytest
import torch
from mindspore_networks import Cells, Parameters, ckpt, patchgan, resnet, unet
from torch import nn

from commands import Gesso, refused
from gesso.engine.checkpoint import read
from gesso.exporting import load_source
from gesso.models import build_model

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(5)) * 2 - 1


def network_of(run: Path, name: str = "G") -> nn.Module:
    """A network of the run, in train mode, in which the zoo predicts too."""
    model = build_model(load_source(run, "latest").recipe)
    model.networks[name].load_state_dict(read(run / "checkpoints" / "000000000").weights[name])
    return model.networks[name]


def brought(gesso: Gesso, tmp_path: Path, files: dict[str, bytes], *more: object) -> Path:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    said = gesso("import", *(tmp_path / name for name in files), "--from", "mindspore", "-o", tmp_path / "run", *more)
    assert said.code == 0, said.err
    return tmp_path / "run"


def within(run: Path, expected: torch.Tensor, name: str = "G", *, train: bool = True) -> bool:
    with torch.no_grad():
        return torch.allclose(network_of(run, name).train(train)(IMAGE), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("norm", "pad_mode", "flags"),
    [
        ("instance", "REFLECT", []),
        ("instance", "CONSTANT", []),
        ("batch", "SYMMETRIC", ["--padding", "symmetric"]),
    ],
)
def test_a_resnet_draws_what_it_drew_there(
    norm: str, pad_mode: str, flags: list[str], gesso: Gesso, tmp_path: Path
) -> None:
    theirs = resnet(4, 2, norm, bordered=pad_mode != "CONSTANT")
    run = brought(gesso, tmp_path, {"G_A_200.ckpt": ckpt(theirs)}, "--dropout", 0, *flags)
    assert within(run, Cells(theirs, pad_mode).resnet(IMAGE, 2))


def test_batch_norms_running_statistics_come_along(gesso: Gesso, tmp_path: Path) -> None:
    theirs = resnet(4, 1, "batch", bordered=True)
    run = brought(gesso, tmp_path, {"G_B.ckpt": ckpt(theirs)}, "--blocks", 1)
    assert within(run, Cells(theirs, "REFLECT", train=False).resnet(IMAGE, 1), train=False)


@pytest.mark.parametrize(("flags", "blocks"), [([], 9), (["--blocks", "0"], 9), (["--blocks", "3"], 3)])
def test_one_block_that_the_zoo_repeats_is_repeated(
    flags: list[str], blocks: int, gesso: Gesso, tmp_path: Path
) -> None:
    theirs = resnet(4, 1, "instance", bordered=True)
    run = brought(gesso, tmp_path, {"G_A.ckpt": ckpt(theirs)}, "--dropout", 0, *flags)
    assert within(run, Cells(theirs, "REFLECT").resnet(IMAGE, blocks))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_unet_draws_what_it_drew_there(norm: str, gesso: Gesso, tmp_path: Path) -> None:
    theirs = unet(4, 5, norm)
    run = brought(gesso, tmp_path, {"G_A.ckpt": ckpt(theirs)}, "--dropout", 0)
    assert within(run, Cells(theirs).unet(IMAGE, 5))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_one_file_of_all_four_networks_is_a_cyclegan(norm: str, gesso: Gesso, tmp_path: Path) -> None:
    networks: dict[str, Parameters] = {
        "generator.G_A": resnet(4, 2, norm, bordered=True, seed=1),
        "generator.G_B": resnet(4, 2, norm, bordered=True, seed=2),
        "D_A": patchgan(4, 2, norm, seed=3),
        "D_B": patchgan(4, 2, norm, seed=4),
    }
    together = {f"{prefix}.{name}": t for prefix, each in networks.items() for name, t in each.items()}
    together |= {"moment1.generator.G_A.conv_in.features.1.weight": torch.zeros(2), "global_step": torch.zeros(1)}
    run = brought(gesso, tmp_path, {"cyclegan.ckpt": ckpt(together)}, "--dropout", 0)
    assert within(run, Cells(networks["generator.G_B"], "REFLECT").resnet(IMAGE, 2), "G_B")
    assert within(run, Cells(networks["D_A"]).patchgan(IMAGE, 2), "D_A")


def test_parameters_in_slices_and_half_precision_are_read(gesso: Gesso, tmp_path: Path) -> None:
    theirs = resnet(4, 2, "instance", bordered=True)
    run = brought(gesso, tmp_path, {"G_A.ckpt": ckpt(theirs, "Float16", slices=3)})
    weight = network_of(run).state_dict()["model.1.weight"]
    assert torch.equal(weight, theirs["conv_in.features.1.weight"].half().float())


def test_an_unknown_name_is_refused_by_name(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "G_A.ckpt").write_bytes(ckpt({"conv_in.0.weight": torch.ones(2)}))
    said = gesso("import", tmp_path / "G_A.ckpt", "--from", "mindspore", "-o", tmp_path / "run")
    refused(said, r"G_A\.ckpt: conv_in\.0\.weight is no parameter of the model zoo's CycleGAN")
    assert not (tmp_path / "run").exists()


def test_a_norm_that_learned_behind_a_bias_is_refused(gesso: Gesso, tmp_path: Path) -> None:
    theirs = resnet(4, 2, "instance", bordered=True)
    theirs["down_1.features.1.gamma"] = torch.full((8,), 2.0)
    (tmp_path / "G_A.ckpt").write_bytes(ckpt(theirs))
    said = gesso("import", tmp_path / "G_A.ckpt", "--from", "mindspore", "-o", tmp_path / "run")
    refused(said, r"model\.5\.weight has learned, behind a convolution with a bias")


@pytest.mark.parametrize(
    ("theirs", "flags", "reason"),
    [
        (
            resnet(4, 2, "instance", bordered=True),
            ["--blocks", "3"],
            r"--blocks 3: .*G_A\.ckpt says it itself, it has 2",
        ),
        (resnet(4, 1, "instance", bordered=True), ["--blocks", "1001"], r"--blocks 1001: must lie in 1 … 1000"),
        (unet(4, 5, "instance"), ["--blocks", "3"], r"--blocks 3: .*G_A\.ckpt is a U-Net"),
        (unet(4, 5, "instance"), ["--dropout", "1"], r"--dropout 1: must lie in \[0, 1\)"),
        (resnet(4, 2, "instance", bordered=False), ["--padding", "symmetric"], "no residual block here has a border"),
        (resnet(4, 2, "instance", bordered=True), ["--padding", "replicate"], "--padding replicate: the zoo's blocks"),
    ],
)
def test_flags_that_these_files_have_no_use_for_are_refused(
    theirs: Parameters, flags: list[str], reason: str, gesso: Gesso, tmp_path: Path
) -> None:
    (tmp_path / "G_A.ckpt").write_bytes(ckpt(theirs))
    refused(gesso("import", tmp_path / "G_A.ckpt", "--from", "mindspore", "-o", tmp_path / "run", *flags), reason)
    assert not (tmp_path / "run").exists()
