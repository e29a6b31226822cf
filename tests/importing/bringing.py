"""What the tests of imports share: files of weights, the import, and the network that came of it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from commands import Gesso, Said
from gesso.engine.checkpoint import read
from gesso.engine.runs import read_recipe
from gesso.models import build_model


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """`network` with random weights, and running statistics and scales that are not those of the start."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=rng) + 0.5)
            elif tensor.is_floating_point():
                fan_in = tensor[0].numel() if tensor.dim() > 1 else 25
                tensor.copy_(torch.randn(tensor.shape, generator=rng) / fan_in**0.5)
                if tensor.dim() == 1 and name.endswith("weight"):
                    tensor.add_(1)
    return network


def saved(path: Path, network: nn.Module, prefix: str = "") -> Path:
    torch.save({prefix + name: tensor for name, tensor in network.state_dict().items()}, path)
    return path


def imported(gesso: Gesso, program: str, out: Path, *words: object) -> Said:
    said = gesso("import", *words, "--from", program, "-o", out)
    assert said.code == 0, said.err
    return said


def network_of(run: Path, name: str) -> nn.Module:
    """A network of an imported run, as every command builds it."""
    network = build_model(read_recipe(run)).networks[name]
    network.load_state_dict(read(run / "checkpoints" / "000000000").weights[name])
    return network


def same_numbers(ours: nn.Module, theirs: nn.Module, images: Tensor) -> bool:
    """Whether both draw the same, with dropout and batch statistics off and then on, from the same random numbers."""
    alike = []
    with torch.no_grad():
        for train in (False, True):
            made = []
            for network in (ours, theirs):
                torch.manual_seed(3)
                made.append(network.train(train)(images))
            alike.append(torch.allclose(*made, atol=1e-5, rtol=0) and bool(made[1].std() > 0.01))
    return all(alike)


def same_file(a: Path, b: Path) -> bool:
    """Whether two files have the same tensors under the same names."""
    ours, theirs = (torch.load(path, weights_only=True) for path in (a, b))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
