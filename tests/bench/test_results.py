"""The database of results, on SQLite and on a PostgreSQL that is started here."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pytest
import sqlalchemy as sa

import postgres
from gesso.bench import migrations
from gesso.bench.migrations import MIGRATIONS, open_database
from gesso.bench.results import Result, new_run_id, open_results
from gesso.errors import DiskError, UsageError
from measured import measured

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    found = postgres.programs() if sys.platform != "win32" else None
    if found is None:
        pytest.skip("PostgreSQL is not installed: no initdb in PATH or /usr/lib/postgresql/*/bin")
    with postgres.server(found) as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that is not there yet, or is empty."""
    if request.param == "sqlite":
        return str(tmp_path / "deep" / "bench.sqlite3")
    address, name = request.getfixturevalue("server"), f"db_{new_run_id().replace('-', '_')}"
    owner = sa.create_engine(address.format(name="postgres").replace(":", "+psycopg:", 1), poolclass=sa.NullPool)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return str(address.format(name=name))


def child(code: str, *words: object) -> subprocess.Popen[str]:
    """Another process that runs `code` beside this one."""
    head = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
    head += "from gesso.bench.results import open_results\nfrom measured import measured\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, words)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def test_what_was_added_is_found_again_without_loss(url: str) -> None:
    result = measured(compiled=True, device_name="Ω ½")
    open_results(url).add([result])
    (found,) = open_results(url).query()
    assert found.to_json() == result.to_json()
    assert found.step_seconds == result.step_seconds
    assert found.compiled is True


def test_a_result_that_is_there_is_not_added_again(url: str) -> None:
    results = open_results(url)
    assert results.add([measured(0), measured(1)]) == 2
    assert results.add([measured(1), measured(2), measured(2)]) == 1
    assert results.count() == 3


def test_a_query_gives_what_is_equal_oldest_first(url: str) -> None:
    results = open_results(url)
    results.add([measured(2), measured(0), measured(1, model="dcgan"), measured(3, compiled=True)])
    assert [r.started for r in results.query(model="pix2pix", compiled=False)] == [
        measured(0).started,
        measured(2).started,
    ]


def test_a_state_is_named_by_run_version_or_the_start_of_its_commit(url: str) -> None:
    results = open_results(url)
    results.add([measured(0, run_id="a"), measured(1, version="0.2.0"), measured(2, commit="fedcba987654+")])
    results.add([measured(3, commit="")])
    assert len(results.named("a")) == 1
    assert len(results.named("0.2.0")) == 1
    assert len(results.named("fedcba9")) == 1
    assert len(results.named("0123456789ab0123456789ab")) == 2


def test_a_state_that_is_not_there_is_refused(url: str) -> None:
    results = open_results(url)
    results.add([measured(0), measured(1, commit="0123456ccccc")])
    with pytest.raises(UsageError, match="begins several commits: name one of 0123456789ab, 0123456ccccc"):
        results.named("0123456")
    with pytest.raises(UsageError, match=r"0\.1\.1: no run id, version or commit .*perhaps you meant 0\.1\.0"):
        results.named("0.1.1")


def test_eight_processes_write_at_once_without_loss(url: str) -> None:
    code = """
number, url = int(sys.argv[1]), sys.argv[2]
for each in range(5):
    open_results(url).add([measured(100 * number + each, run_id=str(number)), measured(each, run_id="shared")])
"""
    writers = [child(code, number, url) for number in range(8)]  # which also make the tables, all at once
    assert [(writer.communicate(timeout=120), writer.returncode)[1] for writer in writers] == [0] * 8
    results = open_results(url)
    assert results.count() == 8 * 5 + 5
    assert {len(results.query(run_id=str(number))) for number in range(8)} == {5}


def test_a_kill_during_a_write_leaves_whole_transactions(url: str) -> None:
    code = """
results = open_results(sys.argv[1])
for batch in range(10**6):
    results.add([measured(1000 * batch + each, run_id=str(batch)) for each in range(200)])
    print(batch, flush=True)
"""
    writer = child(code, url)
    assert writer.stdout is not None
    kept = [writer.stdout.readline() for _ in range(2)]
    writer.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    writer.wait(60)
    kept += writer.stdout.readlines()
    writer.stdout.close()
    results = open_results(url)
    assert results.count() in (200 * len(kept), 200 * (len(kept) + 1))
    assert results.add([measured()]) == 1


def test_an_older_database_is_brought_up_to_date_with_its_results(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "MIGRATIONS", MIGRATIONS[:1])
        open_results(url).add([measured()])
        assert indexes(url) == set()
    results = open_results(url)
    assert [r.digest for r in results.query()] == [measured().digest]
    assert "results_by_recipe" in indexes(url)


def indexes(url: str) -> set[str | None]:
    """Of the table of results, without opening the database anew."""
    database = open_database(url)
    with database.reading() as connection:
        found = sa.inspect(connection).get_indexes("results")
    return {index["name"] for index in found}


def test_a_newer_database_is_refused_and_left_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, lambda connection: None))
        open_results(url)
    with pytest.raises(UsageError, match=r"made by a newer gesso \(tables of version 3, this one knows 2\): update"):
        open_results(url)


def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE half (number INTEGER)"))
        raise ZeroDivisionError

    with monkeypatch.context() as worse:
        worse.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, fails))
        with pytest.raises(ZeroDivisionError):
            open_results(url)
    open_results(url)
    with open_database(url).reading() as connection:
        assert not sa.inspect(connection).has_table("half")


def test_nothing_is_added_where_one_result_fails(url: str) -> None:
    def two() -> Iterator[Result]:
        yield measured()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_results(url).add(two())
    assert open_results(url).count() == 0


@pytest.mark.parametrize("field", ["recipe", "model", "machine", "version", "commit", "run_id"])
def test_a_report_is_one_query_by_an_index(field: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.sqlite3"
    results = open_results(str(path))
    results.add([measured(number) for number in range(3)])
    said: list[tuple[str, tuple[object, ...]]] = []

    def note(connection: object, cursor: object, statement: str, parameters: tuple[object, ...], *_: object) -> None:
        said.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert len(results.query(**{field: getattr(measured(), field)})) == 3
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    ((statement, parameters),) = [each for each in said if each[0] != "BEGIN"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
    assert f"USING INDEX results_by_{field}" in plan
    assert "TEMP B-TREE" not in plan


def broken(path: Path) -> str:
    path.write_bytes(b"no database at all" * 100)
    return str(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (broken, "not a database; name another with --database"),
        (lambda path: str(path.parent), "is a folder: name a file"),
        (lambda path: "mysql://user:secret@host/x", "mysql://…: only postgresql:// and the path"),
        (lambda path: "://", "not an URL"),
        (lambda path: f"postgresql://me:secret@/x?host={path.parent}", r"postgresql.*me:\*\*\*@.* cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_in_one_line(
    make: Callable[[Path], str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        open_results(make(tmp_path / "file"))
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="a file stands where a folder must be"):
        open_results(str(tmp_path / "file" / "bench.sqlite3"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that no user can write")
def test_a_folder_that_takes_no_files_is_named_with_the_reason() -> None:
    says = r"--database /proc/bench\.sqlite3: no file can be made in the folder /proc \(.+\); name another"
    with pytest.raises(DiskError, match=says):
        open_results("/proc/bench.sqlite3")


def test_a_lock_that_another_holds_for_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "WAIT", 0.1)
    path = tmp_path / "bench.sqlite3"
    with filelock.FileLock(f"{path}.lock"), pytest.raises(UsageError, match=r"another process has held .*\.lock for"):
        open_results(str(path))


def test_without_a_name_results_are_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name, appauthor: str(tmp_path / name))
    open_results().add([measured()])
    assert (tmp_path / "gesso" / "bench.sqlite3").is_file()
