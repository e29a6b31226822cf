"""Downloads of data sets from a server on loopback that can be made to misbehave."""

import hashlib
import json
import resource
import socket
import threading
from pathlib import Path

import pytest
from fetch_site import FACADES, PAIRS, UNPAIRED, Site, cut_off, get, quiet, site, tar_gz, tree

from gesso.data import fetch as module
from gesso.data.fetch import DATASETS, REGISTRY, SETS, fetch, hint, listing
from gesso.errors import DataError, DiskError, UsageError

__all__ = ["site"]


@pytest.mark.parametrize(("name", "files"), [("facades", PAIRS), ("horse2zebra", UNPAIRED)])
def test_a_set_comes_whole_into_a_folder_of_its_name(
    site: Site, tmp_path: Path, name: str, files: dict[str, bytes]
) -> None:
    root = get(site, tmp_path / "new" / "sets", name)
    assert root == tmp_path / "new" / "sets" / name
    assert tree(root) == {path.removeprefix(f"{name}/"): content for path, content in files.items()}
    left = {path.name for path in root.parent.iterdir() if not path.name.endswith(".lock")}
    assert left == {name, REGISTRY}


def test_progress_and_lines_tell_what_happens(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    lines: list[str] = []
    fetch("facades", tmp_path, site.url, lambda done, total: told.append((done, total)), lines.append)
    size = len(site.files[FACADES])
    assert told.count((size, size)) >= 2  # of the download and of the unpacking
    assert [line.split()[0] for line in lines] == ["downloading", "unpacking", "facades:"]
    assert "trusted" in lines[-1]


def test_the_first_digest_is_recorded(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path)
    get(site, tmp_path, "horse2zebra")
    recorded = json.loads((tmp_path / REGISTRY).read_text())
    assert set(recorded) == {"facades", "horse2zebra"}
    content = site.files[FACADES]
    assert recorded["facades"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert recorded["facades"]["size"] == len(content)
    assert recorded["facades"]["url"] == site.url + FACADES


def test_the_same_content_is_accepted_again(site: Site, tmp_path: Path) -> None:
    (get(site, tmp_path)).rename(tmp_path / "elsewhere")
    before = (tmp_path / REGISTRY).read_text()
    lines: list[str] = []
    fetch("facades", tmp_path, site.url, say=lines.append)
    assert "the same as first fetched" in lines[-1]
    assert (tmp_path / REGISTRY).read_text() == before


def test_other_content_than_the_first_is_refused(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path).rename(tmp_path / "elsewhere")
    site.files[FACADES] = tar_gz({**PAIRS, "facades/train/3.jpg": b"other"})
    with pytest.raises(DataError, match=r"not the file that was first fetched on .*fetched\.json") as error:
        get(site, tmp_path)
    assert site.url + FACADES in str(error.value)
    assert not (tmp_path / "facades").exists()
    assert tree(tmp_path / ".facades.fetching") == {}


def test_a_damaged_registry_is_named(site: Site, tmp_path: Path) -> None:
    for content in ("{", "[]", '{"facades": {}}', '{"facades": {"sha256": 1, "url": "", "date": ""}}'):
        (tmp_path / REGISTRY).write_text(content)
        with pytest.raises(DataError, match=r"fetched\.json: damaged"):
            get(site, tmp_path)


def test_a_folder_that_is_there_is_never_touched(site: Site, tmp_path: Path) -> None:
    (tmp_path / "facades").mkdir()
    with pytest.raises(UsageError, match="not overwritten"):
        get(site, tmp_path)
    assert site.asked == []
    assert tree(tmp_path) == {}


def test_a_folder_that_is_there_may_be_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "facades").mkdir()
    assert fetch("facades", tmp_path, site.url, existing="keep") == tmp_path / "facades"
    assert site.asked == []


@pytest.mark.parametrize("after", [1, 100_000, 299_999])
def test_a_partial_download_goes_on_where_it_stopped(site: Site, tmp_path: Path, after: int) -> None:
    cut_off(site, tmp_path, after)
    assert (tmp_path / ".facades.fetching" / "facades.tar.gz.part").stat().st_size == after
    get(site, tmp_path)
    assert site.asked == [(FACADES, f"bytes={after}-")]
    assert (tmp_path / "facades" / "train" / "1.jpg").read_bytes() == PAIRS["facades/train/1.jpg"]


def test_a_download_that_is_cut_again_and_again_ends(site: Site, tmp_path: Path) -> None:
    for _ in range(3):
        cut_off(site, tmp_path, 90_000)
    get(site, tmp_path)
    assert site.asked == [(FACADES, "bytes=270000-")]


def test_an_interrupt_keeps_what_came(site: Site, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("facades", tmp_path, site.url, interrupt, quiet)
    have = (tmp_path / ".facades.fetching" / "facades.tar.gz.part").stat().st_size
    assert have > 0
    get(site, tmp_path)
    assert site.asked[1:] == [(FACADES, f"bytes={have}-")]


def test_an_interrupt_while_unpacking_keeps_the_archive(site: Site, tmp_path: Path) -> None:
    lines: list[str] = []

    def interrupt(done: int, total: int) -> None:
        if any(line.startswith("unpacking") for line in lines):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("facades", tmp_path, site.url, interrupt, lines.append)
    assert set(tree(tmp_path / ".facades.fetching")) == {"facades.tar.gz"}
    get(site, tmp_path)
    assert len(site.asked) == 1


def test_what_a_kill_left_is_cleared(site: Site, tmp_path: Path) -> None:
    left = tmp_path / ".facades.fetching" / "unpacked" / "facades" / "train"
    left.mkdir(parents=True)
    (left / "half.jpg").touch()
    (tmp_path / ".facades.fetching" / "tmp1234").touch()
    root = get(site, tmp_path)
    assert not (root / "train" / "half.jpg").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"etag": '"2"'},
        {"ranges": False},
        {"wrong_range": True},
    ],
    ids=str,
)
def test_a_download_begins_anew_where_it_cannot_go_on(site: Site, tmp_path: Path, change: dict[str, object]) -> None:
    cut_off(site, tmp_path)
    site.files[FACADES] = tar_gz({"facades/train/new.jpg": bytes(200_000)})
    for name, value in change.items():
        setattr(site, name, value)
    assert set(tree(get(site, tmp_path))) == {"train/new.jpg"}


@pytest.mark.parametrize("mark", ["etag", "modified"])
def test_a_range_of_another_file_than_was_asked_for_is_not_stitched_on(site: Site, tmp_path: Path, mark: str) -> None:
    versions = {"etag": ('"1"', '"2"'), "modified": ("Fri, 20 Nov 2020 19:10:00 GMT", "Sat, 21 Nov 2020 19:10:00 GMT")}
    site.etag, site.careless = "", True
    whole, (before, now) = site.files[FACADES], versions[mark]
    setattr(site, mark, before)
    site.files[FACADES] = bytes(len(whole))
    cut_off(site, tmp_path)
    setattr(site, mark, now)
    site.files[FACADES] = whole
    assert len(tree(get(site, tmp_path))) == 2
    assert [asked for _, asked in site.asked] == ["bytes=100000-", None]


def test_a_part_longer_than_the_file_begins_anew(site: Site, tmp_path: Path) -> None:
    cut_off(site, tmp_path)
    with (tmp_path / ".facades.fetching" / "facades.tar.gz.part").open("ab") as part:
        part.write(bytes(10**6))
    get(site, tmp_path)
    assert [asked for _, asked in site.asked] == ["bytes=1100000-", None]


@pytest.mark.parametrize(
    ("etag", "modified", "resumed"),
    [("", "Fri, 20 Nov 2020 19:10:00 GMT", True), ('W/"1"', "", False), ("", "", False)],
)
def test_only_a_file_known_to_be_unchanged_is_gone_on_with(
    site: Site, tmp_path: Path, etag: str, modified: str, resumed: bool
) -> None:
    site.etag, site.modified = etag, modified
    cut_off(site, tmp_path)
    get(site, tmp_path)
    assert [asked is not None for _, asked in site.asked] == [resumed]


def test_a_part_of_another_servers_file_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    cut_off(site, tmp_path)
    fetch("facades", tmp_path, site.url.replace("127.0.0.1", "localhost"), say=quiet)
    assert [asked for _, asked in site.asked] == [None]


def test_damaged_notes_begin_anew(site: Site, tmp_path: Path) -> None:
    cut_off(site, tmp_path)
    (tmp_path / ".facades.fetching" / "facades.tar.gz.part.json").write_text("{")
    get(site, tmp_path)
    assert [asked for _, asked in site.asked] == [None]


def test_a_server_that_does_not_tell_the_size_will_do(site: Site, tmp_path: Path) -> None:
    site.length = False
    assert len(tree(get(site, tmp_path))) == 2


def test_a_server_that_calls_the_archive_compressed_sends_the_archive(site: Site, tmp_path: Path) -> None:
    site.encoding = "x-gzip"
    get(site, tmp_path)
    recorded = json.loads((tmp_path / REGISTRY).read_text())["facades"]
    assert recorded["sha256"] == hashlib.sha256(site.files[FACADES]).hexdigest()


def test_a_sign_in_page_in_the_files_place_is_neither_kept_nor_trusted(site: Site, tmp_path: Path) -> None:
    good, site.files[FACADES] = site.files[FACADES], b"<html>Sign in to this network</html>" * 100
    with pytest.raises(DataError, match="damaged, or no zip or tar archive"):
        get(site, tmp_path)
    assert tree(tmp_path).keys() <= {".facades.lock"}
    site.files[FACADES] = good
    get(site, tmp_path)


@pytest.mark.parametrize("files", [{"facades/readme": b""}, {"top": b""}, {"a/train/1.jpg": b"", "b/train/1.jpg": b""}])
def test_an_archive_without_the_set_is_refused(site: Site, tmp_path: Path, files: dict[str, bytes]) -> None:
    site.files[FACADES] = tar_gz(files)
    with pytest.raises(DataError, match="no data set in this archive"):
        get(site, tmp_path)
    assert not (tmp_path / REGISTRY).exists()


def test_the_only_folder_of_an_archive_is_the_set_whatever_its_name(site: Site, tmp_path: Path) -> None:
    site.files[FACADES] = tar_gz({"repacked/train/1.jpg": b"1", "__MACOSX/train/._1.jpg": b""})
    assert tree(get(site, tmp_path)) == {"train/1.jpg": b"1"}


def test_a_hostile_archive_writes_nothing_outside(site: Site, tmp_path: Path) -> None:
    site.files[FACADES] = tar_gz({"facades/train/1.jpg": b"1", "../../escaped": b"2"})
    with pytest.raises(DataError, match="leads out of the folder"):
        get(site, tmp_path / "sets")
    assert {path.name for path in tmp_path.iterdir()} == {"sets"}
    assert not (tmp_path / "sets" / "facades").exists()


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_servers_refusal_is_one_line_with_the_address_and_the_flag(site: Site, tmp_path: Path, status: int) -> None:
    site.status = status
    with pytest.raises(DataError, match=f"the server answers {status} .*--mirror") as error:
        get(site, tmp_path)
    assert str(error.value).startswith(site.url + FACADES)


def test_no_connection_is_one_line_with_the_address_and_the_flag(site: Site, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        unused = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(
        DataError, match=r"cannot be fetched \(Connection refused\).*gesso data fetch NAME --mirror URL$"
    ) as error:
        fetch("facades", tmp_path, unused, say=quiet)
    assert str(error.value).startswith(unused + FACADES)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_one_line_and_what_came_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, allowed[1]))
    try:
        with pytest.raises(DiskError, match="cannot be written"):
            get(site, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert not (tmp_path / "facades").exists()
    get(site, tmp_path)
    assert site.asked[1] == (FACADES, "bytes=100000-")


def test_a_disk_too_small_is_said_before_it_is_filled(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DiskError, match="are free; free some space or name another --out"):
        get(site, tmp_path)
    assert not (tmp_path / ".facades.fetching" / "facades.tar.gz.part").exists()


def test_more_than_any_set_has_is_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.length = False
    monkeypatch.setattr(module, "LARGEST", 1000)
    with pytest.raises(DataError, match="so it is no such set"):
        get(site, tmp_path)


def test_of_several_at_once_one_downloads_and_all_get_the_folder(site: Site, tmp_path: Path) -> None:
    found: list[Path] = []

    def one() -> None:
        found.append(fetch("facades", tmp_path, site.url, say=quiet, existing="keep"))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "facades"] * 4
    assert len(site.asked) == 1


def test_a_redirection_to_no_address_is_one_line(site: Site, tmp_path: Path) -> None:
    site.location = "http://[::1"
    with pytest.raises(DataError, match=r"cannot be fetched .*name another server with gesso data fetch NAME --mirror"):
        get(site, tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("out", ["/proc/gesso", "/proc"])
def test_a_folder_that_takes_no_files_is_one_line_with_a_mend(out: str) -> None:
    with pytest.raises(DiskError, match=f"{out} cannot be written: .*; name another folder"):
        fetch("facades", Path(out), "http://127.0.0.1:9", say=quiet)


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="imagenet: no such set; there are facades, maps"):
        fetch("imagenet", tmp_path)


def test_the_table_names_every_set_once_with_its_own_address_and_origin() -> None:
    assert len({found.url for found in SETS.values()}) == len(SETS) == 16
    assert all(found.shows and found.origin and found.url.endswith(found.suffix) for found in SETS.values())
    assert SETS["maps"].url.endswith("/pix2pix/datasets/maps.tar.gz")
    assert SETS["cyclegan-maps"].url.endswith("/cyclegan/datasets/maps.zip")
    assert [line.split()[0] for line in listing()] == list(SETS)


def test_a_missing_folder_of_a_known_name_gets_a_command(tmp_path: Path) -> None:
    assert hint(DATASETS / "horse2zebra") == (
        f"{DATASETS / 'horse2zebra'}: no such folder; `gesso data fetch horse2zebra` downloads it"
    )
    assert f"--out '{tmp_path}/my sets'`" in str(hint(tmp_path / "my sets" / "maps"))
    assert hint(tmp_path / "unknown") is None
    (tmp_path / "maps").mkdir()
    assert hint(tmp_path / "maps") is None
