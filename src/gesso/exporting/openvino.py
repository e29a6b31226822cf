"""Export to OpenVINO: its two files, NAME.xml with the graph and what it is, NAME.bin with the weights.

They are made from the ONNX graph. fp16 keeps the weights in 16 bits; in which arithmetic they are used, OpenVINO
chooses by the device.
"""

import dataclasses
import errno
from pathlib import Path
from typing import Any

import numpy as np

from gesso.exported import PREFIX
from gesso.exporting.checking import Run
from gesso.exporting.exporters import needed, quiet, scratch
from gesso.exporting.graph import Graph, graphs
from gesso.exporting.onnx import checked
from gesso.exporting.placing import places, write_exported
from gesso.exporting.scoring import Built
from gesso.exporting.source import Options, Source
from gesso.runtime import openvino


def export_openvino(source: Source, out: Path, options: Options) -> list[Path]:
    """Write each network of `source` as NAME.xml and NAME.bin; gives the files."""
    needed("onnx", "onnxscript", "onnxruntime", "openvino")
    weights_only = options.precision == "fp16"
    made = graphs(source, dataclasses.replace(options, precision="fp32") if weights_only else options)
    contents: dict[Path, bytes] = {}
    for graph, path in zip(made, places(source, out, made, options, ".xml", ".bin"), strict=True):
        graph = dataclasses.replace(graph, about=dataclasses.replace(graph.about, precision=options.precision))
        contents |= checked(graph, source, options, path, _build)
    return write_exported(contents.items(), options)


def _build(model: Any, graph: Graph) -> Built:
    runtime = openvino()
    with scratch() as folder:
        file, xml = folder / "model.onnx", folder / "model.xml"
        file.write_bytes(model.SerializeToString())
        with quiet():
            network = runtime.convert_model(file)
        for key, value in graph.about.texts().items():
            network.set_rt_info(value, ["gesso", key.removeprefix(PREFIX)])
        try:
            runtime.save_model(network, xml, compress_to_fp16=graph.about.precision == "fp16")
        except RuntimeError as error:  # all that it says of a full disk
            if "iostream" not in str(error):
                raise
            raise OSError(errno.ENOSPC, "OpenVINO could not write there") from error
        files = {each.suffix: each.read_bytes() for each in (xml, xml.with_suffix(".bin"))}
        return Built(files, _runner(xml, graph))


def _runner(xml: Path, graph: Graph) -> Run:
    """Runs the model at `xml`, which may go away, on the CPU, in the precision of its weights."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_MMAP": "NO"}
    compiled = openvino().Core().compile_model(xml, "CPU", settings)

    def run(inputs: np.ndarray) -> np.ndarray:
        made: np.ndarray = compiled({graph.names[0]: inputs})[graph.names[1 + graph.compared]]
        return made

    return run
