"""The reference's weights in, the reference's numbers out."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from reference_networks import (
    ReferencePatchGAN,
    ReferencePixelGAN,
    ReferenceResNet,
    ReferenceUNet,
)
from torch import Tensor, nn

from gesso.networks import PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator
from gesso.networks.normalize import Norm
from gesso.networks.unet import SkipBlock

Pair = Callable[[], tuple[nn.Module, nn.Module, int, int]]  # reference, ours, channels, side

PAIRS: dict[str, Pair] = {
    "resnet9": lambda: (ReferenceResNet(3, 3, 8, 9, "instance"), ResNetGenerator(3, 3, 8, 9), 3, 32),
    "resnet6-batch": lambda: (
        ReferenceResNet(1, 4, 8, 6, "batch"),
        ResNetGenerator(1, 4, 8, 6, norm="batch"),
        1,
        24,
    ),
    "resnet2-affine-replicate": lambda: (
        ReferenceResNet(2, 3, 8, 2, "affine", "replicate"),
        ResNetGenerator(2, 3, 8, 2, norm_affine="on", padding="replicate"),
        2,
        16,
    ),
    "resnet2-zero": lambda: (
        ReferenceResNet(3, 3, 8, 2, "instance", "zero"),
        ResNetGenerator(3, 3, 8, 2, padding="zero"),
        3,
        16,
    ),
    "resnet2-none": lambda: (
        ReferenceResNet(3, 3, 8, 2, "none"),
        ResNetGenerator(3, 3, 8, 2, norm="none"),
        3,
        16,
    ),
    "resnet3-dropout": lambda: (
        ReferenceResNet(3, 3, 8, 3, "batch", dropout=True),
        ResNetGenerator(3, 3, 8, 3, norm="batch", dropout=0.5),
        3,
        16,
    ),
    "resnet2-dropout-zero": lambda: (
        ReferenceResNet(3, 3, 8, 2, "instance", "zero", dropout=True),
        ResNetGenerator(3, 3, 8, 2, padding="zero", dropout=0.5),
        3,
        16,
    ),
    "unet128": lambda: (
        ReferenceUNet(3, 3, 4, 7, "batch"),
        UNetGenerator(3, 3, 4, 7),
        3,
        128,
    ),
    "unet256-dropout": lambda: (
        ReferenceUNet(3, 1, 4, 8, "batch", dropout=True),
        UNetGenerator(3, 1, 4, 8, dropout=0.5),
        3,
        256,
    ),
    "unet32-instance": lambda: (
        ReferenceUNet(4, 2, 4, 5, "instance"),
        UNetGenerator(4, 2, 4, 5, norm="instance"),
        4,
        32,
    ),
    "patch1": lambda: (ReferencePatchGAN(3, 8, 1, "instance"), PatchGAN(3, 8, 1), 3, 33),
    "patch2-batch": lambda: (ReferencePatchGAN(6, 8, 2, "batch"), PatchGAN(6, 8, 2, norm="batch"), 6, 32),
    "patch3": lambda: (ReferencePatchGAN(3, 8, 3, "instance"), PatchGAN(3, 8, 3), 3, 47),
    "patch4-affine": lambda: (ReferencePatchGAN(3, 4, 4, "affine"), PatchGAN(3, 4, 4, norm_affine="on"), 3, 64),
    "pixel-instance": lambda: (ReferencePixelGAN(3, 8, "instance"), PixelGAN(3, 8), 3, 17),
    "pixel-batch": lambda: (ReferencePixelGAN(6, 8, "batch"), PixelGAN(6, 8, norm="batch"), 6, 16),
}


def prepared(pair: Pair) -> tuple[nn.Module, nn.Module, Tensor]:
    """Both networks with the reference's weights, biases and scales away from 0 and 1, and an input."""
    torch.manual_seed(0)
    reference, ours, channels, side = pair()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    ours.load_state_dict(reference.state_dict(), strict=True)
    return reference, ours, torch.rand(2, channels, side, side) * 2 - 1


@pytest.mark.parametrize("name", PAIRS)
def test_state_dict_has_the_references_names_and_shapes(name: str) -> None:
    reference, ours, _, _ = PAIRS[name]()
    shapes = {key: value.shape for key, value in reference.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", PAIRS)
def test_output_equals_the_references(name: str, mode: str) -> None:
    reference, ours, image = prepared(PAIRS[name])
    for network in (reference, ours):
        network.train(mode == "train")
    torch.manual_seed(1)  # the same dropout masks
    expected = reference(image.clone())
    torch.manual_seed(1)
    torch.testing.assert_close(ours(image.clone()), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_equal_the_references(name: str) -> None:
    reference, ours, image = prepared(PAIRS[name])
    reference.double()
    ours.double()
    image = image.double()
    torch.manual_seed(1)
    expected = reference(image)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    torch.manual_seed(1)
    (ours(image) * weight).sum().backward()
    for (key, theirs), mine in zip(reference.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-8, rtol=1e-6, msg=key)


def test_running_statistics_move_as_in_the_reference() -> None:
    reference, ours, image = prepared(PAIRS["resnet6-batch"])
    reference(image)
    ours(image)
    for key, value in ours.named_buffers():
        torch.testing.assert_close(value, dict(reference.named_buffers())[key])


def test_the_unets_skip_connection_carries_the_activated_input_and_leaves_the_input_alone() -> None:
    x = torch.randn(1, 4, 8, 8)
    before = x.clone()
    output = SkipBlock(4, 8, Norm("batch"), slope=0.2, inner=None)(x)
    assert torch.equal(x, before)
    assert torch.equal(output[:, :4], F.leaky_relu(before, 0.2))


def test_resnet_names_are_those_of_published_files() -> None:
    names = ResNetGenerator(ngf=2).state_dict()
    assert "model.1.weight" in names
    assert "model.10.conv_block.1.weight" in names and "model.18.conv_block.5.weight" in names
    assert "model.19.weight" in names and "model.26.weight" in names
    assert "model.2.weight" not in names  # instance norm has no scale


def test_unet_names_are_those_of_published_files() -> None:
    names = UNetGenerator(ngf=2).state_dict()
    assert "model.model.0.weight" in names and "model.model.3.bias" in names
    assert "model.model.1.model.2.running_mean" in names
    assert "model.model.1" + 6 * ".model.3" + ".model.1.weight" in names  # the bottom of eight levels


def test_resize_upsampling_keeps_every_name() -> None:
    transpose = ResNetGenerator(ngf=2, blocks=2).state_dict()
    resize = ResNetGenerator(ngf=2, blocks=2, upsample="resize").state_dict()
    assert list(transpose) == list(resize)
