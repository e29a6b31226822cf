"""Trained models for other programs: to run them elsewhere, or their weights alone.

A format is one file with one function, and a line in the table.
"""

from gesso.exporting.dcgan import export_dcgan
from gesso.exporting.junyanz import export_junyanz
from gesso.exporting.onnx import export_onnx
from gesso.exporting.openvino import export_openvino
from gesso.exporting.source import Format, Options, Source, load_source
from gesso.exporting.torch import export_torch
from gesso.exporting.torchvision import export_torchvision

__all__ = ["FORMATS", "Format", "Options", "Source", "load_source"]

FORMATS: dict[str, Format] = {
    "onnx": export_onnx,
    "torch": export_torch,
    "openvino": export_openvino,
    "junyanz": export_junyanz,
    "torchvision": export_torchvision,
    "dcgan-example": export_dcgan,
}
