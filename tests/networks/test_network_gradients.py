"""Gradients do not depend on the memory format, the batch size or the compiler; flat images stay finite."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesso.networks import PatchGAN, PixelGAN, ResNetGenerator, UNetGenerator, initialize
from gesso.networks.normalize import InstanceNorm2d

LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: ResNetGenerator(3, 3, 8, 1),
    "resnet-affine": lambda: ResNetGenerator(3, 3, 8, 1, norm_affine="on", padding="zero"),
    "resnet-resize": lambda: ResNetGenerator(3, 3, 8, 1, padding="replicate", upsample="resize"),
    "resnet-batch": lambda: ResNetGenerator(3, 3, 8, 1, norm="batch"),
    "resnet-mindspore": lambda: ResNetGenerator(3, 3, 8, 1, ends="symmetric", slope=0.2, upsample="same"),
    "unet": lambda: UNetGenerator(3, 3, 8, 5),
    "unet-instance": lambda: UNetGenerator(3, 3, 8, 5, norm="instance"),
    "patch": lambda: PatchGAN(3, 8, 3),
    "patch-batch": lambda: PatchGAN(3, 8, 2, norm="batch"),
    "pixel": lambda: PixelGAN(3, 8),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    network = NETWORKS[name]()
    initialize(network, "normal", 0.1, torch.Generator().manual_seed(3))
    return network.to(dtype)


def image_of(batch: int) -> Tensor:
    return torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(4)) * 2 - 1


def gradients(network: nn.Module, image: Tensor, memory_format: torch.memory_format) -> dict[str, Tensor]:
    """Of every parameter and of the image, in float64, for a dense gradient of that memory format at the output."""
    network.to(memory_format=memory_format)
    image = image.detach().contiguous(memory_format=memory_format).requires_grad_(True)
    output = network(image)
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(5)).to(output.dtype)
    output.backward(weight.contiguous(memory_format=memory_format))
    found = {name: p.grad.double() for name, p in network.named_parameters() if p.grad is not None}
    return {**found, "image": image.grad.double()}


def worst_error(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Largest relative error of any tensor; a bias's beside its weight, as its exact gradient under a norm is 0."""
    assert ours.keys() == exact.keys()
    return max(float((ours[key] - exact[key]).norm() / exact[key.replace("bias", "weight")].norm()) for key in exact)


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_eager_gradients_equal_those_in_float64(name: str, batch: int, memory_format: torch.memory_format) -> None:
    exact = gradients(built(name, torch.float64), image_of(batch).double(), CONTIGUOUS)
    assert worst_error(gradients(built(name), image_of(batch), memory_format), exact) < 1e-3


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["resnet", "unet-instance", "patch", "pixel"])
def test_traced_channels_last_gradients_equal_those_in_float64(name: str, batch: int) -> None:
    """Whole networks as torch.compile sees them, graph without a break, without the cost of generating code."""
    torch.compiler.reset()
    exact = gradients(built(name, torch.float64), image_of(batch).double(), CONTIGUOUS)
    network = built(name)
    network.compile(backend="aot_eager", fullgraph=True, dynamic=False)
    assert worst_error(gradients(network, image_of(batch), LAST), exact) < 1e-3


@pytest.mark.parametrize("batch", [1, 2])
def test_compiled_channels_last_gradients_equal_those_in_float64(batch: int) -> None:
    """Generated code, for the smallest network with an instance norm: every kernel takes a second to compile."""
    torch.compiler.reset()
    network = PatchGAN(3, 4, 1)
    exact = gradients(copy.deepcopy(network).double(), image_of(batch).double(), CONTIGUOUS)
    network.compile(fullgraph=True, dynamic=False)
    assert worst_error(gradients(network, image_of(batch), LAST), exact) < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gradients_do_not_depend_on_the_memory_format(name: str) -> None:
    runs = []
    for memory_format in (CONTIGUOUS, LAST):
        with torch.autocast("cpu", torch.bfloat16):
            runs.append(gradients(built(name), image_of(1), memory_format)["image"])
    cosine = F.cosine_similarity(runs[0].flatten(), runs[1].flatten(), dim=0)
    assert cosine > 0.98


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_equals_torchs_in_float64(batch: int, memory_format: torch.memory_format) -> None:
    x = torch.randn(batch, 5, 7, 9, dtype=torch.float64).contiguous(memory_format=memory_format)
    x.requires_grad_(True)
    theirs = x.detach().contiguous().requires_grad_(True)
    weight = torch.randn(batch, 5, 7, 9, dtype=torch.float64)
    ours = InstanceNorm2d(5)(x)
    expected = nn.InstanceNorm2d(5)(theirs)
    torch.testing.assert_close(ours, expected)
    ours.backward(weight.contiguous(memory_format=memory_format))
    expected.backward(weight)
    torch.testing.assert_close(x.grad, theirs.grad)


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
def test_instance_norm_keeps_the_memory_format(memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 5, 7, 9).contiguous(memory_format=memory_format)
    assert InstanceNorm2d(5)(x).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
def test_instance_norm_is_accurate_where_a_channel_is_nearly_flat(memory_format: torch.memory_format) -> None:
    x = (10 + 0.01 * torch.randn(1, 8, 32, 32)).contiguous(memory_format=memory_format)
    exact = F.instance_norm(x.double())
    assert (InstanceNorm2d(8)(x) - exact).norm() / exact.norm() < 1e-3


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("grey", [0.0, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_flat_images_give_finite_outputs_and_gradients(
    name: str, grey: float, memory_format: torch.memory_format, bf16: bool
) -> None:
    network = built(name)
    image = torch.full((1, 3, 32, 32), grey)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = gradients(network, image, memory_format)
        assert network(image).isfinite().all()
    assert all(gradient.isfinite().all() for gradient in found.values())
