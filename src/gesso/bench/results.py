"""What one measurement found, and the database that keeps it.

A `Result` is one row: one configuration of one recipe, measured once on one machine. Repeats of it are rows of their
own, so that the noise between them stays known. Rows are never changed, and one that is there already is not added
again: a row is known by the digest of its content.
"""

import hashlib
import json
import math
import secrets
import statistics
import struct
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gesso.bench.migrations import Database, open_database
from gesso.bench.variants import variant_in
from gesso.errors import UsageError, perhaps

KINDS = ("speed", "converge")
MODES = ("train", "forward")
DATA = ("synthetic", "real")

METRICS: dict[str, str] = {
    "samples_per_second": "images a second, of all processes together",
    "ms_median": "milliseconds of a step, median",
    "ms_p10": "milliseconds of a step, 10th percentile",
    "ms_p90": "milliseconds of a step, 90th percentile",
    "data_fraction": "share of the time in which a step waited for data, 0 to 1",
    "peak_memory_bytes": "most memory held at once on the device, of one process, bytes",
    "gmacs": "multiply-accumulates of one sample in this mode, in 10⁹",
    "peak_share": "share of the machine's measured matmul peak, 0 to 1",
    "energy_joules": "energy of one step of all devices, joules, where it can be read",
    "cost_per_million": "cost of a million images in the currency of --price-per-hour",
    "seed": "of a converge row: its seed",
    "converged": "of a converge row: 1 where the score was reached, 0 where it was not",
}
"""The metrics that reports know by name. A converge row, one for each seed, also has `loss/NAME`, the mean of a loss
over the last epoch, and `score/NAME`. A metric that was not measured is left out, not 0."""


class Configuration(NamedTuple):
    """What must be equal for two measurements to be comparable."""

    kind: str
    recipe: str
    model: str
    mode: str
    data: str
    batch_size: int
    devices: int
    precision: str
    compiled: bool
    device: str
    device_name: str
    machine: str
    gmacs: str
    """Of one sample to six digits; it tells image sizes and networks of one recipe's name apart."""
    variant: str
    """The flags by which it is not the recipe of that name, as variants.py tells them."""

    @property
    def label(self) -> str:
        """In a few words."""
        variant = f" {self.variant}" if self.variant else ""
        shape = setting(self.batch_size, self.devices, self.precision, self.compiled)
        return f"{self.recipe} {self.mode} {self.data} {shape}{variant}"

    @property
    def fields(self) -> dict[str, Any]:
        """Those of a result; the work is among its metrics, the variant in its recipe and its environment."""
        return {name: value for name, value in self._asdict().items() if name not in DERIVED}


def setting(batch_size: int, devices: int, precision: str, compiled: bool) -> str:
    """For labels, such as -b 8 × 2 bf16 compiled."""
    processes = f" × {devices}" if devices > 1 else ""
    return f"-b {batch_size}{processes} {precision}{' compiled' * compiled}"


DERIVED = ("gmacs", "variant")
"""The fields of a configuration that are no fields of a result."""


@dataclass(frozen=True)
class Result:
    """One measurement. ValueError where a field holds what none of its kind can."""

    kind: str
    """One of KINDS: how fast a step is, or how well a whole training ends."""
    recipe: str
    """Name of the recipe: pix2pix-resnet9."""
    model: str
    """cyclegan, pix2pix, dcgan, densenet."""
    mode: str
    """One of MODES."""
    data: str
    """One of DATA: tensors that were there already, or files that were read."""
    batch_size: int
    """Of each process."""
    devices: int
    """Processes, each with its device."""
    precision: str
    """fp32, tf32, bf16 or fp16."""
    compiled: bool
    device: str
    """Kind of the device as devices.py calls it: cpu, cuda, …"""
    device_name: str
    """What the device calls itself."""
    machine: str
    """Label of the machine, the same each time: a fingerprint, or what the user gave with --machine."""
    version: str
    """Of gesso."""
    commit: str
    """Of gesso's source, 12 digits, with + where files differed from it; '' where it is not a checkout."""
    started: str
    """When the measurement began, as `now` writes it: ISO 8601, UTC."""
    run_id: str
    """The same for all rows of one call of the bench, as `new_run_id` makes it."""
    recipe_json: str = "{}"
    """The whole recipe."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, threads, variables: all that can change a result, as JSON can hold it."""
    step_seconds: tuple[float, ...] = ()
    """Every timed step after the warm-up, in order, seconds from the end of the step before to its own end, so with
    what it waited for data. Empty for converge."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What was measured, by the names of METRICS."""

    def __post_init__(self) -> None:
        for name, held in _checked({f.name: getattr(self, f.name) for f in fields(self)}).items():
            object.__setattr__(self, name, held)

    @property
    def configuration(self) -> Configuration:
        gmacs = self.metrics.get("gmacs")
        named = {name: getattr(self, name) for name in Configuration._fields if name not in DERIVED}
        variant = variant_in(self.environment, self.recipe, self.recipe_json)
        return Configuration(**named, gmacs="" if gmacs is None else f"{gmacs:.6g}", variant=variant)

    @property
    def median_seconds(self) -> float:
        """Of the timed steps; nan where there are none."""
        return statistics.median(self.step_seconds) if self.step_seconds else math.nan

    @property
    def samples_per_second(self) -> float:
        """Of all processes together, at the median step; nan where no steps were timed."""
        return self.batch_size * self.devices / self.median_seconds

    def to_json(self) -> str:
        """One line that `from_json` reads without loss. Fields that hold their default are left out."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != _default(f)}
        if "metrics" in held:
            held["metrics"] = _words(self.metrics)
        return json.dumps(held, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Result":
        """What `to_json` wrote. ValueError, which says what is wrong in a few words, where it is something else."""
        try:
            held = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
        if not isinstance(held, dict):
            raise ValueError("not a JSON object")
        known = {f.name: f for f in fields(cls)}
        if unknown := held.keys() - known.keys():
            raise ValueError(f"{', '.join(sorted(unknown))}: no field of a result; was a newer gesso's bench exported?")
        if missing := [name for name, f in known.items() if name not in held and _default(f) is MISSING]:
            raise ValueError(f"{', '.join(missing)} missing")
        return cls(**held)

    @property
    def digest(self) -> str:
        """Of all that it holds: two results with one digest are the same measurement."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def now() -> str:
    """The time, as `Result.started` has it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_run_id() -> str:
    """An identity for all rows of one call of the bench."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _default(known: Any) -> Any:
    """Of a field of Result; MISSING where it has none."""
    return known.default if known.default_factory is MISSING else known.default_factory()


def _words(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """For JSON, which has no nan and no infinity: these as words that float() reads."""
    return {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}


def _checked(held: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result as every result holds them, whoever made it; ValueError where one cannot be."""
    for name in ("kind", "recipe", "model", "mode", "data", "precision", "device", "version", "run_id", "started"):
        if held[name] == "":
            raise ValueError(f"{name} is empty")
    for name, known in (("kind", KINDS), ("mode", MODES), ("data", DATA)):
        if held[name] not in known:
            raise ValueError(f"{name} is {held[name]!r}: choose one of {', '.join(known)}")
    for name in ("batch_size", "devices"):
        if type(held[name]) is not int or not 0 < held[name] < 2**31:
            raise ValueError(f"{name} is {held[name]!r}: must be a whole number above 0")
    if type(held["compiled"]) is not bool:
        raise ValueError(f"compiled is {held['compiled']!r}: must be true or false")
    try:
        if isinstance(held["step_seconds"], str):
            raise ValueError("step_seconds must be numbers")
        held["step_seconds"] = tuple(map(float, held["step_seconds"]))
        held["metrics"] = {str(name): float(value) for name, value in dict(held["metrics"]).items()}
        held["environment"] = json.loads(json.dumps(dict(held["environment"]), allow_nan=False))
        json.loads(held["recipe_json"])
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"step_seconds, metrics, environment or recipe_json: {error}") from None
    steps = held["step_seconds"]
    if steps and not (min(steps) > 0 and math.isfinite(sum(steps))):  # a report reads a million of them
        raise ValueError("step_seconds must be finite and above 0")
    held["started"] = _in_utc(held["started"])
    for name in _TEXTS:
        if not isinstance(held[name], str):
            raise ValueError(f"{name} is {held[name]!r}: must be text")
        shown = "".join(held[name].split()) if name == "recipe_json" else held[name]
        if not shown.isprintable():  # nor kept: PostgreSQL takes no NUL, and half a surrogate pair is no text
            raise ValueError(f"{name} holds characters that cannot be shown")
    return held


def _in_utc(started: Any) -> str:
    """`started` in the one way of writing that sorts as text."""
    try:
        when = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        raise ValueError(f"started is {started!r}: must be a time such as 2026-01-31T12:00:00+00:00") from None
    if when.tzinfo is None:
        raise ValueError(f"started is {started!r}: must name its time zone")
    return when.astimezone(UTC).isoformat(timespec="microseconds")


_TEXTS = tuple(f.name for f in fields(Result) if f.type in (str, "str"))

# -- the database --------------------------------------------------------------------------------------------

_PLAIN = (
    *("kind", "recipe", "model", "mode", "data", "batch_size", "devices", "precision", "compiled", "device"),
    *("device_name", "machine", "version", "commit", "started", "run_id", "recipe_json"),
)
"""The fields that are columns as they are; these but the last can be asked for."""
_TABLE = sa.table(
    "results",
    *(sa.column(name) for name in ("digest", *_PLAIN, "metrics", "environment")),
    sa.column("step_seconds", sa.LargeBinary),
)


class Results:
    """The results in one database. Each call is a transaction of its own, and any number of processes may call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __str__(self) -> str:
        """Where they are, without a password."""
        return self._database.shown

    def add(self, results: Iterable[Result]) -> int:
        """Add all of `results`, or none where something fails. Gives how many were not there already."""
        rows = {row["digest"]: row for row in map(_row, results)}
        if not rows:
            return 0
        # In one order everywhere, so that two processes that add the same rows never wait for each other in a circle.
        ordered = [rows[digest] for digest in sorted(rows)]
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self._database.engine.dialect.name]
        statement = insert(_TABLE).on_conflict_do_nothing(index_elements=["digest"]).returning(_TABLE.c.digest)
        with self._database.writing() as connection:
            return len(connection.execute(statement, ordered).all())

    def query(self, **equal: str | int | bool) -> list[Result]:
        """The results whose fields are `equal`, such as model="pix2pix", oldest first."""
        assert equal.keys() <= set(_PLAIN), equal
        return self._select(*(_TABLE.c[name] == value for name, value in equal.items()))

    def named(self, name: str) -> list[Result]:
        """The results of a run id, a version, or a commit, of which the first 7 digits are enough; oldest first.

        UsageError where there are none, or where the digits begin several commits.
        """
        whole = (_TABLE.c.run_id == name, _TABLE.c.version == name, _TABLE.c.commit == name)
        found = self._select(sa.or_(*whole))
        if not found and len(name) >= 7:
            written = _TABLE.c.commit
            found = self._select(
                written != "", sa.or_(written.startswith(name, autoescape=True), sa.literal(name).startswith(written))
            )
            if len(commits := sorted({result.commit for result in found})) > 1:
                raise UsageError(f"{name} begins several commits: name one of {', '.join(commits)}")
        if not found:
            known = [known for column in ("run_id", "version", "commit") for known in self.values(column)]
            raise UsageError(
                f"{name}: no run id, version or commit in {self}{perhaps(name, known)}; and there is no such file"
            )
        return found

    def values(self, column: str) -> list[str]:
        """The different values of a field, in order."""
        with self._database.reading() as connection:
            return list(connection.scalars(sa.select(_TABLE.c[column]).distinct().order_by(_TABLE.c[column])))

    def count(self) -> int:
        with self._database.reading() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(_TABLE)) or 0

    def _select(self, *where: sa.ColumnElement[bool]) -> list[Result]:
        statement = sa.select(_TABLE).where(*where).order_by(_TABLE.c.started, _TABLE.c.digest)
        with self._database.reading() as connection:
            return [_result(dict(row)) for row in connection.execute(statement).mappings()]


def open_results(url: str = "") -> Results:
    """The database at `url`, made where there is none, and brought up to date where an older gesso made it.

    Args:
        url: postgresql://user@host/database, or the path of an SQLite file; '' is bench.sqlite3 in the user's data
            folder. libpq's own variables and files hold a password: PGPASSWORD, ~/.pgpass.

    Raises:
        UsageError: The URL names no database that gesso knows or can reach, or a newer gesso made it.
        DiskError: The file cannot be written.
    """
    return Results(open_database(url))


def _row(result: Result) -> dict[str, Any]:
    return {
        "digest": result.digest,
        **{name: getattr(result, name) for name in _PLAIN},
        "metrics": json.dumps(_words(result.metrics)),
        "environment": json.dumps(result.environment),
        "step_seconds": struct.pack(f"<{len(result.step_seconds)}d", *result.step_seconds),
    }


def _result(row: dict[str, Any]) -> Result:
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN}
    plain["compiled"] = bool(plain["compiled"])  # which SQLite keeps as 0 or 1
    packed = bytes(row["step_seconds"])
    return Result(
        **plain,
        metrics=json.loads(row["metrics"]),
        environment=json.loads(row["environment"]),
        step_seconds=struct.unpack(f"<{len(packed) // 8}d", packed),
    )
