"""MindSpore's model zoo CycleGAN for the tests: its parameters, what its networks compute, its file format.

Written from the architecture, without gesso: each network is a function of a dict of parameters under its names.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = dict[str, Tensor]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def ckpt(parameters: Parameters, kind: str = "Float32", slices: int = 1) -> bytes:
    """The bytes of a checkpoint file; large parameters in `slices` parts of one name."""
    out = b""
    for name, tensor in parameters.items():
        data = tensor.numpy().astype(np.float16 if kind == "Float16" else np.float32).tobytes()
        dims = b"".join(varint(1 << 3) + varint(size) for size in tensor.shape)
        step = -(-len(data) // slices) if tensor.dim() == 4 else len(data)
        for start in range(0, len(data), step):
            proto = dims + field(2, kind.encode()) + field(3, data[start : start + step])
            out += field(1, field(1, name.encode()) + field(2, proto))
    return out


def _random(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    fan_in = math.prod(shape[1:]) if len(shape) == 4 else 25
    return torch.randn(shape, generator=rng) / math.sqrt(fan_in)


def _unit(
    prefix: str, shape: tuple[int, ...], outputs: int, norm: str, rng: torch.Generator, bordered: bool = False
) -> Iterator[tuple[str, Tensor]]:
    """ConvNormReLU: pad, if `bordered`, convolution, norm."""
    place = int(bordered)
    yield f"{prefix}.features.{place}.weight", _random(shape, rng)
    if norm == "instance":
        yield f"{prefix}.features.{place}.bias", _random((outputs,), rng)
    yield from _norm(f"{prefix}.features.{place + 1}", outputs, norm, rng)


def _norm(prefix: str, channels: int, norm: str, rng: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    learned = norm == "batch"
    yield f"{prefix}.moving_mean", _random((channels,), rng)
    yield f"{prefix}.moving_variance", _random((channels,), rng).abs() + 0.5
    yield f"{prefix}.gamma", 1 + _random((channels,), rng) * learned
    yield f"{prefix}.beta", _random((channels,), rng) * learned


def resnet(ngf: int, blocks: int, norm: str, bordered: bool, seed: int = 0) -> Parameters:
    rng = torch.Generator().manual_seed(seed)
    wide = 4 * ngf
    found = dict(_unit("conv_in", (ngf, 3, 7, 7), ngf, norm, rng, bordered))
    found |= _unit("down_1", (2 * ngf, ngf, 3, 3), 2 * ngf, norm, rng)
    found |= _unit("down_2", (wide, 2 * ngf, 3, 3), wide, norm, rng)
    for block in range(blocks):
        for half in (1, 2):
            found |= _unit(f"residuals.{block}.conv{half}", (wide, wide, 3, 3), wide, norm, rng, bordered)
    found |= _unit("up_2", (wide, 2 * ngf, 3, 3), 2 * ngf, norm, rng)
    found |= _unit("up_1", (2 * ngf, ngf, 3, 3), ngf, norm, rng)
    found["conv_out.1.weight" if bordered else "conv_out.weight"] = _random((3, ngf, 7, 7), rng)
    return found


def patchgan(ndf: int, layers: int, norm: str, seed: int = 0) -> Parameters:
    rng = torch.Generator().manual_seed(seed)
    found = {"features.0.weight": _random((ndf, 3, 4, 4), rng)}
    width = ndf
    for layer in range(1, layers + 1):
        wider = ndf * min(2**layer, 8)
        found |= _unit(f"features.{layer + 1}", (wider, width, 4, 4), wider, norm, rng)
        width = wider
    found[f"features.{layers + 2}.weight"] = _random((1, width, 4, 4), rng)
    return found


def unet(ngf: int, depth: int, norm: str, seed: int = 0) -> Parameters:
    rng = torch.Generator().manual_seed(seed)
    inner = [ngf, 2 * ngf, 4 * ngf, *[8 * ngf] * (depth - 3)]
    found: Parameters = {}
    prefix, outer = "model.model", 3
    for level, width in enumerate(inner):
        top, bottom = level == 0, level == depth - 1
        down, up = (0, 3) if top else (1, 3) if bottom else (1, 5)
        biased = norm == "instance"
        found[f"{prefix}.{down}.weight"] = _random((width, outer, 4, 4), rng)
        found[f"{prefix}.{up}.weight"] = _random((width if bottom else 2 * width, outer, 4, 4), rng)
        if biased:
            found[f"{prefix}.{down}.bias"] = _random((width,), rng)
            found |= {} if top else {f"{prefix}.{up}.bias": _random((outer,), rng)}
        if not (top or bottom):
            found |= _norm(f"{prefix}.2", width, norm, rng)
        if not top:
            found |= _norm(f"{prefix}.{up + 1}", outer, norm, rng)
        prefix, outer = f"{prefix}.{1 if top else 3}.model", width
    return found


class Cells:
    """What the networks compute. train: batch norm by the batch's statistics, which is instance norm for one image."""

    def __init__(self, parameters: Parameters, pad_mode: str = "CONSTANT", train: bool = True) -> None:
        self.p, self.train = parameters, train
        self.numpy_mode = {"CONSTANT": "constant", "REFLECT": "reflect", "SYMMETRIC": "symmetric"}[pad_mode]

    def pad(self, x: Tensor, width: int) -> Tensor:
        return torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (width, width), (width, width)), self.numpy_mode))

    def norm(self, x: Tensor, prefix: str) -> Tensor:
        mean, variance, gamma, beta = (
            self.p[f"{prefix}.{each}"].view(1, -1, 1, 1) for each in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        if self.train:
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta

    def unit(self, x: Tensor, prefix: str, border: int, stride: int, slope: float) -> Tensor:
        place = 0 if f"{prefix}.features.0.weight" in self.p else 1
        x = self.pad(x, border) if place else F.pad(x, (border,) * 4)
        name = f"{prefix}.features.{place}"
        x = F.conv2d(x, self.p[f"{name}.weight"], self.p.get(f"{name}.bias"), stride)
        return F.leaky_relu(self.norm(x, f"{prefix}.features.{place + 1}"), slope)

    def up(self, x: Tensor, prefix: str) -> Tensor:
        """Conv2dTranspose of pad_mode same: the gradient of a convolution of stride 2 with a border behind alone."""
        weight, bias = self.p[f"{prefix}.features.0.weight"], self.p.get(f"{prefix}.features.0.bias")
        height, width = 2 * x.shape[2], 2 * x.shape[3]
        size = (x.shape[0], weight.shape[1], height + 1, width + 1)
        x = torch.nn.grad.conv2d_input(size, weight, x, stride=2)[..., :height, :width]
        x = x if bias is None else x + bias.view(1, -1, 1, 1)
        return F.leaky_relu(self.norm(x, f"{prefix}.features.1"), 0.2)

    def resnet(self, x: Tensor, blocks: int) -> Tensor:
        x = self.unit(x, "conv_in", 3, 1, 0.2)
        x = self.unit(self.unit(x, "down_1", 1, 2, 0.2), "down_2", 1, 2, 0.2)
        for block in range(blocks):
            own = any(name.startswith(f"residuals.{block}.") for name in self.p)
            prefix = f"residuals.{block if own else 0}"  # the zoo's list may hold one block many times
            inside = self.unit(x, f"{prefix}.conv1", 1, 1, 0.0)
            x = x + self.unit(inside, f"{prefix}.conv2", 1, 1, 1.0)  # a slope of 1 is no activation
        x = self.up(self.up(x, "up_2"), "up_1")
        bordered = "conv_out.1.weight" in self.p
        weight = self.p["conv_out.1.weight" if bordered else "conv_out.weight"]
        return torch.tanh(F.conv2d(self.pad(x, 3), weight))

    def patchgan(self, x: Tensor, layers: int) -> Tensor:
        x = F.leaky_relu(F.conv2d(x, self.p["features.0.weight"], None, 2, 1), 0.2)
        for layer in range(1, layers + 1):
            x = self.unit(x, f"features.{layer + 1}", 1, 2 if layer < layers else 1, 0.2)
        return F.conv2d(x, self.p[f"features.{layers + 2}.weight"], None, 1, 1)

    def unet(self, x: Tensor, depth: int, prefix: str = "model.model", level: int = 0) -> Tensor:
        top, bottom = level == 0, level == depth - 1
        down, up = (0, 3) if top else (1, 3) if bottom else (1, 5)
        inside = x if top else F.leaky_relu(x, 0.2)
        inside = F.conv2d(inside, self.p[f"{prefix}.{down}.weight"], self.p.get(f"{prefix}.{down}.bias"), 2, 1)
        if not (top or bottom):
            inside = self.norm(inside, f"{prefix}.2")
        if not bottom:
            inside = self.unet(inside, depth, f"{prefix}.{1 if top else 3}.model", level + 1)
        weight, bias = self.p[f"{prefix}.{up}.weight"], self.p.get(f"{prefix}.{up}.bias")
        out = F.conv_transpose2d(F.relu(inside), weight, bias, 2, 1)
        return torch.tanh(out) if top else torch.cat([self.norm(out, f"{prefix}.{up + 1}"), x], 1)
