"""Tables of plain text, which look the same in a terminal, in a CI log and in a file."""

from collections.abc import Sequence


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their columns aligned, numbers at their ends. A column without content in any row is left out."""
    kept = [column for column in range(len(header)) if any(row[column] for row in rows)]
    cells = [[row[column] for column in kept] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    ends = [all(not row[c] or row[c].lstrip("-–")[:1].isdigit() for row in cells[1:]) for c in range(len(kept))]
    return [
        "  ".join(
            cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(row, widths, ends, strict=True)
        ).rstrip()
        for row in cells
    ]
