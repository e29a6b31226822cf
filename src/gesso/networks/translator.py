"""What every generator shares: a picture in, a picture of the same size out, and the sizes it can take."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Tap(NamedTuple):
    """An inner layer whose output can be asked for: N×`channels`×(H / `shrink`)×(W / `shrink`) of an N×C×H×W image."""

    channels: int
    shrink: int


class Translator(nn.Module, ABC):
    """A generator. Its layers are `model`, as in the reference, so that state_dicts are exchanged unchanged.

    Sides that are no multiple of `multiple` would come out in another size (ResNet) or fail in the middle
    (U-Net). They are refused here, where the message can say why; callers pad an image up and crop the result
    back.

    taps: four inner layers, or fewer where there are not so many, in the order in which they are computed. A large and
        a small network that differ in their filters alone have them at the same places.
    """

    taps: tuple[Tap, ...]

    def __init__(self, model: nn.Module, multiple: int, minimum: int) -> None:
        super().__init__()
        self.model = model
        self._multiple, self._minimum = multiple, minimum

    @property
    def multiple(self) -> int:
        """Height and width must be divisible by this many pixels."""
        return self._multiple

    @property
    def minimum(self) -> int:
        """Smallest height and width in pixels; itself divisible by `multiple`."""
        return self._minimum

    @abstractmethod
    def tapped(self, image: Tensor) -> tuple[Tensor, ...]:
        """What `model` makes of `image`, and behind it the outputs of `taps`."""

    def forward(self, image: Tensor, taps: bool = False) -> Tensor | tuple[Tensor, ...]:
        """N×C_in×H×W in [-1, 1] to N×C_out×H×W in [-1, 1]; ValueError where H or W does not fit.

        taps: behind it, in a tuple, the outputs of `taps`.
        """
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple or min(height, width) < self.minimum:
            raise ValueError(
                f"{type(self).__name__}: {height}×{width} does not fit; height and width must be "
                f"multiples of {self.multiple} and at least {self.minimum}"
            )
        if taps:
            return self.tapped(image)
        output: Tensor = self.model(image)
        return output
