"""The learning rate as a pure function of images seen."""

import math

from gesso.recipe import Schedule


def rate(schedule: Schedule, epochs: float, images_per_epoch: int, images: int) -> float:
    """Multiplier of the base learning rate for the step that begins at `images` images seen.

    With granularity "epoch" and epoch e = 0, 1, …:

    linear   1 − max(0, e + 1 − delay) / (epochs − delay + 1), which never quite reaches 0, as in the reference
    cosine   ½ (cos(π (e − delay) / (epochs − delay)) + 1) after `delay`
    step     factor to the power of the milestones passed
    warm-up  ((e + 1) / (warmup_epochs + 1)) to the power 1 (linear) or 2 (quadratic), for e < warmup_epochs

    With granularity "step" e is the exact fraction of epochs seen, linear decay ends in 0, and warm-up is
    (e / warmup_epochs).
    """
    exact = images / images_per_epoch
    by_epoch = schedule.granularity == "epoch"
    e = float(math.floor(exact)) if by_epoch else exact
    done = 1 if by_epoch else 0
    delay = epochs / 2 if schedule.delay < 0 else schedule.delay
    if schedule.warmup != "none" and e < schedule.warmup_epochs:
        power = 2 if schedule.warmup == "quadratic" else 1
        return ((e + done) / (schedule.warmup_epochs + done)) ** power
    match schedule.decay:
        case "constant":
            return 1.0
        case "step":
            return float(schedule.factor ** sum(e >= milestone for milestone in schedule.milestones))
        case "linear":
            return max(0.0, 1 - max(0.0, e + done - delay) / max(epochs - delay + done, 1e-9))
        case "cosine":
            share = (e - delay) / max(epochs - delay, 1e-9)
            return 0.5 * (math.cos(math.pi * min(max(share, 0.0), 1.0)) + 1)


def scaling(schedule: Schedule, processes: int) -> float:
    """Multiplier of the base learning rate for `processes` times the images a step: see `Schedule.scaling`."""
    return {"none": 1.0, "sqrt": math.sqrt(processes), "linear": float(processes)}[schedule.scaling]
