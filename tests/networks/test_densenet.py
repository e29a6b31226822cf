"""DenseNet: published counts, torchvision's names and numbers, checkpointing that changes nothing, gradients."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesso.errors import UsageError
from gesso.networks.densenet import DenseNet
from gesso.networks.initialize import initialize_classifier
from gesso.networks.macs import macs
from gesso.recipe import DenseNetwork, cifar_network, imagenet_network
from gesso.recipes import RECIPES

LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "imagenet": lambda: DenseNet((2, 2), 4, 8, classes=5),
    "cifar": lambda: DenseNet((2, 2), 4, 8, classes=5, stem="cifar"),
    "basic": lambda: DenseNet((2, 2), 4, 8, bottleneck=0, compression=1.0, classes=5, stem="cifar"),
    "efficient": lambda: DenseNet((2, 2), 4, 8, classes=5, stem="cifar", memory_efficient=True),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def millions(network: nn.Module, digits: int = 3) -> float:
    return round(sum(p.numel() for p in network.parameters()) / 1e6, digits)


def of(config: DenseNetwork, classes: int = 1000) -> DenseNet:
    return DenseNet(**dataclasses.asdict(config), classes=classes)


def of_recipe(name: str) -> DenseNet:
    recipe: Any = RECIPES[name]()
    return of(recipe.network)


class ReferenceDenseNet(nn.Module):
    """The network a second time, as one list of layers with no sharing, bottleneck 4 and compression ½."""

    def __init__(self, blocks: tuple[int, ...], k: int, width: int, classes: int, eps: float) -> None:
        super().__init__()
        self.blocks, self.layers = blocks, nn.ModuleDict()

        def add(name: str, layer: nn.Module) -> None:
            self.layers[f"features.{name}".replace(".", "/")] = layer

        add("conv0", nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False))
        add("norm0", nn.BatchNorm2d(width, eps))
        for b, count in enumerate(blocks, start=1):
            for i in range(1, count + 1):
                at = f"denseblock{b}.denselayer{i}"
                add(f"{at}.norm1", nn.BatchNorm2d(width, eps))
                add(f"{at}.conv1", nn.Conv2d(width, 4 * k, 1, bias=False))
                add(f"{at}.norm2", nn.BatchNorm2d(4 * k, eps))
                add(f"{at}.conv2", nn.Conv2d(4 * k, k, 3, padding=1, bias=False))
                width += k
            if b < len(blocks):
                add(f"transition{b}.norm", nn.BatchNorm2d(width, eps))
                add(f"transition{b}.conv", nn.Conv2d(width, width // 2, 1, bias=False))
                width //= 2
        add("norm5", nn.BatchNorm2d(width, eps))
        self.layers["classifier"] = nn.Linear(width, classes)

    def named(self) -> OrderedDict[str, Tensor]:
        state = {key.removeprefix("layers."): value for key, value in self.state_dict().items()}
        return OrderedDict((key.replace("/", "."), value) for key, value in state.items())

    def forward(self, x: Tensor) -> Tensor:
        def at(name: str) -> nn.Module:
            return self.layers[f"features.{name}".replace(".", "/")]

        x = F.max_pool2d(torch.relu(at("norm0")(at("conv0")(x))), 3, 2, 1)
        for b, count in enumerate(self.blocks, start=1):
            for i in range(1, count + 1):
                d = f"denseblock{b}.denselayer{i}"
                y = at(f"{d}.conv1")(torch.relu(at(f"{d}.norm1")(x)))
                x = torch.cat([x, at(f"{d}.conv2")(torch.relu(at(f"{d}.norm2")(y)))], 1)
            if b < len(self.blocks):
                x = F.avg_pool2d(at(f"transition{b}.conv")(torch.relu(at(f"transition{b}.norm")(x))), 2)
        return self.layers["classifier"](torch.relu(at("norm5")(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("densenet121", 7.979), ("densenet161", 28.681), ("densenet169", 14.149), ("densenet201", 20.014)],
)
def test_parameter_counts_of_the_imagenet_variants_are_the_published_ones(name: str, parameters: float) -> None:
    with torch.device("meta"):
        assert millions(of_recipe(name)) == parameters


@pytest.mark.parametrize(
    ("depth", "growth", "bottleneck", "parameters", "published"),
    [
        (100, 12, True, 0.769, 0.8),
        (250, 24, True, 15.324, 15.3),
        (190, 40, True, 25.624, 25.6),
        (40, 12, False, 1.020, 1.0),
        (100, 12, False, 6.980, 7.0),
        (100, 24, False, 27.249, 27.2),
    ],
)
def test_parameter_counts_of_the_cifar_family_are_those_of_table_2(
    depth: int, growth: int, bottleneck: bool, parameters: float, published: float
) -> None:
    with torch.device("meta"):
        network = of(cifar_network(depth, growth, bottleneck), classes=10)
    assert millions(network) == parameters
    assert millions(network, 1) == published
    weights = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules())
    assert weights == depth  # L counts every layer with weights


@pytest.mark.parametrize(
    ("name", "convolutions", "with_norms"),
    [
        ("densenet121", 2.83, 2.87),
        ("densenet169", 3.36, 3.40),
        ("densenet201", 4.29, 4.34),
        ("densenet161", 7.73, 7.79),
    ],
)
def test_macs_at_224_are_the_published_ones_with_and_without_the_norms(
    name: str, convolutions: float, with_norms: float
) -> None:
    with torch.device("meta"):
        network = of_recipe(name)
    image = torch.empty(1, 3, 224, 224, device="meta")
    found = macs(network, image)
    normalised: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda layer, inputs, output: normalised.append(output.numel()))
    network(image)
    assert round(found / 1e9, 2) == convolutions
    assert round((found + 2 * sum(normalised)) / 1e9, 2) == with_norms  # a scale and a shift each


def test_names_and_their_order_are_torchvisions() -> None:
    with torch.device("meta"):
        names = list(DenseNet().state_dict())
    batch_norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layer = "features.denseblock1.denselayer1"
    assert names[:18] == [
        "features.conv0.weight",
        *[f"features.norm0.{n}" for n in batch_norm],
        *[f"{layer}.norm1.{n}" for n in batch_norm],
        f"{layer}.conv1.weight",
        *[f"{layer}.norm2.{n}" for n in batch_norm],
        f"{layer}.conv2.weight",
    ]
    assert names[-7:] == [*[f"features.norm5.{n}" for n in batch_norm], "classifier.weight", "classifier.bias"]
    assert "features.transition3.norm.weight" in names and "features.transition3.conv.weight" in names
    assert "features.denseblock4.denselayer16.conv2.weight" in names
    assert len(names) == 727


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_output_and_running_statistics_equal_an_independent_networks(mode: str) -> None:
    torch.manual_seed(0)
    reference = ReferenceDenseNet((2, 3, 1), 4, 6, 5, eps=1.1e-5)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    ours = DenseNet((2, 3, 1), 4, 6, classes=5, norm_eps=1.1e-5)
    assert list(ours.state_dict()) == list(reference.named())
    ours.load_state_dict(reference.named(), strict=True)
    for network in (reference, ours):
        network.train(mode == "train")
    image = torch.randn(2, 3, 41, 50)
    torch.testing.assert_close(ours(image), reference(image), atol=1e-5, rtol=1e-5)
    for name, expected in reference.named().items():
        torch.testing.assert_close(ours.state_dict()[name], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("depth", "bottleneck", "nearest"), [(41, True, "40 or 46"), (41, False, "40 or 43"), (4, True, "10 or 16")]
)
def test_a_depth_that_does_not_divide_is_refused_and_the_next_ones_are_named(
    depth: int, bottleneck: bool, nearest: str
) -> None:
    with pytest.raises(UsageError, match=f"depth {depth}: .* such as {nearest}"):
        cifar_network(depth, 12, bottleneck)


@pytest.mark.parametrize(
    "numbers",
    [{"blocks": ()}, {"blocks": (2, 0)}, {"growth": 0}, {"classes": 0}, {"compression": 0.0}, {"dropout": 1.0}],
)
def test_impossible_numbers_are_refused(numbers: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"DenseNet|dropout"):
        DenseNet(**numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize(("blocks", "stem", "minimum"), [((1,) * 4, "imagenet", 29), ((1,) * 3, "cifar", 4)])
def test_images_of_the_minimum_size_and_oblong_ones_pass_and_smaller_ones_do_not(
    blocks: tuple[int, ...], stem: str, minimum: int
) -> None:
    network = DenseNet(blocks, 4, 8, classes=5, stem=stem)  # type: ignore[arg-type]
    assert network.minimum == minimum
    assert network(torch.randn(2, 3, minimum, minimum)).shape == (2, 5)
    assert network(torch.randn(2, 3, minimum + 3, 3 * minimum)).isfinite().all()
    with pytest.raises(ValueError, match=f"need {minimum} pixels"):
        network(torch.randn(2, 3, minimum, minimum - 1))


def test_the_imagenet_four_take_29_pixels() -> None:
    with torch.device("meta"):
        assert {of(imagenet_network(depth)).minimum for depth in (121, 161, 169, 201)} == {29}


def test_one_and_four_channels_are_taken() -> None:
    for channels in (1, 4):
        assert DenseNet((1, 1), 4, 8, classes=5, channels=channels)(torch.randn(2, channels, 32, 32)).shape == (2, 5)


def test_dropout_follows_every_convolution_but_the_stems(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    kept = F.dropout

    def counted(x: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
        rates.append(p)
        return kept(x, p, training, inplace)

    monkeypatch.setattr(F, "dropout", counted)
    network = DenseNet((2, 3), 4, 8, classes=5, dropout=0.3)
    network(torch.randn(2, 3, 32, 32))
    assert rates == [0.3] * (sum(isinstance(m, nn.Conv2d) for m in network.modules()) - 1)


def test_dropout_acts_in_train_mode_alone_and_changes_no_name() -> None:
    plain, noisy = (DenseNet((2, 2), 4, 8, classes=5, dropout=p) for p in (0.0, 0.5))
    noisy.load_state_dict(plain.state_dict(), strict=True)
    image = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(noisy(image), noisy(image))
    noisy.load_state_dict(plain.state_dict())
    torch.testing.assert_close(noisy.eval()(image), plain.eval()(image))


def passed(network: nn.Module, image: Tensor, bf16: bool) -> dict[str, Tensor]:
    """Output, gradients and running statistics after two steps with the same random numbers."""
    torch.manual_seed(6)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = network(image)
        output.float().square().sum().backward()
    found = {f"gradient of {name}": p.grad for name, p in network.named_parameters()}
    return {"output": output.detach(), **found, **dict(network.named_buffers())}


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("bottleneck", [4, 0])
def test_memory_efficient_changes_no_bit_of_output_gradients_or_statistics(
    bottleneck: int, dropout: float, mode: str, bf16: bool
) -> None:
    plain, efficient = (
        DenseNet((2, 2), 4, 8, bottleneck, dropout=dropout, classes=5, stem="cifar", memory_efficient=saving)
        for saving in (False, True)
    )
    efficient.load_state_dict(plain.state_dict())
    image = torch.randn(3, 3, 8, 8)
    expected = passed(plain.train(mode == "train"), image, bf16)
    found = passed(efficient.train(mode == "train"), image, bf16)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_memory_efficient_counts_each_batch_once_also_when_traced() -> None:
    torch.compiler.reset()
    plain, efficient = (
        DenseNet((2, 2), 4, 8, classes=5, stem="cifar", memory_efficient=saving) for saving in (False, True)
    )
    efficient.load_state_dict(plain.state_dict())
    efficient.compile(backend="aot_eager", fullgraph=True, dynamic=False)
    image = torch.randn(3, 3, 8, 8)
    expected, found = passed(plain, image, False), passed(efficient, image, False)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_memory_efficient_remembers_less() -> None:
    def remembered(network: nn.Module) -> int:
        """Bytes of the tensors, each counted once, that the backward pass is kept waiting with."""
        own = {p.untyped_storage().data_ptr() for p in network.parameters()}
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = network(torch.randn(2, 3, 16, 16))
        assert output.requires_grad
        return sum(kept.values())

    plain, efficient = (
        DenseNet((12,), 4, 8, bottleneck=1, classes=5, stem="cifar", memory_efficient=saving)
        for saving in (False, True)
    )
    assert remembered(efficient) < remembered(plain) / 3


def test_initialization_is_hes_and_depends_on_the_generator_alone() -> None:
    def built(global_seed: int, seed: int) -> DenseNet:
        torch.manual_seed(global_seed)
        network = DenseNet((2, 2), 16, 64, classes=50)
        initialize_classifier(network, seeded(seed))
        return network

    first, again, other = built(1, 7), built(2, 7), built(1, 8)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    for convolution in (m for m in first.modules() if isinstance(m, nn.Conv2d)):
        fan_in = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    norms = [m for m in first.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.all(n.weight == 1) and not n.bias.any() for n in norms)
    bound = first.classifier.in_features**-0.5
    assert 0.9 * bound < first.classifier.weight.abs().max().item() <= bound
    assert first.classifier.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not first.classifier.bias.any()


def built(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """With shifts in the norms: without, a ReLU and a norm after it cancel the first norm's scale and its gradient."""
    network, rng = NETWORKS[name](), seeded(3)
    initialize_classifier(network, rng)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0.0, 0.3, generator=rng)
    return network.to(dtype)


def image_of(batch: int) -> Tensor:
    return torch.rand(batch, 3, 32, 32, generator=seeded(4)) * 2 - 1


def gradients(network: nn.Module, image: Tensor, memory_format: torch.memory_format) -> dict[str, Tensor]:
    """Of every parameter and of the image, in float64."""
    network.to(memory_format=memory_format)
    image = image.detach().contiguous(memory_format=memory_format).requires_grad_(True)
    output = network(image)
    output.backward(torch.randn(output.shape, generator=seeded(5)).to(output.dtype))
    return {"image": image.grad.double()} | {n: p.grad.double() for n, p in network.named_parameters()}


def worst_error(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Largest relative error of any tensor."""
    assert ours.keys() == exact.keys()
    return max(float((ours[key] - exact[key]).norm() / exact[key].norm()) for key in exact)


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_eager_gradients_equal_those_in_float64(name: str, batch: int, memory_format: torch.memory_format) -> None:
    exact = gradients(built(name, torch.float64), image_of(batch).double(), CONTIGUOUS)
    assert worst_error(gradients(built(name), image_of(batch), memory_format), exact) < 1e-3


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["imagenet", "efficient"])
def test_traced_channels_last_gradients_equal_those_in_float64(name: str, batch: int) -> None:
    torch.compiler.reset()
    exact = gradients(built(name, torch.float64), image_of(batch).double(), CONTIGUOUS)
    network = built(name)
    network.compile(backend="aot_eager", fullgraph=True, dynamic=False)
    assert worst_error(gradients(network, image_of(batch), LAST), exact) < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gradients_do_not_depend_on_the_memory_format(name: str) -> None:
    runs = []
    for memory_format in (CONTIGUOUS, LAST):
        with torch.autocast("cpu", torch.bfloat16):
            runs.append(gradients(built(name), image_of(2), memory_format)["classifier.weight"])
    assert F.cosine_similarity(runs[0].flatten(), runs[1].flatten(), dim=0) > 0.98


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", NETWORKS)
def test_flat_images_give_finite_outputs_and_gradients(name: str, memory_format: torch.memory_format) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(built(name), torch.zeros(2, 3, 32, 32), memory_format)
    assert all(gradient.isfinite().all() for gradient in found.values())
