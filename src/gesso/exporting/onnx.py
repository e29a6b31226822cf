"""Export to ONNX, for onnxruntime and all that reads it: one file that says what it is and how it was checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gesso.exported import sealed
from gesso.exporting.checking import Run, check
from gesso.exporting.exporters import needed, quiet
from gesso.exporting.graph import Graph, graphs, traced
from gesso.exporting.placing import places, write_exported
from gesso.exporting.quantizing import quantized
from gesso.exporting.scoring import Built, score
from gesso.exporting.source import Options, Source
from gesso.progress import say
from gesso.runtime import onnxruntime

OPSET = 18
"""Of 2022: old enough for all that runs ONNX, and new enough for all that is in the graphs."""


def export_onnx(source: Source, out: Path, options: Options) -> list[Path]:
    """Write each network of `source` as NAME.onnx, sealed, with `Exported` as its metadata; gives the files."""
    needed("onnx", "onnxscript", "onnxruntime")
    made = graphs(source, options)
    contents: dict[Path, bytes] = {}
    for graph, path in zip(made, places(source, out, made, options, ".onnx"), strict=True):
        contents |= checked(graph, source, options, path, _build)
    return write_exported(contents.items(), options)


def checked(
    graph: Graph, source: Source, options: Options, path: Path, build: Callable[[Any, Graph], Built]
) -> dict[Path, bytes]:
    """The files of `graph` beside `path`, run again and compared with torch; of int8, with float32 too.

    build: makes them of ONNX's ModelProto. UsageError where they differ from torch by more than `options` allow.
    """
    say(f"{path.name}: converting")
    model, float32 = converted(graph), None
    if options.precision == "int8":
        float32 = build(model, graph)
        model = quantized(model, graph, source, path.name)
        _sign(model, graph)
    built = build(model, graph)
    check(built.run, graph, source, options, path.name)
    if float32:
        score(built, float32, graph, source, path.name)
    return {path.with_suffix(suffix): content for suffix, content in built.files.items()}


def converted(graph: Graph) -> Any:
    """`graph` as ONNX's ModelProto, in floating point: int8 is made of it."""
    with quiet():
        program: Any = torch.onnx.export(
            traced(graph),
            input_names=list(graph.names[:1]),
            output_names=list(graph.names[1:]),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    _sign(model, graph)
    return model


def _sign(model: Any, graph: Graph) -> None:
    """Put gesso's name into the ONNX `model`, in place of what exporters wrote of themselves, paths of this machine
    among it."""
    functions = [each for function in model.functions for each in (function, *function.node)]
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer)
    for holder in (model, model.graph, *model.graph.node, *values, *functions):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    model.producer_name, model.producer_version, model.graph.name = "gesso", graph.about.gesso, graph.about.name


def _build(model: Any, graph: Graph) -> Built:
    content = as_onnx(model, graph)
    return Built({".onnx": content}, runner(content, graph))


def as_onnx(model: Any, graph: Graph) -> bytes:
    """The ONNX `model` of `graph` as a sealed file that says what it is."""
    del model.metadata_props[:]
    for key, value in graph.about.texts().items():
        model.metadata_props.add(key=key, value=value)
    return sealed(model.SerializeToString())


def runner(content: bytes, graph: Graph) -> Run:
    """Runs the ONNX file `content` in onnxruntime."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(inputs: np.ndarray) -> np.ndarray:
        made: np.ndarray = session.run([graph.names[1 + graph.compared]], {graph.names[0]: inputs})[0]
        return made

    return run
