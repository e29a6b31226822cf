"""What a row of the table of accelerators says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from gesso.devices.energy import Counters

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """An automatic choice: what, and why."""

    value: T
    reason: str


@dataclass(frozen=True)
class Accelerator:
    """One kind of device. What is asked of one device takes it as its argument: `cuda:1` may differ from `cuda:0`."""

    kind: str
    """torch's name for the kind: `torch.device(kind)`. Two rows share one where torch tells them apart by its build."""
    documentation: str
    """The document that the row follows, where nobody of this project has run it; empty: it was run."""
    needs: str
    """What must be there for one to be found."""
    limits: str
    """What does not work or was left out, in a sentence."""
    host: bool
    """Whether it is the processor itself, whose memory and random numbers every process has."""
    numbered: bool
    """Whether a process may take any of them by its number. Else the vendor's software gives each process its own."""
    count: Callable[[], int]
    """How many there are, 0 where there is none. They are numbered from 0. Loads the vendor's package, if installed."""
    describe: Callable[[torch.device], str]
    precisions: Callable[[torch.device], tuple[str, ...]]
    best_precision: Callable[[torch.device], Choice[str]]
    channels_last: Choice[bool]
    fused_optimizer: bool
    compiler: Callable[[], Choice[bool]]
    """Whether torch.compile finds what it needs here, and what that is."""
    compile_backend: str
    """torch.compile's `backend`."""
    synchronize: Callable[[torch.device], None]
    submit: Callable[[], None]
    """Start what was recorded and not yet started. After each backward pass and each optimizer's step."""
    pins_memory: bool
    """Whether the host's memory can be pinned for it, and a torch.Event tells that a copy into that has arrived."""
    peak_memory: Callable[[torch.device], int]
    """Bytes at the highest point of this process."""
    reset_peak_memory: Callable[[torch.device], None]
    free_memory: Callable[[torch.device], int]
    """Bytes that an allocation could still have."""
    allow_tf32: Callable[[bool], None]
    """Let float32 products be rounded to TF32, or what the vendor has like it, or forbid it, so that fp32 is fp32."""
    select: Callable[[torch.device], None]
    """Make it the one that is meant where none is named, in this process. The device has its number."""
    collectives: str
    """torch.distributed's backend between such devices; empty where there is none."""
    nominal_flops: float
    """A usual float32 rate of this kind in FLOP/s, for estimates that must not vary from call to call."""
    energy: Callable[[torch.device], Counters] = lambda device: {}
    """What its counters of energy show; empty where there is none that this process can read."""


def nothing(*_: object) -> None:
    """For what a device does not need."""
