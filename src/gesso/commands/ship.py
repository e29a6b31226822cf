"""The commands that bring a model here and take it elsewhere: import, export, publish."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gesso.commands.flags import Flag, Out, Run
from gesso.parsing import parse
from gesso.progress import say
from gesso.recipe.common import not_negative, share, writable

Files = Annotated[tyro.conf.Positional[tuple[str, ...]], Flag(metavar="FILE [FILE …]", help_behavior_hint="(required)")]


def import_(arguments: Sequence[str]) -> int:
    """Make a run of other programs' weights."""

    def form(
        files: Files,
        *,
        from_: Annotated[Literal["junyanz", "mindspore", "torchvision", "dcgan-example"], Flag(name="from")],
        out: Out,
        name: str = "",
        direction: Literal["auto", "AtoB", "BtoA"] = "auto",
        dropout: float = -1,
        padding: Literal["auto", "reflect", "replicate", "symmetric"] = "auto",
        blocks: int = 0,
        classes: str = "",
    ) -> dict[str, Any]:
        """Make a run of the weights in other programs' files, which every other command takes.

        Args:
            files: Of one model: each a FILE, or NETWORK=FILE where its name does not tell the network.
            from_: junyanz (pix2pix, CycleGAN), mindspore (CycleGAN's .ckpt), torchvision (DenseNet) or dcgan-example.
            out: Folder of the run; there must be nothing yet.
            name: What the run's recipe is called; without, by its model.
            direction: What a lone generator draws; auto: by the name G_A or G_B, else AtoB.
            dropout: Its rate, which no file tells; -1: the other program's default.
            padding: Of residual blocks with a border of their own; auto: reflect.
            blocks: mindspore: how often the block of a file with only one is used; 0: its default, 9.
            classes: torchvision: names of the classes: a file with a name a line, or a folder of class folders.
        """
        return locals()

    values = parse(form, arguments, "import", "gesso import latest_net_G.pth --from junyanz -o runs/imported")
    if values["dropout"] != -1:
        share({"--dropout": values["dropout"]})
    not_negative({"--blocks": values["blocks"]})
    writable([("--name", values["name"])])
    from gesso.importing import FORMATS, Options, write_run

    options = Options(
        direction=None if values["direction"] == "auto" else values["direction"],
        dropout=None if values["dropout"] == -1 else values["dropout"],
        padding=None if values["padding"] == "auto" else values["padding"],
        blocks=values["blocks"] or None,
        classes=Path(values["classes"]) if values["classes"] else None,
    )
    imported = FORMATS[values["from_"]](values["files"], options)
    out = write_run(imported, values["out"], values["name"])
    for line in imported.found:
        print(line)
    print(f"run: {out}")
    return 0


def export(arguments: Sequence[str]) -> int:
    """Write a trained model for other programs."""

    def form(
        run: Run,
        *,
        format: Literal["onnx", "torch", "openvino", "junyanz", "torchvision", "dcgan-example"] = "onnx",
        out: Out = Path(),
        checkpoint: str = "best",
        direction: Literal["all", "AtoB", "BtoA"] = "all",
        precision: Literal["fp32", "fp16", "int8"] = "fp32",
        uint8: bool = False,
        licence: str = "",
        tolerance: float = 1e-3,
        existing: Literal["refuse", "replace"] = "refuse",
    ) -> dict[str, Any]:
        """Write a trained model for other programs, and compare what it makes there with torch.

        Args:
            run: Folder of the run, or of one of its checkpoints, or a published one; or hub:OWNER/NAME[@REVISION].
            format: onnx, openvino, torch (a .pt2 file): to run elsewhere. junyanz, torchvision, dcgan-example: weights
                for those programs.
            out: File, or folder for several; without, the run's name in the working folder.
            checkpoint: best, latest, or the number of one.
            direction: AtoB or BtoA; all: every one that the model was trained for, a file each.
            precision: Arithmetic of the exported network; int8 is measured on the run's test images.
            uint8: Images go in and come out as bytes, 0 to 255, instead of numbers in [-1, 1].
            licence: Of the weights, for the metadata, such as CC-BY-4.0.
            tolerance: Largest difference to torch that passes, in units of [-1, 1]; fp16: 50 times this; int8: a mean
                difference of 100 times this.
            existing: What to do where a file is there already.
        """
        return locals()

    values = parse(form, arguments, "export", "gesso export runs/pix2pix-facades --format onnx -o facades.onnx")
    not_negative({"--tolerance": values["tolerance"]})
    writable([("--licence", values["licence"])])
    from gesso.exporting import FORMATS, Options, load_source

    options = Options(
        direction=None if values["direction"] == "all" else values["direction"],
        uint8=values["uint8"],
        precision=values["precision"],
        tolerance=values["tolerance"],
        licence=values["licence"].strip(),
        existing=values["existing"],
    )
    source = load_source(values["run"], values["checkpoint"])
    for path in FORMATS[values["format"]](source, values["out"], options):
        print(path)
    return 0


def publish(arguments: Sequence[str]) -> int:
    """Publish a trained model in a folder, or on the Hugging Face hub."""

    def form(
        run: Run,
        *,
        to: str,
        checkpoint: str = "best",
        networks: Literal["used", "all"] = "used",
        title: Annotated[str, Flag(name="name")] = "",
        about: str = "",
        licence: str = "",
        dataset: tuple[str, ...] = (),
        sheet: bool = True,
        public: bool = False,
        replace: bool = False,
    ) -> dict[str, Any]:
        """Publish a trained model for others: weights, recipe, and a card that says what it is, how good, its limits.

        Args:
            run: Folder of the run, or of one of its checkpoints; a published one goes as it lies there.
            to: A folder; or hub:OWNER/NAME, a repository on the Hugging Face hub, or hub:OWNER/NAME@BRANCH.
            checkpoint: best, latest, or the number of one.
            networks: used: what is used after training, averaged where there are such weights; all: also
                discriminators, so that others may train on.
            title: Title of the card; without, the run's name.
            about: What its pictures show, in a sentence for the card, such as "A: photos of facades, B: label maps".
            licence: Of the weights, such as CC-BY-4.0, or a text. Without one nobody may use them.
            dataset: Names on the hub of the data sets that it was trained on.
            sheet: Publish the last sample sheet too, which shows pictures of the data set.
            public: Let all see a new repository on the hub; without, it is private.
            replace: Put it in the place of a published model that is in the folder already.
        """
        return locals()

    values = parse(
        form, arguments, "publish", "gesso publish runs/pix2pix-facades --to shared/facades --licence CC-BY-4.0"
    )
    texts = {
        "--name": values["title"],
        "--about": values["about"],
        "--licence": values["licence"],
        "--to": values["to"],
    }
    writable([*texts.items(), *(("--dataset", name) for name in values["dataset"])])
    from gesso.hub import Pushed
    from gesso.publishing import Asked
    from gesso.publishing import publish as publish_run

    asked = Asked(
        checkpoint=values["checkpoint"],
        networks=values["networks"],
        title=values["title"],
        about=values["about"],
        licence=values["licence"],
        datasets=values["dataset"],
        sheet=values["sheet"],
    )
    done = publish_run(values["run"], values["to"], asked, public=values["public"], replace=values["replace"])
    for line in done.warnings:
        say(line)
    if isinstance(done.where, Pushed):
        print(f"{done.where.url}, {'private' if done.where.private else 'public'}, commit {done.where.commit}")
    else:
        print(f"published: {done.where}")
    return 0
