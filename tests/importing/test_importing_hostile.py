"""Files that want to run code, that claim more than they hold, or that were cut: one line, and nothing is left."""

import io
import os
import pickle
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import saved
from mindspore_networks import ckpt, field, resnet, varint
from reference_networks import ReferenceResNet
from safetensors.torch import save

from commands import Gesso, refused
from gesso.errors import GessoError
from gesso.importing import FORMATS, Options, write_run


class Payload:
    """Unpickled by a reader that runs code, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def refused_import(gesso: Gesso, path: Path, reason: str, program: str = "junyanz") -> None:
    """Refused in one line that names the file, with nothing left behind."""
    out = path.parent / "runs" / "run"
    refused(gesso("import", path, "--from", program, "-o", out), f"{re.escape(path.name)}.*{reason}")
    assert not list(path.parent.glob("runs/*"))


@pytest.mark.parametrize("program", [name for name in FORMATS if name != "mindspore"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run_and_is_named(program: str, zipped: bool, gesso: Gesso, tmp_path: Path) -> None:
    file = tmp_path / "latest_net_G.pth"
    torch.save({"model.1.weight": Payload(tmp_path / "ran")}, file, _use_new_zipfile_serialization=zipped)
    refused_import(gesso, file, r"it wants to run \w+\.mkdir, and no code in a file is run", program)
    assert not (tmp_path / "ran").exists()
    torch.load(file, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


def test_a_bare_pickle_is_not_run(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "G.pth").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    refused_import(gesso, tmp_path / "G.pth", "not a file of weights that is safe to load")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_is_called_a_checkpoint_of_mindspore_is_not_run(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "G_A.ckpt").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    refused_import(gesso, tmp_path / "G_A.ckpt", "not a MindSpore checkpoint, or damaged", "mindspore")
    assert not (tmp_path / "ran").exists()


def test_a_saved_module_is_refused_by_the_name_of_its_class(gesso: Gesso, tmp_path: Path) -> None:
    torch.save(ReferenceResNet(3, 3, 2, 1, "batch"), tmp_path / "G.pth")
    refused_import(gesso, tmp_path / "G.pth", "it wants to run reference_networks.ReferenceResNet")


def test_a_shape_of_terabytes_over_a_few_bytes_is_refused(gesso: Gesso, tmp_path: Path) -> None:
    giant = torch.ones(1).expand(2**20, 2**20, 1, 1)
    torch.save({"model.1.weight": giant}, tmp_path / "G.pth")
    refused_import(gesso, tmp_path / "G.pth", r"model\.1\.weight claims to be 1048576×1048576×1×1 and has 4 bytes")


def test_no_memory_for_a_side_of_a_tensor_that_holds_nothing(gesso: Gesso, tmp_path: Path) -> None:
    torch.save({"model.1.weight": torch.empty(2**40, 0, 7, 7)}, tmp_path / "G.pth")
    refused_import(gesso, tmp_path / "G.pth", "which no network that gesso knows has")


def test_a_network_that_would_be_larger_than_its_file_is_never_made(gesso: Gesso, tmp_path: Path) -> None:
    first = ReferenceResNet(3, 3, 2, 1, "instance").state_dict()
    first["model.1.weight"] = torch.zeros(20_000, 3, 7, 7)  # whose trunk would have 100 GB
    torch.save(first, tmp_path / "G.pth")
    refused_import(gesso, tmp_path / "G.pth", r"of another architecture, model\.1\.bias is \[2\] there")


def test_a_compressed_archive_is_not_unpacked(gesso: Gesso, tmp_path: Path) -> None:
    saved(tmp_path / "plain.pth", ReferenceResNet(3, 3, 2, 1, "batch"))
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "G.pth", "w", 8) as packed:
        for entry in plain.infolist():
            content = bytes(2**24) if entry.filename.endswith("data/0") else plain.read(entry)
            packed.writestr(entry.filename, content)
    refused_import(gesso, tmp_path / "G.pth", "bytes and claims 16")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (varint(1 << 3 | 2) + varint(2**60), r"a field claims 1152921504606846976 bytes and 0 are left"),
        (varint(1 << 3 | 2) + b"\xff" * 12, "a number of more than 64 bits"),
        (b"", "there is no parameter in it"),
        (b"\x0f", "a field of an unknown kind"),
        (field(1, field(1, b"\xff")), "a name that is not text"),
        (field(1, field(1, b"w")), "w has no tensor"),
        (
            field(1, field(1, b"w") + field(2, b"\x08" + varint(2**40) + field(2, b"Float32") + field(3, b"1234"))),
            "w claims to be 1099511627776 of Float32 and has 4 bytes",
        ),
        (field(1, field(1, b"w") + field(2, field(2, b"String"))), "w is of type 'String'"),
        (field(1, field(1, b"w") + field(2, b"\x08\x01" * 99)), "w has more than 8 dimensions"),
    ],
)
def test_a_checkpoint_of_mindspore_that_claims_more_than_it_has_is_refused(
    content: bytes, reason: str, gesso: Gesso, tmp_path: Path
) -> None:
    (tmp_path / "G_A.ckpt").write_bytes(content)
    refused_import(gesso, tmp_path / "G_A.ckpt", reason, "mindspore")


def test_a_dimension_beyond_all_memory_with_a_zero_beside_it_is_refused(gesso: Gesso, tmp_path: Path) -> None:
    dims = b"\x08" + varint(2**62) + b"\x08\x00"
    content = field(1, field(1, b"w") + field(2, dims + field(2, b"Float32")))
    (tmp_path / "G_A.ckpt").write_bytes(content)
    refused_import(gesso, tmp_path / "G_A.ckpt", "w", "mindspore")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """`content` cut somewhere, or with a few bytes changed, most often among those that are no weights."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(changed) if rng.random() < 0.3 else min(600, len(changed)))
        changed[place if rng.random() < 0.5 else -1 - place] = rng.randrange(256)
    return bytes(changed)


def whole(name: str) -> bytes:
    """A small generator in the kind of file that `name` says."""
    if name.endswith(".ckpt"):
        return ckpt(resnet(1, 1, "instance", bordered=True))
    state = ReferenceResNet(1, 1, 1, 1, "instance").state_dict()
    if name.endswith(".safetensors"):
        return save(state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("program", "name"), [("mindspore", "G_A.ckpt"), ("junyanz", "G.pth"), ("junyanz", "G.safetensors")]
)
def test_damaged_files_are_refused_in_one_line_or_taken_whole(
    program: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gesso.importing.run.write_report", lambda run: None
    )  # most of the time, and nothing of the file
    content, rng, file, taken = whole(name), random.Random(7), tmp_path / name, 0
    for i in range(300):
        file.write_bytes(damaged(content, rng))
        out = tmp_path / "runs" / str(i)
        try:
            write_run(FORMATS[program]((str(file),), Options()), out)
            taken += 1
        except GessoError as error:
            assert name in str(error) and "\n" not in str(error)
            assert not out.exists()
        else:
            assert (out / "recipe.json").exists()
    assert len(list((tmp_path / "runs").iterdir())) == taken  # and nothing half made beside them
    assert 0 < taken < 300


def test_a_folder_that_has_something_is_left_alone(gesso: Gesso, tmp_path: Path) -> None:
    file = saved(tmp_path / "G.pth", ReferenceResNet(3, 3, 2, 1, "batch"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    refused(gesso("import", file, "--from", "junyanz", "-o", tmp_path / "run"), "is there already; name another")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]
