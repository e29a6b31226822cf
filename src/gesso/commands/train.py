"""The commands that train: train, resume, evaluate, demo."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from gesso.commands.flags import Arithmetic, BatchSize, DataRoot, Flag, Run, defaults_of
from gesso.commands.table import listed
from gesso.errors import UsageError, perhaps
from gesso.launched import one_of_several
from gesso.parsing import parse
from gesso.recipe import DistillRecipe, Recipe
from gesso.recipe.translation import TranslationMetric
from gesso.recipes import RECIPES


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
    devices: int = 1
    """Processes that train together on this machine, each on a device of its own (or on a share of the processor)."""
    max_restarts: int = 0
    """With --devices: how often to start all processes anew, from the last checkpoint, after one was killed."""


def train(arguments: Sequence[str]) -> int:
    """Train a recipe. The same command again goes on where it stopped."""
    if not arguments:
        raise UsageError(f"train: name a recipe; there are {', '.join(RECIPES)}")
    name, *flags = arguments
    if name in ("-h", "--help"):
        print(f"usage: gesso train RECIPE [OPTIONS]\n\nrecipes:\n{listed(RECIPES)}\n")
        print("gesso train RECIPE --help lists the options.\n")
        print("Example: gesso train pix2pix --data.root datasets/facades --direction BtoA -b 1 -e 200")
        return 0
    if name not in RECIPES:
        raise UsageError(f"train {name}: no such recipe{perhaps(name, RECIPES)}; there are {', '.join(RECIPES)}")
    recipe = defaults_of(name, flags)
    form = dataclasses.make_dataclass(
        "Train", [("recipe", Annotated[type(recipe), Flag(name="")])], bases=(TrainOptions,)
    )
    form.__doc__ = RECIPES[name].__doc__
    options = parse(form, flags, f"train {name}", _example(RECIPES[name]), form(recipe))
    check(options.recipe)
    from gesso.launching import launch, starts

    if starts(options.devices, options.max_restarts, options.recipe.device):
        return launch(["train", *arguments], options.devices, options.max_restarts)
    from gesso.engine.train import train as run

    return _report(run(options.recipe, runs=options.runs, name=options.name, overwrite=options.overwrite))


def check(recipe: Recipe) -> None:
    """Refuse before torch is imported, which takes seconds, what training would refuse once it is.

    A student's recipe is whole only with what its teacher says. Several processes find it together, to tell it once.
    """
    if not (isinstance(recipe, DistillRecipe) or one_of_several()):
        recipe.checked()


def _example(make: Callable[[], Recipe]) -> str:
    """The command in a recipe's docstring."""
    lines = (make.__doc__ or "").splitlines()
    return next(line.split("command", 1)[1].strip() for line in lines if line.strip().startswith("command"))


def _report(run: Any) -> int:
    from gesso.processes import place

    if place(os.environ).main:
        print(f"report: {run.path / 'index.html'}")
    return 0 if run.finished else 130


def resume(arguments: Sequence[str]) -> int:
    """Go on with a run from its last whole checkpoint."""

    def form(
        run: Run,
        *,
        epochs: Annotated[float, Flag(aliases=("-e",))] = 0,
        data_root: DataRoot = "",
        devices: int = 1,
        max_restarts: int = 0,
    ) -> tuple[Any, ...]:
        """Go on with a run from its last whole checkpoint, to the same weights as if it had not stopped.

        Args:
            run: Folder of the run.
            epochs: Train to this many epochs instead; the learning rates follow the new length. 0 keeps the recipe's.
            data_root: Where the data set is now, if it was moved.
            devices: Processes that train together on this machine, each on a device of its own.
            max_restarts: With --devices: how often to start all processes anew after one was killed.
        """
        return run, epochs, data_root, devices, max_restarts

    values = parse(form, arguments, "resume", "gesso resume runs/pix2pix-facades")
    run, epochs, data_root, devices, max_restarts = values
    from gesso.engine.runs import read_recipe
    from gesso.launching import launch, starts

    if starts(devices, max_restarts, read_recipe(run).device):
        return launch(["resume", *arguments], devices, max_restarts)
    from gesso.engine.train import resume as go_on

    return _report(go_on(run, epochs=epochs or None, data_root=data_root))


def evaluate(arguments: Sequence[str]) -> int:
    """Score a run beside its baselines, the protocol under the table."""

    def form(
        run: Run,
        *,
        checkpoint: str = "best",
        split: Literal["auto", "train", "val", "test"] = "auto",
        data_root: DataRoot = "",
        mode: Literal["recipe", "eval", "train"] = "recipe",
        batch_size: BatchSize = 0,
        device: str = "auto",
        precision: Arithmetic = "auto",
        metrics: tuple[TranslationMetric, ...] = (),  # which has the names of every model's
        images: int = 0,
        classes: Literal[0, 19, 20] = 0,
        labels: Literal["", "A", "B"] = "",
        inception: str = "",
        lpips: str = "",
        segmenter: str = "",
        resize: int = 0,
        devices: int = 1,
    ) -> dict[str, Any]:
        """Score a run beside its baselines, such as the input copied and the mean target, and write metrics.json.

        Args:
            run: Folder of the run, or of one of its checkpoints, or a published one; or hub:OWNER/NAME[@REVISION].
            checkpoint: best, latest, or the number of one.
            split: Images to score; auto: test, or val where there is no test.
            data_root: Another data set than the run's own.
            mode: A translator's dropout and batch statistics off (eval), on (train), or as the recipe says.
            batch_size: Images at once; 0 goes by their size. The scores do not depend on it.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the networks.
            metrics: Other scores than the recipe's: FID, KID, cityscapes … as in its --evaluation.metrics.
            images: Of a generator: images to make and to compare with; 0 leaves it to the recipe.
            classes: Of label maps: 19 or 20; 0 leaves it to the recipe.
            labels: The domain that has label colours; empty leaves it to the recipe.
            inception: File of the Inception network; empty leaves it to the recipe.
            lpips: File of the LPIPS network; empty leaves it to the recipe.
            segmenter: File of the segmenter for label → photo; empty leaves it to the recipe.
            resize: Of a classifier: shorter side before the centre crop; 0 leaves it to the recipe.
            devices: Processes of this machine that share the images, each on a device of its own.
        """
        return locals()

    values = parse(form, arguments, "evaluate", "gesso evaluate runs/pix2pix-facades --split test")
    from gesso.launching import launch, starts
    from gesso.processes import place

    devices = values.pop("devices")
    if starts(devices, 0, values["device"]):
        return launch(["evaluate", *arguments], devices, 0)
    from gesso.engine.finish import table
    from gesso.engine.score import score_run

    for line in table(score_run(**values)):
        if place(os.environ).main:
            print(line)
    return 0


def demo(arguments: Sequence[str]) -> int:
    """Train a small translator on the built-in streets and show its report."""

    def form(
        *, runs: Path = Path("runs"), name: str = "demo", overwrite: bool = False, open: bool = True
    ) -> tuple[Any, ...]:
        """Train a small translator on the built-in streets in a few minutes and show its report.

        Args:
            runs: Folder in which runs lie.
            name: Name of the run's folder.
            overwrite: Move a run of this name aside, to NAME.old-1 and so on, instead of going on with it.
            open: Open the report in a browser, where there is a screen.
        """
        return runs, name, overwrite, open

    runs, name, overwrite, show = parse(form, arguments, "demo", "gesso demo")
    from gesso.engine.train import train as run

    done = run(RECIPES["pix2pix-demo"](), runs=runs, name=name, overwrite=overwrite)
    if show and done.finished and (os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32")):
        import webbrowser

        webbrowser.open((done.path / "index.html").resolve().as_uri())
    return _report(done)
