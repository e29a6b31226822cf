"""What a classifier found, printed: a table or lines of JSON, and exit code 2 where a picture could not be read."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from gesso.files import shown


def print_json(records: Iterable[Mapping[str, Any]]) -> int:
    """A line of JSON for each, as they come. Gives the exit code."""
    bad = 0
    for record in records:
        bad += "error" in record
        print(json.dumps(record, ensure_ascii=False), flush=True)
    return 2 if bad else 0


def print_table(records: Iterable[Mapping[str, Any]], width: int) -> int:
    """A line for each class, as they come. `width` is that of the longest name of a file. Gives the exit
    code."""
    bad = 0
    print(f"{'file':<{width}}  {'score':>8}  class")
    for record in records:
        if "error" in record:
            bad += 1
            print(f"gesso: {shown(record['file'])}: {record['error']}", file=sys.stderr)
            continue
        for found in record["classes"]:
            print(f"{shown(record['file']):<{width}}  {100 * found['score']:6.2f} %  {found['class']}", flush=True)
    return 2 if bad else 0
