"""Export to ONNX, for onnxruntime and all that reads it: one file that says what it is and how it was checked."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gesso.errors import UsageError
from gesso.exported import sealed
from gesso.exporting.checking import Run, check, score
from gesso.exporting.graph import Graph, graphs, traced
from gesso.exporting.placing import places
from gesso.exporting.quantizing import quantized
from gesso.exporting.source import Options, Source
from gesso.files import write_all
from gesso.runtime import onnxruntime

OPSET = 18
"""Of 2022: old enough for all that runs ONNX, and new enough for all that is in the graphs."""


def export_onnx(source: Source, out: Path, options: Options) -> list[Path]:
    """Write each network of `source` as NAME.onnx, sealed, with `Exported` as its metadata; gives the files."""
    needed("onnx", "onnxscript", "onnxruntime")
    made = graphs(source, options)
    contents: dict[Path, bytes] = {}
    for graph, path in zip(made, places(source, out, made, options, ".onnx"), strict=True):
        contents[path] = content = as_onnx(graph, source)
        run = runner(content, graph)
        check(run, graph, source, options, path.name)
        if options.precision == "int8":
            score(run, graph, source, path.name)
    return write_all(contents.items())


def needed(*modules: str) -> None:
    """UsageError where one of `modules` is not installed."""
    for module in modules:
        try:
            onnxruntime() if module == "onnxruntime" else __import__(module)
        except ImportError:
            raise UsageError(f"this format needs {module}: pip install 'gesso[export]'") from None


def as_onnx(graph: Graph, source: Source) -> bytes:
    """`graph` as a sealed ONNX file that says what it is."""
    model = converted(graph, source)
    for key, value in graph.about.texts().items():
        model.metadata_props.add(key=key, value=value)
    return sealed(model.SerializeToString())


def converted(graph: Graph, source: Source) -> Any:
    """`graph` as ONNX's ModelProto. int8 is calibrated on the run's test pictures."""
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
        if graph.about.precision == "int8":
            model = quantized(model, graph, source)
    _clean(model)
    model.producer_name, model.producer_version, model.graph.name = "gesso", graph.about.gesso, graph.about.name
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, what exporters say of themselves is not shown: it is meant for their authors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _clean(model: Any) -> None:
    """Take out of the ONNX `model` what the exporter wrote of itself, and with it paths of this machine."""
    functions = [each for function in model.functions for each in (function, *function.node)]
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer)
    for holder in (model, model.graph, *model.graph.node, *values, *functions):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")


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
