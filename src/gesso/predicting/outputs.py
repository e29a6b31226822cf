"""Files to draw on: whether there is room for one, and whether what is to be drawn fits. No torch is needed here."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.files import disk_errors

LARGEST = 100_000_000
"""Pixels of the largest picture that is made: what gesso reads back without being told to."""
WEBP_SIDE = 16383
GAP, GREY = 4, 80
"""Pixels between the images of a sheet and their grey, as in `engine.sheets`."""


def check_file(out: Path, suffixes: tuple[str, ...], kind: str) -> None:
    """Room for the file `out`; UsageError where its suffix does not fit, or something is there."""
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"--out {out}: a {kind} is written as {', '.join(suffixes)}; name such a file")
    if out.exists():
        raise UsageError(f"--out {out}: is there already; name another file")
    with disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)


def check_size(out: Path, size: int, count: int, columns: int, frames: int = 1) -> None:
    """UsageError where `count` images in `columns` columns would be too many pixels, for memory or for the format."""
    columns = min(columns, count)
    wide, high = (n * (size + GAP) for n in (columns, -(-count // columns)))
    told = f"{wide}x{high} pixels" + (f" in {frames} frames" if frames > 1 else "")
    if wide * high * frames > LARGEST:
        raise UsageError(f"--out {out}: would have {told}; make fewer images, or use --kind files")
    if out.suffix.lower() == ".webp" and max(wide, high) > WEBP_SIDE:
        raise UsageError(f"--out {out}: would have {told}, and WebP {WEBP_SIDE} at most; use another format")
