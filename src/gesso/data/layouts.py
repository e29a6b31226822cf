"""Which layouts a data set's folder has, by the rules of training, and how much is in each: for `gesso data check`.

Training is told by its recipe what to look for. A check is not, so it also says which models read what is there, and
how. Names decide, as in training; only pairs side by side and single images have the same names, and are told apart
by their widths, because what cannot be halved is no pair.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gesso.data.folders import SPLITS, domains

Kind = Literal["pairs", "folders", "unpaired", "classes", "shards", "images"]
Size = tuple[int, int]

WHOLE = "all for train"
"""In place of a split, of a folder that has none."""
VARIED = 0.1
"""Where a larger part of a folder stands out, it simply varies, and no file is odd for it."""
READERS: dict[Kind, str] = {
    "pairs": "pix2pix, and cyclegan by halves; dcgan takes each file whole",
    "folders": "pix2pix where the names match, and cyclegan",
    "unpaired": "cyclegan",
    "classes": "densenet; dcgan takes the images without their classes",
    "shards": "densenet",
    "images": "dcgan; densenet wants train/CLASS/ and val/CLASS/, a translator train/ side by side, or A/ and B/",
}
"""Which models train on a layout."""


@dataclass(frozen=True)
class Laid:
    """The layout of one split. `counts` are images: by role of folders, unpaired and images, by class of the others,
    and files of pairs. `shards` is how many there are."""

    kind: Kind
    counts: Mapping[str, int]
    shards: int = 0

    def __str__(self) -> str:
        match self.kind:
            case "pairs":
                return f"pairs side by side ({self.counts['pairs']} files)"
            case "folders" | "unpaired":
                told = " and ".join(f"{count} of {role}" for role, count in self.counts.items())
                return f"{'A/ and B/' if self.kind == 'folders' else 'unpaired'} ({told})"
            case "classes":
                return f"class folders ({self._classes()})"
            case "shards":
                return f"{self.shards} shard{'s' * (self.shards != 1)} ({self._classes()})"
            case "images":
                return f"single images ({self.counts['image']})"

    def _classes(self) -> str:
        return f"{len(self.counts)} classes, {sum(self.counts.values())} images"


def layouts(root: Path, images: Sequence[Path], sizes: Mapping[Path, Size]) -> dict[str, Laid]:
    """The layout of each split of the folder `root`; of a folder without splits, one under WHOLE.

    images: all those below `root`. sizes: (width, height) of the readable ones. A split without images is left out.
    """
    found = {}
    for split in SPLITS:
        laid = _split(root, split, images, sizes)
        if laid and any(laid.counts.values()):
            found[split] = laid
    return found or {WHOLE: Laid("images", {"image": len(images)})}


def _split(root: Path, split: str, images: Sequence[Path], sizes: Mapping[Path, Size]) -> Laid | None:
    for kind in ("folders", "unpaired"):
        if two := domains(root, split, kind):
            return Laid(kind, {role: len(below(folder, images)) for role, folder in zip("AB", two, strict=True)})
    if not (one := domains(root, split, "pairs")):
        return None
    here = below(one[0], images)
    inside = [path.relative_to(one[0]).parts for path in here]
    classes = Counter(parts[0] for parts in inside)
    if len(classes) > 1 and all(len(parts) > 1 for parts in inside):
        return Laid("classes", classes)
    uneven = sum(sizes[path][0] % 2 for path in here if path in sizes)
    if uneven > VARIED * len(here):
        return Laid("images", {"image": len(here)})
    return Laid("pairs", {"pairs": len(here)})


def below(folder: Path, images: Sequence[Path]) -> list[Path]:
    """Those of `images` that lie in `folder` or its sub-folders."""
    return [path for path in images if path.is_relative_to(folder)]
