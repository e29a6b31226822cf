"""Generators and discriminators of translators, put together as a pix2pix or a CycleGAN."""

from dataclasses import replace
from pathlib import Path

from gesso.errors import CheckpointError, UsageError
from gesso.importing.architecture import FoundDiscriminator, FoundGenerator
from gesso.importing.imported import Imported, Options
from gesso.recipe import CycleGANRecipe, Direction, Discriminator, Generator, Recipe, TranslationData
from gesso.recipes.cyclegan import cyclegan
from gesso.recipes.pix2pix import pix2pix

DIRECTIONS: dict[str, Direction] = {"G_A": "AtoB", "G_B": "BtoA"}
"""What CycleGAN's generators draw, by the reference's names."""


def assemble(
    generators: dict[str, FoundGenerator], discriminators: dict[str, FoundDiscriminator], options: Options
) -> Imported:
    """A CycleGAN of G_A and G_B, a pix2pix of a lone generator. GessoError where networks do not belong together."""
    bordered = [each for each in generators.values() if each.config.kind == "resnet" and each.config.padding != "zero"]
    if options.padding and not bordered:
        raise UsageError(f"--padding {options.padding}: no residual block here has a border of its own; leave it out")
    if {"G_A", "G_B"} == set(generators):
        return _cyclegan(generators, discriminators, options)
    if len(generators) != 1:
        there = ", ".join([*generators, *discriminators])
        raise UsageError(f"{there}: give one generator, or G_A and G_B; name each as NETWORK=FILE where names mislead")
    return _pix2pix(generators, discriminators, options)


def _cyclegan(
    generators: dict[str, FoundGenerator], discriminators: dict[str, FoundDiscriminator], options: Options
) -> Imported:
    G_A, G_B = generators["G_A"], generators["G_B"]
    if options.direction:
        raise UsageError(f"--direction {options.direction}: G_A and G_B are both here; it is for a lone generator")
    if G_A.config != G_B.config or (G_A.inputs, G_A.outputs) != (G_B.outputs, G_B.inputs):
        raise CheckpointError(f"{G_B.part.path}: a {G_B.told}, and {G_A.part.path} a {G_A.told}: not of one CycleGAN")
    judges = {name: found for name, found in discriminators.items() if name != "D"}
    configs = [found.config for found in judges.values()]
    if any(config != configs[0] for config in configs):
        raise CheckpointError(f"{judges['D_B'].part.path}: of another architecture than {judges['D_A'].part.path}")
    for name, channels in (("D_A", G_A.outputs), ("D_B", G_B.outputs)):
        if name in judges:
            _check_seen(judges[name], channels, "a CycleGAN's")
    base = cyclegan()
    identity = base.loss.lambda_identity if G_A.inputs == G_A.outputs else 0.0
    recipe: CycleGANRecipe = replace(
        base,
        data=_data(G_A.config, G_A.inputs, G_A.outputs, G_A.part.path),
        generator=G_A.config,
        discriminator=configs[0] if configs else _discriminator(G_A.config),
        loss=replace(base.loss, lambda_identity=identity),
    )
    found = [f"G_A and G_B: {G_A.told}, channels {G_A.inputs} → {G_A.outputs}", *_told(judges, ("D_A", "D_B"))]
    found += ["D: left out, a CycleGAN has D_A and D_B"] if "D" in discriminators else []
    parts = {name: each.part for name, each in generators.items()} | {n: each.part for n, each in judges.items()}
    return Imported(recipe, parts, tuple(found))


def _pix2pix(
    generators: dict[str, FoundGenerator], discriminators: dict[str, FoundDiscriminator], options: Options
) -> Imported:
    ((name, G),) = generators.items()
    direction = options.direction or DIRECTIONS.get(name, "AtoB")
    if name in DIRECTIONS and direction != DIRECTIONS[name]:
        raise UsageError(
            f"--direction {direction}: {G.part.path} is {name}, which draws {DIRECTIONS[name]}; give it as "
            f"G={G.part.path} where its name misleads"
        )
    a, b = (G.inputs, G.outputs) if direction == "AtoB" else (G.outputs, G.inputs)
    judge = discriminators.get("D")
    if judge:
        _check_seen(judge, G.inputs + G.outputs, "a pix2pix's, source and target together,")
    base = pix2pix()
    recipe: Recipe = replace(
        base,
        direction=direction,
        data=_data(G.config, a, b, G.part.path),
        generator=G.config,
        discriminator=judge.config if judge else _discriminator(G.config),
    )
    supposed = "" if options.direction or name in DIRECTIONS else " (supposed; --direction BtoA says the other)"
    found = [f"{name}: {G.told}, channels {G.inputs} → {G.outputs}, direction {direction}{supposed}"]
    found += _told({"D": judge} if judge else {}, ("D",))
    found += [f"{other}: left out, a lone generator has no use for it" for other in discriminators if other != "D"]
    parts = {"G": G.part} | ({"D": judge.part} if judge else {})
    return Imported(recipe, parts, tuple(found))


def _told(judges: dict[str, FoundDiscriminator], names: tuple[str, ...]) -> list[str]:
    lines = [f"{name}: {found.told}" for name, found in judges.items()]
    missing = [name for name in names if name not in judges]
    if missing:
        lines.append(f"{' and '.join(missing)}: in no file, so new; only training needs them")
    return lines


def _data(config: Generator, a: int, b: int, path: Path) -> TranslationData:
    """Data for training on, as large as a U-Net is deep; the reference's 256 for a ResNet."""
    for channels in (a, b):
        if not 1 <= channels <= 4:
            raise CheckpointError(f"{path}: a generator of {channels} channels; gesso's have 1 to 4")
    crop = int(2**config.depth) if config.kind == "unet" else 256
    return TranslationData(load_size=crop * 286 // 256, crop_size=crop, channels_a=a, channels_b=b)


def _discriminator(config: Generator) -> Discriminator:
    """The reference's for such a generator."""
    return Discriminator(ndf=config.ngf, norm=config.norm, norm_affine=config.norm_affine)


def _check_seen(found: FoundDiscriminator, channels: int, whose: str) -> None:
    if found.inputs != channels:
        raise CheckpointError(f"{found.part.path}: a discriminator of {found.inputs} channels; {whose} sees {channels}")


def as_tested(config: Generator) -> Generator:
    """`config` in the mode in which the reference's test.py uses it: dropout and the batch's statistics stay on."""
    noisy = config.norm == "batch" or config.dropout > 0
    return replace(config, test_mode="train" if noisy else "eval")
