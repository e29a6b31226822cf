"""Sets of configurations to measure together: one command for each."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from gesso.devices import choose_device, facts
from gesso.recipe import Precision


@dataclass(frozen=True)
class Entry:
    """A configuration of an origin, and the command that measures it here."""

    origin: str
    what: str
    """The configuration, and what the origin published of it."""
    recipe: str
    batch_size: int
    """Of each process."""
    precision: Precision
    devices: int = 1
    data: str = ""
    """Name of the data set."""
    command: Literal["run", "converge"] = "run"
    flags: tuple[str, ...] = ()
    """More flags of the command."""
    own: tuple[str, ...] = ()
    """Flags of the recipe."""

    def words(self, datasets: Path, more: Sequence[str] = ()) -> list[str]:
        """What stands behind `gesso bench run` or `converge`; speed is measured on the data set too, if it is there."""
        there = (datasets / self.data).is_dir()
        root = str(datasets / self.data) if there or self.command == "converge" else "synthetic"
        kind = ["--mode", "train"] if self.command == "run" else []
        shape = ["-b", str(self.batch_size), "--devices", str(self.devices), "-d", self.precision, "--data.root", root]
        behind = ["--", *self.own] if self.own else []
        return [self.recipe, *shape, *kind, *self.flags, *more, *behind]


GAUDI_CYCLEGAN = "CycleGAN, TensorFlow on Gaudi"
MINDSPORE = "CycleGAN, MindSpore"
KERAS = "DenseNet, Keras on Gaudi"
MSLS = "DCGAN on street photos, PyTorch"
GOLDEN = "pix2pix golden bench, PyTorch"

ORIGINS = (
    *(
        Entry(GAUDI_CYCLEGAN, f"batch 2 a card, {cards} card{'s' * (cards > 1)}, {p}", "cyclegan-gaudi", 2, p, cards,
              "horse2zebra")
        for cards in (1, 8)
        for p in ("bf16", "fp32")
    ),
    Entry(MINDSPORE, "batch 1, 1 card; 264 ms a step on a V100", "cyclegan-mindspore", 1, "fp32", 1, "cityscapes"),
    Entry(KERAS, "DenseNet-121, batch 256, 1 card, bf16", "densenet121", 256, "bf16", 1, "imagenet"),
    Entry(KERAS, "DenseNet-121, batch 128, 1 card, fp32", "densenet121", 128, "fp32", 1, "imagenet"),
    Entry(KERAS, "DenseNet-121, batch 128 a card, 8 cards, bf16", "densenet121", 128, "bf16", 8, "imagenet",
          own=("--optimizer.lr", "0.28")),
    # The origin names its two machines, but neither batch nor arithmetic: these are the paper's.
    Entry(MSLS, "one card of either machine", "dcgan-msls", 128, "fp32", 1, "msls"),
    Entry(MSLS, "ml.p3.8xlarge, 4 V100", "dcgan-msls", 128, "fp32", 4, "msls"),
    Entry(MSLS, "DL1.24xlarge, 8 Gaudis", "dcgan-msls", 128, "fp32", 8, "msls"),
    # The reference code divides a batch among its cards; here a batch is each card's.
    *(
        Entry(GOLDEN, f"resnet_9blocks, batch 32 in all, {cards} card{'s' * (cards > 1)}, {p}", "pix2pix-resnet9",
              32 // cards, p, cards, "facades", own=("--direction", "BtoA"))
        for cards in (1, 8)
        for p in ("fp32", "tf32")
    ),
    Entry(
        GOLDEN,
        "convergence; last epoch's G_GAN 2.495, G_L1 18.41, D_real 0.169, D_fake 0.202 on a V100",
        "pix2pix-resnet9",
        1,
        "fp32",
        1,
        "facades",
        command="converge",
        flags=("--seeds", "1", "--epochs", "200"),
        own=("--direction", "BtoA"),
    ),
)  # fmt: skip

SUITES = {"origins": ORIGINS}


def command(entry: Entry, datasets: Path, more: Sequence[str] = ()) -> str:
    """As one would type it."""
    return shlex.join(["gesso", "bench", entry.command, *entry.words(datasets, more)])


def obstacle(entry: Entry, device: str, datasets: Path) -> str:
    """Why this machine cannot measure `entry`; empty where it can. UsageError where there is no such device."""
    found: torch.device = choose_device(device).value
    row = facts(found)
    if entry.devices > row.count():
        return f"needs {entry.devices} cards, this machine has {row.count()} of {found.type}"
    if entry.precision not in row.precisions(found):
        return f"needs {entry.precision}, {found.type} has {', '.join(row.precisions(found))}"
    if entry.command == "converge" and not (datasets / entry.data).is_dir():
        return f"needs the data set {datasets / entry.data}; gesso data fetch {entry.data}"
    return ""
