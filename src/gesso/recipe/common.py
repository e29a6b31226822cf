"""What the recipes of all models share: data, schedule, checkpoints, evaluation, tracking.

A recipe is the whole of a run's configuration: what it does not say cannot change the result. It is a frozen
dataclass, so a variant is `dataclasses.replace` of another, every field is a flag of `gesso train`, and the
string under a field is that flag's help. No torch here, so that help is instant.

Lengths of time are counted in epochs of the training set and may be fractions (`every=0.5`); inside the loop
they become images seen.
"""

import dataclasses
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

import tyro

from gesso.errors import UsageError
from gesso.restoring import flat

BUILTIN_STREETS = "builtin:streets"
LARGEST_SHEET = 100
"""Images on a sheet: of the square of it, which a generator makes, memory holds no more."""

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Switch = Literal["auto", "on", "off"]
GANMode = Literal["lsgan", "vanilla", "hinge"]
Kind = Literal["translator", "generator", "classifier"]
"""What a model does: images from images, images from noise, the class of an image."""


@dataclass(frozen=True)
class Data:
    """Where the images are and how they are kept at hand."""

    root: str = ""
    """Folder of the data set, or builtin:streets for the rendered streets that gesso carries."""
    train_subset: int = 0
    """Use only the first N training images (of each domain); 0 uses all."""
    evaluate_subset: int = 0
    """Use only the first N images of the evaluation split; 0 uses all."""
    skip_bad: bool = False
    """Leave unreadable files out and say how many, instead of stopping before the first step."""
    max_pixels: int = 100_000_000
    """Refuse an image with more pixels than this: a small file can decode to a giant picture."""
    cache: Switch = "auto"
    """Decode once into a memory-mapped cache. auto: when it fits in cache_limit_gb and on the disk."""
    cache_limit_gb: float = 16.0
    """Largest cache of one split, in GB."""
    cache_dir: str = ""
    """Folder of the cache; empty means the user's cache folder."""
    workers: int = 0
    """Threads that prepare batches; 0 means one a core."""
    fetch: bool = False
    """Download a public data set of root's name, where the folder is missing."""

    def checked(self) -> None:
        """UsageError where a number makes no sense, or `root` has a password, which a run would write down."""
        if re.search(r"://[^/@]*:[^/@]*@", self.root):
            raise UsageError(
                "--data.root: a password in an address would stand in the run's recipe; leave it out and put it into "
                "~/.netrc, or where your store's package looks for it"
            )
        positive({"--data.max-pixels": self.max_pixels, "--data.cache-limit-gb": self.cache_limit_gb})
        not_negative(
            {
                "--data.train-subset": self.train_subset,
                "--data.evaluate-subset": self.evaluate_subset,
                "--data.workers": self.workers,
            }
        )


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a pure function of images seen: warm-up, then constant, then decay."""

    decay: Literal["linear", "cosine", "step", "constant"] = "linear"
    """How the rate falls: linear or cosine to 0, by factors at milestones (step), or not at all."""
    delay: float = -1.0
    """Epoch at which linear or cosine decay begins; -1 means half of the run."""
    milestones: tuple[float, ...] = ()
    """step: epochs at which the rate is multiplied by `factor`."""
    factor: float = 0.1
    """step: multiplier at each milestone."""
    warmup: Literal["none", "linear", "quadratic"] = "none"
    """How the rate rises at the start."""
    warmup_epochs: float = 0.0
    """Length of the warm-up."""
    granularity: Literal["epoch", "step"] = "epoch"
    """Change the rate once an epoch, as the papers do, or at every step."""
    scaling: Literal["none", "sqrt", "linear"] = "none"
    """What N processes multiply the rate by: 1, √N (the Gaudi CycleGAN origin) or N (Goyal et al. 2017)."""


@dataclass(frozen=True)
class Checkpoints:
    """When the run is saved and what is kept."""

    every: float = 5.0
    """Epochs between checkpoints. The end of the run is always saved."""
    keep: int = 2
    """Newest checkpoints to keep; the best is kept besides. 0 keeps all."""
    best: str = "auto"
    """Score that chooses the best, such as AtoB/L1; auto: L1 of pairs, else the first score (top1); none: no best."""


@dataclass(frozen=True)
class Evaluation:
    """Scores during training."""

    every: float = 5.0
    """Epochs between evaluations; 0 evaluates only at the end."""
    split: Literal["auto", "val", "test", "none"] = "auto"
    """Split scored while training; auto: val, or test where there is no val; none: nothing is scored, at the end
    neither."""

    @property
    def wanted(self) -> bool:
        """Whether anything is scored."""
        return self.split != "none"


@dataclass(frozen=True)
class Guard:
    """What happens when a run diverges."""

    enabled: bool = True
    """Watch gradients, losses and pictures, discard steps that would spoil the weights, and go back where needed."""
    discards: int = 20
    """Discarded steps among the last 100 that are borne before the run goes back to its last good checkpoint."""
    returns: int = 3
    """Times in a row that the run goes back, each with another order of the data, before it stops with a diagnosis."""
    rate_factor: float = 1.0
    """Multiplier of the learning rates with each return, such as 0.5."""


@dataclass(frozen=True)
class Tracking:
    """What is written down and where."""

    log_every: int = 100
    """Images between lines of the log, whatever the batch size."""
    sheet_every: float = 5.0
    """Epochs between sample sheets; 0 makes one only at the end."""
    sheet_images: int = 6
    """Images on a sheet, at most 100; a generator's and a classifier's is so many wide and high."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    """Where curves go besides log.jsonl and the report."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every model's recipe has."""

    model: ClassVar[str]
    """Name of the model in the tables."""
    kind: ClassVar[Kind]
    """What the model does: by this it is fed, judged, logged and used."""
    smaller: ClassVar[str]
    """The flags that save memory: what stands after "use a smaller" where it ran out."""

    recipe: tyro.conf.Suppress[str]
    """Name of the recipe this one came from."""
    data: Data = field(default_factory=Data)
    epochs: Annotated[float, tyro.conf.arg(aliases=("-e",))] = 200
    """Passes over the training set (the longer domain, where there are two)."""
    batch_size: Annotated[int, tyro.conf.arg(aliases=("-b",))] = 1
    """Images a step of each process, of each domain."""
    accumulate: int = 1
    """Take each batch in so many equal pieces, one after the other: less memory, the same step but for batch norm."""
    steps_per_epoch: int = 0
    """Count so many steps as an epoch; 0 counts the whole training set."""
    precision: Annotated[Precision, tyro.conf.arg(aliases=("-d",))] = "auto"
    """Arithmetic of the networks; weights and losses stay float32. auto: the device's best."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, …"""
    compile: Switch = "auto"
    """torch.compile the networks; auto: when the run is long enough to pay for it."""
    seed: int = 0
    """Seed of weights, order, augmentation, dropout and whatever else is drawn at random."""
    deterministic: bool = False
    """Refuse operations whose result can differ from run to run."""
    sync_batch_norm: bool = False
    """Batch norm over the images of all processes, instead of each process by its own."""
    schedule: Schedule = field(default_factory=Schedule)
    ema: float = 0.0
    """Weight averaging: half-life in images of an exponential moving average of the weights; 0 is off."""
    ema_ramp: float = 0.05
    """Largest half-life as a share of the images seen so far: less of it forgets the random start sooner."""
    start_from: tuple[str, ...] = ()
    """Initial weights: a run, a checkpoint, or NETWORK=FILE entries such as G_A=latest_net_G_A.pth."""
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    evaluation: Evaluation = field(default_factory=Evaluation)
    guard: Guard = field(default_factory=Guard)
    tracking: Tracking = field(default_factory=Tracking)

    def to_json(self) -> str:
        """This recipe as JSON, without loss."""
        return json.dumps({"model": self.model, **dataclasses.asdict(self)}, indent=2) + "\n"

    def checked(self) -> Self:
        """This recipe, if its numbers make sense; UsageError names the flag where they do not."""
        self.data.checked()
        positive(
            {
                "--epochs": self.epochs,
                "--batch-size": self.batch_size,
                "--accumulate": self.accumulate,
                "--ema-ramp": self.ema_ramp,
                "--tracking.log-every": self.tracking.log_every,
                "--tracking.sheet-images": self.tracking.sheet_images,
                "--checkpoints.every": self.checkpoints.every,
                "--guard.rate-factor": self.guard.rate_factor,
            }
        )
        not_negative(
            {
                "--seed": self.seed,
                "--ema": self.ema,
                "--steps-per-epoch": self.steps_per_epoch,
                "--checkpoints.keep": self.checkpoints.keep,
                "--guard.discards": self.guard.discards,
                "--guard.returns": self.guard.returns,
                "--evaluation.every": self.evaluation.every,
                "--tracking.sheet-every": self.tracking.sheet_every,
            }
        )
        if self.tracking.sheet_images > LARGEST_SHEET:
            raise UsageError(f"--tracking.sheet-images {self.tracking.sheet_images}: must be at most {LARGEST_SHEET}")
        if self.batch_size % self.accumulate:
            raise UsageError(f"--accumulate {self.accumulate}: must divide --batch-size {self.batch_size}")
        if self.precision == "fp16" and not self.guard.enabled:
            raise UsageError("--precision fp16 --guard.no-enabled: the guard discards steps that overflow; leave it on")
        if self.seed >= 2**31:
            raise UsageError(f"--seed {self.seed}: must be less than 2147483648")
        for name, value in flat(dataclasses.asdict(self)).items():
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, float) and not math.isfinite(number):
                    raise UsageError(f"{as_flag(name, value)}: must be finite")
        return self

    def epoch_images(self, images: int, processes: int = 1) -> int:
        """Images that count as an epoch of a training set of `images`, seen by `processes` together."""
        return self.steps_per_epoch * self.batch_size * processes or images


def positive(flags: Mapping[str, float]) -> None:
    """UsageError names the first flag whose value is not more than 0 and finite."""
    for flag, value in flags.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{flag} {value:g}: must be more than 0, and finite")


def writable(texts: Iterable[tuple[str, str]]) -> None:
    """UsageError names the first flag whose value is not UTF-8, which file names need not be but files' texts are."""
    for flag, value in texts:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{flag} {value}: not text in UTF-8, and it must be; give another") from None


def not_negative(flags: dict[str, float]) -> None:
    """UsageError names the first flag whose value is less than 0 or not finite."""
    for flag, value in flags.items():
        if not 0 <= value < math.inf:
            raise UsageError(f"{flag} {value:g}: must be 0 or more, and finite")


def share(flags: dict[str, float]) -> None:
    """UsageError names the first flag whose value is not in [0, 1)."""
    for flag, value in flags.items():
        if not 0 <= value < 1:
            raise UsageError(f"{flag} {value:g}: must lie in [0, 1)")


def channels(flags: dict[str, int]) -> None:
    """UsageError names the first flag whose value is not a number of channels."""
    for flag, value in flags.items():
        if value not in (1, 2, 3, 4):
            raise UsageError(f"{flag} {value}: must be 1, 2, 3 or 4")


HARMLESS = ("data.cache", "data.workers", "data.fetch", "tracking.", "checkpoints.keep", "dump.", "compare")
"""Beginnings of flags that cannot change a run's weights or scores, so that a resume may change them."""


def differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """The flags in which two recipes would train differently, as '--data.crop-size 128 (was 256)'."""
    new, old = flat(dataclasses.asdict(ours)), flat(dataclasses.asdict(theirs))
    return [
        f"{as_flag(flag, new.get(flag))} (was {as_value(old.get(flag))})"
        for flag in {**old, **new}
        if new.get(flag) != old.get(flag) and not flag.startswith(HARMLESS)
    ]


def as_flag(field: str, value: Any) -> str:
    """A field of a recipe and its value as one would type them: --data.no-flip, --batch-size 4."""
    name = field.replace("_", "-")
    if isinstance(value, bool):
        group, dot, last = name.rpartition(".")
        return f"--{name}" if value else f"--{group}{dot}no-{last}"
    return f"--{name} {as_value(value)}".rstrip()


def as_value(value: Any) -> str:
    """A flag's value as one would type it in a shell; nothing for an empty list."""
    if isinstance(value, list | tuple):
        return " ".join(map(as_value, value))
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return shlex.quote(str(value))
