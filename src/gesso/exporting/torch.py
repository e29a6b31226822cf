"""Export to torch."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.source import Options, Source


def export_torch(source: Source, out: Path, options: Options) -> list[Path]:
    """Write `source` for torch."""
    raise UsageError("--format torch: is being written")
