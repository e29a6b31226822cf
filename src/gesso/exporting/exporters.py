"""Other people's exporters: whether they are installed, kept quiet, and where they leave files in between."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gesso.errors import DiskError, UsageError
from gesso.runtime import onnxruntime, openvino

LOADERS: dict[str, Callable[[], Any]] = {"onnxruntime": onnxruntime, "openvino": openvino}
"""Of the modules that gesso loads without their telemetry."""


def needed(*modules: str) -> None:
    """UsageError where one of `modules` is not installed."""
    for module in modules:
        try:
            LOADERS[module]() if module in LOADERS else __import__(module)
        except ImportError:
            raise UsageError(f"this format needs {module}: pip install 'gesso[export]'") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, what exporters say of themselves is not shown: it is meant for their authors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder among the system's temporary ones, gone afterwards. DiskError where their disk refuses."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise DiskError(
            f"{tempfile.gettempdir()}: what an export writes in between finds no room there ({error.strerror}); free "
            "some, or name another folder in TMPDIR"
        ) from error
