"""Tensors of single training steps, written down on one machine and compared with those of another.

When a model learns on one machine and not on another, the loss says so thousands of steps too late. Two runs of one
recipe should go through the same numbers from the first step on, but for rounding; the first tensor, in the order in
which a step computes them, that differs by more is where to look. For that the step's outputs, gradients and
weights are written to `run/dumps/step-000003.safetensors`, and `compare_dumps` reads two of them side by side.

The keys are NETWORK/MODULE/activation, NETWORK/MODULE/gradient/PARAMETER and NETWORK/MODULE/weight/PARAMETER:

activation  what the module gave when it was first called in the step, in the precision that it was computed in; with
            `--accumulate`, of the first piece
gradient    as the optimizer took it: of this step alone, clipped where the recipe clips
weight      as the step used it, before the optimizer moved it
"""

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import gesso
from gesso.devices import hardware
from gesso.engine.launch import Choices
from gesso.errors import DataError, UsageError
from gesso.files import disk_errors, write_atomically
from gesso.models.base import Model, Networks
from gesso.recipe import Dumping

FOLDER = "dumps"
KINDS = ("activation", "gradient", "weight")
NAMED = 3
"""Most tensors that one line names."""


class Dumper:
    """Writes down the steps and layers of `config` while `model` is trained in the folder `run`.

    UsageError, before the first step, where the network has no such layer or the recipe asks for compilation.
    Without `config`, or without steps in it, nothing is ever written.
    """

    def __init__(self, model: Model, run: Path, config: Dumping | None) -> None:
        self._model, self._folder = model, run / FOLDER
        self._steps = frozenset(config.steps if config else ())
        self._layers = layers_of(model.networks, config.layers) if config else {}
        if self._steps and model.recipe.compile == "on":
            raise UsageError("--compile on: compiled layers do not show their outputs; dump with --compile off")

    @contextmanager
    def around(self, step: int, images: int, choices: Choices) -> Iterator[None]:
        """Around training step number `step`, counted from 0, before which `images` images were seen.

        Does not change the step's numbers. A step that fails leaves no file. DiskError where it cannot be written.
        """
        if step not in self._steps:
            yield
            return
        assert not choices.compile.value, "hooks do not fire inside compiled code"
        activations: dict[str, Tensor] = {}
        gradients: dict[str, Tensor] = {}
        weights = {name: copied(parameter) for name, parameter in self._parameters("weight")}

        def keep_output(layer: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                # Only the first call: a checkpointed layer is called again while its gradient is computed.
                if isinstance(output, Tensor) and layer not in activations:
                    activations[layer] = copied(output)

            return hook

        def keep_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            # Before its step, which may use the gradients as scratch memory, as foreach SGD with Nesterov does.
            moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            for name, parameter in self._parameters("gradient"):
                if id(parameter) in moved and parameter.grad is not None:
                    gradients[name] = copied(parameter.grad)

        with ExitStack() as hooks:
            for layer, module in self._layers.items():
                hooks.callback(module.register_forward_hook(keep_output(layer)).remove)
            for optimizer in self._model.optimizers.values():
                hooks.callback(optimizer.register_step_pre_hook(keep_gradients).remove)
            yield

        called = [*activations, *(layer for layer in self._layers if layer not in activations)]
        place = {layer: i for i, layer in enumerate(called)}
        backward = sorted(gradients, key=lambda name: -place[layer_of(name)])
        forward = sorted(weights, key=lambda name: place[layer_of(name)])
        tensors = {f"{layer}/activation": output for layer, output in activations.items()}
        tensors |= {name: gradients[name] for name in backward} | {name: weights[name] for name in forward}
        device = choices.device.value
        about = {
            "step": str(step),
            "images": str(images),
            "precision": choices.precision.value,
            "device": f"{device} ({hardware(device)})",
            "layers": json.dumps(list(self._layers)),
            "gesso": gesso.__version__,
            "order": json.dumps(list(tensors)),
        }
        with disk_errors(self._folder):
            self._folder.mkdir(exist_ok=True)
        write_atomically(self._folder / f"step-{step:06d}.safetensors", save(tensors, about))

    def _parameters(self, kind: str) -> Iterator[tuple[str, nn.Parameter]]:
        for layer, module in self._layers.items():
            for name, parameter in module.named_parameters():
                yield f"{layer}/{kind}/{name}", parameter


def layers_of(networks: Networks, asked: tuple[str, ...]) -> dict[str, nn.Module]:
    """The modules of `networks` that are called `asked`, by NETWORK/MODULE; without any, all that have parameters of
    their own. A name may begin with its network's, else it means each network that has it. UsageError for others."""
    there = {f"{name}/{path}": m for name, network in networks.items() for path, m in network.named_modules() if path}
    if not asked:
        return {
            name: module for name, module in there.items() if next(module.parameters(recurse=False), None) is not None
        }
    chosen: dict[str, nn.Module] = {}
    for name in asked:
        found = {key: module for key, module in there.items() if name in (key, key.partition("/")[2])}
        if not found:
            paths = list(dict.fromkeys(key.partition("/")[2] for key in there))
            near = difflib.get_close_matches(name, [*paths, *there], NAMED)
            raise UsageError(
                f"--dump.layers {name}: no such layer; "
                + (f"did you mean {', '.join(near)}?" if near else f"layers have names such as {paths[1]}")
            )
        chosen |= found
    return chosen


def layer_of(name: str) -> str:
    """NETWORK/MODULE of a dumped tensor's name."""
    return "/".join(name.split("/")[:2])


def copied(tensor: Tensor) -> Tensor:
    """In memory of its own on the host, where no operation in place can reach it; the layout is C×H×W everywhere."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Comparison:
    """Two dumps side by side."""

    lines: list[str]
    """For people."""
    same: bool
    """Whether all tensors of all steps are in both, and agree."""


def compare_dumps(a: Path, b: Path, tolerance: float) -> Comparison:
    """Compare the dumps `a` and `b`, each a run, its folder of dumps, or one file.

    Two tensors agree where ‖a − b‖ ≤ `tolerance`·‖a‖, both in float64. A NaN or an infinity agrees with the same at
    the same place alone. Tensors of another precision are named, and judged by their values. UsageError where
    there are no two dumps of one step; DataError names a damaged file.
    """
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"--tolerance {tolerance:g}: must be 0 or more, and finite")
    in_a, in_b = _files(a), _files(b)
    if a.is_file() and b.is_file():
        in_b = {next(iter(in_a)): b}
    both = [name for name in in_a if name in in_b]
    if not both:
        steps = [", ".join(Path(name).stem for name in there) for there in (in_a, in_b)]
        raise UsageError(f"{a} and {b} have no step in common: {steps[0]} and {steps[1]}")
    lines = [f"{name}: only in {a if name in in_a else b}" for name in [*in_a, *in_b] if name not in both]
    same = not lines
    for name in both:
        found = _compare(in_a[name], in_b[name], tolerance)
        lines += found.lines
        same &= found.same
    return Comparison(lines, same)


def _files(path: Path) -> dict[str, Path]:
    """Dumps by name, in the order of their steps."""
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise UsageError(f"{path}: there is no such run, folder or file")
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    found = sorted(folder.glob("step-*.safetensors"), key=lambda file: (len(file.name), file.name))
    if not found:
        raise UsageError(f"{path}: no dumps here; train a classifier with --dump.steps 0 to have some")
    return {file.name: file for file in found}


class _Dump:
    """One file, open."""

    def __init__(self, path: Path, opened: Any) -> None:
        about: dict[str, str] = opened.metadata() or {}
        try:
            order = json.loads(about["order"])
            if sorted(order) != sorted(opened.keys()):
                raise ValueError
            self.about = {name: about[name] for name in ("step", "images", "precision", "device", "gesso")}
        except (KeyError, ValueError, TypeError):
            raise DataError(f"{path}: not a dump that gesso wrote, or a damaged one") from None
        self.order: list[str] = order
        self.path, self.tensor = path, opened.get_tensor

    def __str__(self) -> str:
        about = self.about
        return (
            f"{self.path}: step {about['step']}, {about['images']} images seen before, {about['precision']} on "
            f"{about['device']}, gesso {about['gesso']}"
        )


@contextmanager
def _opened(path: Path) -> Iterator[_Dump]:
    try:
        with safe_open(path, "pt") as opened:
            yield _Dump(path, opened)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: not a safetensors file, or a damaged one: {error}") from None


def _compare(path_a: Path, path_b: Path, tolerance: float) -> Comparison:
    """Two files of one step."""
    with _opened(path_a) as a, _opened(path_b) as b:
        only_a, only_b = (_without(x.order, y.order) for x, y in ((a, b), (b, a)))
        lines = [f"a: {a}", f"b: {b}"]
        apart: dict[str, str] = {}
        dtypes: list[str] = []
        agreeing: Counter[str] = Counter()
        shared = _without(a.order, only_a)
        for name in shared:
            x, y = a.tensor(name), b.tensor(name)
            if x.dtype != y.dtype:
                dtypes.append(f"{name} ({str(x.dtype)[6:]} and {str(y.dtype)[6:]})")
            if difference := difference_of(x, y, tolerance):
                apart[name] = difference
            else:
                agreeing[_kind(name)] += 1
    for names, what in ((only_a, "only in a"), (only_b, "only in b"), (dtypes, "of another precision")):
        if names:
            rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            lines.append(f"{what}: {', '.join(names[:NAMED])}{rest}")
    if apart:
        first, difference = next(iter(apart.items()))
        lines.append(f"first difference: {first}: {difference}")
    counts = Counter(map(_kind, shared))
    told = ", ".join(f"{agreeing[kind]} of {count} {kind}s" for kind, count in counts.items())
    lines.append(f"within {tolerance:g}: {told or 'nothing in common'}")
    return Comparison(lines, not (apart or only_a or only_b))


def _without(names: list[str], others: list[str]) -> list[str]:
    gone = set(others)
    return [name for name in names if name not in gone]


def _kind(name: str) -> str:
    return next((kind for kind in name.split("/")[2:3] if kind in KINDS), "tensor")


def difference_of(a: Tensor, b: Tensor, tolerance: float) -> str:
    """How `b` is away from `a` by more than `tolerance`, in words; empty where it is not. A complex number is two,
    so that a place there ends in 0, its real part, or 1, its imaginary one."""
    if a.shape != b.shape:
        return f"shape {list(a.shape)} and {list(b.shape)}"
    if a.is_complex() or b.is_complex():
        x, y = (torch.view_as_real(tensor.to(torch.complex128)) for tensor in (a, b))
    else:
        x, y = a.double(), b.double()
    same = (x == y) | (x.isnan() & y.isnan())
    if bool(same.all()):
        return ""
    away = torch.where(same, 0.0, x - y)  # not finite where one of the two is not and the other not the same
    size, scale = float(away.norm()), float(x[x.isfinite()].norm())
    relative = size / scale if math.isfinite(size) and scale else math.inf
    if relative <= tolerance:
        return ""
    place = [int(i) for i in torch.unravel_index(away.abs().nan_to_num(math.inf, math.inf).argmax(), away.shape)]
    here, there = float(x[tuple(place)]), float(y[tuple(place)])
    return f"relative {relative:.3g}, largest {abs(here - there):.3g} at {place} ({here:.6g} and {there:.6g})"
