"""What every model offers to the training loop, and the few moves that their steps share."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gesso.devices import facts
from gesso.recipe import Recipe

Batch = dict[str, Tensor]
Networks = dict[str, nn.Module]


class Loss(NamedTuple):
    """What a phase of a step goes down on one piece of the batch, and what is to be told of it."""

    total: Tensor
    told: dict[str, Tensor]


class Model(ABC):
    """Networks, their optimizers and one training step.

    networks    by name, each called as a plain module; precision, compilation and devices are put around
                them from outside, so a step reads like the paper
    optimizers  by name; the loop sets their learning rates, each group's "initial_lr" times the schedule
    used        names of the networks that are used after training, and that weight averaging follows
    teachers    networks that a step asks and nothing changes, in the order of `used`: in evaluation mode, without
                gradients, not in checkpoints; empty for models that are not taught
    share_gradients  is called with the gradients of an optimizer before its step; puts into them their mean over all
                processes, where there are several
    loss_scales  by optimizer, what its loss is multiplied by before the backward pass; empty but in fp16
    inspect     is called with an optimizer's name, it, and its gradients once they are shared: may discard its step
    made        the newest pictures that the step in train_step generated, detached; empty for models that make none
    discriminator_losses  names of the losses that say how well the discriminators tell
    submit      is called after each backward pass and each optimizer's step, for devices that only record until then
    """

    recipe: Recipe
    networks: Networks
    optimizers: dict[str, torch.optim.Optimizer]
    used: tuple[str, ...]
    teachers: Networks
    share_gradients: Callable[[list[Tensor]], None]
    inspect: Callable[[str, torch.optim.Optimizer, list[Tensor]], None]
    made: list[Tensor]
    discriminator_losses: tuple[str, ...] = ()
    submit: Callable[[], None]
    loss_scales: dict[str, Tensor]

    def __init__(self, recipe: Recipe, networks: Networks) -> None:
        self.recipe = recipe
        self.networks = networks
        self.teachers = {}
        self.optimizers = {}
        self.share_gradients = lambda gradients: None
        self.inspect = lambda name, optimizer, gradients: None
        self.made = []
        self.submit = lambda: None
        self.loss_scales = {}

    def initialize(self, seed: int) -> None:
        """Draw every network's weights: a function of the seed and the network's place alone."""
        for place, (name, network) in enumerate(self.networks.items()):
            self.initialize_network(name, network, torch.Generator().manual_seed(seed * 1000 + place))

    @abstractmethod
    def initialize_network(self, name: str, network: nn.Module, rng: torch.Generator) -> None:
        """Draw the weights of one network from `rng`."""

    @abstractmethod
    def make_optimizers(self, fused: bool) -> None:
        """Fill `optimizers`, once the networks are on their device."""

    @abstractmethod
    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step on `batch`; images are N×C×H×W in [-1, 1]. Gives the losses, detached, still on the device."""

    @abstractmethod
    def predict(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        """Everything that the model makes of `batch`, by name, such as fake_B. `networks`: others to use."""

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state_dict from elsewhere under the names of this model's networks."""
        return weights

    @abstractmethod
    def inputs(self) -> dict[str, Tensor]:
        """For each network and teacher an input of one training image's worth, on the meta device: shapes alone."""

    @abstractmethod
    def forward_passes(self) -> dict[str, float]:
        """Forward passes of each network and teacher that one step's work is worth; a backward pass counts two."""

    @property
    def mode(self) -> str:
        """How the networks behave when they are used: see `using`."""
        return "eval"

    gains_from_channels_last = False
    """Whether its eager steps are faster channels_last even on devices that do not gain from it in general."""

    @property
    def uncompilable(self) -> str:
        """Why the networks had better not be compiled; empty where nothing is against it."""
        return ""

    def prepare(self, batches: Iterator[Batch]) -> None:  # noqa: B027
        """What is to be done once before the first step of a run, such as filling pools."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs beyond networks and optimizers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert not state

    def pieces(self, batch: Batch) -> list[Batch]:
        """The batch in as many equal parts as the recipe has each phase of a step take one after the other."""
        count = self.recipe.accumulate
        if count == 1:
            return [batch]
        parts = {role: tensor.chunk(count) for role, tensor in batch.items()}
        return [{role: parts[role][i] for role in batch} for i in range(count)]

    def descend(self, optimizer: str, losses: Iterable[Loss], clip_norm: float = 0.0) -> dict[str, Tensor]:
        """One update of `optimizer` down the mean gradient of `losses`, one for each of the batch's pieces; the means
        of what they tell, detached.

        A piece's loss is asked for when the one before has been through its backward pass, so that only one graph is
        in memory. The gradient's norm is clipped to `clip_norm` if not 0.
        """
        chosen, count = self.optimizers[optimizer], self.recipe.accumulate
        chosen.zero_grad(set_to_none=True)
        scale = self.loss_scales.get(optimizer)
        told: list[dict[str, Tensor]] = []
        for loss in losses:
            total = loss.total if count == 1 else loss.total / count
            (total if scale is None else total * scale).backward()  # type: ignore[no-untyped-call]
            told.append({name: value.detach() for name, value in loss.told.items()})
            self.submit()
        assert len(told) == count, "a loss for each of the batch's pieces"
        parameters = list(chain.from_iterable(group["params"] for group in chosen.param_groups))
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if scale is not None:
            torch._foreach_div_(gradients, scale)
        self.share_gradients(gradients)
        self.inspect(optimizer, chosen, gradients)
        if clip_norm:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        chosen.step()
        self.submit()
        return told[0] if count == 1 else {name: torch.stack([each[name] for each in told]).mean(0) for name in told[0]}


def remember_rates(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """`optimizer`, each group of which knows its base rate as "initial_lr"."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameters_of(networks: Iterable[nn.Module]) -> list[nn.Parameter]:
    return list(chain.from_iterable(network.parameters() for network in networks))


@contextlib.contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Gradients flow through `networks` but not into their weights."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


@contextlib.contextmanager
def untracked(*networks: nn.Module) -> Iterator[None]:
    """Batch norm in `networks` normalises by the batch, in train mode, and keeps nothing of it for later."""
    norms = [module for network in networks for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track


@contextlib.contextmanager
def seeded(networks: Iterable[nn.Module], seed: int) -> Iterator[None]:
    """Inside, random numbers on the host and on the networks' devices start from `seed`; after it they go on as if none
    had been drawn."""
    devices = {parameter.device for network in networks for parameter in network.parameters()}
    elsewhere = [device for device in devices if not facts(device).host]  # the host's are forked anyhow
    with torch.random.fork_rng(elsewhere, device_type=elsewhere[0].type if elsewhere else "cpu"):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def using(networks: Mapping[str, nn.Module], mode: str, seed: int = 0) -> Iterator[None]:
    """Inside, `networks` are used: no gradients, nothing of their state changes, the same call gives the same.

    mode "eval"   no dropout, running statistics of batch norm
    mode "train"  dropout and the batch's own statistics, as pix2pix was evaluated (Isola et al. 2017, section
                  3.2.1); the random numbers start from `seed`
    """
    was = {name: network.training for name, network in networks.items()}
    for network in networks.values():
        network.train(mode == "train")
    try:
        # Using a model on a few images does not wait for a compiler.
        eager = torch.compiler.set_stance("force_eager")
        # Batch norm in train mode would move its running statistics.
        still = untracked(*networks.values()) if mode == "train" else contextlib.nullcontext()
        with eager, torch.no_grad(), seeded(networks.values(), seed), still:
            yield
    finally:
        for name, network in networks.items():
            network.train(was[name])
