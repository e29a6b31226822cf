"""A picture that is too large is refused by the flag that the command really has."""

import dataclasses
import re
from pathlib import Path

import pytest
from translating import make_run, picture

from commands import Gesso
from conftest import toy
from gesso.data.images import write_image

GIANT = b"P6 20000 20000 255\n"
"""The header of a picture of 4e8 pixels. Sizes are read from it before anything else."""
COMMANDS = {
    "data check {set}": "--max-pixels",
    "data prepare splits {set}/train -o {out}": "--max-pixels",
    "data prepare imagenet {set} --processes 1 -o {out}": "--max-pixels",
    "data prepare pairs {set}/train/a {set}/train/a --val 1 --test 1 -o {out}": "",
    "data prepare pairs {set}/train/a {set}/train/a --val 1 --test 1 --sizes smooth -o {out}": "",
    "translate {translator} {set}/train --device cpu -o {out}": "--max-pixels",
    "classify {classifier} {set}/train --device cpu": "--max-pixels",
    "evaluate {classifier} --split train --device cpu": "",
    "train densenet121 --data.root {set} --runs {out} --device cpu": "--data.max-pixels",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A set of two classes with one giant among them, and untrained runs of a translator and a classifier."""
    base = tmp_path_factory.mktemp("giants")
    for split in ("train", "val"):
        for name in ("a", "b"):
            (base / "set" / split / name).mkdir(parents=True)
            for i in range(3):
                write_image(base / "set" / split / name / f"{i}.png", picture(32, 32))
    (base / "set/train/a/9.ppm").write_bytes(GIANT)
    classes = toy("densenet-bc-cifar", base / "set")
    classifier = dataclasses.replace(classes, data=dataclasses.replace(classes.data, names=("a", "b")))  # type: ignore[call-arg]
    return {
        "set": base / "set",
        "translator": make_run(base / "translator", toy("pix2pix", base / "set")),
        "classifier": make_run(base / "classifier", classifier),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_giant_is_refused_by_the_commands_own_flag(
    gesso: Gesso, places: dict[str, Path], tmp_path: Path, command: str
) -> None:
    words = [word.format(out=tmp_path / "out", **places) for word in command.split()]
    said = gesso(*words)
    told = "\n".join([*said.out, *said.err])
    limit = f"{COMMANDS[command]} 100000000".lstrip()
    assert said.code == 2 and re.search(rf"9\.ppm\S*: 20000 x 20000 pixels are more than {limit}", told), told
