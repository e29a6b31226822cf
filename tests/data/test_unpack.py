"""Archives that mean harm, or are damaged, and those that do not. All are made here."""

import bz2
import gzip
import io
import lzma
import os
import resource
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gesso.data import unpack as module
from gesso.data.unpack import unpack
from gesso.errors import DataError, DiskError, UsageError

FILES = {"set/trainA/1.jpg": b"one" * 700, "set/trainB/2.jpg": bytes(range(256)) * 5, "set/README": b"", "top": b"x"}


def tar_bytes(files: dict[str, bytes], *more: tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of `files` and then of `more`, which have no content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return buffer.getvalue()


def zip_bytes(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, attributes: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = method, attributes << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def tar_entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


MAKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zip_bytes,
    "stored": lambda files: zip_bytes(files, zipfile.ZIP_STORED),
    "tar": tar_bytes,
    "gnu": lambda files: tar_bytes(files, format=tarfile.GNU_FORMAT),
    "tar.gz": lambda files: gzip.compress(tar_bytes(files)),
    "tar.bz2": lambda files: bz2.compress(tar_bytes(files)),
    "tar.xz": lambda files: lzma.compress(tar_bytes(files)),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder `in` whose neighbours would show an escape."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def put(place: Path, content: bytes) -> Path:
    path = place.parent / "archive"
    path.write_bytes(content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(place: Path, content: bytes, match: str, **limits: int) -> None:
    """`content` is refused in one line that names the archive, and nothing of it is left anywhere."""
    archive = put(place, content)
    before = sorted(place.parent.rglob("*"))
    with pytest.raises(DataError, match=match) as error:
        unpack(archive, place / "out", **limits)
    assert str(archive) in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(place.parent.rglob("*")) == before


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_unpacks_whatever_its_name_says(place: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    assert unpack(put(place, make(FILES)), place / "new" / "out") == 4
    assert tree(place / "new" / "out") == FILES
    assert [path.name for path in (place / "new").iterdir()] == ["out"]


def test_folders_of_their_own_and_dots_in_paths_are_taken(place: Path) -> None:
    unpack(put(place, tar_bytes({"./a/b": b"1", "a//c": b"2"}, tar_entry("./empty/", tarfile.DIRTYPE))), place / "out")
    assert tree(place / "out") == {"a/b": b"1", "a/c": b"2"}
    assert (place / "out" / "empty").is_dir()


def test_permissions_are_not_taken_over(place: Path) -> None:
    info = tarfile.TarInfo("tool")
    info.mode = 0o6777
    unpack(put(place, tar_bytes({}, info)), place / "out")
    unpack(put(place, zip_bytes({"tool": b""}, attributes=stat.S_IFREG | 0o6777)), place / "zipped")
    (place / "plain").touch()
    usual = (place / "plain").stat().st_mode
    assert (place / "out" / "tool").stat().st_mode == (place / "zipped" / "tool").stat().st_mode == usual


def test_progress_ends_with_the_whole_archive(place: Path) -> None:
    archive, told = put(place, gzip.compress(tar_bytes(FILES))), []
    unpack(archive, place / "out", progress=lambda done, total: told.append((done, total)))
    size = archive.stat().st_size
    assert told[-1] == (size, size)
    assert all(0 <= done <= total for done, total in told)


def test_the_longest_name_there_is_is_taken(place: Path) -> None:
    assert unpack(put(place, tar_bytes(FILES)), place / ("x" * 255)) == 4


def test_a_folder_that_is_there_is_not_touched(place: Path) -> None:
    (place / "out").mkdir()
    with pytest.raises(UsageError, match="not overwritten"):
        unpack(put(place, tar_bytes(FILES)), place / "out")
    assert tree(place / "out") == {}


ESCAPES = [
    "../x",
    "a/../../x",
    "..",
    "/etc/x",
    "//x",
    "C:/x",
    "C:\\x",
    "..\\x",
    "a\\x",
    "a/\x1b[2Jx",
    "a\nb",
    "a" * 256,
    "ä" * 200,
    "a/" * 600 + "x",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("make", [zip_bytes, tar_bytes], ids=["zip", "tar"])
def test_names_that_lead_elsewhere_are_refused(place: Path, make: Callable[..., bytes], name: str) -> None:
    refused(place, make({"good": b"1", name: b"2"}), "refused")


CLASHES = [
    ("a/B.jpg", "a/b.jpg"),
    ("Train/1.jpg", "train/2.jpg"),
    ("a", "a/b"),
    ("a/b", "a"),
    ("a", "A/b"),
    ("x.", "x"),
    ("x ", "x"),
    ("x:1", "x?1"),
    ("con.txt", "_CON.txt"),
    ("stra\u00dfe", "STRASSE"),
    ("caf\u00e9", "cafe\u0301"),
    ("same", "same"),
    ("same", "./same"),
]


@pytest.mark.parametrize("names", CLASHES, ids=repr)
@pytest.mark.parametrize("make", [zip_bytes, tar_bytes], ids=["zip", "tar"])
def test_names_that_are_one_on_some_system_are_refused(
    place: Path, make: Callable[..., bytes], names: tuple[str, str]
) -> None:
    content = make({names[0]: b"1", names[1]: b"2"}) if names[0] != names[1] else make_twice(make)
    refused(place, content, "refused")


def make_twice(make: Callable[..., bytes]) -> bytes:
    if make is tar_bytes:
        return tar_bytes({"same": b"1"}, tar_entry("same", tarfile.REGTYPE))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("same", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("same", b"2")
    return buffer.getvalue()


def test_names_that_windows_forbids_are_kept_elsewhere_and_mended_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = put(place, zip_bytes({"2009-12-06 06:58:39.jpg": b"1", "nul.png": b"2", "dots...": b"3", "...": b"4"}))
    monkeypatch.setattr(module, "WINDOWS", False)
    unpack(archive, place / "here")
    monkeypatch.setattr(module, "WINDOWS", True)
    unpack(archive, place / "there")
    assert set(tree(place / "here")) == {"2009-12-06 06:58:39.jpg", "nul.png", "dots...", "..."}
    assert set(tree(place / "there")) == {"2009-12-06 06_58_39.jpg", "_nul.png", "dots", "_"}


SPECIAL = {
    "symbolic link": tar_entry("l", tarfile.SYMTYPE, "/etc/passwd"),
    "symbolic link inside": tar_entry("l", tarfile.SYMTYPE, "good"),
    "hard link": tar_entry("l", tarfile.LNKTYPE, "good"),
    "pipe": tar_entry("l", tarfile.FIFOTYPE),
    "character device": tar_entry("l", tarfile.CHRTYPE),
    "block device": tar_entry("l", tarfile.BLKTYPE),
    "sparse": tar_entry("l", tarfile.GNUTYPE_SPARSE),
}


@pytest.mark.parametrize("entry", SPECIAL.values(), ids=SPECIAL)
def test_links_and_devices_in_a_tar_are_refused(place: Path, entry: tarfile.TarInfo) -> None:
    refused(place, tar_bytes({"good": b"1"}, entry), "refused, since 'l' is ")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(place: Path, kind: int) -> None:
    refused(place, zip_bytes({"l": b"/etc/passwd"}, attributes=kind | 0o777), "a link or a device")


def test_a_file_through_a_link_that_came_before_does_not_get_out(place: Path) -> None:
    link = tar_entry("d", tarfile.SYMTYPE, str(place.parent))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("d/escaped"))
    refused(place, content.getvalue(), "a link to")


def test_an_encrypted_zip_is_refused(place: Path) -> None:
    content = bytearray(zip_bytes({"a": b"secret"}))
    content[content.find(b"PK\x01\x02") + 8] |= 1
    refused(place, bytes(content), "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_is_decompressed_in_unbounded_steps_is_refused(place: Path, method: int) -> None:
    refused(place, zip_bytes({"a": bytes(10**6)}, method), "compressed in another way")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_more_bytes_than_allowed_are_refused(place: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    bomb = make({f"{i}": bytes(300_000) for i in range(4)})
    refused(place, bomb, "more than 0.001 GB", max_bytes=1_000_000)
    assert unpack(put(place, bomb), place / "out", max_bytes=1_200_000) == 4


@pytest.mark.parametrize("make", [zip_bytes, tar_bytes], ids=["zip", "tar"])
def test_more_files_than_allowed_are_refused(place: Path, make: Callable[..., bytes]) -> None:
    refused(place, make({f"{i}": b"" for i in range(11)}), "more than 10 files", max_files=10)


def test_a_zip_that_understates_its_sizes_is_refused(place: Path) -> None:
    content = bytearray(zip_bytes({"a": bytes(100_000)}))
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = content.find(mark) + at
        content[start : start + 4] = struct.pack("<I", 100)
    refused(place, bytes(content), "damaged", max_bytes=1000)


def test_a_tar_header_that_asks_for_all_memory_is_refused(place: Path) -> None:
    header = tar_entry("x", tarfile.XHDTYPE)
    header.size = 2**30
    refused(place, gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(10**6)), "a header of 1073741824 bytes")


def test_a_tar_header_with_a_negative_size_is_refused(place: Path) -> None:
    header = tar_entry("x", tarfile.REGTYPE)
    header.size = -512
    first = tarfile.TarInfo("a").tobuf()
    refused(place, first + header.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "damaged|negative")


def test_a_tar_with_ever_more_global_headers_is_refused(place: Path) -> None:
    content = b""
    for i in range(200):
        content += tarfile.TarInfo.create_pax_global_header({f"key{i}": "value"})
        content += tarfile.TarInfo(f"{i}").tobuf()
    refused(place, content + bytes(1024), "too many global headers")


def test_a_tar_file_that_is_shorter_than_it_says_is_refused(place: Path) -> None:
    info = tarfile.TarInfo("a")
    info.size = 5000
    refused(place, info.tobuf() + bytes(512), "damaged")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_archive_cut_short_anywhere_is_refused(place: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    whole = make(FILES)
    for length in range(0, len(whole) - tarfile.RECORDSIZE * (whole[257:262] == b"ustar"), 97):
        refused(place, whole[:length], "damaged")


def test_a_tar_with_a_bad_header_in_its_middle_is_not_taken_for_a_shorter_one(place: Path) -> None:
    content = bytearray(tar_bytes(FILES))
    content[content.find(b"set/trainB")] ^= 1
    refused(place, bytes(content), "the end mark is missing")


def test_a_checksum_at_the_end_counts(place: Path) -> None:
    content = bytearray(gzip.compress(tar_bytes(FILES)))
    content[-6] ^= 1
    refused(place, bytes(content), "CRC")


@pytest.mark.parametrize("content", [b"", b"<html>Sign in to this network</html>" * 40, b"PK\x03\x04", b"\x1f\x8b"])
def test_what_is_no_archive_is_said_to_be_none(place: Path, content: bytes) -> None:
    refused(place, content, "damaged, or no zip or tar archive")


def test_a_missing_archive_is_named(place: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.zip: cannot be read: No such file"):
        unpack(place / "gone.zip", place / "out")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(sorted(MAKERS)))
def test_any_damage_gives_files_inside_or_one_line(place: Path, data: st.DataObject, kind: str) -> None:
    content = bytearray(MAKERS[kind](FILES))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive, out = put(place, bytes(content)), place / "fuzzed"
    try:
        unpack(archive, out, max_bytes=10**6)
    except DataError:
        assert not out.exists()
    else:
        assert not [path for path in out.rglob("*") if path.is_symlink()]
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        out.rmdir()
    assert {path.name for path in place.parent.iterdir()} == {"archive", "in"}
    assert list(place.iterdir()) == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.sampled_from("./\\:aA~ \x00é"), min_size=1, max_size=12), kind=st.sampled_from(sorted(MAKERS)))
def test_any_name_ends_inside_or_is_refused(place: Path, name: str, kind: str) -> None:
    archive, out = put(place, MAKERS[kind]({name: b"1"})), place / "named"
    try:
        unpack(archive, out)
    except DataError:
        assert not out.exists()
    else:
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        out.rmdir()
    assert {path.name for path in place.parent.iterdir()} == {"archive", "in"}
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("make", [zip_bytes, tar_bytes], ids=["zip", "tar"])
def test_a_full_disk_leaves_nothing_and_is_one_line(place: Path, make: Callable[..., bytes]) -> None:
    archive = put(place, make({"small": b"1", "large": os.urandom(100_000)}))
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, allowed[1]))
    try:
        with pytest.raises(DiskError, match="out cannot be written"):
            unpack(archive, place / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert list(place.iterdir()) == []


def test_an_interrupt_leaves_nothing(place: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(put(place, tar_bytes(FILES)), place / "out", progress=interrupt)
    assert list(place.iterdir()) == []
