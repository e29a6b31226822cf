"""Export to openvino."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.source import Options, Source


def export_openvino(source: Source, out: Path, options: Options) -> list[Path]:
    """Write `source` for openvino."""
    raise UsageError("--format openvino: is being written")
