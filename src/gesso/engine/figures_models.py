"""What a report says of models side by side: the table of a student, its teacher and what it would be without one."""

from typing import Any

from gesso.engine import comparing


def models(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """Columns, rows and remarks of the table in metrics.json; None where there is none that can be shown."""
    table = metrics.get("models")
    try:
        columns, *rows = comparing.cells(table)  # type: ignore[arg-type]
        return {"columns": columns, "rows": rows, "remarks": comparing.remarks(table)}  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        return None
