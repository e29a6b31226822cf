"""An exported model used with onnxruntime, numpy and Pillow alone: translate, sample, classify.

Where a model only runs, torch and all that training needs would be a gigabyte for nothing. So nothing that is imported
from here on, down to the reading of pictures, needs another package; a test refuses them all. Flags have the names that
they have for runs; those that an exported model has settled (--checkpoint, --mode, --precision …) are not there.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gesso.errors import UsageError

SUFFIX = ".onnx"
_WITHOUT_VALUE = {"--json", "--no-json", "-h", "--help"}


def is_meant(name: str, arguments: Sequence[str]) -> bool:
    """Whether the command `name` is given such a model: the first of its words that is no flag or its value."""
    if name not in COMMANDS:
        return False
    value = False
    for word in arguments:
        if not value and not word.startswith("-"):
            return word.lower().endswith(SUFFIX)
        value = word.startswith("-") and "=" not in word and word not in _WITHOUT_VALUE
    return False


def translate(arguments: Sequence[str]) -> int:
    """`gesso translate MODEL.onnx INPUTS -o OUT`. Gives the exit code."""
    parser = _parser("translate", "Translate a picture, or every picture in a folder, with an exported model.")
    parser.add_argument("inputs", type=Path, help="a picture or a folder")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for the results; of one picture also a file"
    )
    parser.add_argument(
        "--direction", choices=("auto", "AtoB", "BtoA"), default="auto", help="refuse a model of the other direction"
    )
    parser.add_argument(
        "--format",
        choices=("auto", "png", "tif", "jpg", "webp", "same"),
        default="auto",
        help="of the results; auto: as --out says, else png; tif needs tifffile",
    )
    parser.add_argument("-b", "--batch-size", type=int, default=4, help="pictures of one size at once")
    parser.add_argument(
        "--resize", type=int, default=0, help="shrink the longer side to this, then grow the result back; 0 does not"
    )
    parser.add_argument(
        "--existing", choices=("refuse", "skip", "replace"), default="refuse", help="where a result is there already"
    )
    parser.add_argument("--tile", type=int, default=0, help=argparse.SUPPRESS)  # to say more than that there is none
    _reading(parser)
    values = vars(parser.parse_args(arguments))
    if tile := values.pop("tile"):
        raise UsageError(
            f"--tile {tile}: {values['model']} takes every picture whole; in tiles, whose norms would each have other "
            "statistics, brightness would change in steps; translate the run with --tile, or use --resize"
        )
    from gesso.predicting.alone_translate import translate_alone

    return translate_alone(**values)


def sample(arguments: Sequence[str]) -> int:
    """`gesso sample MODEL.onnx -o OUT`. Gives the exit code."""
    parser = _parser("sample", "Make images with an exported generator, the same ones as torch for the same seed.")
    parser.add_argument("-o", "--out", type=Path, required=True, help=".png or .webp, or a folder for files")
    parser.add_argument("-n", "--count", type=int, default=0, help="images to make; 0: 64")
    parser.add_argument("--kind", choices=("grid", "files"), default="grid", help="one sheet, or a file an image")
    parser.add_argument("--seed", type=int, default=0, help="other seeds make other images")
    parser.add_argument("--columns", type=int, default=0, help="images side by side; 0 makes a sheet nearly square")
    values = vars(parser.parse_args(arguments))
    from gesso.predicting.alone_sample import sample_alone

    return sample_alone(**values)


def classify(arguments: Sequence[str]) -> int:
    """`gesso classify MODEL.onnx INPUTS`. Gives the exit code."""
    parser = _parser("classify", "Name the most likely classes of a picture, or of every picture in a folder.")
    parser.add_argument("inputs", type=Path, nargs="+", help="pictures or folders")
    parser.add_argument("--top", type=int, default=5, help="classes to name, the most likely first")
    parser.add_argument(
        "--json", action=argparse.BooleanOptionalAction, default=False, help="a line of JSON for each picture"
    )
    parser.add_argument("-b", "--batch-size", type=int, default=32, help="pictures at once")
    _reading(parser)
    values = vars(parser.parse_args(arguments))
    from gesso.predicting.alone_classify import classify_alone

    return classify_alone(**values)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"translate": translate, "sample": sample, "classify": classify}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} MODEL{SUFFIX} --help for the flags that exported models have")


def _parser(command: str, about: str) -> _Parser:
    parser = _Parser(
        prog=f"gesso {command}",
        description=f"{about} Needs onnxruntime, numpy and Pillow alone.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, help=f"a file {SUFFIX} that gesso exported")
    parser.add_argument(
        "--provider", default="CPUExecutionProvider", help="where onnxruntime computes, by its own name for it"
    )
    return parser


def _reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-pixels", type=int, default=100_000_000, help="refuse a picture with more")


def at_least(least: int, values: dict[str, Any]) -> None:
    """UsageError where one of `values`, by flag, is smaller than `least`."""
    for flag, value in values.items():
        if value < least:
            raise UsageError(f"{flag} {value}: must be {least} or more")
