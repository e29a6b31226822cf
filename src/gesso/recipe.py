"""The typed configuration of a run, and its life as JSON.

A recipe is the whole of a run's configuration: what it does not say cannot change the result. It is a frozen
dataclass, so a variant is `dataclasses.replace` of another, every field is a flag of `gesso train`, and the
string under a field is that flag's help. No torch here, so that help is instant.

Lengths of time are counted in epochs of the training set and may be fractions (`every=0.5`); inside the loop
they become images seen.
"""

import dataclasses
import json
import math
import typing
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Self

import tyro

from gesso.errors import CheckpointError, UsageError
from gesso.restoring import flat, restore

BUILTIN_STREETS = "builtin:streets"

Direction = Literal["AtoB", "BtoA"]
Precision = Literal["auto", "fp32", "tf32", "bf16"]
Switch = Literal["auto", "on", "off"]
GANMode = Literal["lsgan", "vanilla", "hinge"]


@dataclass(frozen=True)
class Data:
    """Where the images are and how they become a batch."""

    root: str = ""
    """Folder of the data set, or builtin:streets for the rendered streets that gesso carries."""
    layout: Literal["auto", "pairs", "folders", "unpaired"] = "auto"
    """pairs: A and B side by side in one file; folders: A/ and B/ matched by name; unpaired: trainA/ trainB/."""
    preprocess: Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"] = "resize_and_crop"
    """resize_and_crop: to load_size x load_size, then a random crop; scale_width: width to load_size, aspect kept."""
    load_size: int = 286
    """Side (or width) in pixels to which an image is resized before the crop."""
    crop_size: int = 256
    """Side in pixels of the square that the networks see."""
    flip: bool = True
    """Mirror images at random, left to right."""
    channels_a: int = 3
    """Channels of domain A, 1 to 4."""
    channels_b: int = 3
    """Channels of domain B, 1 to 4."""
    train_subset: int = 0
    """Use only the first N training images of each domain; 0 uses all."""
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
    """Threads that decode images which are not cached; 0 means one a core."""


@dataclass(frozen=True)
class Generator:
    """A network that translates images."""

    kind: Literal["resnet", "unet"] = "resnet"
    """resnet: Johnson et al. 2016 (any size); unet: skip connections (sides divisible by 2**depth)."""
    ngf: int = 64
    """Filters of the first layer."""
    blocks: int = 9
    """resnet: residual blocks; 6 at 128 px, 9 at 256 px and more."""
    depth: int = 8
    """unet: number of halvings; 6 for 64 px, 7 for 128, 8 for 256, 9 for 512."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation layer."""
    norm_affine: Literal["auto", "on", "off"] = "auto"
    """Learned scale and shift of the norm; auto: on for batch, off for instance, as in the reference."""
    padding: Literal["reflect", "zero", "replicate", "symmetric"] = "reflect"
    """resnet: what lies beyond the border."""
    dropout: float = 0.0
    """Probability of dropout inside the generator; the reference's is 0.5 where it is on."""
    upsample: Literal["transpose", "resize"] = "transpose"
    """transpose: the papers'; resize: nearest-neighbour resize then convolution, free of checkerboards."""
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = "normal"
    """Distribution of the initial weights."""
    init_gain: float = 0.02
    """Standard deviation (normal) or gain (xavier, orthogonal) of the initial weights."""
    test_mode: Literal["eval", "train"] = "eval"
    """Dropout and batch statistics when translating: off (eval), or on as in the pix2pix paper (train)."""


@dataclass(frozen=True)
class Discriminator:
    """A network that tells real images from fakes, patch by patch."""

    kind: Literal["patch", "pixel"] = "patch"
    """patch: PatchGAN with `layers` strided convolutions (3: 70x70 receptive field); pixel: 1x1."""
    ndf: int = 64
    """Filters of the first layer."""
    layers: int = 3
    """patch: number of strided convolutions."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation layer."""
    norm_affine: Literal["auto", "on", "off"] = "auto"
    """Learned scale and shift of the norm; auto: on for batch, off for instance, as in the reference."""
    slope: float = 0.2
    """Slope of the leaky ReLU below zero."""
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = "normal"
    """Distribution of the initial weights."""
    init_gain: float = 0.02
    """Standard deviation (normal) or gain (xavier, orthogonal) of the initial weights."""


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) with its own rate for generators and discriminators."""

    generator_lr: float = 2e-4
    """Learning rate of the generators, before the schedule."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminators, before the schedule."""
    beta1: float = 0.5
    """Decay of the first moment."""
    beta2: float = 0.999
    """Decay of the second moment."""
    clip_norm: float = 0.0
    """Clip the gradient's norm to this in each phase; 0 does not clip."""


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


@dataclass(frozen=True)
class Checkpoints:
    """When the run is saved and what is kept."""

    every: float = 5.0
    """Epochs between checkpoints. The end of the run is always saved."""
    keep: int = 2
    """Newest checkpoints to keep; the best is kept besides. 0 keeps all."""
    best: str = "auto"
    """Score that chooses the best checkpoint, such as AtoB/L1; auto: L1 where the set has pairs; none: no best."""


@dataclass(frozen=True)
class Evaluation:
    """Scores during training."""

    every: float = 5.0
    """Epochs between evaluations; 0 evaluates only at the end."""
    split: Literal["auto", "val", "test"] = "auto"
    """Split scored while training; auto: val, or test where there is no val."""


@dataclass(frozen=True)
class Tracking:
    """What is written down and where."""

    log_every: int = 100
    """Images between lines of the log, whatever the batch size."""
    sheet_every: float = 5.0
    """Epochs between sample sheets; 0 makes one only at the end."""
    sheet_images: int = 6
    """Images on a sheet."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    """Where curves go besides log.jsonl and the report."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every model's recipe has."""

    model: ClassVar[str]

    recipe: tyro.conf.Suppress[str]
    """Name of the recipe this one came from."""
    data: Data = field(default_factory=Data)
    epochs: Annotated[float, tyro.conf.arg(aliases=("-e",))] = 200
    """Passes over the training set (the longer domain, where there are two)."""
    batch_size: Annotated[int, tyro.conf.arg(aliases=("-b",))] = 1
    """Images a step, of each domain."""
    precision: Annotated[Precision, tyro.conf.arg(aliases=("-d",))] = "auto"
    """Arithmetic of the networks; weights and losses stay float32. auto: the device's best."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, …"""
    compile: Switch = "auto"
    """torch.compile the networks; auto: when the run is long enough to pay for it."""
    seed: int = 0
    """Seed of weights, order, augmentation, dropout and the image pool."""
    deterministic: bool = False
    """Refuse operations whose result can differ from run to run."""
    generator: Generator = field(default_factory=Generator)
    discriminator: Discriminator = field(default_factory=Discriminator)
    optimizer: Adam = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Schedule)
    ema: float = 0.0
    """Weight averaging: half-life in images of an exponential moving average of the generators; 0 is off."""
    start_from: tuple[str, ...] = ()
    """Initial weights: a run, a checkpoint, or NETWORK=FILE entries such as G_A=latest_net_G_A.pth."""
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    evaluation: Evaluation = field(default_factory=Evaluation)
    tracking: Tracking = field(default_factory=Tracking)

    def to_json(self) -> str:
        """This recipe as JSON, without loss."""
        return json.dumps({"model": self.model, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The recipe that `to_json` wrote. CheckpointError where the text is not one."""
        try:
            values = json.loads(text)
            model = values.pop("model") if isinstance(values, dict) else None
            if model not in RECIPE_TYPES:
                raise ValueError(f"its model is {model!r}, not one of {', '.join(RECIPE_TYPES)}")
            return typing.cast(Recipe, restore(RECIPE_TYPES[model], values))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"not a recipe that this gesso can read: {error}") from None

    def checked(self) -> Self:
        """This recipe, if its numbers make sense; UsageError names the flag where they do not."""
        positive: dict[str, float] = {
            "--epochs": self.epochs,
            "--batch-size": self.batch_size,
            "--data.load-size": self.data.load_size,
            "--data.crop-size": self.data.crop_size,
            "--data.max-pixels": self.data.max_pixels,
            "--generator.ngf": self.generator.ngf,
            "--discriminator.ndf": self.discriminator.ndf,
            "--discriminator.layers": self.discriminator.layers,
            "--optimizer.generator-lr": self.optimizer.generator_lr,
            "--optimizer.discriminator-lr": self.optimizer.discriminator_lr,
            "--tracking.log-every": self.tracking.log_every,
            "--tracking.sheet-images": self.tracking.sheet_images,
            "--checkpoints.every": self.checkpoints.every,
            "--data.cache-limit-gb": self.data.cache_limit_gb,
        }
        for flag, value in positive.items():
            if not 0 < value < math.inf:
                raise UsageError(f"{flag} {value:g}: must be more than 0, and finite")
        not_negative: dict[str, float] = {
            "--seed": self.seed,
            "--ema": self.ema,
            "--optimizer.clip-norm": self.optimizer.clip_norm,
            "--checkpoints.keep": self.checkpoints.keep,
            "--evaluation.every": self.evaluation.every,
            "--tracking.sheet-every": self.tracking.sheet_every,
            "--data.train-subset": self.data.train_subset,
            "--data.evaluate-subset": self.data.evaluate_subset,
            "--data.workers": self.data.workers,
            "--generator.blocks": self.generator.blocks,
            "--generator.init-gain": self.generator.init_gain,
            "--discriminator.init-gain": self.discriminator.init_gain,
        }
        for flag, value in not_negative.items():
            if not 0 <= value < math.inf:
                raise UsageError(f"{flag} {value:g}: must be 0 or more, and finite")
        for flag, channels in (
            ("--data.channels-a", self.data.channels_a),
            ("--data.channels-b", self.data.channels_b),
        ):
            if channels not in (1, 2, 3, 4):
                raise UsageError(f"{flag} {channels}: must be 1, 2, 3 or 4")
        for flag, share in (
            ("--generator.dropout", self.generator.dropout),
            ("--optimizer.beta1", self.optimizer.beta1),
            ("--optimizer.beta2", self.optimizer.beta2),
        ):
            if not 0 <= share < 1:
                raise UsageError(f"{flag} {share:g}: must lie in [0, 1)")
        if self.seed >= 2**31:
            raise UsageError(f"--seed {self.seed}: must be less than 2147483648")
        cropped = "crop" in self.data.preprocess
        if cropped and self.data.preprocess != "crop" and self.data.crop_size > self.data.load_size:
            raise UsageError(
                f"--data.crop-size {self.data.crop_size} is larger than --data.load-size "
                f"{self.data.load_size}: nothing could be cropped"
            )
        if self.generator.kind == "unet":
            if not 5 <= self.generator.depth <= 10:
                raise UsageError(f"--generator.depth {self.generator.depth}: must lie in 5 … 10")
            multiple = 2**self.generator.depth
            if cropped and self.data.crop_size % multiple:
                raise UsageError(
                    f"--data.crop-size {self.data.crop_size}: a U-Net of depth {self.generator.depth} needs a "
                    f"multiple of {multiple}; choose another size, --generator.depth or --generator.kind resnet"
                )
        return self


@dataclass(frozen=True)
class Pix2PixLoss:
    """Isola et al. 2017, equations 1 to 4."""

    gan: GANMode = "vanilla"
    """vanilla: eq. 1; lsgan: least squares; hinge."""
    lambda_l1: float = 100.0
    """Weight of the L1 term, eq. 4."""
    discriminator_factor: float = 0.5
    """The discriminator's loss is divided by 2 to slow it down (section 3.3)."""
    order: Literal["DG", "GD"] = "DG"
    """Which network is updated first in a step."""
    pool_size: int = 0
    """Images in the pool of past fakes that the discriminator sees; 0 is off."""


@dataclass(frozen=True, kw_only=True)
class Pix2PixRecipe(Recipe):
    """A → B from pairs."""

    model: ClassVar[str] = "pix2pix"

    direction: Direction = "AtoB"
    """Which half is the source: BtoA draws photos from labels in facades and Cityscapes."""
    loss: Pix2PixLoss = field(default_factory=Pix2PixLoss)


@dataclass(frozen=True)
class CycleGANLoss:
    """Zhu et al. 2017, equations 1 to 3 and the identity loss of section 5.2."""

    gan: GANMode = "lsgan"
    """lsgan: the paper's least squares; vanilla: eq. 1; hinge."""
    lambda_a: float = 10.0
    """Weight of the cycle A → B → A."""
    lambda_b: float = 10.0
    """Weight of the cycle B → A → B."""
    lambda_identity: float = 0.5
    """Weight of the identity loss; 0 leaves it out and saves its two forward passes."""
    identity_relative: bool = True
    """Multiply the identity loss by the cycle's weight too, as the reference does (0.5 then counts as 5)."""
    discriminator_factor: float = 0.5
    """Multiplier of the discriminators' loss, real plus fake."""
    order: Literal["GD", "DG"] = "GD"
    """Which networks are updated first in a step."""
    pool_size: int = 50
    """Images in the pool of past fakes that each discriminator sees; 0 is off."""
    pool_prefill: bool = False
    """Fill the pools with the untrained generators' images before the first step."""


@dataclass(frozen=True, kw_only=True)
class CycleGANRecipe(Recipe):
    """A ↔ B from unpaired images."""

    model: ClassVar[str] = "cyclegan"

    loss: CycleGANLoss = field(default_factory=CycleGANLoss)

    def checked(self) -> Self:
        if self.data.channels_a != self.data.channels_b and self.loss.lambda_identity > 0:
            raise UsageError(
                f"--data.channels-a {self.data.channels_a} and --data.channels-b {self.data.channels_b}: the identity "
                "loss needs equal channels; leave it out with --loss.lambda-identity 0"
            )
        return super().checked()


RECIPE_TYPES: dict[str, type[Recipe]] = {"cyclegan": CycleGANRecipe, "pix2pix": Pix2PixRecipe}


def differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """The flags in which two recipes differ, as '--data.crop-size 128 (was 256)'."""
    new, old = flat(dataclasses.asdict(ours)), flat(dataclasses.asdict(theirs))
    return [
        f"--{flag.replace('_', '-')} {new.get(flag)} (was {old.get(flag)})"
        for flag in {**old, **new}
        if new.get(flag) != old.get(flag)
    ]
