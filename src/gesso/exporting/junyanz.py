"""Translators as github.com/junyanz/pytorch-CycleGAN-and-pix2pix reads them: latest_net_G.pth and so on.

Its networks have the names that gesso's have. What gesso's can be and its cannot is refused: a file that loads there
and draws other pictures would be worse than none.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from gesso.errors import UsageError
from gesso.exporting.source import Options, Source
from gesso.exporting.states import SUFFIX, judges, recipe_for, write_networks
from gesso.models.translation import Translation, Translator
from gesso.networks.normalize import Norm
from gesso.recipe import Discriminator, Generator, TranslationRecipe

UNETS = {7: "unet_128", 8: "unet_256"}
RESNETS = {6: "resnet_6blocks", 9: "resnet_9blocks"}
"""Its names by the number of halvings or of residual blocks."""
CHANNELS = 3
"""Its default of pictures' channels."""
DROPOUT = 0.5
"""What it has where it has dropout. An import supposes so of a lone U-Net, whose file does not tell; of both generators
of a CycleGAN it supposes none, unless they are ResNets, whose files tell whether."""
TELLING = re.compile(r"(?:^|[_-])G_([AB])$")
"""Names of files that tell an import from which domain the network draws."""


def export_junyanz(source: Source, out: Path, options: Options) -> list[Path]:
    """latest_net_NAME.pth of each generator and discriminator. UsageError for what the reference does not have."""
    recipe = recipe_for("junyanz", source, options, TranslationRecipe, "pix2pix and CycleGAN")
    model = source.model
    assert isinstance(model, Translator)
    config = recipe.generator
    if strange := _strange(config):
        raise UsageError(
            f"--format junyanz: {source.run} was trained with {strange}, which the reference does not have"
        )
    chosen = model.chosen(options.direction)
    wanted = [each.network for each in chosen.values()]
    states = {_file(name): _state(model.networks[name].state_dict(), config, source.run) for name in wanted}
    if not options.direction and out.suffix != SUFFIX and not _unlike(recipe.discriminator):
        states |= {_file(name): _state(each, recipe.discriminator, source.run) for name, each in judges(source).items()}
    names = {direction: out.name if out.suffix == SUFFIX else _file(each.network) for direction, each in chosen.items()}
    return write_networks(source, out, options, states, len(wanted), _told(recipe, chosen, names))


def _file(network: str) -> str:
    return f"latest_net_{network}.pth"


def _strange(config: Generator) -> str:
    """The flag of what the reference's generators cannot be; empty where there is nothing."""
    if config.upsample != "transpose":
        return f"--generator.upsample {config.upsample}"
    if _unlike(config):
        return f"--generator.norm-affine {config.norm_affine}"
    if config.kind == "unet":
        return ""
    others = {
        f"--generator.padding {config.padding}": config.blocks and config.padding != "reflect",
        f"--generator.ends {config.ends}": config.ends != "reflect",
        f"--generator.slope {config.slope:g}": config.slope,
        "--generator.separable": config.separable,
    }
    return next((flag for flag, there in others.items() if there), "")


def _unlike(config: Generator | Discriminator) -> bool:
    """Whether a norm learns scale and shift where the reference's does not, or the other way round."""
    return Norm(config.norm, config.norm_affine).learned != (config.norm == "batch")


def _state(weights: dict[str, Tensor], config: Generator | Discriminator, run: Path) -> dict[str, Tensor]:
    """`weights` as the reference has them: without a norm, only the convolutions at the ends have a bias there.

    UsageError where another's is not zero.
    """
    if config.norm != "none":
        return weights
    places = [int(match[1]) for name in weights if (match := re.match(r"model\.(\d+)\.", name))]
    last = f"model.{max(places, default=0)}.bias"
    ends = {
        "resnet": {last},
        "unet": {"model.model.3.bias"},
        "patch": {"model.0.bias", last},
        "pixel": {"net.0.bias"},
    }[config.kind]
    dropped = [name for name in weights if name.endswith(".bias") and name not in ends]
    if learned := next((name for name in dropped if torch.any(weights[name] != 0)), ""):
        raise UsageError(
            f"--format junyanz: {run} has no norm and has learned {learned}; the reference's convolutions have no bias "
            "without a norm"
        )
    return {name: tensor for name, tensor in weights.items() if name not in dropped}


def _told(recipe: TranslationRecipe, chosen: dict[str, Translation], names: dict[str, str]) -> str:
    """What each of the files called `names` draws, and with which flags either program takes it for what it is."""
    files = " and ".join(f"{name} ({direction})" for direction, name in names.items())
    (direction, first), *others = chosen.items()
    channels = {"A": recipe.data.channels_a, "B": recipe.data.channels_b}
    flags = _flags(recipe.generator, channels[first.source], channels[first.target])
    alone = direction == "BtoA" and not others
    # A file called G_B tells its direction; and of a CycleGAN's generators there, the name alone decides.
    flags += " --direction BtoA" if alone and first.network == "G" else ""
    telling = TELLING.search(Path(names[direction]).stem)
    misleading = telling is not None and not direction.startswith(telling[1])
    said = [f"G={names[direction]}"] if misleading else []
    said += ["--direction BtoA"] if alone and names[direction] != _file("G_B") else []
    supposed = 0 if others and recipe.generator.kind == "unet" else DROPOUT
    if recipe.generator.dropout != supposed and (recipe.generator.kind == "unet" or recipe.generator.dropout):
        said.append(f"--dropout {recipe.generator.dropout:g}")
    return f"{files}, there: {flags}{_unnamed(recipe.generator)}{_back(said, recipe.generator)}"


def _back(flags: list[str], config: Generator) -> str:
    """The commands with which what is exported is itself again here; empty where they need no flag."""
    words = [" ".join(("gesso import", *flags))]
    words += ["then gesso translate --mode eval"] if _quieted(config) else []
    return f"; back here: {', '.join(words)}" if flags or words[1:] else ""


def _quieted(config: Generator) -> bool:
    """Whether it is used with dropout or the batch's statistics off, where test.py, and so an import, has them on."""
    return config.test_mode == "eval" and (config.dropout > 0 or config.norm == "batch")


def _flags(config: Generator, inputs: int, outputs: int) -> str:
    """The reference's flags for such a network, as far as it has them."""
    names, number = (RESNETS, config.blocks) if config.kind == "resnet" else (UNETS, config.depth)
    flags = {
        f"--netG {names.get(number)}": number in names,
        f"--norm {config.norm}": True,
        f"--ngf {config.ngf}": True,
        f"--input_nc {inputs}": inputs != CHANNELS,
        f"--output_nc {outputs}": outputs != CHANNELS,
        "--no_dropout": not config.dropout,
        "--eval": _quieted(config),
    }
    return " ".join(flag for flag, wanted in flags.items() if wanted)


def _unnamed(config: Generator) -> str:
    """What the reference's code has to be told where none of its flags can; empty where there is nothing."""
    if config.kind == "resnet":
        told = "" if config.blocks in RESNETS else f"ResnetGenerator with n_blocks={config.blocks}"
    else:
        told = "" if config.depth in UNETS else f"UnetGenerator with num_downs={config.depth}"
    dropout = "" if config.dropout in (0, DROPOUT) or _quieted(config) else f"nn.Dropout({config.dropout:g})"
    told = " and ".join(filter(None, (told, dropout)))
    return f", and in its code {told}" if told else ""
