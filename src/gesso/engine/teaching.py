"""A student's teacher: where its recipe fills the student's, and how its weights come into a run and stay there.

A run keeps a copy of its teacher, in `teacher/`: the weights that are used (averaged ones where there are) and the
discriminators, as a run folder with one checkpoint. The path alone would not do: the teacher's run may be trained on,
thinned out, moved or deleted, and the student's may be taken to another machine, and it is still to be resumed in the
same bits. Beside each of its checkpoints the copy would be one too many, as it never changes.
"""

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gesso.engine import checkpoint
from gesso.engine.checkpoint import Checkpoint, Weights
from gesso.engine.pulling import at_hand
from gesso.engine.runs import RECIPE, read_recipe
from gesso.engine.state import find_checkpoint, load_into, used_keys
from gesso.errors import CheckpointError, UsageError
from gesso.files import write_atomically
from gesso.hub import is_hub
from gesso.models import MODELS
from gesso.models.base import Model
from gesso.models.distill import Student
from gesso.processes import World
from gesso.progress import say
from gesso.recipe import DistillRecipe, Recipe, Taught, TranslationRecipe
from gesso.recipe.pix2pix import Pix2PixRecipe
from gesso.recipes import RECIPES
from gesso.restoring import flat, nested, restore

FOLDER = "teacher"

INHERITED = (
    "direction", "epochs", "batch_size", "steps_per_epoch", "ema", "ema_ramp", "loss.gan",
    "data.", "generator.", "discriminator.", "optimizer.", "schedule.", "evaluation.", "checkpoints.", "tracking.",
)  # fmt: skip
"""Fields of a recipe, or beginnings of their names, that are as the teacher's where nobody said otherwise."""
SMALLER = ("generator.ngf", "generator.separable")
"""Of these, those that make a student small; their values are the student's own."""


@dataclass(frozen=True)
class Teacher:
    """A trained model that is to teach: its recipe, images seen, and its weights under the networks' plain names."""

    recipe: TranslationRecipe
    images: int
    weights: Weights

    @property
    def digest(self) -> str:
        """SHA-256 of all weights, hexadecimal."""
        digest = hashlib.sha256()
        for network, tensors in sorted(self.weights.items()):
            for name, tensor in sorted(tensors.items()):
                digest.update(f"{network}.{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
                digest.update(_bytes(tensor))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().numpy().tobytes())


def read_teacher(recipe: DistillRecipe) -> Teacher:
    """The best checkpoint of the run that `recipe.teacher` names, or the checkpoint. A GessoError names the flag."""
    wanted = " or ".join(recipe.teachers)
    if not recipe.teacher:
        raise UsageError(f"--teacher: name the run that is to teach, one of {wanted}, such as --teacher runs/large")
    path = Path(recipe.teacher).expanduser()
    try:
        path = at_hand(path)
        found, theirs = find_checkpoint(path, "best"), read_recipe(path)
    except CheckpointError as error:
        raise CheckpointError(f"--teacher {error}") from None
    if theirs.model not in recipe.teachers or not isinstance(theirs, TranslationRecipe):
        raise CheckpointError(
            f"--teacher {recipe.teacher}: a {theirs.model}, which cannot teach a {recipe.model}; name a run of {wanted}"
        )
    return Teacher(theirs, found.images, _kept(found, MODELS[recipe.model]))


def _kept(found: Checkpoint, student: type[Student]) -> Weights:
    try:
        keys = used_keys(found, student.used)
    except CheckpointError as error:
        raise CheckpointError(f"--teacher {error}") from None
    weights = {name: found.weights[key] for name, key in keys.items()}
    return weights | {name: found.weights[name] for name in student.discriminators if name in found.weights}


def adopted(recipe: Recipe) -> Recipe:
    """`recipe`, if it is a student's that has not met its teacher, with the teacher's values in place of its defaults.

    Of the fields in INHERITED, one that has the default of the recipe is taken for not said; of a student's filters the
    default is half of the teacher's. A value that is said and does not fit is refused by `Recipe.checked`.
    """
    if not isinstance(recipe, DistillRecipe) or recipe.taught.digest:
        return recipe
    try:
        teacher = read_teacher(recipe)
    except CheckpointError as error:
        gone = not is_hub(Path(recipe.teacher)) and not Path(recipe.teacher).expanduser().exists()
        # Whether this is a student that has its own copy is not known here: the data, and so the run's name, may come
        # from the teacher.
        hint = "; a student that was begun goes on without it, by: gesso resume RUN" if gone else ""
        raise CheckpointError(f"{error}{hint}") from None
    theirs, base = teacher.recipe, RECIPES[recipe.recipe]() if recipe.recipe in RECIPES else type(recipe)(recipe="")
    values, default, given = (flat(dataclasses.asdict(each)) for each in (recipe, base, theirs))
    given["generator.ngf"] = max(1, theirs.generator.ngf // 2)
    for name, value in values.items():
        taken = name == "generator.ngf" or (name.startswith(INHERITED) and name not in SMALLER)
        if taken and name in given and value == default[name]:
            values[name] = given[name]
    taught = Taught(
        digest=teacher.digest,
        direction=theirs.direction if isinstance(theirs, Pix2PixRecipe) else "AtoB",
        preprocess=theirs.data.preprocess,
        load_size=theirs.data.load_size,
        crop_size=theirs.data.crop_size,
        channels_a=theirs.data.channels_a,
        channels_b=theirs.data.channels_b,
        generator=theirs.generator,
        discriminator=theirs.discriminator,
    )
    filled: DistillRecipe = restore(type(recipe), nested(values))
    return dataclasses.replace(filled, taught=taught)


def bring_teacher(model: Model, run: Path, world: World, *, first: bool) -> None:
    """Give `model`, if it is taught, its teachers' weights from the copy in `run`, which is made where it is not there.

    first: the run is before its first step, so discriminators that begin as the teacher's get those weights.
    """
    if not isinstance(model, Student):
        return
    recipe = model.recipe
    with world.main_first():
        if world.main and (fault := _fault(run, recipe)):
            _keep(run, recipe, fault, first=first)
        found = checkpoint.find(run / FOLDER, "latest", say)
    begun = model.discriminators if recipe.distill.discriminator == "teacher" else ()
    if missing := [name for name in begun if name not in found.weights]:
        raise UsageError(
            f"--distill.discriminator teacher: {recipe.teacher} has no {' and no '.join(missing)}; begin with others "
            "by --distill.discriminator new"
        )
    for name, teacher in zip(model.used, model.teachers.values(), strict=True):
        load_into(teacher, found.weights[name], f"{found.path}/{name}.safetensors")
    for name in begun if first else ():
        load_into(model.networks[name], found.weights[name], f"{found.path}/{name}.safetensors")


def _fault(run: Path, recipe: DistillRecipe) -> str:
    """What is wrong with the copy in `run`; empty where it is whole, and of this teacher."""
    there = checkpoint.list_checkpoints(run / FOLDER)
    try:
        kept = [checkpoint.read(path) for path in there]
    except CheckpointError as error:
        return str(error)
    if [Teacher(recipe, each.images, each.weights).digest for each in kept] == [recipe.taught.digest]:
        return ""
    return f"{run / FOLDER}: {'of another teacher' if kept else 'there is no copy of the teacher'}"


def _keep(run: Path, recipe: DistillRecipe, fault: str, *, first: bool) -> None:
    """Take the copy in `run` from the teacher; again, because of `fault`, where it is not before the first step."""
    folder = run / FOLDER
    try:
        teacher = read_teacher(recipe)
    except CheckpointError as error:
        if first:
            raise
        raise CheckpointError(
            f"{fault}; and {error}; bring that run back to its place, or train another student with --name"
        ) from None
    if teacher.digest != recipe.taught.digest:
        raise UsageError(
            f"--teacher {recipe.teacher}: its weights are not those that {run} was begun with; train another run with "
            "--name"
        )
    if not first:
        say(f"{fault}; taking it from {recipe.teacher} again")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_atomically(folder / RECIPE, teacher.recipe.to_json())
    checkpoint.save(folder, teacher.images, teacher.recipe.model, teacher.weights, {}, {}, teacher.recipe.to_json())
