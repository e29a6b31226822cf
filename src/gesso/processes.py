"""The processes that train one run together: who they are, and the few things that they say to one another.

Gesso does not wrap networks for data parallelism. Every process holds the same weights, takes its own images, and
averages gradients with the others between the backward pass and the optimizer's step, in one message (see
`Model.descend`); batch norm's running statistics follow once a step. So a step may run a network several times, freeze
it, or leave it out, all of which CycleGAN does and wrappers forbid, and after every step the weights, the optimizers
and the statistics of all processes are equal to the last bit: whatever one of them saves is everyone's.

Who starts the processes does not matter: `--devices`, torchrun, `accelerate launch` and Slurm's srun all leave their
mark in the environment, which `place` reads.
"""

import contextlib
import functools
import itertools
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from gesso.devices import facts
from gesso.endings import PATIENCE, Cause, Watch, code_without_a_word, limited, talking
from gesso.errors import MeetingError, UsageError
from gesso.launched import RESTARTS
from gesso.progress import mute

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where this process stands among those that train together."""

    rank: int = 0
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number among the processes of this machine, and of its device."""
    host: str = ""
    """Name of the machine at which the processes meet; empty: the environment has its MASTER_ADDR and MASTER_PORT."""
    port: int = 0
    restarts: int = 0
    """How often the launcher has started these processes anew."""
    one_machine: bool = False
    """Whether the launcher says that all processes are on this machine."""
    store_kept: bool = False
    """Whether the launcher keeps what the processes leave for one another, so that it outlives any of them."""

    @property
    def main(self) -> bool:
        """Whether this is the process that writes, prints and draws for all."""
        return self.rank == 0


def place(environment: Mapping[str, str]) -> Place:
    """The place that a launcher has put into `environment`; that of a process alone where none has.

    UsageError where what it says is not whole.
    """
    try:
        return _place(environment)
    except ValueError as error:  # int() of what is no number
        raise UsageError(f"the launcher's environment makes no sense: {error}") from None


def _place(environment: Mapping[str, str]) -> Place:
    if int(environment.get("WORLD_SIZE", "1")) > 1:  # torchrun, and so --devices, accelerate launch and Kubeflow
        rank, size = int(environment.get("RANK", "-1")), int(environment["WORLD_SIZE"])
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environment]
        if missing:
            raise UsageError(f"WORLD_SIZE is {size}, but {', '.join(missing)} is not set: start gesso with torchrun")
        return Place(
            rank,
            size,
            int(environment.get("LOCAL_RANK", "0")),
            restarts=int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")) + int(environment.get(RESTARTS, "0")),
            one_machine=environment.get("LOCAL_WORLD_SIZE") == environment["WORLD_SIZE"],
            store_kept=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )
    # Inside a job but outside of srun, a shell has the job's size too; only a step of it is one of many.
    if "SLURM_STEP_ID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Place(
            rank=int(environment["SLURM_PROCID"]),
            size=int(environment["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(environment["SLURM_LOCALID"]),
            host=first_host(environment["SLURM_STEP_NODELIST"]),
            # Any port will do that all tasks of a step agree on, and that two jobs on one machine do not share.
            port=int(environment.get("MASTER_PORT") or 10_000 + int(environment["SLURM_JOB_ID"]) % 50_000),
        )
    return Place()


def first_host(nodes: str) -> str:
    """The first machine of a Slurm list such as gpu[07-09,12],login1: gpu07."""
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\])?([^,]*)", nodes)
    return f"{found[1]}{found[2] or ''}{found[3]}" if found else nodes


class World:
    """The processes that train together. `ALONE`, the usual world, has only this one.

    rank, size, main  as in `Place`
    """

    def __init__(self, where: Place | None = None, control: dist.ProcessGroup | None = None) -> None:
        self.place = where or Place()
        self.rank, self.size, self.main = self.place.rank, self.place.size, self.place.main
        # On the host, beside the devices' own group: what is said there never waits for a device.
        self._control = control
        self._asked: tuple[Tensor, Any] | None = None

    def gather(self, value: T) -> list[T]:
        """The `value` of every process, in the order of their ranks, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with talking():
            dist.all_gather_object(values, value, group=self._control)
        return values

    def from_main(self, value: T) -> T:
        """The main process's `value`, in every process."""
        if self.size == 1:
            return value
        values = [value]
        with talking():
            dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over all processes into `tensors`, float of any shape, all on one device."""
        if self.size == 1 or not tensors:
            return
        # One message instead of hundreds: latency, not bandwidth, is what small tensors cost.
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        with talking():
            dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def equalise(self, tensors: Sequence[Tensor]) -> None:
        """Put the main process's values into `tensors`."""
        if self.size > 1:
            with torch.no_grad(), talking():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def any(self, here: bool) -> bool:
        """Whether `here` was true in some process at the call before this one, which answers without waiting.

        Every process gets the same answer at the same call, so that all of them stop at the same step.
        """
        if self.size == 1:
            return here
        answer = False
        if self._asked:
            flag, work = self._asked
            with talking():
                work.wait()
            answer = bool(flag)
        flag = torch.tensor(int(here))
        with talking():
            self._asked = flag, dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._control, async_op=True)
        return answer

    def forget(self) -> None:
        """Drop what `any` was asked last and has not answered: it was about what is over by now."""
        if self._asked:
            with talking():
                self._asked[1].wait()
            self._asked = None

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process goes through the block alone, the others after it: they find what it made, such as a cache,
        and where it fails they end without a word."""
        if not self.main:
            self.meet()
        yield
        if self.main:
            self.meet()

    def meet(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            with talking():
                dist.barrier(group=self._control)


ALONE = World()
_joined = ALONE


@contextlib.contextmanager
def joined(kind: str) -> Iterator[World]:
    """The world that a launcher made this process a part of, on devices of `kind`, until the end of the block.

    Processes other than the main one say nothing inside but their errors, and all leave the block together. In a world
    that was joined already, it is that one. Where a process ends by an error all of them do, with its exit code, and
    one tells why (see `endings`). UsageError where the processes cannot talk on such devices or their port is taken,
    MeetingError where they cannot come together.
    """
    global _joined
    here = place(os.environ)
    if here.size == 1 or _joined is not ALONE:
        _joined.forget()
        yield _joined
        return
    backend = facts(torch.device(kind)).collectives
    if not backend:
        raise UsageError(f"--device {kind}: several processes cannot train together on it; use one")
    world, cause = _come_together(here, backend)
    watch = Watch(here.main, cause)
    try:
        _joined = world
        with contextlib.nullcontext() if here.main else mute():
            yield _joined
        _joined.meet()  # so that a connection that closes before was closed by a failure
    except (Exception, KeyboardInterrupt) as error:
        code = code_without_a_word(error, here.main, cause)
        if code is None:
            raise
        raise SystemExit(code) from None
    finally:
        _joined = ALONE
        try:
            dist.destroy_process_group()  # which may wait for a device, so that the watch goes on until then
        finally:
            watch.stop()


def _come_together(here: Place, backend: str) -> tuple[World, Cause | None]:
    """The world of these processes, and where they leave what ends them, if the launcher keeps that.

    Before they have met, nothing but the store of one machine, which counts its starts, tells them from those of an
    earlier start. So over several machines each of them tells why they cannot meet; the reasons may differ, too.
    """
    number, cause = next(_worlds), None
    try:
        with limited(_address(here)) if number == 0 else contextlib.nullcontext():
            store = _store(here, number)
            if here.store_kept and here.one_machine:
                cause = Cause(store, here.rank)
            dist.init_process_group(backend, store=store, rank=here.rank, world_size=here.size, timeout=PATIENCE)
            world = World(here, dist.new_group(backend="gloo", timeout=PATIENCE))
            start = world.from_main(uuid.uuid4().hex)
        return world, Cause(store, here.rank, start) if here.store_kept else None
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        late = MeetingError(f"{_address(here)}: the processes cannot come together there: {reason}")
        code = code_without_a_word(late, here.main, cause)
        if code is None:
            raise late from error
        raise SystemExit(code) from None


_worlds = itertools.count()


def _store(here: Place, number: int) -> Store:
    """Where the processes leave their addresses for one another: others in each world that they join."""
    store = PrefixStore(f"world {number}", _connected(here))
    # torchrun keeps one store over its restarts, with the addresses of processes that are gone. It counts restarts for
    # each machine by itself, so the count parts old from new on one machine alone; docs/training.md tells of several.
    return PrefixStore(f"start {here.restarts}", store) if here.one_machine else store


@functools.cache  # the main process may be the one that holds it: closed between two worlds, the others would miss it
def _connected(here: Place) -> Store:
    address = f"tcp://{here.host}:{here.port}" if here.host else "env://"
    try:
        store: Store = next(iter(rendezvous(address, here.rank, here.size, timeout=PATIENCE)))[0]
    except RuntimeError as error:
        if "EADDRINUSE" in str(error):
            raise UsageError(
                f"{_address(here)}: another program listens at this port already, so the processes cannot meet there; "
                "set MASTER_PORT to a free one"
            ) from None
        raise
    return store


def _address(here: Place) -> str:
    """HOST:PORT at which the processes meet."""
    return f"{here.host or os.environ['MASTER_ADDR']}:{here.port or os.environ['MASTER_PORT']}"
