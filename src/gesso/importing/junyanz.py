"""Networks of github.com/junyanz/pytorch-CycleGAN-and-pix2pix: latest_net_G.pth, latest_net_G_A.pth and so on.

Each file is the bare state_dict of one network, and no file says which flags it was trained with. Names and shapes tell
most of them; what they do not tell is the reference's default: dropout of a U-Net is on for pix2pix and off for
CycleGAN, which its test.py takes over, and where it is on, its probability is 0.5.
"""

import re
from dataclasses import replace

from gesso.errors import UsageError
from gesso.importing.architecture import DROPOUT, find_discriminator, find_generator, is_discriminator
from gesso.importing.given import given, no_use, read_state, unique
from gesso.importing.imported import Imported, Options
from gesso.importing.translators import as_tested, assemble

NETWORKS = ("G", "G_A", "G_B", "D", "D_A", "D_B")
BY_NAME = re.compile(r"(?:^|[_-])([GD](?:_[AB])?)$")


def import_junyanz(files: tuple[str, ...], options: Options) -> Imported:
    """The generators, and discriminators if given, as a pix2pix or a CycleGAN run."""
    no_use("junyanz", options, "blocks", "classes")
    if options.padding == "symmetric":
        raise UsageError("--padding symmetric: the reference's blocks have reflect or replicate")
    found = given(files, NETWORKS, BY_NAME)
    states = {path: read_state(path) for _, path in found}
    if len(found) == 1 and not found[0][0]:
        ((_, path),) = found
        found = [("D" if is_discriminator(states[path]) else "G", path)]
    for network, path in found:
        if not network:
            raise UsageError(f"{path}: which network it is does not stand in its name; give it as NETWORK=FILE")
    paths = unique(found)
    of_cyclegan = {"G_A", "G_B"} <= paths.keys()
    supposed = options if options.dropout is not None or of_cyclegan else replace(options, dropout=DROPOUT)
    generators, discriminators = {}, {}
    for network, path in paths.items():
        weights = states[path]
        if network.startswith("D"):
            discriminators[network] = find_discriminator(path, weights)
            continue
        generator = find_generator(path, weights, supposed)
        config, told = generator.config, generator.told
        if config.kind == "resnet" and options.dropout is not None:
            if bool(options.dropout) != bool(config.dropout):
                has = "has dropout" if config.dropout else "has no dropout"
                raise UsageError(f"--dropout {options.dropout:g}: {path} {has} in its blocks; leave the flag out")
            config = replace(config, dropout=options.dropout)
        if config.kind == "unet" or config.dropout:
            told += f", dropout {config.dropout:g}{'' if options.dropout is not None else ' (supposed)'}"
        generators[network] = replace(generator, config=as_tested(config), told=told)
    if not generators:
        raise UsageError(f"{files[0]}: a discriminator alone; give its generator too")
    return assemble(generators, discriminators, options)
