"""What the models that name the class of an image share."""

import torch
from torch import Tensor, nn

from gesso.models.base import Model
from gesso.recipe import ClassificationRecipe

MEAN_AND_STD: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "half": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # Of CIFAR-10's training images in units of 1/255, as in fb.resnet.torch, on which the DenseNet paper's code stands.
    "cifar": ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)),
}
"""Of each normalisation, mean and standard deviation of the channels of images in [0, 1]."""


class Classifier(Model):
    """A model that tells classes apart.

    classes  how many, K
    `train_step` takes {"image": N×C×S×S in [-1, 1], "label": N}; `predict` takes {"image"} and gives {"logits": N×K},
    float32, of the classes in the order of the recipe's names.
    """

    recipe: ClassificationRecipe

    def __init__(self, recipe: ClassificationRecipe, networks: dict[str, nn.Module]) -> None:
        super().__init__(recipe, networks)
        self.classes = len(recipe.data.class_names)
        self._mean, self._std = (torch.tensor(v).view(1, -1, 1, 1) for v in MEAN_AND_STD[recipe.data.normalization])

    def normalized(self, images: Tensor) -> Tensor:
        """N×C×H×W in [-1, 1] as the network wants them."""
        if self.recipe.data.normalization == "half":
            return images
        if self._mean.device != images.device:  # once, since a copy to a device waits for it
            self._mean, self._std = self._mean.to(images.device), self._std.to(images.device)
        return ((images + 1) / 2 - self._mean) / self._std
