"""The depthwise-separable residual block against one written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gesso.errors import UsageError
from gesso.networks.normalize import Norm
from gesso.networks.resnet import ResidualBlock
from gesso.recipe import Generator, Pix2PixRecipe


def separable(x: Tensor, depthwise: Tensor, its_bias: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    """Each channel with its own 3×3 kernel, instance norm, then a matrix over the channels of each pixel."""
    each = [F.conv2d(x[:, c : c + 1], depthwise[c : c + 1], its_bias[c : c + 1]) for c in range(x.shape[1])]
    normed = F.instance_norm(torch.cat(each, 1))
    return torch.einsum("oi,nihw->nohw", pointwise[:, :, 0, 0], normed) + bias[:, None, None]


def test_separable_block_is_what_one_would_write_by_hand() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(5, Norm("instance"), separable=True), torch.randn(2, 5, 8, 6)
    first, second = (
        [block.get_parameter(f"conv_block.{i}.conv.{j}.{what}") for j in (0, 2) for what in ("weight", "bias")]
        for i in (1, 5)
    )
    hidden = F.instance_norm(separable(F.pad(x, (1, 1, 1, 1), "reflect"), *first)).relu()
    expected = x + F.instance_norm(separable(F.pad(hidden, (1, 1, 1, 1), "reflect"), *second))
    torch.testing.assert_close(block(x), expected)


def test_separable_block_keeps_the_size_with_zero_padding_too() -> None:
    block = ResidualBlock(4, Norm("batch"), "zero", dropout=0.5, separable=True)
    assert block(torch.randn(2, 4, 8, 6)).shape == (2, 4, 8, 6)
    assert block.get_parameter("conv_block.0.conv.0.weight").shape == (4, 1, 3, 3)


def test_a_u_net_has_no_blocks_to_make_separable() -> None:
    recipe = Pix2PixRecipe(recipe="pix2pix", generator=Generator(kind="unet", separable=True))
    with pytest.raises(UsageError, match=r"--generator.separable: a U-Net has no residual blocks"):
        recipe.checked()
