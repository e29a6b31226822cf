"""log.jsonl: what happened in a run, one JSON object a line; curves and report are drawn from it alone.

The file is only ever appended to, and each line reaches the operating system in one write, so a killed
process loses at most the line it was writing. Work between the last checkpoint and a kill is done again after
the resume; the file keeps both, and `read_log` leaves the first out.

Every record has "kind", "images" (images seen so far) and "time" (unix seconds). The kinds and their values:

    start, resume                            images: where training goes on from
    loss         epoch (images seen / images in an epoch, so 1.5 is half way through the second),
                 losses {name: value}, lr {name: value}, images_per_second,
                 data_fraction (share of the time spent waiting for data, 0 to 1)
    metric       scores {"AtoB/L1": value}
    sheet        file (below the run folder)
    checkpoint   name
    note         text: a warning or a remark for the reader
    finish       seconds; written when a run is stopped too, and `images` tells which it was

JSON has no NaN and no infinity. They are written as the strings "nan", "inf" and "-inf", so that any tool can
read the file and a loss that diverged can still be told from one that was not measured.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from gesso.errors import DiskError
from gesso.files import disk_errors

Record = dict[str, Any]

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
MOST = 2**53
"""No count of images and no time of the clock comes near it; what is beyond was not written here."""
DONE_AGAIN = frozenset({"loss", "metric", "sheet", "checkpoint"})


class RunLog:
    """The log at `path`, open for appending; made with its first line if it is not there.

    DiskError where the file cannot be opened or written. One process writes it: rank 0 of a distributed run.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        with disk_errors(path):
            self._file = path.open("ab+", buffering=0)
            if self._file.seek(0, 2):
                self._file.seek(-1, 2)
                if self._file.read(1) != b"\n":  # the writer was killed inside its last line
                    self._append(b"\n")

    def write(self, kind: str, images: int, **values: Any) -> None:
        """Append one record. `values` are what JSON can say, NaN and infinities besides."""
        record = {"kind": kind, "images": images, "time": round(self._clock(), 3), **_spelled(values)}
        line = json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n"
        self._append(line.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file; a closed log cannot be written to."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        with disk_errors(self.path):
            while line:  # a nearly full disk takes a part, and refuses the rest with an error
                line = line[self._file.write(line) :]


def read_log(path: Path) -> list[Record]:
    """The records at `path` in order, none where there is no file. DiskError where it cannot be read.

    Lines that were cut by a kill are skipped. A "resume" at n images takes out what was logged beyond n
    before it: those images were trained on again, and their records come again. So does a "start" where the
    first attempt was killed before its first checkpoint.
    """
    records: list[Record] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return records
    except OSError as error:
        raise DiskError(f"{path}: cannot read the log ({error.strerror})") from None
    for line in text.split("\n"):
        record = _record(line)
        if record is None:
            continue
        if record["kind"] in ("start", "resume"):
            records = [r for r in records if r["kind"] not in DONE_AGAIN or r["images"] <= record["images"]]
        records.append(record)
    return records


def _record(line: str) -> Record | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return None
    if not isinstance(value.get("images"), int) or not 0 <= value["images"] < MOST:
        return None
    if not isinstance(value.get("time"), int | float) or not 0 <= value["time"] < MOST:
        return None
    return {key: item if key == "text" else _restored(item) for key, item in value.items()}


def _spelled(value: Any) -> Any:
    """`value` with every number that JSON lacks replaced by its name in NOT_FINITE."""
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    return value


def _restored(value: Any) -> Any:
    """The inverse of `_spelled`."""
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value
