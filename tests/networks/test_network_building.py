"""What the recipes build: sizes, counts, costs and initial weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gesso.networks import (
    PatchGAN,
    PixelGAN,
    ResNetGenerator,
    UNetGenerator,
    build_discriminator,
    build_generator,
    initialize,
    macs,
)
from gesso.networks.resnet import ResidualBlock
from gesso.networks.upsample import ResizeConv2d
from gesso.recipe import Discriminator, Generator


def millions(network: nn.Module) -> float:
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parameter_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert millions(build_generator(Generator(), 3, 3)) == 11.378
        assert millions(build_generator(Generator(kind="unet", norm="batch"), 3, 3)) == 54.414
        assert millions(build_discriminator(Discriminator(norm="batch"), 6)) == 2.769


def test_macs_of_the_cyclegan_generator_are_the_published_56_8_g() -> None:
    with torch.device("meta"):
        network = ResNetGenerator()
    assert round(macs(network, torch.empty(1, 3, 256, 256)) / 1e9, 1) == 56.8


def test_macs_counts_convolutions_groups_and_linear_layers() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.ConvTranspose2d(8, 2, 2, 2), nn.Flatten(), nn.Linear(32, 5)
    )
    expected = (8 * 2 * 2) * (2 * 9) + (2 * 4 * 4) * (8 * 4) + 32 * 5
    assert macs(network, torch.empty(1, 4, 2, 2)) == expected
    assert macs(network, torch.empty(3, 4, 2, 2)) == 3 * expected


def test_macs_leaves_running_statistics_and_hooks_alone() -> None:
    network = PatchGAN(3, 4, norm="batch")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    macs(network, torch.randn(2, 3, 32, 32))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_builders_pass_every_field_on() -> None:
    config = Generator(ngf=4, blocks=2, norm="batch", padding="zero", dropout=0.3, upsample="resize")
    resnet = build_generator(config, 1, 2)
    blocks = [m for m in resnet.modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == 2 and [type(m).__name__ for m in blocks[0].conv_block][:1] == ["Conv2d"]
    assert sum(isinstance(m, ResizeConv2d) for m in resnet.modules()) == 2
    assert {m.p for m in resnet.modules() if isinstance(m, nn.Dropout)} == {0.3}
    unet = build_generator(replace(config, kind="unet", depth=6, norm_affine="off"), 1, 2)
    assert isinstance(unet, UNetGenerator) and unet.multiple == 64
    assert {m.p for m in unet.modules() if isinstance(m, nn.Dropout)} == {0.3}
    assert not any(m.affine for m in unet.modules() if isinstance(m, nn.BatchNorm2d))
    patch = build_discriminator(Discriminator(ndf=4, layers=2, slope=0.1, norm="none"), 5)
    assert isinstance(patch, PatchGAN) and patch.model[0].in_channels == 5
    assert {m.negative_slope for m in patch.modules() if isinstance(m, nn.LeakyReLU)} == {0.1}
    assert isinstance(build_discriminator(Discriminator(kind="pixel", ndf=4), 3), PixelGAN)


@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (2, 4), (4, 1)])
@pytest.mark.parametrize("kind", ["resnet", "unet"])
def test_one_to_four_channels_and_oblong_images_keep_their_size(kind: str, channels: tuple[int, int]) -> None:
    network = build_generator(Generator(kind=kind, ngf=2, blocks=1, depth=5), *channels)
    output = network(torch.rand(2, channels[0], 32, 96) * 2 - 1)
    assert output.shape == (2, channels[1], 32, 96)
    assert output.abs().max() <= 1


@pytest.mark.parametrize("blocks", [0, 1, 6])
@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("padding", ["reflect", "zero", "replicate", "symmetric"])
def test_resnet_of_any_number_of_blocks_keeps_the_size(blocks: int, upsample: str, padding: str) -> None:
    network = ResNetGenerator(3, 3, 2, blocks, padding=padding, upsample=upsample)
    assert network(torch.zeros(1, 3, 12, 20)).shape == (1, 3, 12, 20)
    assert sum(isinstance(m, ResidualBlock) for m in network.modules()) == blocks


@pytest.mark.parametrize("padding", ["reflect", "zero", "replicate", "symmetric"])
def test_resnet_takes_an_image_of_its_minimum_size(padding: str) -> None:
    network = ResNetGenerator(3, 3, 2, 1, padding=padding)
    assert network(torch.randn(1, 3, network.minimum, network.minimum)).isfinite().all()


@pytest.mark.parametrize("depth", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_unet_takes_an_image_that_shrinks_to_one_pixel(depth: int, norm: str) -> None:
    network = UNetGenerator(3, 3, 1, depth, norm=norm)
    assert network.minimum == network.multiple == 2**depth
    assert network(torch.randn(1, 3, 2**depth, 2**depth)).isfinite().all()


@pytest.mark.parametrize(
    ("network", "height", "width"),
    [
        (ResNetGenerator(3, 3, 2, 1), 30, 32),
        (ResNetGenerator(3, 3, 2, 1), 32, 33),
        (ResNetGenerator(3, 3, 2, 1), 4, 64),
        (UNetGenerator(3, 3, 2, 5), 48, 64),
        (UNetGenerator(3, 3, 2, 5), 64, 16),
    ],
)
def test_generators_refuse_a_size_that_does_not_fit_and_say_which_does(
    network: ResNetGenerator | UNetGenerator, height: int, width: int
) -> None:
    with pytest.raises(ValueError, match=rf"{height}×{width} .* multiples of {network.multiple} ") as caught:
        network(torch.zeros(1, 3, height, width))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_patchgan_gives_one_score_at_its_minimum_size_and_refuses_less(layers: int) -> None:
    network = PatchGAN(3, 2, layers)
    side = network.minimum
    assert network(torch.randn(1, 3, side, side)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"need {side} pixels"):
        network(torch.randn(1, 3, side - 1, side))


def test_patchgan_of_three_layers_sees_70_pixels() -> None:
    network = PatchGAN(1, 2, 3, norm="none")
    image = torch.randn(1, 1, 256, 256, requires_grad=True)
    network(image)[0, 0, 15, 15].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].abs().sum(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_pixelgan_judges_each_pixel_by_itself() -> None:
    network = PixelGAN(3, 2, norm="none")
    image = torch.randn(1, 3, 8, 9, requires_grad=True)
    scores = network(image)
    scores[0, 0, 4, 5].backward()
    assert scores.shape == (1, 1, 8, 9) and image.grad is not None
    assert image.grad.abs().sum(1).nonzero().tolist() == [[0, 4, 5]]


@pytest.mark.parametrize(
    "build",
    [
        lambda: ResNetGenerator(blocks=-1),
        lambda: UNetGenerator(depth=4),
        lambda: UNetGenerator(depth=11),
        lambda: PatchGAN(layers=0),
    ],
)
def test_impossible_numbers_are_refused(build) -> None:
    with pytest.raises(ValueError, match=r"GAN|Generator"):
        build()


def test_reflection_appears_only_where_it_was_asked_for_in_the_blocks() -> None:
    network = ResNetGenerator(3, 3, 2, 2, padding="symmetric")
    assert sum(isinstance(m, nn.ReflectionPad2d) for m in network.modules()) == 2  # the two 7×7 ends
    assert sum(isinstance(m, nn.ReplicationPad2d) for m in network.modules()) == 4


def test_resize_upsampling_draws_no_checkerboard_where_transposed_convolution_does() -> None:
    def unevenness(upsample: str) -> float:
        network = ResNetGenerator(3, 3, 8, 0, norm="none", padding="replicate", upsample=upsample)
        initialize(network, "normal", 0.1, seeded(0))
        row = network(torch.ones(1, 3, 64, 64))[0, 0, 32, 16:48].detach()
        return float(row.std() / row.abs().mean())

    assert unevenness("resize") < 1e-4
    assert unevenness("transpose") > 1e-2


def test_unet_resizes_at_every_level_where_asked_and_keeps_the_names() -> None:
    config = Generator(kind="unet", ngf=2, depth=5, upsample="resize")
    network = build_generator(config, 3, 3)
    assert sum(isinstance(m, ResizeConv2d) for m in network.modules()) == 5
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in network.modules())
    assert network(torch.zeros(1, 3, 64, 32)).shape == (1, 3, 64, 32)
    assert network.state_dict().keys() == UNetGenerator(3, 3, 2, 5, norm="instance").state_dict().keys()


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initial_weights_depend_on_the_generator_alone(kind: str) -> None:
    def weights(global_seed: int, seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(global_seed)
        network = UNetGenerator(3, 3, 2, 5)
        initialize(network, kind, 0.02, seeded(seed))
        return network.state_dict()

    first, again, other = weights(1, 7), weights(2, 7), weights(1, 8)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["model.model.0.weight"], other["model.model.0.weight"])


def test_initialize_without_a_generator_follows_the_global_seed() -> None:
    network = PixelGAN(3, 8)
    torch.manual_seed(5)
    initialize(network)
    first = network.net[0].weight.clone()
    torch.manual_seed(5)
    initialize(network)
    assert torch.equal(first, network.net[0].weight)


@pytest.mark.parametrize(
    ("kind", "gain", "expected"),
    [
        ("normal", 0.02, 0.02),
        ("xavier", 0.5, 0.5 * (2 / (64 * 9 + 32 * 9)) ** 0.5),
        ("kaiming", 0.02, (2 / (64 * 9)) ** 0.5),
    ],
)
def test_weights_have_the_standard_deviation_of_their_kind(kind: str, gain: float, expected: float) -> None:
    convolution = nn.Conv2d(64, 32, 3)
    initialize(convolution, kind, gain, seeded(0))
    assert convolution.weight.std().item() == pytest.approx(expected, rel=0.03)
    assert abs(convolution.weight.mean().item()) < 0.03 * expected
    assert convolution.bias is not None and not convolution.bias.any()


def test_orthogonal_weights_are_orthogonal_with_the_norm_of_the_gain() -> None:
    convolution = nn.Conv2d(16, 32, 3)
    initialize(convolution, "orthogonal", 0.5, seeded(0))
    matrix = convolution.weight.detach().flatten(1)  # 32 rows of 144
    torch.testing.assert_close(matrix @ matrix.T, 0.25 * torch.eye(32), atol=1e-5, rtol=0)


def test_batch_norms_start_around_one_and_instance_norms_at_one() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2000), nn.InstanceNorm2d(4, affine=True), nn.BatchNorm2d(3, affine=False))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 9.0)
    initialize(network, "xavier", 0.02, seeded(0))
    assert network[0].weight.mean().item() == pytest.approx(1, abs=0.002)
    assert network[0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not network[0].bias.any()
    assert (network[1].weight == 1).all() and not network[1].bias.any()
