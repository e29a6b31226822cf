"""The command line: thin, and quick to answer.

A visible table names every command; what they do is in commands/. Only the chosen one builds its parser, and torch is
imported only inside a command that needs it, so that help is instant. A user's mistake ends in one line on standard
error and exit code 2; an interrupt in 130, SIGTERM in 143.
"""

import functools
import io
import os
import sys
from collections.abc import Callable, Sequence

import gesso
from gesso.errors import TERMINATED, GessoError, UsageError, exit_code, out_of_memory, perhaps
from gesso.files import shown
from gesso.launched import tells
from gesso.predicting import alone


@functools.cache
def commands() -> dict[str, Callable[[Sequence[str]], int]]:
    """Every command by its name.

    What their parsers need is imported here and not above: exported models are used where nothing of it is installed.
    """
    from gesso.commands.bench import bench
    from gesso.commands.data import data
    from gesso.commands.ship import export, import_, publish
    from gesso.commands.train import demo, evaluate, resume, train
    from gesso.commands.use import classify, compare_dumps, compare_models, doctor, sample, translate

    return {
        "train": train,
        "resume": resume,
        "evaluate": evaluate,
        "translate": translate,
        "sample": sample,
        "classify": classify,
        "import": import_,
        "export": export,
        "publish": publish,
        "data": data,
        "bench": bench,
        "compare-models": compare_models,
        "compare-dumps": compare_dumps,
        "doctor": doctor,
        "demo": demo,
    }


def _help() -> str:
    from gesso.commands.table import listed

    return (
        f"gesso {gesso.__version__}: reference models of images that train, resume, score and ship\n\n"
        f"usage: gesso COMMAND [OPTIONS]\n\n{listed(_installed('--help'))}\n\n"
        "gesso COMMAND --help shows a command's options, their defaults and an example.\n\n"
        "Example: gesso train pix2pix --data.root datasets/facades --direction BtoA"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Gives its exit code: 0, 2 for what a user can mend, 130 for an interrupt, 143 for SIGTERM."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if name in ("-h", "--help"):
            print(_help())
            return 0
        if name in ("-V", "--version"):
            print(gesso.__version__)
            return 0
        if alone.is_meant(name, rest):
            return alone.COMMANDS[name](rest)
        return _command(name)(rest)
    except SystemExit as stop:  # tyro has shown a command's help
        return int(stop.code or 0)
    except GessoError as error:
        print(f"gesso: {shown(str(error))}", file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt as error:
        if tells():
            print(f"gesso: {'terminated' if exit_code(error) == TERMINATED else 'interrupted'}", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError as error:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_code(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        print(f"gesso: out of memory; {_mend(name, rest)}", file=sys.stderr)
        return exit_code(error)
    except OSError as error:
        if error.errno is None:
            raise
        print(f"gesso: {error.filename or 'the system'}: {error.strerror}", file=sys.stderr)
        return exit_code(error)


def _installed(name: str) -> dict[str, Callable[[Sequence[str]], int]]:
    """Every command, of which `name` was asked for. UsageError where what they all need is not installed."""
    try:
        return commands()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "gesso":  # what is missing is ours
            raise
        raise UsageError(
            f"gesso {name} needs {error.name}, which is not installed: pip install gesso; without it, only models that "
            f"were exported to .onnx are used: gesso {', '.join(alone.COMMANDS)}; see gesso translate MODEL.onnx --help"
        ) from None


def _command(name: str) -> Callable[[Sequence[str]], int]:
    """The command called `name`. UsageError where there is none."""
    there = _installed(name)
    if name not in there:
        from gesso.recipes import RECIPES

        meant = f", perhaps you meant gesso train {name}" if name in RECIPES else perhaps(name, there)
        raise UsageError(f"{name}: no such command{meant}; there are {', '.join(there)}")
    return there[name]


_SMALLER = {
    "evaluate": "--batch-size",
    "translate": "--batch-size, or --resize large pictures",
    "classify": "--batch-size",
}
"""What takes less memory, by command; of training, the recipe says it."""


def _mend(name: str, rest: Sequence[str]) -> str:
    """What helps where memory ran out in a command."""
    smaller = _SMALLER.get(name)
    if name == "train":
        from gesso.recipes import RECIPES

        smaller = RECIPES[rest[0]]().smaller
    return f"use a smaller {smaller}" if smaller else "close other programs, or use a machine with more"
