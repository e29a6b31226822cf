"""DCGAN: the names and numbers of pytorch/examples, other sizes by the same rule, spectral norm, gradients."""

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gesso.networks.initialize import initialize

LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format
SIZES = (32, 64, 128)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "generator": lambda: DCGANGenerator(32, 6, 3, 8),
    "discriminator": lambda: DCGANDiscriminator(32, 3, 8),
    "discriminator-spectral": lambda: DCGANDiscriminator(32, 3, 8, spectral_norm=True),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def example_generator(nz: int, ngf: int, nc: int) -> nn.Sequential:
    """The 64 px generator layer by layer, as in pytorch/examples."""
    return nn.Sequential(
        nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False),
        nn.BatchNorm2d(ngf * 8),
        nn.ReLU(),
        nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ngf * 4),
        nn.ReLU(),
        nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ngf * 2),
        nn.ReLU(),
        nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ngf),
        nn.ReLU(),
        nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def example_discriminator(ndf: int, nc: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ndf * 2),
        nn.LeakyReLU(0.2),
        nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ndf * 4),
        nn.LeakyReLU(0.2),
        nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ndf * 8),
        nn.LeakyReLU(0.2),
        nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_generator_takes_the_examples_file_and_draws_the_same(mode: str) -> None:
    torch.manual_seed(0)
    example = nn.Module()
    example.main = example_generator(10, 4, 3)
    ours = DCGANGenerator(64, 10, 3, 4)
    ours.load_state_dict(example.state_dict(), strict=True)
    example.train(mode == "train")
    ours.train(mode == "train")
    z = torch.randn(3, 10, 1, 1)
    torch.testing.assert_close(ours(z), example.main(z), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_discriminator_takes_the_examples_file_and_gives_its_logits(mode: str) -> None:
    torch.manual_seed(0)
    example = nn.Module()
    example.main = example_discriminator(4, 3)
    ours = DCGANDiscriminator(64, 3, 4)
    ours.load_state_dict(example.state_dict(), strict=True)
    example.train(mode == "train")
    ours.train(mode == "train")
    image = torch.rand(3, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(torch.sigmoid(ours(image)), example.main(image).flatten(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_parameter_counts_follow_from_the_rule(size: int) -> None:
    """16 weights a pair of channels, two numbers a normalised channel; widths double from 64 at half the size."""
    hidden = [64 * 2**i for i in range({32: 3, 64: 4, 128: 5}[size])]
    between = 16 * sum(a * b for a, b in pairwise(hidden))
    with torch.device("meta"):
        assert parameters(DCGANGenerator(size)) == 16 * 100 * hidden[-1] + between + 16 * 64 * 3 + 2 * sum(hidden)
        assert parameters(DCGANDiscriminator(size)) == 16 * 3 * 64 + between + 16 * hidden[-1] + 2 * sum(hidden[1:])


def test_parameter_counts_at_64_px_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert parameters(DCGANGenerator()) == 3_576_704
        assert parameters(DCGANDiscriminator()) == 2_765_568


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_have_the_size_and_range_asked_for_and_one_logit_each(size: int, channels: int) -> None:
    images = DCGANGenerator(size, 5, channels, 2)(torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert DCGANDiscriminator(size, channels, 2)(images).shape == (3,)


def test_noise_may_have_two_or_four_dimensions() -> None:
    network, z = DCGANGenerator(32, 5, 3, 2), torch.randn(2, 5)
    torch.testing.assert_close(network(z), network(z[:, :, None, None]))


@pytest.mark.parametrize("build", [DCGANGenerator, DCGANDiscriminator])
def test_another_size_is_refused_and_the_sizes_are_named(build: Callable[[int], nn.Module]) -> None:
    with pytest.raises(UsageError, match=r"48: .* 32, 64, 128"):
        build(48)


@pytest.mark.parametrize("shape", [(2, 4), (2, 5, 2, 2), (10,), (1, 2, 5)])
def test_noise_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"it must be N×5"):
        DCGANGenerator(32, 5, 3, 2)(torch.randn(shape))


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 32, 32), (3, 32, 32)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be N×3×32×32"):
        DCGANDiscriminator(32, 3, 2)(torch.randn(shape))


def test_slope_reaches_every_activation() -> None:
    network = DCGANDiscriminator(32, 3, 2, slope=0.1)
    assert [m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)] == [0.1] * 3


def test_initialization_is_the_papers_and_depends_on_the_generator_alone() -> None:
    def built(global_seed: int, seed: int) -> nn.Module:
        torch.manual_seed(global_seed)
        network = DCGANGenerator(32, 50, 3, 16)
        initialize(network, "normal", 0.02, seeded(seed))
        return network

    first, again, other = built(1, 7), built(2, 7), built(1, 8)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
    assert not torch.equal(first.main[0].weight, other.main[0].weight)
    assert first.main[0].weight.std().item() == pytest.approx(0.02, rel=0.03)
    scales = torch.cat([m.weight for m in first.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.3)


def test_spectral_norm_keeps_batch_norm_and_bounds_every_convolution() -> None:
    network = DCGANDiscriminator(32, 3, 8, spectral_norm=True)
    initialize(network, "normal", 0.5, seeded(0))
    network(torch.randn(4, 3, 32, 32))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 4 and sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 2
    for convolution in convolutions:
        assert torch.linalg.matrix_norm(convolution.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_spectral_norm_fills_the_weight_before_the_division_from_the_generator_alone() -> None:
    def built(global_seed: int, seed: int) -> nn.Module:
        torch.manual_seed(global_seed)
        network = DCGANDiscriminator(32, 3, 16, spectral_norm=True)
        initialize(network, "normal", 0.02, seeded(seed))
        return network

    first, again = built(1, 7), built(2, 7)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
    assert first.main[2].parametrizations.weight.original.std().item() == pytest.approx(0.02, rel=0.03)
    assert first.training


def test_initialize_leaves_a_spectral_discriminator_in_eval_mode_where_it_was() -> None:
    network = DCGANDiscriminator(32, 3, 4, spectral_norm=True).eval()
    initialize(network, "normal", 0.02, seeded(0))
    assert not any(module.training for module in network.modules())


def inputs_of(name: str, batch: int) -> Tensor:
    if name == "generator":
        return torch.randn(batch, 6, generator=seeded(4))
    return torch.rand(batch, 3, 32, 32, generator=seeded(4)) * 2 - 1


def built(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    network = NETWORKS[name]()
    initialize(network, "normal", 0.1, seeded(3))
    return network.to(dtype)


def gradients(network: nn.Module, value: Tensor, memory_format: torch.memory_format) -> dict[str, Tensor]:
    """Of every parameter and of the input, in float64."""
    network.to(memory_format=memory_format)
    value = value.detach().clone()
    if value.dim() == 4:
        value = value.contiguous(memory_format=memory_format)
    value.requires_grad_(True)
    output = network(value)
    weight = torch.randn(output.shape, generator=seeded(5)).to(output.dtype)
    if weight.dim() == 4:
        weight = weight.contiguous(memory_format=memory_format)
    output.backward(weight)
    return {"input": value.grad.double()} | {n: p.grad.double() for n, p in network.named_parameters()}


def worst_error(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    assert ours.keys() == exact.keys()
    return max(float((ours[key] - exact[key]).norm() / exact[key].norm()) for key in exact)


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_eager_gradients_equal_those_in_float64(name: str, batch: int, memory_format: torch.memory_format) -> None:
    exact = gradients(built(name).double(), inputs_of(name, batch).double(), CONTIGUOUS)
    assert worst_error(gradients(built(name), inputs_of(name, batch), memory_format), exact) < 1e-3


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_traced_channels_last_gradients_equal_those_in_float64(name: str, batch: int) -> None:
    torch.compiler.reset()
    exact = gradients(built(name).double(), inputs_of(name, batch).double(), CONTIGUOUS)
    network = built(name)
    network.compile(backend="aot_eager", fullgraph=True, dynamic=False)
    assert worst_error(gradients(network, inputs_of(name, batch), LAST), exact) < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gradients_do_not_depend_on_the_memory_format(name: str) -> None:
    runs = []
    for memory_format in (CONTIGUOUS, LAST):
        with torch.autocast("cpu", torch.bfloat16):
            runs.append(gradients(built(name), inputs_of(name, 4), memory_format)["input"])
    assert F.cosine_similarity(runs[0].flatten(), runs[1].flatten(), dim=0) > 0.98


def test_a_discriminator_under_spectral_norm_can_be_copied() -> None:
    network = built("discriminator-spectral").eval()
    image = inputs_of("discriminator", 2)
    torch.testing.assert_close(copy.deepcopy(network)(image), network(image))
