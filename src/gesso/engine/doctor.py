"""What is on this machine, what gesso would choose, and why."""

import hashlib
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import platformdirs
import torch

from gesso.devices import (
    ACCELERATORS,
    DTYPES,
    Accelerator,
    choose_device,
    choose_precision,
    facts,
    measure_matmul_peak,
)
from gesso.engine.runs import versions
from gesso.errors import UsageError
from gesso.files import probe
from gesso.metrics.features import INCEPTION_SHA256, find_inception

OPTIONAL = ("wandb", "mlflow")


def examine() -> Iterator[str]:
    """Lines of text, the slow ones (the measured rates) last."""
    for name, version in versions().items():
        yield f"{name:<14} {version}"
    for kind, row in ACCELERATORS.items():
        yield f"{kind:<14} {_there(row)}"
    device = choose_device("auto")
    precision = choose_precision("auto", device.value)
    row = facts(device.value)
    yield f"device         {device.value} ({device.reason})"
    yield f"precision      {precision.value} ({precision.reason})"
    yield f"channels_last  {row.channels_last.value} ({row.channels_last.reason})"
    yield f"free memory    {row.free_memory(device.value) / 1e9:.1f} GB"
    yield f"compiler       {row.compiler().reason}"
    yield f"limits         {row.limits}"
    for name in OPTIONAL:
        missing = f"not installed: pip install 'gesso[{name}]'"
        yield f"{name:<14} {'installed' if find_spec(name) else missing}"
    yield f"cache          {_cache()}"
    yield f"Inception      {_inception()}"
    yield "LPIPS          gesso has no network for it: name your file with --evaluation.lpips"
    for name in row.precisions(device.value):
        if name != "tf32":  # whose switch is off here, so it would show the rate of fp32
            rate = measure_matmul_peak(device.value, DTYPES[name])
            yield f"matmul {name:<7} {rate / 1e9:.0f} GFLOP/s measured"


def _cache() -> str:
    """Where decoded images and statistics are kept, and whether there is room for them."""
    path = platformdirs.user_cache_path("gesso")
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        probe(there)
    except OSError:
        return f"{path} cannot be written; name another folder with --data.cache-dir"
    return f"{path}, {shutil.disk_usage(there).free / 1e9:.0f} GB free on the disk"


def _inception() -> str:
    """Whether the network of FID and KID is here, where, and whether it is the one of published scores."""
    try:
        path = find_inception()
    except UsageError as error:
        return f"not found: {error}"
    with path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest() == INCEPTION_SHA256
    return str(path) if whole else f"{path} is damaged or another network; install it again: pip install 'gesso[fid]'"


def _there(row: Accelerator) -> str:
    """Every device of this kind, in words, and whether what gesso knows of the kind was ever tried."""
    trust = f"by the documentation ({row.documentation})" if row.documentation else "run by us"
    count = row.count()
    if not count:
        return f"not here, needs {row.needs}; {trust}"
    devices = [torch.device(row.kind, index) for index in range(count)]
    described = ", ".join(row.describe(device) for device in devices)
    compiler = row.compiler()
    return (
        f"{f'{count}: ' if count > 1 else ''}{described}; {', '.join(row.precisions(devices[0]))}; "
        f"{row.compile_backend if compiler.value else 'not compiled'} ({compiler.reason}); {trust}"
    )
