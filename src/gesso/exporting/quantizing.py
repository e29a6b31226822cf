"""int8 inside an ONNX graph, after training: for onnxruntime, and for OpenVINO, which reads the same graph.

Convolutions and products compute in int8, with weights scaled by output channel and activations by the range that they
have on pictures. For transposed convolutions onnxruntime has no int8: they keep their weights in it, for a file of a
quarter, and compute in float32.
"""

from typing import Any

import numpy as np

from gesso.exporting.checking import as_input
from gesso.exporting.exporters import quiet, scratch
from gesso.exporting.graph import Graph
from gesso.exporting.pictures import SCORED, tried_on
from gesso.exporting.source import Source
from gesso.progress import say

COMPUTED = ("Conv", "MatMul", "Gemm")
LARGEST = 127
"""-128 is left out, so that zero lies in the middle."""


def quantized(model: Any, graph: Graph, source: Source, name: str) -> Any:
    """The ONNX `model` of `graph` in int8, calibrated on pictures of the run's test data that `score` does not use.

    `model` itself is used up. name: of the file, for the line that tells of it.
    """
    if any(node.op_type in COMPUTED for node in model.graph.node):
        model = _computed(model, graph, source, name)
    _keep_transposed(model)
    return model


def _computed(model: Any, graph: Graph, source: Source, name: str) -> Any:
    """`model` with the operators of COMPUTED in int8."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    tried = tried_on(source, graph.about.direction, 2 * SCORED).half(0)
    say(f"{name}: calibrating on {tried.what}")

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(tried.inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            single = next(self._left, None)
            return None if single is None else {graph.names[0]: as_input(single[None], graph)}

    with scratch() as folder, quiet():
        quantize_static(
            model,
            folder / "model.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(COMPUTED),
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
        )
        return onnx.load(folder / "model.onnx")


def _keep_transposed(model: Any) -> None:
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
