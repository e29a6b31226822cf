"""Files that are no weights, cut, damaged or of other numbers: one line that says which, and nothing is left."""

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mindspore_networks import ckpt, resnet
from reference_networks import ReferenceResNet
from test_importing_hostile import refused_import

from commands import Gesso, refused
from gesso.importing import FORMATS
from gesso.networks.densenet import DenseNet

State = dict[str, torch.Tensor]


def state() -> State:
    return ReferenceResNet(3, 3, 2, 1, "batch").state_dict()


def packed(weights: State, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("program", list(FORMATS))
def test_without_a_file_one_is_asked_for(program: str, gesso: Gesso, tmp_path: Path) -> None:
    refused(gesso("import", "--from", program, "-o", tmp_path / "x"), "name a file of weights")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.fill_(float("nan")), "numbers that are not finite"),
        (lambda t: t.fill_(-float("inf")), "numbers that are not finite"),
        (lambda t: t.double().fill_(1e300), "numbers too large for float32"),
        (lambda t: t.to(torch.uint8), "is of uint8"),
        (lambda t: t.to(torch.int64), "is of int64"),
    ],
)
def test_numbers_that_no_network_has_are_named_by_their_tensor(
    change: Callable[[torch.Tensor], torch.Tensor], reason: str, gesso: Gesso, tmp_path: Path
) -> None:
    weights = state()
    weights["model.4.weight"] = change(weights["model.4.weight"])
    (tmp_path / "G.pth").write_bytes(packed(weights))
    refused_import(gesso, tmp_path / "G.pth", rf"model\.4\.weight.*{reason}")


def test_numbers_that_are_not_finite_are_refused_of_mindspore_too(gesso: Gesso, tmp_path: Path) -> None:
    weights = resnet(2, 1, "instance", bordered=True)
    next(iter(weights.values())).fill_(float("nan"))
    (tmp_path / "G_A.ckpt").write_bytes(ckpt(weights))
    refused_import(gesso, tmp_path / "G_A.ckpt", "numbers that are not finite", "mindspore")


def test_a_changed_bit_of_a_weight_is_found(gesso: Gesso, tmp_path: Path) -> None:
    content = bytearray(packed(state()))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content[largest.header_offset + 1000] ^= 1
    (tmp_path / "G.pth").write_bytes(content)
    refused_import(gesso, tmp_path / "G.pth", "damaged, .* in it is not what was written")


def test_an_archive_without_sums_is_imported(gesso: Gesso, tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(), tmp_path / "G.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert gesso("import", tmp_path / "G.pth", "--from", "junyanz", "-o", tmp_path / "run").code == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a PyTorch file, it is empty"),
        (bytes(10_000), "not a PyTorch file$"),
        (b"hello world\n" * 5, "not a PyTorch file$"),
        (b"eeee", "not a PyTorch file$"),
        (packed(state())[:-10], "cut off or damaged"),
        (packed(state())[:500], "cut off or damaged"),
        (packed(state(), _use_new_zipfile_serialization=False)[:500], "cut off or damaged"),
        (packed(state(), _use_new_zipfile_serialization=False)[:-10], "cut off or damaged"),
    ],
    ids=["empty", "zeros", "text", "letters", "end", "most", "old-most", "old-end"],
)
def test_what_is_no_file_of_weights_is_called_so(content: bytes, reason: str, gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "G.pth").write_bytes(content)
    refused_import(gesso, tmp_path / "G.pth", reason)


def test_another_archive_is_called_so(gesso: Gesso, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "G.pth", "w") as archive:
        archive.writestr("notes.txt", "mine")
    refused_import(gesso, tmp_path / "G.pth", "not a PyTorch file, but an archive of something else")


@pytest.mark.parametrize(("program", "name"), [("junyanz", "G"), ("mindspore", "G_A")])
def test_a_folder_is_called_so(program: str, name: str, gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    refused_import(gesso, tmp_path / name, "a folder; name a file in it", program)


def test_torch_warns_of_nothing_that_is_refused(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "G.pth").write_bytes(pickle.dumps({"a": 1}, 4))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        refused_import(gesso, tmp_path / "G.pth", "a pickle, but not as torch.save writes them")
    assert told == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize(("program", "name"), [("junyanz", "G"), ("mindspore", "G_A")])
def test_a_pipe_is_not_waited_for(program: str, name: str, gesso: Gesso, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    refused_import(gesso, tmp_path / name, "not a regular file", program)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_of_classes_is_not_waited_for(gesso: Gesso, tmp_path: Path) -> None:
    torch.save(DenseNet((1, 1), 4, 8, classes=2).state_dict(), tmp_path / "net.pth")
    os.mkfifo(tmp_path / "names")
    words = ["import", tmp_path / "net.pth", "--from", "torchvision", "--classes", tmp_path / "names"]
    refused(gesso(*words, "-o", tmp_path / "run"), "--classes .*names: neither a text file nor a folder")
