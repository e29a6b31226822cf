"""What a run does when it diverges: it goes back to a good checkpoint and tries another order of the data."""

from gesso.engine import checkpoint, state
from gesso.engine.checkpoint import Checkpoint
from gesso.engine.guard import Fault
from gesso.engine.report import write_report
from gesso.engine.session import Session, settle
from gesso.errors import DivergenceError
from gesso.progress import say


def go_back(s: Session, fault: Fault) -> int:
    """Put the run where its last good checkpoint was; its position. DivergenceError once it has done so too often.

    A checkpoint that the run went back to before, to diverge again, is not taken to be good: the one before it is.
    """
    told = f"diverged: {fault.reason}"
    if s.in_a_row >= s.recipe.guard.returns:
        s.narrator.note(s.images, f"{told}; stopped after going back {s.in_a_row} times")
        if s.world.main:
            write_report(s.run)
        kept = "its last checkpoint is kept" if s.initial is None else "it never came to a checkpoint"
        raise DivergenceError(
            f"{s.run} {told}, after going back {s.in_a_row} times; {kept}; train again, under another --name or with "
            "--overwrite, at a lower learning rate, with --guard.rate-factor 0.5, another --seed, or "
            "--optimizer.clip-norm 1"
        )
    s.returns += 1
    s.in_a_row += 1
    s.diverged_at = s.images
    with s.world.main_first():
        found = _good(s) if s.initial is None else None
        if s.world.main and found:
            checkpoint.drop_after(s.run, found.path)
    noticed, s.images = s.images, found.images if found else 0
    if found:
        state.restore(s.model, s.average, s.guard, found, s.world.rank)
        s.best, s.saved_at = settle(s.run, found, s.recipe, s.world), s.images
    elif s.initial:
        state.begin_again(s.model, s.average, s.guard, s.initial.weights, s.initial.model)
        s.best, s.saved_at = {}, -1
    s.gone_back_to, s.scored = s.images, None
    s.batches.rewind(s.images, s.seed)
    rates = s.recipe.guard.rate_factor**s.returns
    lower = f", learning rates times {rates:g}" if rates != 1 else ""
    s.narrator.go_back(s.images)
    s.narrator.note(
        s.images,
        f"{told}, noticed at {noticed} images; back to {s.images} with another order of the data{lower} "
        f"(return {s.in_a_row} of {s.recipe.guard.returns})",
    )
    return s.images


def _good(s: Session) -> Checkpoint:
    found = checkpoint.find(s.run, "latest", say)
    earlier = [path for path in checkpoint.list_checkpoints(s.run) if checkpoint.images_of(path) < found.images]
    if found.images == s.gone_back_to and earlier:
        return checkpoint.find(s.run, earlier[-1].name, say)
    return found
