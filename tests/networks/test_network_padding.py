"""Borders whose compiled backward is wrong in torch are built of other operations where code is compiled."""

import pytest
import torch
from torch import nn

from gesso.networks import ResNetGenerator
from gesso.networks.pad import ReflectionPad2d, ReplicationPad2d


@pytest.mark.parametrize(
    ("ours", "torchs", "width"), [(ReflectionPad2d, nn.ReflectionPad2d, 3), (ReplicationPad2d, nn.ReplicationPad2d, 1)]
)
def test_compiled_border_equals_torchs(ours: type, torchs: type, width: int) -> None:
    x = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    weight = torch.rand(2, 3, 7 + 2 * width, 9 + 2 * width, dtype=torch.float64)
    results = []
    for pad in (torch.compile(ours(width), backend="aot_eager"), torchs(width)):
        leaf = x.clone().requires_grad_(True)
        y = pad(leaf)
        (y * weight).sum().backward()
        results.append((y.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-12)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "symmetric"])
def test_no_padding_kernel_is_compiled(padding: str) -> None:
    seen: list[str] = []

    def record(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    network = ResNetGenerator(3, 3, 4, 1, padding=padding)  # type: ignore[arg-type]
    torch.compile(network.forward, backend=record, fullgraph=True)(torch.rand(1, 3, 16, 16))
    assert any("cat" in name for name in seen)
    assert not any("pad" in name for name in seen)
