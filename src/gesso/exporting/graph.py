"""From a trained model to what is exported: networks that take pictures of any size and give pictures.

What surrounds a network in gesso is inside the exported graph: bytes to numbers, mirrored borders up to a size that
the network takes, cropping back, a classifier's normalization. So whoever runs it elsewhere hands over a picture as it
is, and need know nothing of this.

Two things of a network in train mode, as pix2pix is used (Isola et al. 2017, section 3.2.1), are rewritten. Batch norm
takes the statistics of what it is given, as in train mode. Dropout is left out: a runtime would draw other numbers.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import gesso
from gesso.exported import IMAGE, LOGITS, MADE, NOISE, PROBABILITIES, Exported
from gesso.exporting.source import Options, Source
from gesso.models.base import untracked
from gesso.models.classification import Classifier
from gesso.models.generation import Generator
from gesso.models.translation import Translation, Translator
from gesso.networks.anysize import crop, pad
from gesso.networks.normalize import InstanceNorm2d
from gesso.progress import say


@dataclass(frozen=True)
class Graph:
    """One network to export.

    suffix     of its file's name: _AtoB where a model has several directions, else empty
    module     what is exported: the input by `names[0]` to the outputs by the others
    example    of its input: float32, or uint8 where that was asked for
    dimensions of the input that may differ from call to call, by position
    compared   the place among the outputs of what is compared with torch
    reference  what gesso itself makes of the input, in float32: the numbers behind that output
    """

    suffix: str
    module: nn.Module
    example: Tensor
    dimensions: dict[int, Dim]
    names: tuple[str, ...]
    compared: int
    reference: Callable[[Tensor], Tensor]
    about: Exported


def graphs(source: Source, options: Options) -> list[Graph]:
    """Every network of `source` that `options` ask for. UsageError where there is no such direction."""
    model = source.model
    if isinstance(model, Translator):
        chosen = model.chosen(options.direction)
        return [_translator(source, options, model, name, each) for name, each in chosen.items()]
    source.refuse_direction(options.direction)
    if isinstance(model, Generator):
        return [_generator(source, options, model)]
    assert isinstance(model, Classifier), model
    return [_classifier(source, options, model)]


def traced(graph: Graph) -> ExportedProgram:
    """`graph` as torch.export sees it."""
    with torch.no_grad():
        program = torch.export.export(
            graph.module,
            (graph.example,),
            dynamic_shapes=(graph.dimensions,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    # The tracer cannot prove of every size what holds of the example's, such as that a side is not 1, and asserts it.
    # Nothing of it matters here: the graph is the same for all sizes, and is compared with torch at several.
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
        for private in ("stack_trace", "source_fn_stack", "nn_module_stack"):  # paths of this machine among them
            node.meta.pop(private, None)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


class _Input(nn.Module):
    """Pictures as the user has them to numbers in [-1, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        return image.float() / 127.5 - 1 if image.dtype == torch.uint8 else image


class _Output(nn.Module):
    """Numbers in [-1, 1] to pictures as the user wants them; float32 or uint8."""

    def __init__(self, uint8: bool) -> None:
        super().__init__()
        self._uint8 = uint8

    def forward(self, made: Tensor) -> Tensor:
        made = made.float()
        return ((made.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8) if self._uint8 else made


class _Translating(nn.Module):
    def __init__(self, network: nn.Module, multiple: int, minimum: int, half: bool, uint8: bool) -> None:
        super().__init__()
        self.network, self._multiple, self._minimum, self._half = network, multiple, minimum, half
        self.input, self.output = _Input(), _Output(uint8)

    def forward(self, image: Tensor) -> Tensor:
        """N×C_in×H×W to N×C_out×H×W."""
        height, width = image.shape[2:]
        grown = self.input(padded(image, self._multiple, self._minimum))
        made = self.network(grown.half() if self._half else grown)
        return self.output(made[:, :, :height, :width])  # type: ignore[no-any-return]


class _Generating(nn.Module):
    def __init__(self, network: nn.Module, half: bool, uint8: bool) -> None:
        super().__init__()
        self.network, self._half, self.output = network, half, _Output(uint8)

    def forward(self, z: Tensor) -> Tensor:
        """N×latent to N×C×S×S."""
        return self.output(self.network(z.half() if self._half else z))  # type: ignore[no-any-return]


class _Classifying(nn.Module):
    def __init__(self, network: nn.Module, normalized: Callable[[Tensor], Tensor], half: bool) -> None:
        super().__init__()
        self.network, self._normalized, self._half, self.input = network, normalized, half, _Input()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N×C×S×S to N×K logits and N×K probabilities."""
        image = self._normalized(self.input(image))
        logits = self.network(image.half() if self._half else image).float()
        return logits, logits.softmax(1)


def padded(images: Tensor, multiple: int, minimum: int) -> Tensor:
    """`networks.anysize.pad` for sizes that are not known when the graph is made: what depends on them is computed in
    the graph, and nothing branches."""
    height, width = images.shape[2:]
    # -(-side // multiple) would be wrong in ONNX, whose division of whole numbers rounds towards zero.
    grown = [(side + multiple - 1) // multiple * multiple for side in (height, width)]
    tall, wide = (torch.sym_max(side, minimum) for side in grown)  # type: ignore[no-untyped-call]

    def number(value: Any) -> Tensor:
        return torch.full((), value, dtype=torch.int64)

    mirrored = (number(tall) < number(2 * height)) & (number(wide) < number(2 * width))
    for dim, side, grown in ((2, height, tall), (3, width, wide)):
        place, last = torch.arange(grown), side - 1
        images = images.index_select(dim, torch.where(mirrored, last - (last - place).abs(), place.clamp(max=last)))
    return images


class _BatchStatistics(nn.Module):
    """Batch norm in train mode: by mean and variance of the batch that it is given. N×C×H×W to the same."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean((0, 2, 3), keepdim=True)
        x = x * (x.square().mean((0, 2, 3), keepdim=True) + self.eps).rsqrt()
        return x if self.weight is None else x * self.weight[:, None, None] + self.bias[:, None, None]


class _Float32(nn.Module):
    """A norm in float32 inside a network in float16, whose range the sums of large pictures would leave."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.float()).half()  # type: ignore[no-any-return]


NORMS = (nn.BatchNorm2d, InstanceNorm2d, _BatchStatistics)


def _replaced(network: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[Any], nn.Module]) -> nn.Module:
    """`network` with what `make` gives in the place of its modules of `kinds`."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, kinds):
                setattr(parent, name, make(child))
    return network


def _exportable(network: nn.Module, trains: bool, half: bool) -> nn.Module:
    """A copy of `network`, which has no dropout, as it is exported. trains: it is used in train mode."""
    network = copy.deepcopy(network).eval()
    if trains:
        network = _replaced(network, (nn.BatchNorm2d,), _BatchStatistics)
    if half:
        network = _replaced(network.half(), NORMS, lambda norm: _Float32(norm.float()))
    return network


def _translator(source: Source, options: Options, model: Translator, name: str, translation: Translation) -> Graph:
    trains = model.mode == "train"
    whole = model.networks[translation.network]
    if trains and any(isinstance(module, nn.Dropout) for module in whole.modules()):
        say(
            f"{source.name}: this model is used with dropout, whose random numbers no runtime can repeat; it is left "
            "out of what is exported, and of what that is compared with"
        )
    network: Any = _replaced(copy.deepcopy(whole), (nn.Dropout,), lambda dropout: nn.Identity()).train(trains)
    multiple, minimum = int(network.multiple), int(network.minimum)
    half = options.precision == "fp16"
    module = _Translating(_exportable(network.model, trains, half), multiple, minimum, half, options.uint8)
    data = model.recipe.data
    channels = {"A": data.channels_a, "B": data.channels_b}
    into, out = channels[translation.source], channels[translation.target]
    batch_norm = any(isinstance(each, nn.BatchNorm2d) for each in network.modules())

    def reference(image: Tensor) -> Tensor:
        with torch.no_grad(), untracked(network):
            return crop(network(pad(image, multiple, minimum)), (image.shape[2], image.shape[3]))

    return Graph(
        suffix=f"_{name}" if len(model.translations) > 1 else "",
        module=module,
        example=_example(options.uint8, 2, into, 4 * multiple + 3, 6 * multiple + 1),
        dimensions={0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},
        names=(IMAGE, MADE),
        compared=0,
        reference=reference,
        about=_about(
            source,
            options,
            direction=name,
            channels_in=into,
            channels_out=out,
            size=data.crop_size,
            together=not (trains and batch_norm),
        ),
    )


def _generator(source: Source, options: Options, model: Generator) -> Graph:
    (network,) = model.networks.values()
    half = options.precision == "fp16"
    data = model.recipe.data

    def reference(z: Tensor) -> Tensor:
        with torch.no_grad():
            return model.predict({"z": z})["image"]

    return Graph(
        suffix="",
        module=_Generating(_exportable(network, False, half), half, options.uint8),
        example=torch.zeros(2, model.latent),
        dimensions={0: Dim("batch")},
        names=(NOISE, MADE),
        compared=0,
        reference=reference,
        about=_about(source, options, channels_out=data.channels, size=data.image_size, latent=model.latent),
    )


def _classifier(source: Source, options: Options, model: Classifier) -> Graph:
    (network,) = model.networks.values()
    half = options.precision == "fp16"
    data = model.recipe.data

    def reference(image: Tensor) -> Tensor:
        with torch.no_grad():
            return model.predict({"image": image})["logits"].softmax(1)

    return Graph(
        suffix="",
        module=_Classifying(_exportable(network, False, half), model.normalized, half),
        example=_example(options.uint8, 2, data.channels, data.image_size, data.image_size),
        dimensions={0: Dim("batch")},
        names=(IMAGE, LOGITS, PROBABILITIES),
        compared=1,
        reference=reference,
        about=_about(
            source,
            options,
            channels_in=data.channels,
            size=data.image_size,
            resize=data.resize,
            classes=data.class_names,
        ),
    )


def _example(uint8: bool, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.uint8 if uint8 else torch.float32)


def _about(source: Source, options: Options, **own: Any) -> Exported:
    general: dict[str, Any] = {
        "name": source.name,
        "kind": source.recipe.kind,
        "model": source.recipe.model,
        "recipe": source.recipe.recipe,
        "direction": "",
        "precision": options.precision,
        "uint8": options.uint8,
        "channels_in": 0,
        "channels_out": 0,
        "size": 0,
        "resize": 0,
        "latent": 0,
        "classes": (),
        "together": True,
        "checkpoint": source.checkpoint,
        "averaged": source.averaged,
        "digest": source.digest,
        "licence": options.licence,
        "gesso": gesso.__version__,
    }
    return Exported(**general | own)
