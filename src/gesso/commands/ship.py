"""The commands that take a model elsewhere: export."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gesso.commands.flags import Out, Run
from gesso.parsing import parse


def export(arguments: Sequence[str]) -> int:
    """Write a trained model for other programs."""

    def form(
        run: Run,
        *,
        format: Literal["onnx", "torch", "openvino"] = "onnx",
        out: Out = Path(),
        checkpoint: str = "best",
        direction: Literal["all", "AtoB", "BtoA"] = "all",
        precision: Literal["fp32", "fp16", "int8"] = "fp32",
        uint8: bool = False,
        licence: str = "",
        tolerance: float = 0.0,
    ) -> dict[str, Any]:
        """Write a trained model for other programs, and compare what it makes there with torch.

        Args:
            run: Folder of the run, or of one of its checkpoints.
            format: onnx, openvino, torch (a .pt2 file): to run elsewhere.
            out: File, or folder for several; without, the run's name in the working folder.
            checkpoint: best, latest, or the number of one.
            direction: AtoB or BtoA; all: every one that the model was trained for, a file each.
            precision: Arithmetic of the exported network; int8 is measured on the run's test images.
            uint8: Images go in and come out as bytes, 0 to 255, instead of numbers in [-1, 1].
            licence: Of the weights, for the metadata, such as CC-BY-4.0.
            tolerance: Largest difference to torch in units of [-1, 1]; 0: 1e-3, and what docs say for fp16 and int8.
        """
        return locals()

    values = parse(form, arguments, "export", "gesso export runs/pix2pix-facades --format onnx -o facades.onnx")
    from gesso.exporting import FORMATS, Options, load_source

    options = Options(
        direction=None if values["direction"] == "all" else values["direction"],
        uint8=values["uint8"],
        precision=values["precision"],
        tolerance=values["tolerance"] or None,
        licence=values["licence"],
    )
    source = load_source(values["run"], values["checkpoint"])
    for path in FORMATS[values["format"]](source, values["out"], options):
        print(path)
    return 0
