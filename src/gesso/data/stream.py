"""An endless stream of training batches, prepared ahead by threads.

What batch stands at position p depends on (seed, rank, images seen) alone, so any number of threads may prepare
it ahead of time and a resumed run continues where it stood.
"""

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from gesso.data.order import IntArray

AHEAD = 4
"""Fewest batches prepared before they are asked for."""

Host = TypeVar("Host")
"""A batch in the host's memory."""


class Stream(ABC, Generic[Host]):
    """An endless iterator of training batches on the device.

    `position` is the number of images that all processes have drawn so far; process `rank` of `world` takes its own
    stretch of each step's positions. `seconds_waited` adds up the time in which training stood still.
    """

    def __init__(
        self, *, batch_size: int, workers: int, seed: int = 0, position: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self._seed = seed
        self.position = self._next = position
        self.seconds_waited = 0.0
        self._batch, self._rank, self._world = batch_size, rank, world
        workers = workers or os.cpu_count() or 1
        self._most_ahead = max(AHEAD, 2 * workers)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="gesso-data")
        self._ahead: deque[Future[Host]] = deque()

    @abstractmethod
    def host_batch(self, position: int) -> Host:
        """This process's batch of the step that begins at `position`. Called from any thread."""

    @abstractmethod
    def to_device(self, host: Host) -> dict[str, Tensor]:
        """The batch as the model reads it: images N×C×H×W float32 in [-1, 1]."""

    def positions(self, position: int) -> IntArray:
        """This process's positions in the step that begins at `position`: (N,)."""
        return position + self._rank * self._batch + np.arange(self._batch, dtype=np.int64)

    def __iter__(self) -> "Stream[Host]":
        return self

    def __next__(self) -> dict[str, Tensor]:
        while len(self._ahead) < self._most_ahead:
            self._ahead.append(self._pool.submit(copy_context().run, self.host_batch, self._next))
            self._next += self._batch * self._world
        start = time.perf_counter()
        host = self._ahead.popleft().result()
        self.seconds_waited += time.perf_counter() - start
        self.position += self._batch * self._world
        return self.to_device(host)

    def rewind(self, position: int, seed: int | None = None) -> None:
        """Go on at `position`, as if nothing had been drawn; in the order of another `seed`, if given."""
        if seed is not None:
            self._seed = seed
        for future in self._ahead:
            future.cancel()
        wait(self._ahead)  # those under way would mix the seeds
        self._ahead.clear()
        self.position = self._next = position
        self.seconds_waited = 0.0

    def close(self) -> None:
        """Stop the threads. Batches prepared ahead are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
