"""The energy that devices have used, where the machine counts it and lets this process read it.

Never an estimate: where a counter cannot be read there is none. The counters are of whole devices, so what other
programs do on them is in there too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 1000.0
"""More than a socket can draw: tells after how long a counter may have begun anew more than once."""


@dataclass(frozen=True)
class Counter:
    """What a counter of energy shows."""

    joules: float
    """Since some moment."""
    wraps: float = math.inf
    """Joules after which it begins at 0 again."""


Counters = Mapping[str, Counter]
"""By what is counted, so that a device that two processes read counts once."""


def spent(before: Counters, after: Counters, seconds: float) -> float | None:
    """Joules between two readings, `seconds` apart, of all that is in both; None where that is nothing, or where a
    counter may have begun anew more than once."""
    both = before.keys() & after.keys()
    if not both or any(seconds * MOST_WATTS > after[name].wraps for name in both):
        return None
    return sum(_difference(before[name], after[name]) for name in both)


def _difference(before: Counter, after: Counter) -> float:
    difference = after.joules - before.joules
    return difference if difference >= 0 else difference + after.wraps


def rapl(device: torch.device, folder: Path = POWERCAP) -> Counters:
    """The processor's packages, by Linux' powercap (Intel's RAPL, which AMD has too); usually for root alone.

    Source: the kernel's Documentation/power/powercap/powercap.rst.
    """
    found: dict[str, Counter] = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package"):  # the zones inside a package, and psys around it, would count twice
                microjoules, most = (int((zone / file).read_text()) for file in ("energy_uj", "max_energy_range_uj"))
                found[name] = Counter(microjoules / 1e6, most / 1e6)
        except (OSError, ValueError):
            continue
    return found


def nvml(device: torch.device) -> Counters:
    """An NVIDIA GPU of Volta or newer, by the package nvidia-ml-py, where it is installed.

    Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption.
    """
    if find_spec("pynvml") is None:
        return {}
    import pynvml

    # torch's number counts the devices that CUDA_VISIBLE_DEVICES leaves, NVML's all of them: the UUID is the same.
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    try:
        pynvml.nvmlInit()
        millijoules = pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError:  # older, or a part of a GPU (MIG)
        return {}
    return {uuid: Counter(millijoules / 1000)}
