"""The divergence guard: a run that goes wrong is noticed, mended where that can be, and else stopped with a diagnosis.

Three lines of defence, each where it costs nothing:

On the device, in every step. The norm of each optimizer's gradients, already the mean over all processes, is compared
with its own past. Where it is not finite, or `FAR` times the highest of late, the optimizer's step is discarded: fused
optimizers read a flag on the device and leave weights and moments alone, so nothing waits for the answer; for others
the gradients become zero. In fp16, whose gradients overflow now and then, the loss scale follows from it.

On the host, every `LOOK` steps. What the steps left on the device (norms, flags, losses, the spread of what was
generated) was copied while the steps after them ran. From it come the faults that no single step shows: too many
discarded steps, losses that are not finite or far outside their range, a discriminator whose loss stays at zero, a
generator whose pictures are all one colour.

In the loop. A fault sends the run back to its last good checkpoint, with another order of the data and, if asked for,
lower learning rates; after `recipe.guard.returns` of them it stops and says why.

All of it is a function of the steps, and what it remembers is saved with each checkpoint, so a resumed run still ends
in the weights of one that was not stopped.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gesso.devices import facts
from gesso.engine.scaling import LEAST, LossScale
from gesso.models.base import Model
from gesso.processes import World
from gesso.recipe import Guard as Limits

LOOK = 8
"""Steps between two looks of the host."""
SETTLING = 50
"""Steps until a range is known."""
FAR = 100.0
"""So many times the highest value of late is outside the range, for gradients and losses alike. In 300 healthy steps of
each of the four demos nothing came above 1.8 times that (benchmarks/guard.py)."""
EARLY = 1000.0
"""Until a range is known, a loss may be so many times the largest of the first step, whose weights nothing has spoilt
yet; or of 1."""
FADING, RISING = 0.5 ** (1 / 1000), 1.1
"""The highest value fades by half in 1000 steps. Once a range is known it rises by a tenth a step at most: else it
would follow a loss that grows tenfold with each step, which is far outside after the second."""
ZERO, ZERO_STEPS = 1e-6, 200
"""A discriminator whose losses are all below this, for so many steps, has nothing left to teach."""
FLAT, FLAT_STEPS = 0.008, 50
"""Pictures in [-1, 1] whose mean deviation is below one grey level of 255, for so many steps, are one colour. Not the
standard deviation: a dozen specks in a black picture make that large."""
RECENT = 100
"""Steps among which discarded ones are counted."""
DISCARDED, OVERFLOWED = 1.0, 2.0
"""Flags of an optimizer's step that was not taken. The second is fp16's daily business: its loss scale was too high."""


@dataclass(frozen=True)
class Fault:
    """What went wrong, in words for the log."""

    reason: str


@dataclass
class Seen:
    """What a step left on the device, in one vector: norm and flag of each optimizer, losses, spread."""

    optimizers: list[str]
    losses: list[str]
    values: Tensor


@dataclass
class Memory:
    """What the guard remembers, saved with each checkpoint. Counts are of steps in a row up to now."""

    highest: dict[str, float] = field(default_factory=dict)
    """Of each loss, the highest absolute value of late."""
    first: float = 0.0
    """The largest of the first step's."""
    steps: int = 0
    discarded: list[int] = field(default_factory=list)
    """Numbers of the newest steps of which a part was discarded."""
    zero: int = 0
    flat: int = 0


class Guard:
    """Watches the steps of `model`. Made once its optimizers are there; `limits` are the recipe's.

    fp16: scale the losses, and the gradients back. `limits` must not be off then.
    """

    def __init__(self, limits: Limits, model: Model, world: World, *, fp16: bool = False) -> None:
        self._limits, self._model, self._world = limits, model, world
        device = self._device = next(next(iter(model.networks.values())).parameters()).device
        self._highest = {name: torch.zeros((), device=device) for name in model.optimizers}
        self._count = torch.zeros((), device=device)
        self._scales = {name: LossScale(device) for name in model.optimizers} if fp16 else {}
        model.loss_scales = {name: scale.value for name, scale in self._scales.items()}
        self._memory = Memory()
        self._parts: dict[str, tuple[Tensor, Tensor]] = {}
        self._ahead: list[Seen] = []
        self._copied: list[tuple[Seen, Callable[[], Tensor]]] = []
        self._notes: list[str] = []
        if limits.enabled:
            model.inspect = self.inspect

    @torch.no_grad()
    def inspect(self, name: str, optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor]) -> None:
        """Between the backward pass and the step of optimizer `name`: have the step discarded where it must be."""
        norm = torch.stack(torch._foreach_norm(list(gradients))).float().norm()
        highest = self._highest[name]
        bad = ~norm.isfinite() | ((norm > FAR * highest) & (self._count >= SETTLING))
        known = torch.where(self._count >= SETTLING, torch.minimum(norm, highest * RISING), norm)
        self._highest[name] = torch.where(bad, highest, torch.maximum(highest * FADING, known))
        flag = bad.float()
        if scale := self._scales.get(name):
            finite = norm.isfinite()
            flag = torch.where(finite | (scale.value <= LEAST), flag, OVERFLOWED)
            scale.follow(finite)
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            _begin_momentum(optimizer)
            optimizer.grad_scale = None  # type: ignore[attr-defined]
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        else:
            for gradient in gradients:
                gradient.copy_(torch.where(bad, 0, gradient))
        self._parts[name] = norm, flag

    @torch.no_grad()
    def watch(self, losses: dict[str, Tensor]) -> None:
        """After a step: keep what it left, on the device."""
        if not self._limits.enabled:
            return
        self._count += 1
        made = [_spread(images) for images in self._model.made]
        spread = torch.stack(made).min() if made else torch.full((), math.inf, device=self._device)
        parts = [value for part in self._parts.values() for value in part]
        values = torch.stack([*parts, *(loss.float() for loss in losses.values()), spread])
        self._ahead.append(Seen(list(self._parts), list(losses), values))

    def look(self) -> Fault | None:
        """Every `LOOK` steps: judge the steps before the last `LOOK`, whose copies have come by now.

        The same answer in all processes: each has losses of its own, and the first that finds a fault speaks for all.
        """
        if len(self._ahead) < LOOK:
            return None
        return self._judge(self._turn())

    def notes(self) -> list[str]:
        """What is to be told of steps that were discarded, since the last call."""
        told, self._notes = self._notes, []
        return told

    def settle(self) -> Fault | None:
        """Judge all steps there were, before a checkpoint is written: it must be a good one, and its memory whole."""
        return self._judge(self._turn() + self._turn())

    def _turn(self) -> list[tuple[Seen, Callable[[], Tensor]]]:
        """What was copied at the turn before; the newest steps are sent on their way."""
        arrived, self._copied = self._copied, [(seen, _later(seen.values)) for seen in self._ahead]
        self._ahead = []
        return arrived

    def _judge(self, arrived: list[tuple[Seen, Callable[[], Tensor]]]) -> Fault | None:
        found = None
        for seen, values in arrived:
            found = found or self._fault(seen, values().tolist())
        if not arrived or not self._limits.enabled:
            return None
        return next((fault for fault in self._world.gather(found) if fault), None)

    def _fault(self, seen: Seen, values: list[float]) -> Fault | None:
        """What is wrong after one more step."""
        memory, parts = self._memory, 2 * len(seen.optimizers)
        memory.steps += 1
        losses, spread = dict(zip(seen.losses, values[parts:-1], strict=True)), values[-1]
        flags = {name: values[2 * i + 1] for i, name in enumerate(seen.optimizers)}
        if overflowed := [name for name, flag in flags.items() if flag == OVERFLOWED]:
            self._notes.append(
                f"fp16: a step of {', '.join(overflowed)} overflowed and was left out, its loss scale halved"
            )
        dropped = [(n, values[2 * i]) for i, n in enumerate(seen.optimizers) if flags[n] == DISCARDED]
        if dropped:
            why = ", ".join(f"{name}'s gradients {_size(norm)}" for name, norm in dropped)
            memory.discarded = [step for step in [*memory.discarded, memory.steps] if step > memory.steps - RECENT]
            self._notes.append(f"guard: a step was discarded, {why} ({len(memory.discarded)} of the last {RECENT})")
            if len(memory.discarded) > self._limits.discards:
                return Fault(f"{len(memory.discarded)} of the last {RECENT} steps had to be discarded; {why}")
        if memory.steps == 1:
            memory.first = max((abs(loss) for loss in losses.values() if math.isfinite(loss)), default=0.0)
        settled = memory.steps > SETTLING
        for name, loss in losses.items():
            highest = memory.highest.get(name, 0.0)
            times, usual, what = (FAR, highest, "highest of late") if settled else (EARLY, memory.first, "first")
            if math.isfinite(loss) and abs(loss) <= times * max(usual, ZERO if settled else 1.0):
                known = min(abs(loss), RISING * max(highest, ZERO)) if settled else abs(loss)
                memory.highest[name] = max(highest * FADING, known)
            elif not any(flags.values()) or self._spoiled():
                far = f", {times:.0f} times the {what}, {usual:.3g}" if math.isfinite(loss) else ""
                return Fault(f"{name} is {loss:.3g}{far}")
        judged = [abs(losses[name]) for name in self._model.discriminator_losses]
        memory.zero = memory.zero + 1 if judged and max(judged) < ZERO else 0
        if memory.zero >= ZERO_STEPS:
            return Fault(f"the discriminator's loss has been zero for {memory.zero} steps")
        memory.flat = memory.flat + 1 if spread < FLAT else 0
        if memory.flat >= FLAT_STEPS:
            return Fault(f"the generator has made nothing but one colour for {memory.flat} steps")
        return None

    def _spoiled(self) -> bool:
        """Whether a number that is not finite has got into what outlives a step, though its optimizers stood still:
        running statistics, pools of past fakes."""
        buffers = (buffer for network in self._model.networks.values() for buffer in network.buffers())
        return not all(bool(held.isfinite().all()) for held in (*buffers, *_tensors(self._model.state_dict())))

    def forget(self) -> None:
        """Begin anew, as before the first step."""
        for scale in self._scales.values():
            scale.forget()
        self.load_state_dict({"gradients": dict.fromkeys(self._highest, 0.0), "count": 0.0, "memory": {}})

    def state_dict(self) -> dict[str, Any]:
        """Everything remembered; call after `settle`."""
        highest = {name: float(value) for name, value in self._highest.items()}
        scales = {name: scale.state_dict() for name, scale in self._scales.items()}
        return {"gradients": highest, "count": float(self._count), "memory": vars(self._memory), "scales": scales}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave; steps under way are forgotten."""
        self._highest = {name: torch.tensor(value, device=self._device) for name, value in state["gradients"].items()}
        self._count = torch.tensor(state["count"], device=self._device)
        self._memory = Memory(**state["memory"])
        for name, scale in state.get("scales", {}).items():
            self._scales[name].load_state_dict(scale)
        self._ahead, self._copied = [], []


def _spread(images: Tensor) -> Tensor:
    """How far samples of N×C×H×W lie from the mean of their channel, on average, in the channel that varies most: a
    colour differs by channel."""
    samples = images.float()
    return (samples - samples.mean((0, 2, 3), keepdim=True)).abs().mean((0, 2, 3)).max()


def _tensors(held: Any) -> Iterator[Tensor]:
    """Every tensor in nested dicts and lists."""
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, dict | list | tuple):
        for each in held.values() if isinstance(held, dict) else held:
            yield from _tensors(each)


def _begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Zeros for the momentum, for which fused SGD's first step takes memory as it is, and leaves it so where it is
    discarded. 0 times the momentum plus the gradient is the gradient, as in a first step."""
    if optimizer.state or not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] and parameter.grad is not None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter.grad)


def _size(norm: float) -> str:
    return f"of norm {norm:.3g}" if math.isfinite(norm) else "not finite"


def _later(values: Tensor) -> Callable[[], Tensor]:
    """Begin to copy `values` to the host; the function waits for the copy and gives it."""
    if not facts(values.device).pins_memory:
        return values.cpu
    kept = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
    event = torch.Event(values.device.type)
    event.record()

    def arrived() -> Tensor:
        event.synchronize()
        return kept

    return arrived
