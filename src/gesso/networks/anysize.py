"""Images of any size through networks that want multiples: pad, translate, crop back."""

import torch.nn.functional as F
from torch import Tensor


def pad(images: Tensor, multiple: int, minimum: int) -> Tensor:
    """N×C×H×W grown at the right and at the bottom until both sides are multiples of `multiple`, at least `minimum`.

    The border is mirrored, so that it looks like the image and instance norm's statistics stay near the
    image's own; where an image is too small to be mirrored that far, its edge is repeated.
    """
    height, width = images.shape[2:]
    down = max(-(-height // multiple) * multiple, minimum) - height
    right = max(-(-width // multiple) * multiple, minimum) - width
    if not (down or right):
        return images
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, down), mode)


def crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The top left H×W `size` of N×C×H'×W'."""
    return images[:, :, : size[0], : size[1]]
