"""int8 inside an ONNX graph, after training: for onnxruntime, and for OpenVINO, which reads the same graph.

Convolutions and products compute in int8, with weights scaled by output channel and activations by the range that they
have on pictures. For transposed convolutions onnxruntime has no int8: they keep their weights in it, for a file of a
quarter, and compute in float32.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gesso.exporting.checking import SCORED, as_input
from gesso.exporting.graph import Graph
from gesso.exporting.pictures import tried_on
from gesso.exporting.source import Source

COMPUTED = ("Conv", "MatMul", "Gemm")
LARGEST = 127
"""-128 is left out, so that zero lies in the middle."""


def quantized(model: Any, graph: Graph, source: Source) -> Any:
    """The ONNX `model` of `graph` in int8, calibrated on pictures of the run's test data that `score` does not use."""
    if any(node.op_type in COMPUTED for node in model.graph.node):
        model = _computed(model, graph, source)
    _kept(model)
    return model


def _computed(model: Any, graph: Graph, source: Source) -> Any:
    """`model` with the operators of COMPUTED in int8."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(_Calibration, CalibrationDataReader):  # type: ignore[misc]
        pass

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            model,
            path,
            Reader(graph, source),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(COMPUTED),
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
        )
        return onnx.load(path)


class _Calibration:
    """Inputs one by one, as onnxruntime's quantization reads them."""

    def __init__(self, graph: Graph, source: Source) -> None:
        tried = tried_on(source, graph.about.direction, 2 * SCORED).half(0)
        self._left: Iterator[dict[str, np.ndarray]] = iter(
            [{graph.names[0]: as_input(each[None], graph)} for each in tried.inputs]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def _kept(model: Any) -> None:
    """Keep the weights of transposed convolutions in int8, symmetric and scaled by output channel."""
    from onnx import helper, numpy_helper

    initializers = {each.name: each for each in model.graph.initializer}
    for node in [each for each in model.graph.node if each.op_type == "ConvTranspose"]:
        name = node.input[1]
        weight = numpy_helper.to_array(initializers[name])  # inputs×outputs×k×k
        scale = np.abs(weight).max((0, 2, 3)) / LARGEST
        scale[scale == 0] = 1
        bytes_ = np.round(weight / scale[:, None, None]).astype(np.int8)
        model.graph.initializer.remove(initializers[name])
        model.graph.initializer.append(numpy_helper.from_array(bytes_, f"{name}_int8"))
        model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        inputs = [f"{name}_int8", f"{name}_scale"]
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [f"{name}_float32"], axis=1))
        node.input[1] = f"{name}_float32"
