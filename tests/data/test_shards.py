"""Shards read at random: the same samples from every place, none lost or repeated, and one line for what is wrong."""

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.registry import known_implementations
from toy_shards import COLOURS, Server, _no_waiting, all_right, colour, opened, picture, serve, write_shards, write_tar

from gesso.data.fits import Whole
from gesso.data.shards import is_shards, shard_splits
from gesso.data.single import open_classes
from gesso.data.sources import Unit, fingerprint
from gesso.data.store import open_store
from gesso.errors import BadImage, DataError, DiskError, UsageError, passing
from gesso.recipe import ClassData

__all__ = ["_no_waiting", "serve"]


def test_a_folder_without_an_index_gives_every_image_and_class(tmp_path: Path) -> None:
    source = opened(write_shards(tmp_path / "set"), tmp_path / "cache")
    assert source.counts == {"image": 24} and len(source.units) == 24
    assert all_right(source)
    assert source.classes == ("0", "1", "2", "3", "4")
    assert source.units[9].name == f"{tmp_path}/set/train-000001.tar:000009"
    assert source.label(("image", 9)) == "train-000001/000009"


def test_an_index_is_used_instead_of_the_headers(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "set", index=True)
    assert all_right(opened(root, tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_shards_without_an_index_are_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_shards(tmp_path / "set")
    opened(root, tmp_path / "cache")
    monkeypatch.setattr("gesso.data.shards.index_shard", lambda *args: pytest.fail("scanned again"))
    assert all_right(opened(root, tmp_path / "cache"))


def test_a_disk_that_cannot_remember_an_index_is_left_as_it_was(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    root = write_shards(tmp_path / "set")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        source = opened(root, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all_right(source)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_brace_ranges_choose_shards(tmp_path: Path) -> None:
    for index in (False, True):
        root = write_shards(tmp_path / f"set{index}", index=index)
        source = opened(f"{root}/train-{{000001..000002}}.tar", tmp_path / "cache")
        assert [colour(source, i) for i in range(16)] == COLOURS[8:]


@pytest.mark.parametrize("pattern", ["train-{3..1}.tar", "train-{0..99999999}.tar", "{a{0..1}.tar", "{}.tar"])
def test_senseless_braces_are_refused_in_one_line(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name shards like"):
        opened(f"{tmp_path}/{pattern}", tmp_path / "cache")


def test_splits_are_told_by_names_and_by_folders(tmp_path: Path) -> None:
    root = tmp_path / "pretraining-val"  # the folder around them says nothing
    write_shards(root)
    write_shards(root / "val", "x", shards=1)
    assert shard_splits(str(root)) == ("train", "val")
    assert opened(root, tmp_path / "cache", "val").counts == {"image": 8}
    assert opened(root, tmp_path / "cache").counts == {"image": 24}
    with pytest.raises(DataError, match="no test shards"):
        opened(root, tmp_path / "cache", "test")


def test_is_shards_tells_shards_from_other_roots(tmp_path: Path) -> None:
    (tmp_path / "photos" / "train").mkdir(parents=True)
    assert is_shards(str(write_shards(tmp_path / "set")))
    assert is_shards("s3://bucket/set") and is_shards("x/train-{0..3}.tar")
    assert not is_shards(str(tmp_path / "photos")) and not is_shards("builtin:streets")


def test_http_reads_only_the_ranges_of_the_samples_asked_for(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set", index=True))
    source = opened(server.url, tmp_path / "cache")
    server.asked.clear()
    assert colour(source, 13) == COLOURS[13]
    ((path, wanted, status),) = server.asked
    assert path == "/train-000001.tar" and wanted is not None and status == 206
    assert all_right(source)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("index", [True, False])
def test_http_without_ranges_or_index_is_read_from_one_copy(
    tmp_path: Path, serve: Callable[..., Server], index: bool
) -> None:
    server = serve(write_shards(tmp_path / "set", index=index), ranges=not index)
    source = opened(f"{server.url}/train-{{000000..000002}}.tar", tmp_path / "cache")
    assert all_right(source) and all_right(source)
    whole = [path for path, wanted, _ in server.asked if wanted is None and path.endswith(".tar")]
    assert sorted(whole) == [f"/train-00000{i}.tar" for i in range(3)]


def test_a_login_comes_from_netrc(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(write_shards(tmp_path / "set", index=True))
    opened(server.url, tmp_path / "cache")
    assert server.logins == {f"Basic {base64.b64encode(b'me:secret').decode()}"}


@pytest.mark.parametrize("scheme", ["https://", "simplecache::s3://"])
def test_a_password_in_an_address_is_refused_and_not_shown(scheme: str) -> None:
    with pytest.raises(UsageError, match=r"--data\.root: a password in an address .* ~/\.netrc") as caught:
        ClassData(root=f"{scheme}me:secret@example.org/imagenet").checked()
    assert "secret" not in str(caught.value)
    ClassData(root="ssh://me@example.org/imagenet").checked()


def test_a_copy_that_does_not_fit_names_the_mend(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set"))
    with pytest.raises(UsageError, match=r"train-000001\.tar.*--data\.cache-limit-gb"):
        opened(f"{server.url}/train-{{000000..000002}}.tar", tmp_path / "cache", cache_limit_gb=25e-6)
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_cache_that_can_take_no_copy_is_not_over_at_another_start(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    server = serve(write_shards(tmp_path / "set"))
    (tmp_path / "cache").write_text("a file where a folder must be")
    with pytest.raises(DiskError, match=r"name another --data\.cache-dir") as caught:
        opened(f"{server.url}/train-000000.tar", tmp_path / "cache")
    assert not passing(caught.value)


def test_a_failing_server_is_tried_again(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set", index=True))
    source = opened(server.url, tmp_path / "cache")
    server.failures = 3
    assert colour(source, 20) == COLOURS[20]


def test_a_connection_that_breaks_is_made_again(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set", index=True))
    source = opened(server.url, tmp_path / "cache")
    server.cuts = 2
    assert all_right(source)


def test_a_copy_whose_connection_breaks_is_whole(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set", index=True), ranges=False)
    source = opened(server.url, tmp_path / "cache")
    server.cuts = 3
    assert all_right(source)


def test_a_server_that_stays_down_is_named_with_shard_and_key(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set", index=True))
    source = opened(server.url, tmp_path / "cache")
    server.failures = 100
    with pytest.raises(DataError, match=r"train-000002\.tar:000020: 4 tries failed \(HTTP 503\)"):
        colour(source, 20)


def test_a_shard_that_is_gone_is_not_tried_again(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(write_shards(tmp_path / "set", index=True))
    source = opened(server.url, tmp_path / "cache")
    (tmp_path / "set" / "train-000000.tar").unlink()
    server.asked.clear()
    with pytest.raises(DataError, match=r"train-000000\.tar:000003: HTTP 404"):
        colour(source, 3)
    assert len(server.asked) == 1


def test_a_web_folder_without_an_index_is_refused(tmp_path: Path, serve: Callable[..., Server]) -> None:
    with pytest.raises(DataError, match=r"index\.jsonl: HTTP 404.*name shards with \{000\.\.146\}"):
        opened(serve(write_shards(tmp_path / "set")).url, tmp_path / "cache")


@pytest.mark.parametrize("index", [True, False])
def test_any_fsspec_url_is_read(tmp_path: Path, index: bool) -> None:
    root = write_shards(tmp_path / "set", index=index)
    assert all_right(opened(f"file://{root}", tmp_path / "cache"))


def test_an_unknown_protocol_or_missing_backend_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data\.root nothing://x"):
        opened("nothing://x", tmp_path / "cache")


def test_a_missing_backend_is_told_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"class": "nowhere9.FileSystem", "err": "Install nowhere9 to access it"}
    monkeypatch.setitem(known_implementations, "nine", known)
    with pytest.raises(UsageError, match=r"--data\.root nine://x.*to access it; pip install nowhere9$"):
        opened("nine://x", tmp_path / "cache")


def test_a_damaged_image_is_named_by_shard_and_key(tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "train-0.tar", {"a.png": picture(0), "b.png": picture(1)[:-30], "c.png": picture(2)})
    source = opened(tmp_path / "set", tmp_path / "cache")
    with pytest.raises(BadImage, match=r"train-0\.tar:b: damaged"):
        source.decode(source.units[1])
    left = source.without([source.units[1].name])
    assert [left.label(("image", i)) for i in range(2)] == ["train-0/a", "train-0/c"]
    assert colour(left, 1) == COLOURS[2] and left.counts == {"image": 2}


def test_a_bad_image_of_a_web_set_does_not_name_a_command_that_reads_disks_only(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    files = {"a.png": picture(0), "a.cls": b"0", "b.png": picture(1)[:-30], "b.cls": b"1"}
    write_tar(tmp_path / "set" / "train-0.tar", files)
    url = f"{serve(tmp_path / 'set').url}/train-{{0..0}}.tar"
    for root, listed in ((url, False), (str(tmp_path / "set"), True)):
        data = ClassData(root=root, cache_dir=str(tmp_path / "cache"))
        with pytest.raises(DataError, match=r"train-0\.tar:b: damaged.*--data\.skip-bad") as caught:
            open_store(open_classes(data, "train"), Whole(), data, lambda line: None)
        assert ("gesso data check" in str(caught.value)) == listed


def test_json_labels_and_class_names_are_read(tmp_path: Path) -> None:
    files = {"x/a.b.json": b'{"label": 1}', "x/a.png": picture(0), "x/a.json": b'{"label": 0, "w": 6}'}
    files |= {"b.png": picture(1), "b.cls": b" 1\n", "b.txt": b"a text"}
    write_tar(tmp_path / "set" / "0.tar", files)
    (tmp_path / "set" / "classes.json").write_text('{"classes": ["cat", "dog"]}')
    source = opened(tmp_path / "set", tmp_path / "cache")
    assert [source.class_of(i) for i in range(2)] == [0, 1] and source.classes == ("cat", "dog")
    (tmp_path / "set" / "classes.json").write_text('["cat"]')
    with pytest.raises(DataError, match="names 1 classes, but a sample is of class 1"):
        opened(tmp_path / "set", tmp_path / "cache")


def test_the_same_key_in_two_shards_is_two_samples(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / "set" / f"{number}.tar", {"a.png": picture(number)})
    source = opened(tmp_path / "set", tmp_path / "cache")
    assert len({source.label(("image", i)) for i in range(2)}) == 2
    assert [colour(source, i) for i in range(2)] == COLOURS[:2]


EPOCH = """
import sys
from pathlib import Path
import numpy as np
from gesso.data.order import indices
from gesso.data.shards import open_shards
root, rank, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
source = open_shards(root, "train", Path(root) / "cache", say=print)
for step in range(first, 6):
    for i in indices(7, 0, np.arange(2) + step * 4 + rank * 2, source.counts["image"]):
        pixel = source.decode(source.units[int(i)])["image", int(i)][0, 0]
        print(source.label(("image", int(i))), *pixel)
"""


def test_two_processes_read_each_sample_once_an_epoch_and_resume_in_its_middle(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "set", index=True)

    def start(rank: int, first: int) -> subprocess.Popen[str]:
        """Process `rank` of 2 at batch 2, from step `first` of the epoch's 6 on."""
        command = [sys.executable, "-c", EPOCH, str(root), str(rank), str(first)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    running = [start(0, 0), start(1, 0), start(1, 3)]
    read = [process.communicate(timeout=60)[0].splitlines() for process in running]
    seen = read[0] + read[1]
    every = [f"train-{i // 8:06d}/{i:06d} {r} {g} {b}" for i, (r, g, b) in enumerate(COLOURS)]
    assert sorted(seen) == every and seen != every
    assert read[2] == read[1][6:]


def test_units_are_made_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(write_shards(tmp_path / "set"), tmp_path / "cache")
    made: list[str] = []
    monkeypatch.setattr("gesso.data.shards.Unit", lambda *args: made.append(args[0]) or Unit(*args))
    assert len(source.units[::8]) == 3 and len(made) == 3
    assert source.units[-1].slots == (("image", 23),)
    assert len(list(source.units)) == 24


def test_the_first_samples_are_a_subset(tmp_path: Path) -> None:
    source = opened(write_shards(tmp_path / "set"), tmp_path / "cache", limit=10)
    assert source.counts == {"image": 10}
    assert [source.decode(unit)["image", i][0, 0].tolist() for i, unit in enumerate(source.units)] == [
        list(each) for each in COLOURS[:10]
    ]


def test_the_fingerprint_changes_with_a_shard(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "set")
    before = fingerprint(opened(root, tmp_path / "cache"))
    assert fingerprint(opened(root, tmp_path / "cache")) == before
    write_tar(root / "train-000002.tar", {"z.png": picture(3), "z.cls": b"0"})
    assert fingerprint(opened(root, tmp_path / "cache")) != before
