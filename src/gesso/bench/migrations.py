"""The database of results: how it is opened, and how its tables came to be what they are.

MIGRATIONS is a list in order, to which one may only append: a database remembers the numbers of those it has been
through. Each is one transaction, under a lock that one process at a time has, so that a kill leaves it wholly done or
not begun, and eight processes that open a new database at once make one set of tables.

SQLite keeps a write-ahead log, in which readers never wait for a writer. A writer takes the lock when its transaction
begins (BEGIN IMMEDIATE), because one that reads first and asks for it later may be refused at once, however long the
timeout; Python's own transactions are switched off for that.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import sqlalchemy as sa
from sqlalchemy import exc

from gesso.errors import DiskError, UsageError
from gesso.files import disk_errors, probe

WAIT = 60
"""Seconds that a process waits for others that write to the same SQLite file."""
_LOCK = 0x676573736F
"""Of the migrations, among the advisory locks of a PostgreSQL server: any number, the same for every gesso."""


def _results(connection: sa.Connection) -> None:
    """One row a result. What is long stands last, so that SQLite need not read past it."""
    words = ("kind", "recipe", "model", "mode", "data", "precision", "device", "device_name", "machine", "version")
    sa.Table(
        "results",
        sa.MetaData(),
        sa.Column("digest", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in (*words, "commit", "started", "run_id")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("batch_size", "devices")),
        sa.Column("compiled", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("metrics", "recipe_json", "environment")),
        sa.Column("step_seconds", sa.LargeBinary, nullable=False),
    ).create(connection)


def _indexes(connection: sa.Connection) -> None:
    """For what reports and comparisons ask by, in the order in which they get it."""
    for name in ("recipe", "model", "machine", "version", "commit", "run_id"):
        connection.execute(sa.text(f'CREATE INDEX results_by_{name} ON results ("{name}", started, digest)'))


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_results, _indexes)
"""The first is number 1."""


@dataclass(frozen=True)
class Database:
    """An open database, whose connections live for one transaction each."""

    engine: sa.Engine
    shown: str
    """What it is called in a message: without a password."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with _errors(self.shown), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction: all that is written inside is kept, or nothing where an exception leaves it."""
        engine = self.engine.execution_options(gesso_writes=True)
        with _errors(self.shown), engine.begin() as connection:
            yield connection


def open_database(url: str) -> Database:
    """As `gesso.bench.results.open_results`, which see."""
    database = _sqlite(Path(url)) if url and "://" not in url else _by_url(url) if url else _sqlite(default_path())
    _migrate(database)
    return database


def default_path() -> Path:
    """Where results are kept if no database is named."""
    return Path(platformdirs.user_data_dir("gesso", appauthor=False)) / "bench.sqlite3"


def _by_url(url: str) -> Database:
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError:
        raise UsageError(
            f"--database {url}: not an URL; write postgresql://user@host/database or a file's path"
        ) from None
    kind = parsed.drivername.split("+")[0]
    if kind == "sqlite" and parsed.database:
        return _sqlite(Path(parsed.database))
    if kind not in ("postgresql", "postgres"):
        raise UsageError(f"--database {kind}://…: only postgresql:// and the path of an SQLite file are known")
    try:
        engine = sa.create_engine(parsed.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    except ImportError:
        raise UsageError("--database postgresql://… needs psycopg: pip install 'gesso[postgres]'") from None
    return Database(engine, parsed.render_as_string(hide_password=True))


def _sqlite(path: Path) -> Database:
    path = path.expanduser()
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise UsageError(f"--database {path} is a folder: name a file")
    _check_folder(path)
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool, connect_args={"timeout": WAIT}
    )
    sa.event.listen(engine, "connect", _without_pythons_transactions)
    sa.event.listen(engine, "begin", _begin)
    database = Database(engine, str(path))
    # SQLite does not wait when two processes change a new file's mode at once, so one at a time may.
    # The inner of the two reads first: that nobody lets the lock go is an OSError as well, but none of the disk's.
    with disk_errors(path), _errors(str(path)), filelock.FileLock(f"{path}.lock", timeout=WAIT):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL").fetchall()
        finally:
            raw.close()
    return database


def _check_folder(path: Path) -> None:
    """DiskError where no file can be made beside `path`: a lock would be waited for in vain, and SQLite needs them."""
    try:
        probe(path.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DiskError(
            f"--database {path}: no file can be made in the folder {path.parent} ({reason}); name another"
        ) from error


def _without_pythons_transactions(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("gesso_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


_VERSIONS = sa.Table(
    "schema_versions",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
)


def _migrate(database: Database) -> None:
    """Bring the tables up to the last of MIGRATIONS. UsageError where a newer gesso has been further."""
    with database.reading() as connection:
        reached = _reached(connection)
    while reached < len(MIGRATIONS):
        with database.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            reached = _reached(connection)  # another process may have been faster
            if reached < len(MIGRATIONS):
                MIGRATIONS[reached](connection)
                _VERSIONS.create(connection, checkfirst=True)
                reached += 1
                connection.execute(_VERSIONS.insert().values(number=reached))
    if reached > len(MIGRATIONS):
        raise UsageError(
            f"{database.shown} was made by a newer gesso (tables of version {reached}, this one knows "
            f"{len(MIGRATIONS)}): update gesso, or name another with --database"
        )


def _reached(connection: sa.Connection) -> int:
    """The number of the last migration that the database has been through."""
    if not sa.inspect(connection).has_table(_VERSIONS.name):
        return 0
    return connection.scalar(sa.select(sa.func.max(_VERSIONS.c.number))) or 0


@contextlib.contextmanager
def _errors(shown: str) -> Iterator[None]:
    """Inside, what a server, a file or a disk refuses becomes one line. What is wrong with our SQL stays as it is."""
    try:
        yield
    except filelock.Timeout:
        raise UsageError(f"{shown}: another process has held {shown}.lock for {WAIT} s; end it") from None
    except (exc.OperationalError, exc.DatabaseError, sqlite3.Error) as error:
        if isinstance(error, exc.ProgrammingError | exc.IntegrityError | exc.DataError | exc.InternalError):
            raise
        said = str(getattr(error, "orig", error))
        if "disk is full" in said or "disk I/O" in said or "readonly" in said:
            raise DiskError(f"{shown} cannot be written: {said}; free some space or name another --database") from error
        if "not a database" in said or "malformed" in said:
            raise UsageError(f"{shown}: {said}; name another with --database") from error
        raise UsageError(f"{shown} cannot be used: {said}") from error
