"""torchvision's DenseNets and the DCGAN of pytorch/examples in, their numbers out, and their files again."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from bringing import imported, network_of, same_file, same_numbers, saved, settled
from torch import Tensor, nn

from commands import Gesso, refused
from gesso.engine.checkpoint import read
from gesso.engine.runs import read_recipe
from gesso.importing import FORMATS, Options


class Layer(nn.Module):
    def __init__(self, width: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.conv1(self.norm1(x).relu())
        return torch.cat([x, self.conv2(self.norm2(inside).relu())], 1)


class TheirDenseNet(nn.Module):
    """DenseNet for ImageNet with torchvision's names, after Huang et al. 2017, table 1."""

    def __init__(
        self, blocks: tuple[int, ...], growth: int, initial: int, classes: int, bottleneck: int = 4, channels: int = 3
    ) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(channels, initial, 7, stride=2, padding=3, bias=False),
            "norm0": nn.BatchNorm2d(initial),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, stride=2, padding=1),
        }
        width = initial
        for i, layers in enumerate(blocks, 1):
            block = nn.Sequential()
            for j in range(1, layers + 1):
                block.add_module(f"denselayer{j}", Layer(width, growth, bottleneck))
                width += growth
            parts[f"denseblock{i}"] = block
            if i < len(blocks):
                transition = nn.Sequential()
                for name, module in (
                    ("norm", nn.BatchNorm2d(width)),
                    ("relu", nn.ReLU()),
                    ("conv", nn.Conv2d(width, width // 2, 1, bias=False)),
                    ("pool", nn.AvgPool2d(2)),
                ):
                    transition.add_module(name, module)
                parts[f"transition{i}"], width = transition, width // 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential()
        for name, module in parts.items():
            self.features.add_module(name, module)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "theirs",
    [
        lambda: TheirDenseNet((2, 3), 4, 8, 5),
        lambda: TheirDenseNet((1, 2, 1), 6, 10, 3, bottleneck=2),
        lambda: TheirDenseNet((3,), 4, 7, 4),
    ],
)
def test_a_densenet_says_what_it_said_there_and_goes_back_unchanged(
    theirs: object, gesso: Gesso, tmp_path: Path
) -> None:
    network = settled(theirs())  # type: ignore[operator]
    file = saved(tmp_path / "densenet.pth", network)
    said = imported(gesso, "torchvision", tmp_path / "run", file)
    assert "classes: numbered" in said.out[1]
    assert gesso("export", tmp_path / "run", "--format", "torchvision", "-o", tmp_path / "back.pth").code == 0
    assert same_file(file, tmp_path / "back.pth")
    assert same_numbers(network_of(tmp_path / "run", "net"), network, IMAGES)


@pytest.mark.parametrize(
    ("depth", "blocks", "growth"),
    [
        (121, (6, 12, 24, 16), 32),
        (169, (6, 12, 32, 32), 32),
        (201, (6, 12, 48, 32), 32),
        (161, (6, 12, 36, 24), 48),
    ],
)
def test_each_of_torchvisions_four_is_told_by_its_name(
    depth: int, blocks: tuple[int, ...], growth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        state = TheirDenseNet(blocks, growth, 2 * growth, 1000).state_dict()
    monkeypatch.setattr("gesso.importing.torchvision.read_state", lambda path: state)  # tens of megabytes otherwise
    found = FORMATS["torchvision"](("net.pth",), Options())
    assert f"DenseNet-{depth}," in found.found[0]
    assert (found.recipe.data.image_size, found.recipe.data.resize) == (224, 256)  # type: ignore[attr-defined]


def test_the_names_of_torchvisions_released_files_are_those_of_today(gesso: Gesso, tmp_path: Path) -> None:
    theirs = settled(TheirDenseNet((2, 1), 4, 8, 3)).state_dict()
    released = {
        name.replace("norm1.", "norm.1.")
        .replace("conv1.", "conv.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv2.", "conv.2."): tensor
        for name, tensor in theirs.items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(released, tmp_path / "densenet.pth")
    imported(gesso, "torchvision", tmp_path / "run", tmp_path / "densenet.pth")
    ours = read(tmp_path / "run" / "checkpoints" / "000000000").weights["net"]
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items() if tensor.dim())


@pytest.mark.parametrize("form", ["file", "folder"])
def test_classes_get_the_names_that_are_given(form: str, gesso: Gesso, tmp_path: Path) -> None:
    file = saved(tmp_path / "densenet.pth", TheirDenseNet((1, 1), 4, 8, 2))
    source = tmp_path / "names"
    if form == "file":
        source.write_text("dark\nlight\n")
    else:
        for name in ("light", "dark"):
            (source / name).mkdir(parents=True)
    imported(gesso, "torchvision", tmp_path / "run", file, "--classes", source)
    assert read_recipe(tmp_path / "run").data.names == ("dark", "light")  # type: ignore[attr-defined]


class TheirGenerator(nn.Module):
    """The generator of pytorch/examples' DCGAN."""

    def __init__(self, latent: int, width: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = latent
        for level in (8, 4, 2, 1):
            stride, padding = (1, 0) if level == 8 else (2, 1)
            layers += [nn.ConvTranspose2d(inputs, level * width, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(level * width), nn.ReLU(True)]
            inputs = level * width
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z)


class TheirDiscriminator(nn.Module):
    """The discriminator of pytorch/examples' DCGAN, without the sigmoid, which has no weights."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
        for level in (1, 2, 4):
            layers += [nn.Conv2d(level * width, 2 * level * width, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(2 * level * width), nn.LeakyReLU(0.2, True)]
        self.main = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images).view(-1)


def test_a_dcgan_draws_what_it_drew_there_and_goes_back_unchanged(gesso: Gesso, tmp_path: Path) -> None:
    G, D = settled(TheirGenerator(10, 4, 1), 1), settled(TheirDiscriminator(6, 1), 2)
    files = [saved(tmp_path / "netD_epoch_3.pth", D), saved(tmp_path / "netG_epoch_3.pth", G)]
    said = imported(gesso, "dcgan-example", tmp_path / "run", *files)
    assert said.out[0] == "G: DCGAN of 64 px, channels 1, latent 10, ngf 4"
    assert gesso("export", tmp_path / "run", "--format", "dcgan-example", "-o", tmp_path / "back").code == 0
    assert [same_file(f, tmp_path / "back" / f"{f.name[:4]}.pth") for f in files] == [True, True]
    assert same_numbers(network_of(tmp_path / "run", "G"), G, torch.randn(3, 10, 1, 1))
    assert same_numbers(network_of(tmp_path / "run", "D"), D, torch.rand(3, 1, 64, 64))


def test_a_dcgan_that_is_not_the_network_that_was_named_is_refused(gesso: Gesso, tmp_path: Path) -> None:
    file = saved(tmp_path / "net.pth", settled(TheirDiscriminator(6, 1), 2))
    said = gesso("import", f"G={file}", "--from", "dcgan-example", "-o", tmp_path / "run")
    refused(said, "G=.*net.pth: holds the example's D; give it as that")


@pytest.mark.parametrize(
    ("program", "state", "reason"),
    [
        ("torchvision", {"fc.weight": torch.ones(2, 2)}, "not a DenseNet, it lacks features.denseblock1.denselayer1"),
        ("dcgan-example", {"main.0.weight": torch.ones(2, 3, 4, 4)}, "not the example's DCGAN for 32, 64, 128 px"),
        (
            "junyanz",
            {"layer1.0.conv1.weight": torch.ones(2, 3, 3, 3)},
            "it lacks model.1.weight; it begins with layer1",
        ),
        ("junyanz", {}, "not a network's weights, it is empty"),
    ],
)
def test_another_network_is_refused(
    program: str, state: dict[str, Tensor], reason: str, gesso: Gesso, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "net.pth")
    refused(gesso("import", tmp_path / "net.pth", "--from", program, "-o", tmp_path / "run"), reason)


def test_names_that_are_not_as_many_as_the_classes_are_refused(gesso: Gesso, tmp_path: Path) -> None:
    file = saved(tmp_path / "densenet.pth", TheirDenseNet((1, 1), 4, 8, 3))
    (tmp_path / "names").write_text("dark\nlight\n")
    said = gesso("import", file, "--from", "torchvision", "-o", tmp_path / "run", "--classes", tmp_path / "names")
    refused(said, "--classes .*names: 2 names, and the network has 3 classes")
