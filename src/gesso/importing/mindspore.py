"""Networks of MindSpore's model zoo CycleGAN (research/cv/cycle_gan), whose .ckpt files hold one network or several.

Its networks are named by their parts (conv_in, down_1, residuals.3.conv2, …), and a parameter is called by the path
from the training cell that held it, such as generator.G_A.conv_in.features.0.weight. Here they get the names and the
layout that gesso's have. What differs from the paper's networks, and is therefore set in the recipe:

- LeakyReLU of 0.2 outside the residual blocks, and transposed convolutions padded "same" (`Generator.slope`,
  `Generator.upsample`);
- pad_mode holds for the 7×7 convolutions too (`Generator.ends`): zeros where no layer stands before the first one,
  else mirrored; REFLECT and SYMMETRIC have the same names, and REFLECT is the zoo's default;
- instance norm is batch norm without learning on one image: its scale is one, its shift zero, its statistics unused;
- the first and the last convolutions have no bias, where the paper's have one; it is zero here;
- the zoo puts one residual block into its list gl_num times. A file then has residuals.0 alone, and it is repeated;
- in the U-Net what comes from below stands before the skip connection, and here behind it.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gesso.errors import CheckpointError, UsageError
from gesso.importing.architecture import DROPOUT, FoundGenerator, find_discriminator, find_generator
from gesso.importing.ckpt import read_ckpt
from gesso.importing.given import given, no_use, plain
from gesso.importing.imported import Imported, Options
from gesso.importing.translators import assemble

Weights = dict[str, Tensor]
NETWORKS = ("G_A", "G_B", "D_A", "D_B")
BY_NAME = re.compile(r"(?<![A-Za-z])([GD]_[AB])(?![A-Za-z])")
INSIDE = re.compile(r"(?:.*\.)?([GD])T?_([AB])\.(.+)")
"""A parameter's path: what stands before the network, the network (GT_A is a teacher's), its name in there."""
OF_OPTIMIZER = re.compile(
    r"(moment[12s]|vhat|accum|stat)\..+|learning_rate|global_step|beta[12]_power|epoch_num|step_num"
)
LAST = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
FIRST_NORMED = ("model.1", "model.2", "model.model.1.model.1")
"""Of a ResNet, a discriminator and a U-Net by our names: a convolution that has a norm behind it, or a norm."""
UNLEARNED = {"weight": 1.0, "bias": 0.0}
"""Scale and shift of a norm that learns none."""
SLOPE = 0.2
BLOCKS = 9
"""The zoo's default of gl_num."""


def import_mindspore(files: tuple[str, ...], options: Options) -> Imported:
    """The generators, and discriminators if given, as a CycleGAN run, a lone generator as a pix2pix run."""
    no_use("mindspore", options, "classes")
    if options.padding == "replicate":
        raise UsageError("--padding replicate: the zoo's blocks have reflect or symmetric")
    networks: dict[str, tuple[Path, Weights]] = {}
    for network, path in given(files, NETWORKS, BY_NAME):
        parameters = {name: t for name, t in read_ckpt(path).items() if not OF_OPTIMIZER.fullmatch(name)}
        for name, weights in _split(path, plain(path, parameters), network).items():
            if name in networks:
                raise UsageError(f"{path}: {networks[name][0]} has {name} already; name each as NETWORK=FILE")
            networks[name] = (path, weights)
    generators, discriminators, told = {}, {}, []
    for name, (path, weights) in networks.items():
        if name.startswith("D"):
            judge = find_discriminator(path, _discriminator(path, weights))
            discriminators[name] = replace(judge, part=replace(judge.part, zero_biases=True))
            continue
        generators[name], repeated = _generator(path, weights, options)
        if repeated:
            told.append(f"{name}: one residual block in the file, used {repeated} times; --blocks says another number")
    if not generators:
        raise UsageError(f"{files[0]}: no generator in it; give one too")
    imported = assemble(generators, discriminators, options)
    return replace(imported, found=(*imported.found, *told))


def _generator(path: Path, weights: Weights, options: Options) -> tuple[FoundGenerator, int]:
    """The generator that the zoo's `weights` are of, and how often its lone residual block is used (else 0)."""
    dropout = DROPOUT if options.dropout is None else options.dropout
    if any(name.startswith("model.") for name in weights):
        if options.blocks is not None:
            raise UsageError(f"--blocks {options.blocks}: {path} is a U-Net, which has none; leave it out")
        found, repeated = find_generator(path, _unet(path, weights), replace(options, dropout=dropout)), 0
        config = replace(found.config, test_mode="eval")
    else:
        ours, ends, repeated = _resnet(path, weights, options)
        found = find_generator(path, ours, options)
        config = replace(found.config, ends=ends, slope=SLOPE, upsample="same", dropout=dropout, test_mode="eval")
    supposed = "" if options.dropout is not None else " (supposed)"
    words = f"{found.told}, dropout {dropout:g}{supposed}, as MindSpore computes it"
    return replace(found, config=config, part=replace(found.part, zero_biases=True), told=words), repeated


def _split(path: Path, weights: Weights, network: str) -> dict[str, Weights]:
    """The parameters at `path` by network, each under its name in there; `network` is that of names that say none."""
    networks: dict[str, Weights] = {}
    for name, tensor in weights.items():
        match = INSIDE.fullmatch(name)
        owner = f"{match[1]}_{match[2]}" if match else network
        if not owner:
            raise UsageError(f"{path}: neither its name nor {name} says which network it is; give it as G_A={path}")
        networks.setdefault(owner, {})[match[3] if match else name] = tensor
    return networks


def _resnet(
    path: Path, weights: Weights, options: Options
) -> tuple[Weights, Literal["reflect", "zero", "symmetric"], int]:
    """The names of gesso's ResNet, the border at both ends, and how often a lone residual block is used (else 0)."""
    numbers = {int(match[1]) for name in weights if (match := re.match(r"residuals\.(\d{1,4})\.", name))}
    repeated = 0
    if numbers == {0}:
        repeated = BLOCKS if options.blocks is None else options.blocks
        if not 1 <= repeated <= 1000:
            raise UsageError(f"--blocks {repeated}: must lie in 1 … 1000")
    elif options.blocks is not None:
        raise UsageError(f"--blocks {options.blocks}: {path} says it itself, it has {len(numbers)}")
    bordered = "conv_in.features.1.weight" in weights
    count = repeated or len(numbers)
    dropout = options.dropout is None or options.dropout > 0
    units = {"conv_in": "model.1", "down_1": "model.4", "down_2": "model.7"}
    units |= {"up_2": f"model.{10 + count}", "up_1": f"model.{13 + count}"}
    # Of the layers in gesso's block, the second convolution's number depends on which others there are.
    second = (5 if bordered else 3) + dropout
    renamed: Weights = {}
    for name, tensor in weights.items():
        unit, _, inside = name.partition(".features.")
        match = re.fullmatch(r"residuals\.(\d{1,4})\.conv([12])", unit)
        end = re.fullmatch(r"conv_out\.(?:1\.)?(weight|bias)", name)
        if end:
            renamed[f"model.{16 + count + 1}.{end[1]}"] = tensor
        elif match:
            place = int(bordered) if match[2] == "1" else second
            for block in range(count) if repeated else [int(match[1])]:
                where = f"model.{10 + block}.conv_block"
                renamed[_parameter(path, name, inside, f"{where}.{place}", f"{where}.{place + 1}", bordered)] = tensor
        elif unit in units:
            convolution = units[unit]
            norm = f"model.{int(convolution.removeprefix('model.')) + 1}"
            here = bordered and unit == "conv_in"
            renamed[_parameter(path, name, inside, convolution, norm, here)] = tensor
        else:
            raise _unknown(path, name)
    ends: Literal["reflect", "zero", "symmetric"] = "reflect" if options.padding in (None, "reflect") else "symmetric"
    return _without_unlearned(path, renamed), ends if bordered else "zero", repeated


def _parameter(path: Path, name: str, inside: str, convolution: str, norm: str, bordered: bool) -> str:
    """Our name for the parameter `inside` a ConvNormReLU: of its convolution, or of the norm behind it."""
    place, _, last = inside.partition(".")
    if place == str(int(bordered)) and last in ("weight", "bias"):
        return f"{convolution}.{last}"
    if place == str(int(bordered) + 1) and last in LAST and last not in ("weight", "bias"):
        return f"{norm}.{LAST[last]}"
    raise _unknown(path, name)


def _discriminator(path: Path, weights: Weights) -> Weights:
    """The names of gesso's PatchGAN: features.0, then a ConvNormReLU each from features.2 on, then a convolution."""
    final = max((int(match[1]) for name in weights if (match := re.match(r"features\.(\d{1,4})\.", name))), default=0)
    renamed: Weights = {}
    for name, tensor in weights.items():
        bare = re.fullmatch(r"features\.(\d{1,4})\.(weight|bias)", name)
        unit = re.fullmatch(r"features\.(\d{1,4})\.features\.(.+)", name)
        if bare and int(bare[1]) in (0, final):
            place = 0 if bare[1] == "0" else 2 + 3 * (final - 2)
            renamed[f"model.{place}.{bare[2]}"] = tensor
        elif unit and 2 <= int(unit[1]) < final:
            place = 2 + 3 * (int(unit[1]) - 2)
            renamed[_parameter(path, name, unit[2], f"model.{place}", f"model.{place + 1}", False)] = tensor
        else:
            raise _unknown(path, name)
    return _without_unlearned(path, renamed)


def _unet(path: Path, weights: Weights) -> Weights:
    """The names of gesso's U-Net, which differ in the last word alone; the two inputs of up-convolutions exchanged."""
    renamed: Weights = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"(model\.model(?:\.\d\.model)*\.\d)\.(\w+)", name)
        if not match or match[2] not in LAST:
            raise _unknown(path, name)
        renamed[f"{match[1]}.{LAST[match[2]]}"] = tensor
    for name, tensor in renamed.items():
        level, place = name.removesuffix(".weight").rsplit(".", 1)
        outermost = level == "model.model"
        if name.endswith(".weight") and tensor.dim() == 4 and place == ("3" if outermost else "5"):
            below, skip = tensor.tensor_split(2)
            renamed[name] = torch.cat([skip, below])
    return _without_unlearned(path, renamed)


def _without_unlearned(path: Path, weights: Weights) -> Weights:
    """`weights` without the norms that learn nothing, those behind a convolution that has a bias."""
    biased = any(f"{c}.bias" in weights and weights[f"{c}.weight"].dim() == 4 for c in FIRST_NORMED)
    if not biased:
        return weights
    kept = {}
    for name, tensor in weights.items():
        norm, _, last = name.rpartition(".")
        if f"{norm}.running_mean" not in weights:
            kept[name] = tensor
        elif last in UNLEARNED and not torch.all(tensor == UNLEARNED[last]):
            raise CheckpointError(
                f"{path}: {name} has learned, behind a convolution with a bias; gesso has no such norm"
            )
    return kept


def _unknown(path: Path, name: str) -> CheckpointError:
    return CheckpointError(f"{path}: {name} is no parameter of the model zoo's CycleGAN (resnet, unet, discriminator)")
