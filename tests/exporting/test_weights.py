"""Weights for other programs: what is refused alike by every format, and files that are written over."""

from pathlib import Path

import pytest

from commands import Gesso, refused

pytest_plugins = ("exports",)

MODELS = {"junyanz": "cyclegan", "torchvision": "densenet", "dcgan-example": "dcgan"}
"""A model that each format is for."""


@pytest.mark.parametrize("format_", MODELS)
@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--uint8"], "--uint8"),
        (["--precision", "int8"], "--precision int8"),
        (["--licence", "MIT"], "--licence"),
        (["--tolerance", "0.5"], "--tolerance 0.5"),
    ],
)
def test_what_weights_alone_cannot_carry_is_refused(
    words: list[str], flag: str, format_: str, runs: dict[str, Path], gesso: Gesso
) -> None:
    said = gesso("export", runs[MODELS[format_]], "--format", format_, *words)
    refused(said, f"{flag}: --format {format_} holds float32 weights and nothing else")


@pytest.mark.parametrize(
    ("format_", "model"), [("junyanz", "densenet"), ("torchvision", "dcgan"), ("dcgan-example", "cyclegan")]
)
def test_a_model_of_another_kind_is_refused(format_: str, model: str, runs: dict[str, Path], gesso: Gesso) -> None:
    said = gesso("export", runs[model], "--format", format_)
    refused(said, f"--format {format_}: .*{model} is a {model}; it is for ")


@pytest.mark.parametrize("format_", ["torchvision", "dcgan-example"])
def test_a_direction_of_what_has_none_is_refused(format_: str, runs: dict[str, Path], gesso: Gesso) -> None:
    said = gesso("export", runs[MODELS[format_]], "--format", format_, "--direction", "AtoB")
    refused(said, f"--direction AtoB: a {MODELS[format_]} has no directions")


def test_a_file_that_cannot_be_written_leaves_those_of_the_export_before(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    (tmp_path / "latest_net_G_A.pth").write_bytes(b"before")
    (tmp_path / "latest_net_G_B.pth").mkdir()
    said = gesso("export", runs["cyclegan"], "--format", "junyanz", "-o", tmp_path, "--existing", "replace")
    refused(said, r"latest_net_G_B\.pth cannot be written: a folder stands where a file must be")
    assert (tmp_path / "latest_net_G_A.pth").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest_net_G_A.pth", "latest_net_G_B.pth"]


def test_files_of_the_export_before_are_replaced_only_where_that_is_said(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    (tmp_path / "netG.pth").write_bytes(b"before")
    command = ("export", runs["dcgan"], "--format", "dcgan-example", "-o", tmp_path)
    refused(gesso(*command), r"netG\.pth is there already; use --existing replace or another --out")
    assert (tmp_path / "netG.pth").read_bytes() == b"before"
    assert gesso(*command, "--existing", "replace").code == 0
    assert (tmp_path / "netG.pth").read_bytes() != b"before"
