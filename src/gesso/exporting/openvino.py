"""Export to OpenVINO: its two files, NAME.xml with the graph and what it is, NAME.bin with the weights.

They are made from the ONNX graph. fp16 keeps the weights in 16 bits; in which arithmetic they are used, OpenVINO
chooses by the device.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gesso.exported import PREFIX
from gesso.exporting.checking import Run, check, score
from gesso.exporting.graph import Graph, graphs
from gesso.exporting.onnx import converted, needed, quiet
from gesso.exporting.placing import places
from gesso.exporting.source import Options, Source
from gesso.files import write_all


def export_openvino(source: Source, out: Path, options: Options) -> list[Path]:
    """Write each network of `source` as NAME.xml and NAME.bin; gives the files."""
    needed("onnx", "onnxscript", "onnxruntime", "openvino")
    weights_only = options.precision == "fp16"
    made = graphs(source, dataclasses.replace(options, precision="fp32") if weights_only else options)
    contents: dict[Path, bytes] = {}
    for graph, path in zip(made, places(source, out, made, options, ".xml", ".bin"), strict=True):
        graph = dataclasses.replace(graph, about=dataclasses.replace(graph.about, precision=options.precision))
        with tempfile.TemporaryDirectory() as folder:
            xml = Path(folder) / "model.xml"
            _convert(graph, source, xml, weights_only)
            run = _runner(xml, graph)
            check(run, graph, source, options, path.name)
            if options.precision == "int8":
                score(run, graph, source, path.name)
            contents[path] = xml.read_bytes()
            contents[path.with_suffix(".bin")] = xml.with_suffix(".bin").read_bytes()
    return write_all(contents.items())


def _convert(graph: Graph, source: Source, xml: Path, half: bool) -> None:
    """Write `graph` as `xml` and the .bin beside it."""
    import openvino

    file = xml.with_suffix(".onnx")
    file.write_bytes(converted(graph, source).SerializeToString())
    with quiet():
        model: Any = openvino.convert_model(file)
    for key, value in graph.about.texts().items():
        model.set_rt_info(value, ["gesso", key.removeprefix(PREFIX)])
    openvino.save_model(model, xml, compress_to_fp16=half)


def _runner(xml: Path, graph: Graph) -> Run:
    """Runs the model at `xml` on the CPU, in the precision of its weights."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_MMAP": "NO"}
    compiled: Any = openvino.Core().compile_model(xml, "CPU", settings)

    def run(inputs: np.ndarray) -> np.ndarray:
        made: np.ndarray = compiled({graph.names[0]: inputs})[graph.names[1 + graph.compared]]
        return made

    return run
