"""Full-width networks exported to run elsewhere: how far they are from torch, how long it takes, how large they are.

    python benchmarks/exports.py
    python benchmarks/exports.py runs/pix2pix-facades --formats onnx --precision int8

Without runs, networks of the papers' sizes with random weights are written as other programs' files and imported:
pix2pix's U-Net 256 and CycleGAN's ResNet-9 of 64 filters, DCGAN of 64 pixels, DenseNet-121. The weights keep
the spread of what goes through them; as a training begins with them, they would make nearly the same of every picture.
Each export runs in a process of its own, whose time is that of its cores, however busy the machine is. What it wrote is
then run here, apart from the command's own check. Needs the extra `export`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import nn

from gesso.data.streets import render
from gesso.exporting import Options, load_source
from gesso.exporting.graph import Graph, graphs
from gesso.networks import ResNetGenerator, UNetGenerator
from gesso.networks.dcgan import DCGANGenerator
from gesso.networks.densenet import DenseNet
from gesso.runtime import onnxruntime

SIZES = ((64, 64), (256, 256), (200, 328))
"""Height and width of what a translator is tried on."""
NETWORKS: dict[str, tuple[str, dict[str, Callable[[], nn.Module]]]] = {
    "pix2pix": ("junyanz", {"latest_net_G": UNetGenerator}),
    "cyclegan": ("junyanz", {"latest_net_G_A": ResNetGenerator, "latest_net_G_B": ResNetGenerator}),
    "dcgan": ("dcgan-example", {"netG": DCGANGenerator}),
    "densenet": ("torchvision", {"densenet121": DenseNet}),
}
"""By the name of the run: whose files they are, and the networks by file. All have the papers' sizes by default."""
Run = Callable[[np.ndarray], np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="runs to export; without, the papers' networks")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="of the papers' networks")
    parser.add_argument("--formats", nargs="+", choices=RUNNERS, default=list(RUNNERS))
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    print("| network | format | " + " | ".join(f"{high}×{wide}" for high, wide in SIZES) + " | time | memory | file |")
    print("|---" * (len(SIZES) + 5) + "|")
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or [made(name, Path(folder)) for name in arguments.only]
        for run in runs:
            for format_ in arguments.formats:
                print(row(run, format_, arguments.precision, Path(folder)), flush=True)
    return 0


def made(name: str, folder: Path) -> Path:
    """The run of the networks called `name`, imported."""
    program, networks = NETWORKS[name]
    files = []
    for seed, (file, network) in enumerate(networks.items()):
        torch.manual_seed(seed)
        files.append(folder / f"{file}.pth")
        torch.save(spread(network()).state_dict(), files[-1])
    command = ["import", *map(str, files), "--from", program, "-o", str(folder / name)]
    subprocess.run([sys.executable, "-m", "gesso", *command], check=True, stdout=sys.stderr)
    return folder / name


def spread(network: nn.Module) -> nn.Module:
    """`network` with weights that neither shrink nor blow up what goes through it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):  # of k×k weights that a pixel is made of, stride² are not for it
            nn.init.kaiming_normal_(module.weight.transpose(0, 1), nonlinearity="relu")
            with torch.no_grad():
                module.weight.mul_(module.stride[0])
    return network


def row(run: Path, format_: str, precision: str, folder: Path) -> str:
    """One line of the table: `run` in that format, its first direction."""
    graph = graphs(load_source(run), Options())[0]
    direction = ["--direction", graph.about.direction] if graph.about.direction else []
    out = folder / f"{run.name}-{format_}"
    out.mkdir()
    words = ["export", str(run), "--format", format_, "--precision", precision, "-o", str(out), *direction]
    child = subprocess.Popen([sys.executable, "-m", "gesso", *words], stdout=sys.stderr)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"gesso {' '.join(words)} ended with {child.returncode}")
    files = sorted(out.iterdir())
    size = sum(file.stat().st_size for file in files)
    model = next(file for file in files if file.suffix != ".bin")
    differences = compared(graph, RUNNERS[format_](model, graph))
    cells = [run.name, format_, *differences, f"{used.ru_utime + used.ru_stime:.0f} s"]
    return f"| {' | '.join(cells)} | {used.ru_maxrss / 2**20:.1f} GB | {size / 1e6:.1f} MB |"


def compared(graph: Graph, run: Run) -> list[str]:
    """The largest difference to torch at each of SIZES; of what takes one size only, at that."""
    if graph.about.kind == "generator":
        noise = np.random.default_rng(0).standard_normal((4, graph.about.latent), np.float32)
        return [difference(graph, run, noise), *["–"] * (len(SIZES) - 1)]
    if graph.about.kind == "classifier":
        return [difference(graph, run, street(graph, graph.about.size, graph.about.size)), *["–"] * (len(SIZES) - 1)]
    return [difference(graph, run, street(graph, high, wide)) for high, wide in SIZES]


def street(graph: Graph, height: int, width: int) -> np.ndarray:
    """A photo of a built-in street, 1×C×H×W in [-1, 1]."""
    photo = render(0, 0, width, height).photo.transpose(2, 0, 1)[None, : graph.about.channels_in]
    return np.ascontiguousarray(photo, np.float32) / np.float32(127.5) - 1


def difference(graph: Graph, run: Run, inputs: np.ndarray) -> str:
    expected = graph.reference(torch.from_numpy(inputs)).numpy()
    return f"{np.abs(run(inputs) - expected).max():.1e}"


def with_onnxruntime(file: Path, graph: Graph) -> Run:
    session = onnxruntime().InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda inputs: np.asarray(session.run([graph.names[1 + graph.compared]], {graph.names[0]: inputs})[0])


def with_torch(file: Path, graph: Graph) -> Run:
    module = torch.export.load(file).module()

    def run(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            made = module(torch.from_numpy(inputs))
        return np.asarray(made[graph.compared] if isinstance(made, tuple) else made)

    return run


def with_openvino(file: Path, graph: Graph) -> Run:
    compiled = openvino.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: np.asarray(compiled({graph.names[0]: inputs})[graph.names[1 + graph.compared]])


RUNNERS: dict[str, Callable[[Path, Graph], Run]] = {
    "onnx": with_onnxruntime,
    "torch": with_torch,
    "openvino": with_openvino,
}


if __name__ == "__main__":
    sys.exit(main())
