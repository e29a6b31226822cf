"""Export to torch's own format: one .pt2 file, which torch.export.load reads without gesso's code."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from gesso.errors import UsageError
from gesso.exporting.checking import Run, check
from gesso.exporting.exporters import quiet
from gesso.exporting.graph import Graph, graphs, traced
from gesso.exporting.placing import places, write_exported
from gesso.exporting.source import Options, Source
from gesso.progress import say

METADATA = "gesso.json"
"""The extra file in a .pt2 that holds `Exported` as JSON."""


def export_torch(source: Source, out: Path, options: Options) -> list[Path]:
    """Write each network of `source` as NAME.pt2; gives the files."""
    if options.precision == "int8":
        raise UsageError("--precision int8: --format torch has none; use fp32 or fp16, or --format onnx")
    made = graphs(source, options)
    contents: dict[Path, bytes] = {}
    for graph, path in zip(made, places(source, out, made, options, ".pt2"), strict=True):
        say(f"{path.name}: converting")
        buffer = io.BytesIO()
        with quiet():
            program = traced(graph)
            program.example_inputs = None  # a picture of zeros, which can be larger than the weights
            torch.export.save(program, buffer, extra_files={METADATA: json.dumps(asdict(graph.about))})
        contents[path] = content = buffer.getvalue()
        check(_runner(content, graph), graph, source, options, path.name)
    return write_exported(contents.items(), options)


def _runner(content: bytes, graph: Graph) -> Run:
    """Runs the .pt2 file `content`."""
    with quiet():
        module = torch.export.load(io.BytesIO(content)).module()

    def run(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            made = module(torch.from_numpy(inputs))
        found: np.ndarray = (made[graph.compared] if isinstance(made, tuple) else made).numpy()
        return found

    return run
