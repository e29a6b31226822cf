"""Features of many images, gathered into what the distances between two sets need, and kept for the next time.

A Gaussian needs a mean and a covariance: they are built up in float64 around the running mean, because plain sums
of squares lose what they differ by. Neighbours and kernels need the features themselves: of those a bounded random
part is kept. Two processes that saw different images merge what they have. The real images stay the same from one
evaluation to the next, so what was gathered from them is remembered on disk.
"""

import contextlib
import hashlib
import io
import time
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import numpy as np
import torch
from torch import Tensor

from gesso.data.store import cache_root
from gesso.errors import DiskError
from gesso.files import write_atomically
from gesso.metrics.features import Features
from gesso.progress import Say

FORMAT = 1
_ABANDONED = 3600  # seconds; to write a file takes one or two


@dataclass
class Gathered:
    """Count, mean (D) and covariance (D×D) of features, and at most `keep` of them, all on the CPU.

    Where more than `keep` features come, those kept are a random part in which each is equally likely, drawn by
    `seed`. `first` is the place of the first feature in the whole set: processes that each gather a stretch of it, with
    the same seed, keep together what one process alone would have kept.
    """

    keep: int = 0
    seed: int = 0
    first: int = 0
    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    scatter: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    """Sum over features of (x - mean)(x - mean)ᵀ."""
    _rows: list[Tensor] = field(default_factory=list)
    _tickets: list[Tensor] = field(default_factory=list)  # kept are the rows with the smallest of random numbers

    def __post_init__(self) -> None:
        self._random = np.random.Generator(np.random.PCG64(self.seed).advance(self.first))  # one draw for each feature

    @property
    def covariance(self) -> Tensor:
        """D×D float64, unbiased. At least two features."""
        assert self.count >= 2
        return self.scatter / (self.count - 1)

    @property
    def kept(self) -> Tensor:
        """At most `keep` features, n×D float32, in the order in which they came."""
        self._forget()
        return self._rows[0] if self._rows else torch.zeros(0, len(self.mean))

    def add(self, features: Tensor) -> None:
        """Takes N×D features."""
        if not len(features):
            return
        rows = features.detach().cpu()
        wide = rows.double()
        mean = wide.mean(0)
        self._combine(len(wide), mean, (wide - mean).T @ (wide - mean))
        if self.keep:
            self._keep(rows.float(), torch.from_numpy(self._random.random(len(rows))))

    def merge(self, other: "Gathered") -> None:
        """Takes all that `other` gathered of the features behind those that were gathered here."""
        if other.count:
            self._combine(other.count, other.mean, other.scatter)
        for rows, tickets in zip(other._rows, other._tickets, strict=True):
            self._keep(rows, tickets)

    def tensors(self) -> dict[str, Tensor]:
        """All of it as tensors, for a file or another process; `kept` and `tickets` differ in length."""
        kept = self.kept
        tickets = self._tickets[0] if self._tickets else torch.zeros(0, dtype=torch.float64)
        count = torch.tensor(self.count, dtype=torch.int64)
        return {"count": count, "mean": self.mean, "scatter": self.scatter, "kept": kept, "tickets": tickets}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], keep: int = 0, seed: int = 0) -> "Gathered":
        """What `tensors` gave. ValueError where they do not fit each other."""
        count, mean, scatter = int(tensors["count"]), tensors["mean"], tensors["scatter"]
        kept, tickets = tensors["kept"], tensors["tickets"]
        width = len(mean)
        fits = mean.shape == (width,) and scatter.shape == (width, width) and kept.shape == (len(tickets), width)
        whole = len(tickets) == min(count, keep) and all(t.isfinite().all() for t in tensors.values())
        if not fits or not whole or (mean.dtype, scatter.dtype, kept.dtype) != (torch.float64,) * 2 + (torch.float32,):
            raise ValueError("not what Gathered.tensors gives")
        return cls(keep, seed, 0, count, mean, scatter, [kept] if len(kept) else [], [tickets] if len(kept) else [])

    def _combine(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        """Mean and scatter of two sets together (Chan, Golub & LeVeque 1979)."""
        if not self.count:
            self.count, self.mean, self.scatter = count, mean.clone(), scatter.clone()
            return
        total = self.count + count
        apart = mean - self.mean
        self.mean += apart * (count / total)
        self.scatter += scatter
        self.scatter.addr_(apart, apart, alpha=self.count * count / total)
        self.count = total

    def _keep(self, rows: Tensor, tickets: Tensor) -> None:
        self._rows.append(rows)
        self._tickets.append(tickets)
        if sum(map(len, self._rows)) > 2 * self.keep:
            self._forget()

    def _forget(self) -> None:
        """The rows into one tensor, and those beyond `keep` away."""
        if not self._rows:
            return
        rows, tickets = torch.cat(self._rows), torch.cat(self._tickets)
        if len(rows) > self.keep:
            best = tickets.argsort(stable=True)[: self.keep].sort().values
            rows, tickets = rows[best], tickets[best]
        self._rows, self._tickets = [rows], [tickets]


def gather(images: Iterable[Tensor], features: Features, keep: int = 0, seed: int = 0, first: int = 0) -> Gathered:
    """The features of all `images`, an iterable of N×C×H×W float in [-1, 1]. `first`: as in `Gathered`."""
    gathered = Gathered(keep, seed, first)
    for batch in images:
        gathered.add(features(batch))
    return gathered


def statistics_of(
    images: Iterable[Tensor],
    features: Features,
    key: str,
    say: Say,
    *,
    keep: int = 0,
    seed: int = 0,
    cache_dir: str = "",
) -> Gathered:
    """`gather`, remembered in `cache_dir` (empty: the user's cache) under `key` and everything else that it depends on.

    `key` tells the images apart: the source's fingerprint, which changes with the files, and their preparation. Where
    it is known, `images` is not touched. Of several processes that ask at once, one computes and the others wait.
    A damaged file is made again; where nothing can be written, `say` hears it and all is as without a cache.
    """
    described = repr((FORMAT, key, features.digest, keep, seed))
    path = cache_root(cache_dir) / "features" / f"{hashlib.sha256(described.encode()).hexdigest()[:32]}.npz"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(path.with_suffix(".lock")))
        except OSError as error:
            say(f"the features of the real images are not remembered: {path.parent}: {error.strerror or error}")
            return gather(images, features, keep, seed)
        if (known := _read(path, keep, seed)) is not None:
            return known
        _sweep(path.parent)
        gathered = gather(images, features, keep, seed)
        try:
            _write(path, gathered)
        except DiskError as error:
            say(f"the features of the real images are not remembered: {error}")
        return gathered


def _sweep(folder: Path) -> None:
    """Remove what killed processes were writing: hidden files that are too old to be another's, who is still at it."""
    with contextlib.suppress(OSError):  # another process may sweep too
        for left in folder.glob(".*.tmp"):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()


def _read(path: Path, keep: int, seed: int) -> Gathered | None:
    """What `_write` wrote; None where the file is missing or damaged. (A zip file carries checksums.)"""
    damaged = (EOFError, ValueError, KeyError, TypeError, MemoryError, NotImplementedError)
    with contextlib.suppress(OSError, *damaged, zipfile.BadZipFile, zlib.error), path.open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        tensors = {name: torch.from_numpy(arrays[name]) for name in Gathered().tensors()}
        return Gathered.from_tensors(tensors, keep, seed)
    return None


def _write(path: Path, gathered: Gathered) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: tensor.numpy() for name, tensor in gathered.tensors().items()})  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())
