"""The cache: decoded once, never stale, never half there, and done without where it does not fit."""

import dataclasses
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import write_pairs
from gesso.data.images import write_image
from gesso.data.sources import FolderSource, open_source
from gesso.data.store import KEPT_DAYS, MappedStore, PlainStore, Store, open_store, training_fit
from gesso.errors import DataError
from gesso.recipe import BUILTIN_STREETS, TranslationData


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data", {"train": 6})


def data_of(root: Path, **changes: object) -> TranslationData:
    return TranslationData(root=str(root), load_size=36, crop_size=32, cache_dir=str(root.parent / "cache"), **changes)  # type: ignore[arg-type]


def opened(data: TranslationData) -> tuple[Store, list[str]]:
    said: list[str] = []
    return open_store(open_source(data, "train", False), training_fit(data), data, said.append), said


def everything(store: Store) -> list[np.ndarray]:
    return [store.get((role, i)).copy() for role, n in store.source.counts.items() for i in range(n)]


def test_cache_holds_what_decoding_gives(root: Path) -> None:
    cached, _ = opened(data_of(root))
    plain, _ = opened(data_of(root, cache="off"))
    assert isinstance(cached, MappedStore) and isinstance(plain, PlainStore)
    assert all(np.array_equal(a, b) for a, b in zip(everything(cached), everything(plain), strict=True))


def test_second_opening_decodes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(data_of(root))
    monkeypatch.setattr(FolderSource, "decode", None)
    store, _ = opened(data_of(root))
    assert isinstance(store, MappedStore)


def test_side_by_side_file_is_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = FolderSource.decode
    monkeypatch.setattr(FolderSource, "decode", lambda self, unit: (calls.append(unit.name), original(self, unit))[1])
    monkeypatch.setattr("gesso.data.store._expected_bytes", lambda source, fit: 0)
    opened(data_of(root))
    assert len(calls) == len(set(calls)) == 6


def test_changed_file_is_not_served_from_the_cache(root: Path) -> None:
    before = everything(opened(data_of(root))[0])
    file = root / "train" / "000.png"
    write_image(file, np.zeros((32, 64, 3), np.uint8))
    os.utime(file, ns=(1, 1))
    after = everything(opened(data_of(root))[0])
    assert before[0].any() and not after[0].any()
    assert np.array_equal(before[1], after[1])


def test_other_preprocessing_has_a_cache_of_its_own(root: Path) -> None:
    opened(data_of(root))
    larger = TranslationData(root=str(root), load_size=40, crop_size=32, cache_dir=str(root.parent / "cache"))
    assert opened(larger)[0].get(("A", 0)).shape == (3, 40, 40)


def test_limit_falls_back_to_plain_loading_and_says_why(root: Path) -> None:
    store, said = opened(data_of(root, cache_limit_gb=1e-6))
    assert isinstance(store, PlainStore)
    assert "--data.cache-limit-gb" in said[0]
    assert not list((root.parent / "cache").rglob("samples.bin"))


def test_cache_that_was_demanded_but_does_not_fit_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match=r"--data\.cache on"):
        opened(data_of(root, cache="on", cache_limit_gb=1e-6))


def test_full_disk_falls_back_to_plain_loading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gesso.data.store.os.fsync", full)
    store, said = opened(data_of(root))
    assert isinstance(store, PlainStore) and "No space left" in said[0]
    assert not list((root.parent / "cache").rglob("*.tmp"))


def test_a_disk_that_cannot_remember_what_is_bad_is_left_as_it_was(root: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        store, _ = opened(data_of(root, cache="off"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.source.counts == {"A": 6, "B": 6}
    assert list((root.parent / "cache" / "images").iterdir()) == []


@pytest.mark.parametrize("damage", ["truncate", "index", "lost"])
def test_damaged_cache_is_built_again(damage: str, root: Path) -> None:
    before = everything(opened(data_of(root))[0])
    samples = next((root.parent / "cache").rglob("samples.bin"))
    if damage == "truncate":
        os.truncate(samples, 100)
    elif damage == "index":
        (samples.parent / "index.json").write_text('{"bytes": ')
    else:
        samples.unlink()
    after = everything(opened(data_of(root))[0])
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_two_builders_at_once_agree(root: Path) -> None:
    results: list[list[np.ndarray]] = []
    threads = [threading.Thread(target=lambda: results.append(everything(opened(data_of(root))[0]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(a, b) for r in results[1:] for a, b in zip(results[0], r, strict=True))
    assert len(list((root.parent / "cache").rglob("samples.bin"))) == 1


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_bad_file_stops_and_is_named(cache: str, root: Path) -> None:
    (root / "train" / "003.png").write_bytes(b"not an image")
    for _ in range(2):  # the second time from what was remembered
        with pytest.raises(DataError, match=r"003\.png.*gesso data check.*--data\.skip-bad"):
            opened(data_of(root, cache=cache))


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_bad_files_are_left_out_with_their_partners_and_counted(cache: str, root: Path) -> None:
    (root / "train" / "003.png").write_bytes(b"")
    (root / "train" / "001.png").write_bytes(b"x")
    for _ in range(2):
        store, said = opened(data_of(root, cache=cache, skip_bad=True))
        assert store.source.counts == {"A": 4, "B": 4}
        assert "left out 2 of 6 files" in said[-1]
        a = [store.get(("A", i)).astype(int) for i in range(4)]
        b = [store.get(("B", i)).astype(int) for i in range(4)]
        assert all(abs(x + y - 255).max() <= 2 for x, y in zip(a, b, strict=True))


def test_nothing_readable_is_an_error_even_when_skipping(root: Path) -> None:
    for file in (root / "train").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(DataError, match="no readable image is left"):
        opened(data_of(root, skip_bad=True))


def test_bad_files_remembered_without_skipping_still_stop(root: Path) -> None:
    (root / "train" / "003.png").write_bytes(b"")
    opened(data_of(root, skip_bad=True))
    with pytest.raises(DataError, match=r"003\.png"):
        opened(data_of(root))


def test_a_subset_is_the_first_pairs(root: Path) -> None:
    source = open_source(data_of(root, train_subset=2), "train", False)
    assert source.counts == {"A": 2, "B": 2}
    assert [source.label((role, i)) for role in "AB" for i in range(2)] == ["train/000.png", "train/001.png"] * 2


def test_streets_need_no_folder_and_are_unpaired_where_asked(tmp_path: Path) -> None:
    data = TranslationData(root=BUILTIN_STREETS, load_size=36, crop_size=32, train_subset=3, cache_dir=str(tmp_path))
    paired = open_store(open_source(data, "train", False), training_fit(data), data, print)
    apart = open_store(open_source(data, "train", True), training_fit(data), data, print)
    assert paired.source.counts == apart.source.counts == {"A": 3, "B": 3}
    assert np.array_equal(paired.get(("A", 0)), apart.get(("A", 0)))
    assert not np.array_equal(paired.get(("B", 0)), apart.get(("B", 0)))
    assert open_source(data, "test", True).paired


def test_index_is_readable_json_with_every_image(root: Path) -> None:
    opened(data_of(root))
    index = json.loads(next((root.parent / "cache").rglob("index.json")).read_text())
    assert len(index["images"]) == 12 and index["bad"] == {}


def test_a_cache_that_was_not_opened_for_long_is_deleted_when_another_is_built(tmp_path: Path) -> None:
    data = TranslationData(root=BUILTIN_STREETS, load_size=36, crop_size=32, train_subset=2, cache_dir=str(tmp_path))
    opened(data)
    (old,) = (path for path in (tmp_path / "images").iterdir() if path.is_dir())
    opened(dataclasses.replace(data, train_subset=3))
    assert old.is_dir()
    long_ago = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    opened(dataclasses.replace(data, train_subset=4))
    assert not old.exists()


def test_opening_a_cache_again_keeps_it(tmp_path: Path) -> None:
    data = TranslationData(root=BUILTIN_STREETS, load_size=36, crop_size=32, train_subset=2, cache_dir=str(tmp_path))
    opened(data)
    (old,) = (path for path in (tmp_path / "images").iterdir() if path.is_dir())
    long_ago = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    opened(data)
    opened(dataclasses.replace(data, train_subset=3))
    assert old.is_dir()
