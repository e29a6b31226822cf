"""Results as files: lossless, whole or not at all, and as often as one likes."""

import json
from pathlib import Path

import pytest

from gesso.bench.exchange import export_results, import_results, read_results
from gesso.bench.results import open_results
from gesso.errors import DataError, DiskError
from measured import measured


def test_what_was_exported_is_imported_without_loss_and_once(tmp_path: Path) -> None:
    first, second = (open_results(str(tmp_path / name)) for name in ("a.sqlite3", "b.sqlite3"))
    first.add(measured(number) for number in range(20))
    export_results(first.query(), tmp_path / "all.jsonl")
    assert import_results(tmp_path / "all.jsonl", second) == (20, 20)
    assert import_results(tmp_path / "all.jsonl", second) == (20, 0)
    assert [r.to_json() for r in second.query()] == [r.to_json() for r in first.query()]


def test_bad_lines_are_named_and_nothing_is_imported(tmp_path: Path) -> None:
    good = measured().to_json()
    bad = json.dumps({**json.loads(good), "batch_size": -1})
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join([good, "", "{", bad, '"a"', good[:50]]) + "\n")
    results = open_results(str(tmp_path / "bench.sqlite3"))
    with pytest.raises(DataError, match=r"line 3: not JSON; line 4: batch_size is -1.*; line 5: .*; and 1 more lines"):
        import_results(path, results)
    assert results.count() == 0


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="picture: not text"):
        read_results(tmp_path / "picture")
    with pytest.raises(DiskError, match="gone cannot be read"):
        read_results(tmp_path / "gone")


def test_lines_ended_as_on_windows_are_read(tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_bytes(f"{measured(0).to_json()}\r\n{measured(1).to_json()}\r\n".encode())
    assert len(read_results(tmp_path / "some.jsonl")) == 2
