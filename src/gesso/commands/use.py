"""The commands that use what was trained: translate, sample, classify; and those that look: compare-models,
compare-dumps, doctor."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gesso.commands.flags import Arithmetic, BatchSize, DataRoot, Flag, Inputs, Out, Run, Runs
from gesso.files import shown
from gesso.parsing import parse


def translate(arguments: Sequence[str]) -> int:
    """Translate a picture or a folder of pictures of any size."""

    def form(
        run: Run,
        inputs: Inputs,
        *,
        out: Out,
        direction: Literal["auto", "AtoB", "BtoA"] = "auto",
        checkpoint: str = "best",
        format: Literal["auto", "png", "tif", "jpg", "webp", "same"] = "auto",
        batch_size: BatchSize = 4,
        mode: Literal["recipe", "eval", "train"] = "recipe",
        resize: int = 0,
        tile: int = 0,
        overlap: int = 64,
        existing: Literal["refuse", "skip", "replace"] = "refuse",
        device: str = "auto",
        precision: Arithmetic = "auto",
        max_pixels: int = 100_000_000,
    ) -> dict[str, Any]:
        """Translate a picture, or every picture in a folder and its sub-folders, at its own size.

        Args:
            run: Folder of the run, or of one of its checkpoints, or a published one; or hub:OWNER/NAME[@REVISION].
            inputs: A picture or a folder.
            out: Folder for the results; names and sub-folders are kept. Of one picture also a file: made.png.
            direction: AtoB or BtoA; auto: the one that the model was trained for, AtoB where it has both.
            checkpoint: best, latest, or the number of one.
            format: Of the results; 16-bit pictures stay 16-bit in png and tif. auto: as --out says; else png, or tif
                with --tile.
            batch_size: Pictures of one size, or tiles, at once.
            mode: Dropout and batch statistics off (eval), on (train), or as the recipe says.
            resize: Shrink the longer side to this for the network, then grow the result back; 0 does not.
            tile: Translate in squares of so many pixels, for pictures that do not fit into memory; 0: in one go.
            overlap: Pixels that neighbouring tiles share.
            existing: What to do where a result is there already.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the network.
            max_pixels: Refuse a picture with more.
        """
        return locals()

    values = parse(form, arguments, "translate", "gesso translate runs/cyclegan-horse2zebra photos/ -o out/")
    from gesso.predicting.jobs import chosen_suffix

    default = "tif" if values["tile"] else "png"
    values["suffix"] = chosen_suffix(values.pop("format"), values["inputs"], values["out"], default)
    values["direction"] = None if values["direction"] == "auto" else values["direction"]
    from gesso.predicting.folder import translate_folder

    done = translate_folder(**values)
    for error in done.bad:
        print(f"gesso: {error}", file=sys.stderr)
    print(f"{done.written} written to {values['out']}, {done.skipped} there already, {len(done.bad)} could not be read")
    return 2 if done.bad else 0


def sample(arguments: Sequence[str]) -> int:
    """Make images with a generator of images from noise."""

    def form(
        run: Run,
        *,
        out: Out,
        count: Annotated[int, Flag(aliases=("-n",))] = 0,
        kind: Literal["grid", "files", "walk", "progress"] = "grid",
        seed: int = 0,
        columns: int = 0,
        frames: int = 60,
        checkpoint: str = "best",
        device: str = "auto",
        precision: Arithmetic = "auto",
    ) -> dict[str, Any]:
        """Make images with a trained generator: a sheet, files, a walk from image to image, or a film of the training.

        Args:
            run: Folder of the run, or of one of its checkpoints, or a published one; or hub:OWNER/NAME[@REVISION].
            out: .png or .webp for a sheet, .gif or .webp for a film, .png for a walk as one picture, a folder for
                files. Nothing is written over.
            count: Images to make, or to walk through; 0 makes 64, or 8 for a walk.
            kind: One sheet (grid), a file an image (files), a film that leads from image to image (walk), or a film of
                the same images at each checkpoint that is there (progress).
            seed: Other seeds make other images.
            columns: Images side by side; 0 makes a sheet nearly square.
            frames: Frames of a walk, or the most of a film of the training.
            checkpoint: best, latest, or the number of one.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the network.
        """
        return locals()

    values = parse(form, arguments, "sample", "gesso sample runs/dcgan-msls -o samples.png -n 64")
    from gesso.predicting.outputs import check_asked

    asked = ("kind", "out", "count", "frames", "seed", "columns")
    check_asked(**{name: values[name] for name in asked})  # before torch is imported, which takes seconds
    from gesso.predicting.sampling import sample_run

    for line in sample_run(**values):
        print(line)
    return 0


def classify(arguments: Sequence[str]) -> int:
    """Name the most likely classes of a picture or of every picture in a folder."""

    def form(
        run: Run,
        inputs: Inputs,
        *,
        top: int = 5,
        json: bool = False,
        batch_size: BatchSize = 32,
        checkpoint: str = "best",
        device: str = "auto",
        precision: Arithmetic = "auto",
        max_pixels: int = 100_000_000,
    ) -> dict[str, Any]:
        """Name the most likely classes of a picture, or of every picture in a folder and its sub-folders.

        Args:
            run: Folder of the run, or of one of its checkpoints, or a published one; or hub:OWNER/NAME[@REVISION].
            inputs: A picture or a folder.
            top: Classes to name, the most likely first.
            json: A line of JSON for each picture instead of a table.
            batch_size: Pictures at once.
            checkpoint: best, latest, or the number of one.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the network.
            max_pixels: Refuse a picture with more.
        """
        return locals()

    values = parse(form, arguments, "classify", "gesso classify runs/densenet121-imagenet photos/ --top 3")
    from gesso.predicting.classify import classify_folder
    from gesso.predicting.jobs import pictures
    from gesso.predicting.listing import print_json, print_table

    as_json = values.pop("json")
    records = classify_folder(**values)
    if as_json:
        return print_json(records)
    return print_table(records, max(len(shown(path)) for path in pictures(values["inputs"])))


def compare_models(arguments: Sequence[str]) -> int:
    """Put translators side by side: parameters, work, time, size of the file, scores."""

    def form(
        runs: Runs, *, data_root: DataRoot = "", device: str = "auto", precision: Arithmetic = "auto"
    ) -> tuple[Any, ...]:
        """Put translators side by side on the same images and on this machine: what each costs and how well it does.

        All are scored on the data of the last run, as its recipe says.

        Args:
            runs: Folders of runs, or of checkpoints of them, or models on the hub; the first is the one that the last
                is measured by.
            data_root: Another data set than the last run's.
            device: auto, cpu, cuda, …
            precision: Arithmetic of the networks.
        """
        return runs, data_root, device, precision

    runs, data_root, device, precision = parse(
        form, arguments, "compare-models", "gesso compare-models runs/pix2pix-facades runs/pix2pix-distill-facades"
    )
    from gesso.engine.comparing import compare_runs

    for line in compare_runs([*runs], device, precision, data_root):
        print(line)
    return 0


def compare_dumps(arguments: Sequence[str]) -> int:
    """Compare the tensors that two trainings wrote down, step by step and layer by layer."""

    def form(
        a: Annotated[tyro.conf.Positional[Path], Flag(metavar="A")],
        b: Annotated[tyro.conf.Positional[Path], Flag(metavar="B")],
        *,
        tolerance: float = 1e-3,
    ) -> tuple[Any, ...]:
        """Compare the tensors that two trainings wrote down with --dump.steps, and name where they part first.

        Args:
            a: A run with dumps, its folder of dumps, or one file.
            b: The other one.
            tolerance: Largest difference, relative to the norm of A's tensor, that counts as the same.
        """
        return a, b, tolerance

    a, b, tolerance = parse(form, arguments, "compare-dumps", "gesso compare-dumps runs/on-gpu runs/on-cpu")
    from gesso.engine import dumps

    compared = dumps.compare_dumps(a, b, tolerance)
    print("\n".join(compared.lines))
    return 0 if compared.same else 1


def doctor(arguments: Sequence[str]) -> int:
    """Show the hardware, what gesso would choose on it, and why."""

    def form() -> None:
        """Show the hardware, the versions, what gesso would choose on this machine, and why."""

    parse(form, arguments, "doctor", "gesso doctor")
    from gesso.engine.doctor import examine

    for line in examine():
        print(line)
    return 0
