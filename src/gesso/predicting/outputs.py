"""Files to draw on: whether what is asked for has a name of its format, fits, and can lie there. No torch is needed
here, so that what cannot be is refused at once."""

from pathlib import Path

from gesso.errors import UsageError
from gesso.files import disk_errors

LARGEST = 100_000_000
"""Pixels of the largest picture that is made: what gesso reads back without being told to."""
WEBP_SIDE = 16383
GAP, GREY = 4, 80
"""Pixels between the images of a sheet and their grey, as in `engine.sheets`."""
STILL, FILM = (".png", ".webp"), (".gif", ".webp")
WRITTEN_AS: dict[str, tuple[str, ...]] = {"grid": STILL, "files": (), "walk": (*FILM, ".png"), "progress": FILM}
"""What a generator's images can be made into, and the suffixes of its file; none: a folder."""


def check_asked(*, kind: str, out: Path, count: int, frames: int, seed: int, columns: int) -> int:
    """How many images or points of a walk to make, `count` or where that is 0 the usual. UsageError where these cannot
    hold together, whatever the generator is, or a result is there already."""
    count = count or (8 if kind == "walk" else 64)
    if kind not in WRITTEN_AS:
        raise UsageError(f"--kind {kind}: choose one of {', '.join(WRITTEN_AS)}")
    for flag, value, least in (("count", count, 1), ("frames", frames, 1), ("seed", seed, 0), ("columns", columns, 0)):
        if value < least:
            raise UsageError(f"--{flag} {value}: must be {least} or more")
    check_name(out, kind)
    if kind == "walk" and count < 2:
        raise UsageError(f"--count {count}: a walk goes through 2 points or more")
    if kind == "walk" and frames < count:
        raise UsageError(f"--frames {frames}: fewer than the {count} points; use more frames or a smaller --count")
    return count


def check_name(out: Path, kind: str) -> None:
    """UsageError where the suffix of `out` does not fit, or something is there already."""
    suffixes = WRITTEN_AS[kind]
    if suffixes and out.suffix.lower() not in suffixes:
        raise UsageError(f"--out {out}: a {kind} is written as {', '.join(suffixes)}; name such a file")
    if suffixes and out.exists():
        raise UsageError(f"--out {out}: is there already; name another file")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a folder")


def make_folder(out: Path) -> None:
    """The folder of the file `out`; DiskError where it cannot be made."""
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
