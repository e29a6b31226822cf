"""DenseNet: the class of an image. Huang, Liu, van der Maaten & Weinberger 2017, arXiv 1608.06993."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.models.base import Batch, Loss, Networks, remember_rates
from gesso.models.classification import Classifier
from gesso.models.mixing import cutmix, mixup
from gesso.networks.densenet import DenseNet as Network
from gesso.networks.densenet import with_newer_names
from gesso.networks.initialize import initialize_classifier
from gesso.recipe import ClassificationLoss, DenseNetRecipe, Optimizer


def classification_loss(loss: ClassificationLoss, logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of N×K `logits`; `target` is N classes, or N×K probabilities where images were mixed."""
    return F.cross_entropy(logits, target, label_smoothing=loss.label_smoothing)


class DenseNet(Classifier):
    """One network."""

    recipe: DenseNetRecipe
    gains_from_channels_last = True
    used = ("net",)

    def __init__(self, recipe: DenseNetRecipe) -> None:
        data, config = recipe.data, recipe.network
        network = Network(
            blocks=config.blocks,
            growth=config.growth,
            initial=config.initial,
            bottleneck=config.bottleneck,
            compression=config.compression,
            dropout=config.dropout,
            classes=len(data.class_names),
            channels=data.channels,
            stem=config.stem,
            norm_eps=config.norm_eps,
            memory_efficient=config.memory_efficient,
        )
        if data.image_size < network.minimum:
            raise UsageError(
                f"--data.image-size {data.image_size}: with --network.blocks {' '.join(map(str, config.blocks))} an "
                f"image needs {network.minimum} pixels a side; name larger images or fewer blocks"
            )
        if recipe.batch_size == recipe.accumulate and data.image_size < network.least(2):
            raise UsageError(
                f"--batch-size {recipe.batch_size}: images of {data.image_size} px, one at a time, leave the last "
                f"block one pixel, of which batch norm cannot tell a deviation; raise it, or use {network.least(2)} px"
            )
        super().__init__(recipe, {"net": network})

    def initialize_network(self, name: str, network: nn.Module, rng: torch.Generator) -> None:
        initialize_classifier(network, rng)

    def make_optimizers(self, fused: bool) -> None:
        self.optimizers = {"net": make_optimizer(self.networks["net"], self.recipe.optimizer, fused)}

    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        images, labels = batch["image"], batch["label"]
        mixed, target = self._mixed(images, labels, rng)
        pieces = self.pieces({"image": mixed, "target": target, "label": labels})
        return self.descend("net", map(self._loss, pieces), self.recipe.optimizer.clip_norm)

    def _loss(self, piece: Batch) -> Loss:
        logits: Tensor = self.networks["net"](self.normalized(piece["image"]))
        loss = classification_loss(self.recipe.loss, logits, piece["target"])
        right = (logits.detach().argmax(1) == piece["label"]).float().mean()
        return Loss(loss, {"loss": loss, "train_top1": right})

    def _mixed(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        loss = self.recipe.loss
        ways = [(mix, alpha) for mix, alpha in ((mixup, loss.mixup), (cutmix, loss.cutmix)) if alpha]
        if not ways:
            return images, labels
        mix, alpha = ways[int(rng.integers(len(ways)))]
        return mix(images, labels, self.classes, alpha)

    def predict(self, batch: Batch, networks: Networks | None = None) -> dict[str, Tensor]:
        """{"image"} to {"logits": N×K}."""
        return {"logits": (networks or self.networks)["net"](self.normalized(batch["image"])).float()}

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return with_newer_names(weights)

    def inputs(self) -> dict[str, Tensor]:
        data = self.recipe.data
        return {"net": torch.empty(1, data.channels, data.image_size, data.image_size, device="meta")}

    def forward_passes(self) -> dict[str, float]:
        return {"net": 3}

    @property
    def uncompilable(self) -> str:
        return "every dense layer has a shape of its own, and compiling them all takes many minutes"


def make_optimizer(network: nn.Module, config: Optimizer, fused: bool) -> torch.optim.Optimizer:
    """The optimizer that `config` asks for, with weight decay on the weights that it names."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in parameters if config.decay_all or p.dim() > 1]
    spared = [p for p in parameters if not config.decay_all and p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    return remember_rates(OPTIMIZERS[config.kind](groups, config, fused))


def _sgd(groups: list[dict[str, Any]], config: Optimizer, fused: bool) -> torch.optim.Optimizer:
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=fused)


def _adam(groups: list[dict[str, Any]], config: Optimizer, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=fused)


def _adamw(groups: list[dict[str, Any]], config: Optimizer, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=fused)


def _rmsprop(groups: list[dict[str, Any]], config: Optimizer, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=config.lr, momentum=config.momentum)


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Optimizer, bool], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
}
