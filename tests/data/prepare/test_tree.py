"""Folders and archives read alike; and archives that lie, lead astray or are broken."""

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data.prepare import tree as tree_module
from gesso.data.prepare.tree import open_tree
from gesso.errors import BadImage, DataError

FILES = {"a/2.txt": b"two", "a/10.txt": b"ten" * 5000, "b.txt": b"", "c/deep/er.bin": bytes(range(256)) * 40}


def folder(path: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zipped(path: Path, files: dict[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("a")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes] = FILES, mode: str = "w", **changes: object) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in changes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "folder": folder,
    "x.zip": zipped,
    "stored.zip": lambda path: zipped(path, method=zipfile.ZIP_STORED),
    "x.tar": tarred,
    "x.tar.gz": lambda path: tarred(path, mode="w:gz"),
    "x.tar.bz2": lambda path: tarred(path, mode="w:bz2"),
    "x.tar.xz": lambda path: tarred(path, mode="w:xz"),
    "no-suffix": tarred,
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_gives_the_same_files(tmp_path: Path, name: str) -> None:
    with open_tree(MAKERS[name](tmp_path / name)) as tree:
        assert sorted(tree.names()) == sorted(FILES)
        assert {file: tree.read(file) for file in tree.names()} == FILES
        assert {file: tree.size(file) for file in tree.names()} == {file: len(data) for file, data in FILES.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_an_open_file_can_be_read_in_pieces_and_sought(tmp_path: Path, name: str) -> None:
    with open_tree(MAKERS[name](tmp_path / name)) as tree, tree.open("c/deep/er.bin") as file:
        assert file.read(3) == b"\0\1\2"
        file.seek(-2, io.SEEK_END)
        assert file.read() == b"\xfe\xff"


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_many_threads_may_read_at_once(tmp_path: Path, name: str) -> None:
    with open_tree(MAKERS[name](tmp_path / name)) as tree, ThreadPoolExecutor(8) as pool:
        names = list(FILES) * 50
        assert list(pool.map(tree.read, names)) == [FILES[file] for file in names]


def test_several_parts_are_one_and_the_first_wins(tmp_path: Path) -> None:
    first = zipped(tmp_path / "x.zip", {"README": b"first", "a": b"1"})
    second = folder(tmp_path / "folder", {"README": b"second", "b": b"2"})
    with open_tree(first, second) as tree:
        assert tree.names() == ("README", "a", "b") and tree.read("README") == b"first"
        assert tree.where("a") == f"{first}: a" and tree.where("b") == str(second / "b")


def test_litter_and_hidden_files_are_left_out_and_dots_dropped(tmp_path: Path) -> None:
    files = {"__MACOSX/._1.png": b"", ".hidden/1.png": b"", "x/Thumbs.db": b"", "./x/1.png": b"1"}
    for maker in (tarred, zipped):
        with open_tree(maker(tmp_path / maker.__name__, files)) as tree:
            assert tree.names() == ("x/1.png",)


@pytest.mark.parametrize("name", ["/etc/passwd", "../out", "a/../../out", "..\\out", "C:\\out", "\\\\host\\out"])
@pytest.mark.parametrize("maker", [tarred, zipped])
def test_names_that_lead_out_are_refused(tmp_path: Path, maker: Callable[..., Path], name: str) -> None:
    with pytest.raises(DataError, match="leads out of the archive") as caught:
        open_tree(maker(tmp_path / "bad", {"fine": b"", name: b""}))
    assert str(tmp_path / "bad") in str(caught.value)


def twice_zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for data in (b"one", b"two"):
            archive.writestr("a/1.png", data)
    return path


def twice_tarred(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name in names or ("a/1.png", "./a/1.png"):
            archive.addfile(tarfile.TarInfo(name))
    return path


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("a/1.png", twice_zipped),
        ("a/1.png", twice_tarred),
        ("\ufffd.png", lambda path: twice_tarred(path, "\udcff.png", "\udcfe.png")),
    ],
)
def test_an_archive_with_two_files_of_one_name_is_refused(
    tmp_path: Path, name: str, maker: Callable[[Path], Path]
) -> None:
    with pytest.raises(DataError, match=rf"x: refused, since '{name}' is there twice"):
        open_tree(maker(tmp_path / "x"))


@pytest.mark.parametrize("maker", [tarred, zipped])
def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path, maker: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"x: refused, since 'a/é{198}' is too long a name"):
        open_tree(maker(tmp_path / "x", {f"a/{'é' * 200}.png": b""}))


@pytest.mark.parametrize("maker", [folder, zipped, tarred])
def test_the_version_of_a_file_changes_with_its_content_and_with_nothing_else(
    tmp_path: Path, maker: Callable[..., Path]
) -> None:
    def version(content: bytes, seconds: int) -> str:
        path = maker(tmp_path / "x", {"a.bmp": content})
        for changed in (path / "a.bmp", path):  # two writings may be closer than the clock of a disk can tell
            if changed.is_file():
                os.utime(changed, (seconds, seconds))
        with open_tree(path) as tree:
            return tree.version("a.bmp")

    assert version(b"one", 1) == version(b"one", 1) != version(b"two", 2)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tarred(tmp_path / "x.tar", {"link": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(DataError, match=r"x\.tar: link: a link"):
        open_tree(path)


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(DataError, match="a device"):
        open_tree(tarred(tmp_path / "x.tar", {"pipe": b""}, type=kind))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link: a link"):
        open_tree(tmp_path / "x.zip")


def test_a_pipe_in_a_folder_is_refused_when_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open_tree(tmp_path) as tree, pytest.raises(DataError, match="a pipe or device"):
        tree.read("pipe")


@pytest.mark.parametrize("name", MAKERS)
def test_a_member_beyond_the_limit_is_refused_when_it_is_read(tmp_path: Path, name: str) -> None:
    with open_tree(MAKERS[name](tmp_path / name), largest=1000) as tree:
        assert tree.read("a/2.txt") == b"two"
        with pytest.raises(DataError, match=r"10\.txt: 15000 bytes are more than the 1000"):
            tree.read("a/10.txt")


def patched_zip(path: Path, at: int, value: bytes) -> Path:
    """A zip of one file of a megabyte of zeros, `value` put at this offset of its entry in the directory."""
    zipped(path, {"zeros": bytes(2**20)})
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\1\2") + at
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("declared", [1000, 2**21])
def test_a_zip_that_lies_about_a_size_is_damaged(tmp_path: Path, declared: int) -> None:
    path = patched_zip(tmp_path / "x.zip", 24, struct.pack("<I", declared))
    with open_tree(path) as tree, pytest.raises(DataError, match=r"x\.zip: zeros: damaged or truncated"):
        tree.read("zeros")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = patched_zip(tmp_path / "x.zip", 8, struct.pack("<H", 1))
    with open_tree(path) as tree, pytest.raises(DataError, match="zeros: encrypted; unpack"):
        tree.read("zeros")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_methods_of_packing_are_refused(tmp_path: Path, method: int) -> None:
    with open_tree(zipped(tmp_path / "x.zip", method=method)) as tree, pytest.raises(DataError, match="a method"):
        tree.read("a/2.txt")


def test_a_compressed_tar_that_inflates_a_thousandfold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tarred(tmp_path / "x.tar.gz", {"zeros": bytes(2**22)}, "w:gz")
    open_tree(path).close()
    monkeypatch.setattr(tree_module, "_SMALL", 2**20)
    with pytest.raises(DataError, match="inflates more than a hundredfold"):
        open_tree(path)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "folder"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_archive_is_one_line(tmp_path: Path, name: str, kept: float) -> None:
    path = MAKERS[name](tmp_path / name)
    whole = path.read_bytes()
    if name == "x.tar":
        whole = whole[: whole.rindex(b"\xff") + 1]  # padding may be missing
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match="damaged or truncated; download") as caught:
        open_tree(path)
    assert str(path) in str(caught.value)


def test_a_tar_without_its_end_is_truncated(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", {"a": bytes(512)})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(DataError, match="damaged or truncated"):
        open_tree(path)


def test_a_damaged_header_in_the_middle_of_a_tar_does_not_pass_for_its_end(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"ustar") - 100] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged or truncated"):
        open_tree(path)


def test_a_tar_header_that_would_fill_the_memory_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "/".join(["long" * 10] * 100)
    path = tarred(tmp_path / "x.tar", {name: b"1"})
    with open_tree(path) as tree:
        assert tree.names() == (name,)
    monkeypatch.setattr(tree_module, "_HEADER", 2000)
    with pytest.raises(DataError, match="damaged"):
        open_tree(path)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(10000), b"PK\3\4"])
def test_what_is_no_archive_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=r"neither a folder nor|damaged"):
        open_tree(tmp_path / "x")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip: no such file or folder"):
        open_tree(folder(tmp_path / "folder"), tmp_path / "none.zip")


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.xz"])
def test_flipped_bytes_never_do_worse_than_one_line(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / name)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 8)):
            data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            with open_tree(path) as tree:
                for file in tree.names():
                    tree.read(file)
        except DataError as error:
            assert "\n" not in str(error)


def test_a_picture_in_an_archive_is_read_and_a_bad_one_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(buffer, "PNG")
    with open_tree(zipped(tmp_path / "x.zip", {"good.png": buffer.getvalue(), "bad.png": b"no"})) as tree:
        assert tree.image("good.png").tolist() == [[[1, 2, 3]] * 3] * 2
        with pytest.raises(BadImage, match=r"x\.zip: bad\.png: not an image"):
            tree.image("bad.png")
