"""Shards that are damaged, senseless or hostile end in samples or in one line."""

import json
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_shards import _no_waiting, opened, write_shards, write_tar

from gesso.data.shards_index import ShardIndex, write_index
from gesso.errors import DataError, GessoError

__all__ = ["_no_waiting"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": b"x", "a.jpg": b"y"}, "two images"),
        ({"a.png": b"x", "a.cls": b"cat"}, "a class is a whole number"),
        ({"a.png": b"x", "a.cls": b"-7"}, "of no class"),
        ({"a.png": b"x", "a.cls": b"9" * 40}, "of no class"),
        ({"a.png": b"x", "a.cls": b"2000000000"}, "of no class"),
        ({"a.png": b"x", "a.json": b'{"label": "1"}'}, "a class is a whole number"),
        ({"../a.png": b"x"}, "leads out of its folder"),
        ({"a.png": b""}, "is empty"),
    ],
)
def test_senseless_samples_are_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(write_tar(tmp_path / "train-0.tar", files), tmp_path / "cache")


def test_links_in_a_shard_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="is a link or device"):
        opened(tmp_path, tmp_path / "cache")


def test_a_cut_off_shard_is_refused_with_and_without_an_index(tmp_path: Path) -> None:
    for index in (True, False):
        root = write_shards(tmp_path / f"set{index}", index=index)
        path = root / "train-000001.tar"
        path.write_bytes(path.read_bytes()[: 512 * 9])
        with pytest.raises(DataError, match=r"train-000001\.tar"):
            opened(root, tmp_path / "cache")


def test_a_giant_header_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**32
    (tmp_path / "0.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(DataError, match="a header of 4294967296 bytes"):
        opened(tmp_path, tmp_path / "cache")


def test_a_key_that_stands_twice_among_many_is_named_at_once(tmp_path: Path) -> None:
    many = 30_000
    shard = ShardIndex(
        "train-0.tar", 2**30, "", [*map(str, range(many)), str(many - 1)], *([1] * (many + 1) for _ in range(3))
    )
    (tmp_path / "index.jsonl").write_bytes(write_index([shard.line()]))
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"train-0\.tar:29999 stands there twice"):
        opened(tmp_path, tmp_path / "cache")
    assert time.perf_counter() - start < 2


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("sound"), shards=1, each=3, index=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_bytes_end_in_samples_or_one_line(sound: Path, data: st.DataObject, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("mutated")
    with_index = data.draw(st.booleans())
    for path in sound.iterdir():
        if with_index or path.suffix == ".tar":
            (root / path.name).write_bytes(path.read_bytes())
    target = root / ("index.jsonl" if with_index else "train-000000.tar")
    content = bytearray(target.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    target.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        source = opened(root, root / "cache")
        for unit in source.units:
            source.decode(unit)
    except GessoError as error:
        assert "\n" not in str(error)
        assert "train-000000.tar" in str(error) or "index.jsonl" in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_indexes_with_a_right_digest_end_in_samples_or_one_line(  # type: ignore[no-untyped-def]
    sound: Path, data: st.DataObject, tmp_path_factory
) -> None:
    root = tmp_path_factory.mktemp("hostile")
    (root / "train-000000.tar").write_bytes((sound / "train-000000.tar").read_bytes())
    shard = json.loads((sound / "index.jsonl").read_text().splitlines()[0])
    odd = st.one_of(
        st.none(), st.integers(-2, 2**70), st.text(max_size=5), st.just("../../etc"), st.floats(), st.just([])
    )
    field = data.draw(st.sampled_from([*shard, "more"]))
    if isinstance(shard.get(field), list) and data.draw(st.booleans()):
        shard[field][data.draw(st.integers(0, 2))] = data.draw(odd)
    else:
        shard[field] = data.draw(odd)
    (root / "index.jsonl").write_bytes(write_index([json.dumps(shard) + "\n"]))
    try:
        source = opened(root, root / "cache")
        for i, unit in enumerate(source.units):
            source.decode(unit), source.label(("image", i))
    except GessoError as error:
        assert "\n" not in str(error)
