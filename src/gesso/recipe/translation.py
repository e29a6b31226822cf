"""What the recipes of all translators share: two domains, a generator, a discriminator, scores of translations."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from gesso.errors import UsageError, flag
from gesso.recipe.common import Data, Evaluation, Kind, Recipe, channels, not_negative, positive, share
from gesso.recipe.sides import sides

Direction = Literal["AtoB", "BtoA"]
TranslationMetric = Literal[
    "paired", "FID", "KID", "precision", "recall", "density", "coverage", "cityscapes", "segmenter", "LPIPS"
]


@dataclass(frozen=True)
class TranslationData(Data):
    """Two domains, A and B, and how their images become a batch."""

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

    def checked(self) -> None:
        super().checked()
        sides({"--data.load-size": self.load_size, "--data.crop-size": self.crop_size}, self)
        channels({"--data.channels-a": self.channels_a, "--data.channels-b": self.channels_b})
        if self.cropped and self.preprocess != "crop" and self.crop_size > self.load_size:
            raise UsageError(
                f"--data.crop-size {self.crop_size} is larger than --data.load-size "
                f"{self.load_size}: nothing could be cropped"
            )

    @property
    def cropped(self) -> bool:
        """Whether training cuts squares of crop_size."""
        return "crop" in self.preprocess


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
    ends: Literal["reflect", "zero", "symmetric"] = "reflect"
    """resnet: what lies beyond the border of the 7x7 convolutions at both ends."""
    separable: bool = False
    """resnet: depthwise-separable convolutions in the residual blocks: a ninth of their cost."""
    slope: float = 0.0
    """resnet: slope below zero of the ReLUs outside the residual blocks; MindSpore's networks have 0.2."""
    dropout: float = 0.0
    """Probability of dropout inside the generator; the reference's is 0.5 where it is on."""
    upsample: Literal["transpose", "resize", "same"] = "transpose"
    """transpose: the papers'; resize: repeat pixels, then convolve: no checkerboards; same: as MindSpore aligns it."""
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
class TranslationEvaluation(Evaluation):
    """Scores of translated images, each in every direction in which it has a meaning."""

    metrics: tuple[TranslationMetric, ...] = ("paired",)
    """paired: L1, PSNR, SSIM; FID to coverage: against all real images; cityscapes: label maps; segmenter: photos."""
    labels: Literal["A", "B"] = "B"
    """cityscapes, segmenter: the domain that has the label colours."""
    classes: Literal[19, 20] = 19
    """cityscapes: 19 classes, void left out, as the papers; or 20, with unlabeled, as the MindSpore script."""
    inception: str = ""
    """File of the Inception network; empty: the installed one (pip install 'gesso[fid]')."""
    lpips: str = ""
    """LPIPS: file of its network, TorchScript."""
    segmenter: str = ""
    """segmenter: file of a network of Cityscapes' 19 classes, TorchScript or ONNX."""

    def checked(self, data: TranslationData) -> None:
        """UsageError where a score lacks its network, or the labels of `data` are not in colour."""
        for name, file, field_ in (("LPIPS", self.lpips, "lpips"), ("segmenter", self.segmenter, "segmenter")):
            if name in self.metrics and not file:
                by = flag(f"evaluation.{field_}")
                raise UsageError(
                    f"{flag('evaluation.metrics')} {name}: its network does not come with gesso; name its file with "
                    f"{by}; docs/evaluation.md says how to come by one"
                )
        found = data.channels_a if self.labels == "A" else data.channels_b
        if {"cityscapes", "segmenter"} & set(self.metrics) and found < 3:
            raise UsageError(
                f"--data.channels-{self.labels.lower()} {found}: labels are scored by their colours, which need 3 "
                f"channels; {flag('evaluation.labels')} names the domain that has them"
            )


@dataclass(frozen=True, kw_only=True)
class TranslationRecipe(Recipe):
    """What the recipes of translators share."""

    kind: ClassVar[Kind] = "translator"
    smaller: ClassVar[str] = "--batch-size, --data.crop-size or --generator.ngf"
    aligned: ClassVar[bool] = True
    """Whether A and B of a batch must belong together."""

    data: TranslationData = field(default_factory=TranslationData)
    generator: Generator = field(default_factory=Generator)
    discriminator: Discriminator = field(default_factory=Discriminator)
    optimizer: Adam = field(default_factory=Adam)
    evaluation: TranslationEvaluation = field(default_factory=TranslationEvaluation)

    def checked(self) -> Self:
        self.evaluation.checked(self.data)
        generator, discriminator, adam = self.generator, self.discriminator, self.optimizer
        positive(
            {
                "--generator.ngf": generator.ngf,
                "--discriminator.ndf": discriminator.ndf,
                "--discriminator.layers": discriminator.layers,
                "--optimizer.generator-lr": adam.generator_lr,
                "--optimizer.discriminator-lr": adam.discriminator_lr,
            }
        )
        not_negative(
            {
                "--optimizer.clip-norm": adam.clip_norm,
                "--generator.blocks": generator.blocks,
                "--generator.init-gain": generator.init_gain,
                "--discriminator.init-gain": discriminator.init_gain,
            }
        )
        share(
            {
                "--generator.dropout": generator.dropout,
                "--generator.slope": generator.slope,
                "--discriminator.slope": discriminator.slope,
                "--optimizer.beta1": adam.beta1,
                "--optimizer.beta2": adam.beta2,
            }
        )
        if generator.kind == "unet":
            self._check_unet()
        return super().checked()

    def _fitting_depth(self) -> str:
        """The deepest U-Net for the crop, as advice; empty where there is none."""
        fitting = [depth for depth in range(5, 11) if self.data.crop_size % 2**depth == 0]
        return f"--generator.depth {max(fitting)} fits; or " if fitting else ""

    def _check_unet(self) -> None:
        depth, crop = self.generator.depth, self.data.crop_size
        if self.generator.separable:
            raise UsageError("--generator.separable: a U-Net has no residual blocks; leave it out")
        if not 5 <= depth <= 10:
            raise UsageError(f"--generator.depth {depth}: must lie in 5 … 10")
        if self.data.cropped and crop % 2**depth:
            raise UsageError(
                f"--data.crop-size {crop}: a U-Net of depth {depth} needs a multiple of {2**depth}; "
                f"{self._fitting_depth()}choose another size, or --generator.kind resnet"
            )
