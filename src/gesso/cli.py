"""The command line: thin, and quick to answer.

A visible table names every command. Only the chosen one builds its parser, and torch is imported only inside a
command that needs it, so that help is instant. A user's mistake ends in one line on standard error and exit
code 2; an interrupt in 130.
"""

import dataclasses
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import gesso
from gesso.errors import GessoError, UsageError
from gesso.parsing import parse
from gesso.recipe import Precision, Recipe
from gesso.recipes import RECIPES

Flag = tyro.conf.arg
Run = Annotated[tyro.conf.Positional[Path], Flag(metavar="RUN")]
Folder = Annotated[tyro.conf.Positional[Path], Flag(metavar="FOLDER")]
Inputs = Annotated[tyro.conf.Positional[Path], Flag(metavar="INPUTS")]


@dataclass
class TrainOptions:
    """Where a training run goes."""

    recipe: Any
    runs: Path = Path("runs")
    """Folder in which runs lie."""
    name: str = ""
    """Name of this run's folder; empty means RECIPE-DATA."""
    overwrite: bool = False
    """Move a run that has this name already aside, to NAME.old-1 and so on, instead of going on with it."""


def train(arguments: Sequence[str]) -> int:
    """Train a recipe. The same command again goes on where it stopped."""
    if not arguments:
        raise UsageError(f"train: name a recipe; there are {', '.join(RECIPES)}")
    name, *flags = arguments
    if name in ("-h", "--help"):
        print(
            "usage: gesso train RECIPE [OPTIONS]\n\n" + _recipes() + "\n\ngesso train RECIPE --help lists the options."
        )
        print("\nExample: gesso train pix2pix --data.root datasets/facades --direction BtoA -b 1 -e 200")
        return 0
    if name not in RECIPES:
        raise UsageError(f"train {name}: no such recipe; there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]()
    form = dataclasses.make_dataclass(
        "Train", [("recipe", Annotated[type(recipe), Flag(name="")])], bases=(TrainOptions,)
    )
    form.__doc__ = RECIPES[name].__doc__
    options = parse(form, flags, f"train {name}", _example(RECIPES[name]), form(recipe))
    from gesso.engine.train import train as run

    return _report(run(options.recipe, runs=options.runs, name=options.name, overwrite=options.overwrite))


def _recipes() -> str:
    width = max(map(len, RECIPES))
    summaries = {name: (make.__doc__ or "").strip().splitlines()[0] for name, make in RECIPES.items()}
    return "recipes:\n" + "\n".join(f"  {name:<{width}}  {summary}" for name, summary in summaries.items())


def _example(make: Callable[[], Recipe]) -> str:
    """The command in a recipe's docstring."""
    lines = (make.__doc__ or "").splitlines()
    return next(line.split("command", 1)[1].strip() for line in lines if line.strip().startswith("command"))


def _report(run: Any) -> int:
    print(f"report: {run.path / 'index.html'}")
    return 0 if run.finished else 130


def resume(arguments: Sequence[str]) -> int:
    """Go on with a run from its last whole checkpoint."""

    def form(run: Run, *, epochs: Annotated[float, Flag(aliases=("-e",))] = 0) -> tuple[Any, ...]:
        """Go on with a run from its last whole checkpoint, to the same weights as if it had not stopped.

        Args:
            run: Folder of the run.
            epochs: Train to this many epochs instead; the learning rates follow the new length. 0 keeps the recipe's.
        """
        return run, epochs

    run, epochs = parse(form, arguments, "resume", "gesso resume runs/pix2pix-facades")
    from gesso.engine.train import resume as go_on

    return _report(go_on(run, epochs=epochs or None))


def evaluate(arguments: Sequence[str]) -> int:
    """Score a run beside its baselines, the protocol under the table."""

    def form(
        run: Run,
        *,
        checkpoint: str = "best",
        split: Literal["auto", "train", "val", "test"] = "auto",
        data_root: str = "",
        mode: Literal["recipe", "eval", "train"] = "recipe",
        batch_size: Annotated[int, Flag(aliases=("-b",))] = 8,
        device: str = "auto",
        precision: Annotated[Precision, Flag(aliases=("-d",))] = "auto",
    ) -> tuple[Any, ...]:
        """Score a run beside two baselines, the input copied and the mean target, and write metrics.json.

        Args:
            run: Folder of the run, or of one of its checkpoints.
            checkpoint: best, latest, or the number of one.
            split: Images to score; auto: test, or val where there is no test.
            data_root: Another data set than the run's own.
            mode: Dropout and batch statistics off (eval), on (train), or as the recipe says.
            batch_size: Images at once.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the networks.
        """
        return run, checkpoint, split, data_root, mode, batch_size, device, precision

    values = parse(form, arguments, "evaluate", "gesso evaluate runs/pix2pix-facades --split test")
    from gesso.engine.score import score_run

    for line in score_run(*values):
        print(line)
    return 0


def translate(arguments: Sequence[str]) -> int:
    """Translate a picture or a folder of pictures of any size."""

    def form(
        run: Run,
        inputs: Inputs,
        *,
        out: Annotated[Path, Flag(aliases=("-o",))],
        direction: Literal["auto", "AtoB", "BtoA"] = "auto",
        checkpoint: str = "best",
        format: Literal["png", "tif", "jpg", "webp", "same"] = "png",
        batch_size: Annotated[int, Flag(aliases=("-b",))] = 4,
        mode: Literal["recipe", "eval", "train"] = "recipe",
        resize: int = 0,
        existing: Literal["refuse", "skip", "replace"] = "refuse",
        device: str = "auto",
        precision: Annotated[Precision, Flag(aliases=("-d",))] = "auto",
        max_pixels: int = 100_000_000,
    ) -> dict[str, Any]:
        """Translate a picture, or every picture in a folder and its sub-folders, at its own size.

        Args:
            run: Folder of the run, or of one of its checkpoints.
            inputs: A picture or a folder.
            out: Folder for the results; names and sub-folders are kept.
            direction: AtoB or BtoA; auto: the one that the model was trained for, AtoB where it has both.
            checkpoint: best, latest, or the number of one.
            format: Of the results; 16-bit pictures stay 16-bit in png and tif.
            batch_size: Pictures of one size at once.
            mode: Dropout and batch statistics off (eval), on (train), or as the recipe says.
            resize: Shrink the longer side to this for the network, then grow the result back; 0 does not.
            existing: What to do where a result is there already.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the network.
            max_pixels: Refuse a picture with more.
        """
        return {
            "run": run, "inputs": inputs, "out": out, "checkpoint": checkpoint, "suffix": format,
            "direction": None if direction == "auto" else direction, "batch_size": batch_size, "mode": mode,
            "resize": resize, "existing": existing, "device": device, "precision": precision,
            "max_pixels": max_pixels,
        }  # fmt: skip

    values = parse(form, arguments, "translate", "gesso translate runs/cyclegan-horse2zebra photos/ -o out/")
    from gesso.predicting.folder import translate_folder

    done = translate_folder(**values)
    for error in done.bad:
        print(f"gesso: {error}", file=sys.stderr)
    print(f"{done.written} written to {values['out']}, {done.skipped} there already, {len(done.bad)} could not be read")
    return 2 if done.bad else 0


def synth(arguments: Sequence[str]) -> int:
    """Render the built-in streets into a folder."""
    from gesso.data.synth import KINDS

    def form(
        kind: tyro.conf.Positional[Literal["pairs", "unpaired", "classes", "cityscapes"]],
        out: Folder,
        *,
        count: int = 400,
        size: int = 256,
        seed: int = 0,
    ) -> tuple[Any, ...]:
        """Render the built-in streets into a folder: pairs, unpaired folders, class folders or Cityscapes' layout.

        Args:
            kind: Layout of the folder.
            out: Folder to make; it must be empty.
            count: Training images; a tenth as many are made for validation and for test.
            size: Height in pixels.
            seed: Other seeds show other streets.
        """
        return kind, out, count, size, seed

    kind, out, count, size, seed = parse(form, arguments, "data synth", "gesso data synth pairs datasets/streets")
    from gesso.progress import Bar

    with Bar(f"rendering {kind}") as bar:
        written = KINDS[kind](out, count=count, size=size, seed=seed, progress=bar.update)
    print(f"{out}: {written}")
    return 0


def check(arguments: Sequence[str]) -> int:
    """List every unreadable, empty, truncated or odd file of a data set."""

    def form(folder: Folder, *, max_pixels: int = 100_000_000) -> tuple[Any, ...]:
        """Read every file of a data set and list the unreadable, empty, truncated and odd ones with the reason.

        Args:
            folder: The data set.
            max_pixels: An image with more counts as unreadable.
        """
        return folder, max_pixels

    folder, max_pixels = parse(form, arguments, "data check", "gesso data check datasets/facades")
    from gesso.data.check import check as check_folder
    from gesso.data.check import format_report
    from gesso.progress import Bar

    with Bar("checking") as bar:
        report = check_folder(folder, max_pixels, progress=bar.update)
    print(format_report(report))
    return 2 if report.bad else 0


def data(arguments: Sequence[str]) -> int:
    """Make, fetch and check data sets."""
    commands = {"synth": synth, "check": check}
    if not arguments:
        raise UsageError(f"data: name a command; there are {', '.join(commands)}")
    name, *rest = arguments
    if name in ("-h", "--help"):
        lines = "\n".join(f"  {name:<7} {_summary(run)}" for name, run in commands.items())
        print(f"usage: gesso data COMMAND\n\n{lines}\n\nExample: gesso data check datasets/facades")
        return 0
    if name not in commands:
        raise UsageError(f"data {name}: no such command; there are {', '.join(commands)}")
    return commands[name](rest)


def doctor(arguments: Sequence[str]) -> int:
    """Show the hardware, what gesso would choose on it, and why."""

    def form() -> None:
        """Show the hardware, the versions, what gesso would choose on this machine, and why."""

    parse(form, arguments, "doctor", "gesso doctor")
    from gesso.engine.doctor import examine

    for line in examine():
        print(line)
    return 0


def demo(arguments: Sequence[str]) -> int:
    """Train a small translator on the built-in streets and show its report."""

    def form(*, runs: Path = Path("runs"), open: bool = True) -> tuple[Any, ...]:
        """Train a small translator on the built-in streets in a few minutes and show its report.

        Args:
            runs: Folder in which runs lie.
            open: Open the report in a browser, where there is a screen.
        """
        return runs, open

    runs, show = parse(form, arguments, "demo", "gesso demo")
    from gesso.engine.train import train as run

    done = run(RECIPES["pix2pix-demo"](), runs=runs, name="demo")
    if show and done.finished and (os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32")):
        import webbrowser

        webbrowser.open((done.path / "index.html").resolve().as_uri())
    return _report(done)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "translate": translate,
    "data": data,
    "doctor": doctor,
    "demo": demo,
}


def _summary(run: Callable[[Sequence[str]], int]) -> str:
    return (run.__doc__ or "").splitlines()[0]


def _help() -> str:
    lines = "\n".join(f"  {name:<10} {_summary(run)}" for name, run in COMMANDS.items())
    return (
        f"gesso {gesso.__version__}: image translation that trains, resumes, scores and ships\n\n"
        f"usage: gesso COMMAND [OPTIONS]\n\n{lines}\n\n"
        "gesso COMMAND --help shows a command's options, their defaults and an example.\n\n"
        "Example: gesso train pix2pix --data.root datasets/facades --direction BtoA"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Gives its exit code: 0, 2 for what a user can mend, 130 for an interrupt."""
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
        if name not in COMMANDS:
            raise UsageError(f"{name}: no such command; there are {', '.join(COMMANDS)}")
        return COMMANDS[name](rest)
    except SystemExit as stop:  # tyro has shown a command's help
        return int(stop.code or 0)
    except GessoError as error:
        print(f"gesso: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("gesso: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        print(f"gesso: out of memory; use a smaller {_SMALLER.get(name, '--batch-size')}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno is None:
            raise
        print(f"gesso: {error.filename or 'the system'}: {error.strerror}", file=sys.stderr)
        return 2


_SMALLER = {
    "train": "--batch-size, --data.crop-size or --generator.ngf",
    "translate": "--batch-size, or --resize large pictures",
}


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device. torch has no type for the host's own."""
    host = "can't allocate memory" in str(error)
    return host or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
