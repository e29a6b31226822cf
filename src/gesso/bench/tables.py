"""Tables of plain text, which look the same in a terminal, in a CI log and in a file."""

from collections.abc import Sequence


def filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The header, then the rows, without the columns that have no content in any row."""
    kept = [column for column in range(len(header)) if any(row[column] for row in rows)]
    return [[row[column] for column in kept] for row in (header, *rows)]


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their columns aligned, numbers at their ends, without empty columns."""
    cells = filled(header, rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    ends = [
        all(not cell or cell.lstrip("-")[:1].isdigit() for cell in column[1:]) for column in zip(*cells, strict=True)
    ]
    return [
        "  ".join(
            cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(row, widths, ends, strict=True)
        ).rstrip()
        for row in cells
    ]
