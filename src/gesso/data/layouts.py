"""Which layouts a data set's folder has, by the rules of training, and how much is in each: for `gesso data check`.

Training is told by its recipe what to look for. A check is not, so it also says which kinds of models read what is
there, and how. Names decide, as in training; where they leave it open, shapes do: what cannot be halved is no pair, and
what is twice as wide as high in every sub-folder is taken for pairs and not for classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gesso.data.folders import SPLITS, domains
from gesso.recipe import RECIPE_TYPES, TranslationRecipe

Kind = Literal["pairs", "nested", "folders", "unpaired", "classes", "shards", "images"]
Size = tuple[int, int]

WHOLE = "all for train"
"""In place of a split, of a folder that has none."""
VARIED = 0.1
"""Where a larger part of a folder stands out, it simply varies, and no file is odd for it."""
READERS: dict[Kind, str] = {
    "pairs": "{translator}; {generator} take each file whole",
    "nested": "{translator}; {generator} take each file whole, and {classifier} would take the folders for classes",
    "folders": "{translator}; where the names do not match, {unpaired}",
    "unpaired": "{unpaired}",
    "classes": "{classifier}; {generator} take the images without classes, {translator} would take each for a pair",
    "shards": "{classifier}",
    "images": "{generator}; {classifier} want train/CLASS/ and val/CLASS/, {translator} pairs in train/, or A/ and B/",
}
"""Which kinds of models train on a layout. `readers` puts in their names."""


@dataclass(frozen=True)
class Laid:
    """The layout of one split. `counts` are images: by role of folders, unpaired and images, by class of the others,
    and files of pairs, by sub-folder where they are nested. `shards` is how many there are."""

    kind: Kind
    counts: Mapping[str, int]
    shards: int = 0

    def __str__(self) -> str:
        match self.kind:
            case "pairs":
                return f"pairs side by side ({self.counts['pairs']} files)"
            case "nested":
                return f"pairs side by side ({sum(self.counts.values())} files in {len(self.counts)} folders)"
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


def readers(kind: Kind) -> str:
    """Which models train on a layout, and how, for people: each kind of models with the names of those there are."""
    names: dict[str, list[str]] = {}
    for name, recipe in RECIPE_TYPES.items():
        names.setdefault(recipe.kind, []).append(name)
    told = {each: f"{each}s ({', '.join(those)})" for each, those in names.items()}
    translators = {name: each for name, each in RECIPE_TYPES.items() if issubclass(each, TranslationRecipe)}
    unpaired = ", ".join(name for name, recipe in translators.items() if not recipe.aligned)
    return READERS[kind].format(**told, unpaired=f"translators that need no pairs ({unpaired})")


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
    folders = Counter(parts[0] for parts in inside)
    nested = len(folders) > 1 and all(len(parts) > 1 for parts in inside)
    if nested and not _twice_as_wide([sizes[path] for path in here if path in sizes]):
        return Laid("classes", folders)
    uneven = sum(sizes[path][0] % 2 for path in here if path in sizes)
    if uneven > VARIED * len(here):
        return Laid("images", {"image": len(here)})
    return Laid("nested", folders) if nested else Laid("pairs", {"pairs": len(here)})


def _twice_as_wide(sizes: Sequence[Size]) -> bool:
    """Whether these are squares side by side, but for a few that stand out."""
    return sum(width == 2 * height for width, height in sizes) > (1 - VARIED) * len(sizes)


def below(folder: Path, images: Sequence[Path]) -> list[Path]:
    """Those of `images` that lie in `folder` or its sub-folders."""
    return [path for path in images if path.is_relative_to(folder)]
