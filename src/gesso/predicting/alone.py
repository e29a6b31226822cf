"""An exported model used with onnxruntime, numpy and Pillow alone: translate, sample, classify.

Where a model only runs, torch and all that training needs would be a gigabyte for nothing. So nothing that is imported
from here on, down to the reading of pictures, needs another package; a test refuses them all.
"""

from collections.abc import Callable, Sequence

from gesso.errors import UsageError

SUFFIX = ".onnx"


def is_meant(name: str, arguments: Sequence[str]) -> bool:
    """Whether the command `name` is given such a model: the first of its words that is no flag names one."""
    first = next((word for word in arguments if not word.startswith("-")), "")
    return name in COMMANDS and first.lower().endswith(SUFFIX)


def _todo(arguments: Sequence[str]) -> int:
    raise UsageError("is being written")


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"translate": _todo, "sample": _todo, "classify": _todo}
