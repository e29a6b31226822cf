"""Export to onnx."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.exporting.source import Options, Source


def export_onnx(source: Source, out: Path, options: Options) -> list[Path]:
    """Write `source` for onnx."""
    raise UsageError("--format onnx: is being written")
