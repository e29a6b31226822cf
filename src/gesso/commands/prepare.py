"""`gesso data prepare`: data sets as their authors publish them, to what is trained on.

The flags of each command are the arguments of its function in data/prepare, under the same names and with the same
defaults; a test holds this.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gesso.commands.flags import Flag, Out, Sources
from gesso.commands.table import Command, call
from gesso.errors import UsageError
from gesso.parsing import parse


def cityscapes(arguments: Sequence[str]) -> int:
    """Cityscapes' archives to pairs and unpaired folders."""

    def form(
        sources: Sources,
        *,
        out: Out,
        width: int = 256,
        height: int = 256,
        layout: Literal["both", "pairs", "unpaired"] = "both",
        colours: Literal["color", "train"] = "color",
        suffix: Literal[".png", ".jpg"] = ".png",
        workers: int = 0,
    ) -> dict[str, Any]:
        """Photos and label colours of Cityscapes, shrunk: pairs in train/ and val/, unpaired in {train,test}{A,B}/.

        Args:
            sources: gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, what they unpack to, or their folder.
            out: Folder to make.
            width: Width of a photo in pixels.
            height: Height of a photo in pixels.
            layout: Which folders to make.
            colours: color: as Cityscapes painted them, from *_gtFine_color.png; train: only the 19 classes that are
                scored, others black, from *_gtFine_labelIds.png.
            suffix: Format of the files; .png keeps the label colours exact.
            workers: Threads; 0 means one a core.
        """
        return locals()

    example = (
        "gesso data prepare cityscapes gtFine_trainvaltest.zip leftImg8bit_trainvaltest.zip -o datasets/cityscapes"
    )
    values = _parsed(form, arguments, "cityscapes", example)
    from gesso.data.prepare.cityscapes import prepare_cityscapes
    from gesso.progress import Bar

    with Bar("preparing") as bar:
        prepared = prepare_cityscapes(**values, progress=bar.update)
    return _told(values["out"], prepared)


def imagenet(arguments: Sequence[str]) -> int:
    """ImageNet's archives, or class folders, to tar shards."""

    def form(
        sources: Sources,
        *,
        out: Out,
        val_labels: Annotated[Path | None, Flag(metavar="PATH")] = None,
        synsets: Annotated[Path | None, Flag(metavar="PATH")] = None,
        per_shard: int = 10_000,
        shard_mb: int = 1000,
        shorter_side: int = 0,
        quality: int = 90,
        seed: int = 0,
        processes: int = 0,
        skip_bad: bool = False,
        max_pixels: int = 100_000_000,
    ) -> dict[str, Any]:
        """Pack ImageNet into shuffled tar shards with an index, by which training reads them in any order.

        Args:
            sources: ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, the folder that
                holds them, or one with train/CLASS/ and val/CLASS/.
            out: Folder to make.
            val_labels: Classes of the validation images, where the development kit is not there.
            synsets: Names of the classes: lines with a synset and its name.
            per_shard: Most images of a shard.
            shard_mb: About the most MB of a shard.
            shorter_side: Shrink larger images to so many pixels; 0 keeps the files as they are.
            quality: JPEG quality of images that are shrunk.
            seed: Seed of the shuffle over shards.
            processes: Processes that pack; 0 means one a core.
            skip_bad: Leave unreadable images out and say which, instead of stopping.
            max_pixels: An image with more counts as unreadable.
        """
        return locals()

    values = _parsed(form, arguments, "imagenet", "gesso data prepare imagenet downloads -o datasets/imagenet")
    from gesso.data.prepare.imagenet import prepare_imagenet
    from gesso.progress import Bar

    with Bar("packing") as bar:
        prepared = prepare_imagenet(**values, say=bar.say, progress=bar.update)
    return _told(values["out"], prepared)


def msls(arguments: Sequence[str]) -> int:
    """Mapillary Street-Level Sequences to a folder of images a city."""

    def form(
        sources: Sources,
        *,
        out: Out,
        cities: tuple[str, ...] = (),
        fraction: float = 1.0,
        per_city: int = 0,
        seed: int = 0,
        shorter_side: int = 0,
        link: bool = False,
        workers: int = 0,
    ) -> dict[str, Any]:
        """Gather the images of Mapillary Street-Level Sequences, all or a sample, in a folder a city.

        Args:
            sources: The zips, what they unpack to, or single city folders.
            out: Folder to make.
            cities: Only these; none named means all.
            fraction: Share of each city's images, drawn at random.
            per_city: At most so many images of a city; 0 takes all.
            seed: Other seeds draw other images.
            shorter_side: Shrink larger images to so many pixels, 256 or more; 0 keeps the files as they are.
            link: Hard links instead of copies, of unpacked images on the same disk.
            workers: Threads; 0 means one a core.
        """
        return locals()

    values = _parsed(form, arguments, "msls", "gesso data prepare msls msls_images_vol_1.zip -o datasets/msls")
    from gesso.data.prepare.msls import prepare_msls
    from gesso.progress import Bar

    with Bar("gathering") as bar:
        prepared = prepare_msls(**values, progress=bar.update)
    print(prepared.table())
    return _told(values["out"], prepared)


def pairs(arguments: Sequence[str]) -> int:
    """Two folders A/ and B/ to files with both side by side."""

    def form(
        a: Annotated[tyro.conf.Positional[Path], Flag(metavar="A")],
        b: Annotated[tyro.conf.Positional[Path], Flag(metavar="B")],
        *,
        out: Out,
        val: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        sizes: Literal["refuse", "smooth", "nearest"] = "refuse",
        alone: Literal["refuse", "skip"] = "refuse",
        suffix: Literal[".png", ".jpg"] = ".png",
        workers: int = 0,
    ) -> dict[str, Any]:
        """Put the images of equal name of two folders side by side into one file a pair, divided into splits.

        Args:
            a: Folder of the images on the left. Where it has train, val and test, these stay.
            b: Folder of the images on the right.
            out: Folder to make.
            val: Pairs for validation: below 1 a fraction, from 1 a count in each sub-folder.
            test: Pairs for test, counted alike.
            seed: Other seeds divide in another way.
            sizes: Where B has another size: refuse it, or resize B smoothly (photos) or by the nearest pixel (labels).
            alone: Images without a partner: refuse them, or leave them out.
            suffix: Format of the files.
            workers: Threads; 0 means one a core.
        """
        return locals()

    values = _parsed(form, arguments, "pairs", "gesso data prepare pairs labels photos -o datasets/mine")
    from gesso.data.prepare.pairs import prepare_pairs
    from gesso.progress import Bar

    with Bar("joining") as bar:
        prepared = prepare_pairs(**values, progress=bar.update)
    return _told(values["out"], prepared)


def splits(arguments: Sequence[str]) -> int:
    """A folder of images, or of class folders, to train, val and test."""

    def form(
        source: Annotated[tyro.conf.Positional[Path], Flag(metavar="SOURCE")],
        *,
        out: Out,
        val: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        how: Literal["copy", "hardlink"] = "copy",
        workers: int = 0,
        skip_bad: bool = False,
        max_pixels: int = 100_000_000,
    ) -> dict[str, Any]:
        """Divide the images of a folder, or of class folders, into train/, val/ and test/ by their names.

        Args:
            source: Folder of images, or of a folder a class.
            out: Folder to make.
            val: Images for validation: below 1 a fraction, from 1 a count in each class.
            test: Images for test, counted alike.
            seed: Other seeds divide in another way.
            how: Files of their own, or hard links, which take no space.
            workers: Threads; 0 means one a core.
            skip_bad: Leave unreadable images out and say which, instead of stopping.
            max_pixels: An image with more counts as unreadable.
        """
        return locals()

    values = _parsed(form, arguments, "splits", "gesso data prepare splits photos -o datasets/photos")
    from gesso.data.prepare.splits import prepare_splits
    from gesso.progress import Bar

    with Bar("dividing") as bar:
        prepared = prepare_splits(**values, say=bar.say, progress=bar.update)
    return _told(values["out"], prepared)


def _parsed(form: Any, arguments: Sequence[str], name: str, example: str) -> dict[str, Any]:
    values: dict[str, Any] = parse(form, arguments, f"data prepare {name}", example)
    if not values.get("sources", True):
        raise UsageError(f"missing SOURCES; see gesso data prepare {name} --help")
    return values


def _told(out: Path, prepared: object) -> int:
    print(f"{out}: {prepared}")
    return 0


COMMANDS: dict[str, Command] = {
    "cityscapes": cityscapes,
    "imagenet": imagenet,
    "msls": msls,
    "pairs": pairs,
    "splits": splits,
}


def prepare(arguments: Sequence[str]) -> int:
    """Bring a data set from its authors' archives, or from your folders, into a layout that is trained on."""
    return call("data prepare", COMMANDS, arguments, "gesso data prepare pairs labels photos -o datasets/mine")
