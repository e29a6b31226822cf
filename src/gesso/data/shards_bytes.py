"""Byte ranges of tar shards, wherever they lie: a disk, an HTTP server, or anything that fsspec reaches.

HTTP goes through requests, which the downloads need anyway; fsspec's own HTTP would bring aiohttp and seven more
packages. Every other URL is fsspec's, whose backends (s3fs, gcsfs, …) are the user's to install. A failing network is
tried again for about a minute. A server that does not give ranges, and a remote shard without an index, cost one
whole copy in the user's cache, within its limit.
"""

import contextlib
import hashlib
import importlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import filelock
import requests

from gesso.errors import DataError, DiskError, GessoError, UsageError
from gesso.files import hidden

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between the tries of one read."""
TIMEOUT = (10.0, 60.0)  # seconds to connect, and of silence
CHUNK = 2**20
LARGEST_TEXT = 2**30  # bytes of an index: about 20 million samples
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_ABSENT = {401, 403, 404, 410}  # object stores say 403 of what is not there
_T = TypeVar("_T")


class AbsentError(DataError):
    """The file is not there, or nobody may read it."""


class _NoRangesError(Exception):
    """The server sends whole files only."""


class _TransientError(Exception):
    """Worth another try."""


@dataclass(frozen=True)
class State:
    """Bytes of a file (-1: not told), and what changes when its content does."""

    size: int
    version: str


class Place(Protocol):
    """One file somewhere. `what` names in errors what is read of it."""

    location: str

    def state(self) -> State:
        """Its size and version now. AbsentError where it is not there, DataError where that cannot be told."""

    def read(self, start: int, size: int, what: str) -> bytes:
        """Exactly `size` bytes from byte `start` on. DataError where they cannot be had."""

    def chunks(self) -> Iterator[bytes]:
        """The whole file, from its beginning."""


class LocalPlace:
    """A file on a disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.location = path, str(path)

    def state(self) -> State:
        with _local_errors(self.location):
            status = self.path.stat()
        return State(status.st_size, f"{status.st_size} {status.st_mtime_ns}")

    def read(self, start: int, size: int, what: str) -> bytes:
        with _local_errors(what), self.path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
        return _whole(data, size, what)

    def chunks(self) -> Iterator[bytes]:
        with _local_errors(self.location), self.path.open("rb") as file:
            while data := file.read(CHUNK):
                yield data


class HttpPlace:
    """A file on a web server. Each thread keeps a connection of its own open."""

    def __init__(self, url: str) -> None:
        self.location = url

    def state(self) -> State:
        def ask() -> State:
            # Not HEAD: signed URLs allow only what they were signed for.
            with _request("GET", self.location, Range="bytes=0-0") as response:
                _refuse(response, self.location)
                size = response.headers.get("Content-Range", "").rpartition("/")[2]
                if response.status_code == 200:
                    size = response.headers.get("Content-Length", "")
                marks = [response.headers.get(name, "") for name in ("ETag", "Last-Modified")]
                return State(int(size) if size.isdigit() else -1, " ".join([size, *marks]))

        return _retrying(ask, self.location)

    def read(self, start: int, size: int, what: str) -> bytes:
        def ask() -> bytes:
            with _request("GET", self.location, Range=f"bytes={start}-{start + size - 1}") as response:
                if response.status_code == 200:
                    raise _NoRangesError
                if response.status_code == 416:
                    return b""
                _refuse(response, what)
                if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    raise DataError(f"{what}: the server answers with other bytes than were asked for")
                data: bytes = response.raw.read(size, decode_content=False)
                if len(data) < min(size, int(response.headers.get("Content-Length", size))):
                    raise _TransientError("the connection broke")
                return data

        return _whole(_retrying(ask, what), size, what)

    def chunks(self) -> Iterator[bytes]:
        with _request("GET", self.location) as response:
            _refuse(response, self.location)
            yield from response.iter_content(CHUNK)


class FsspecPlace:
    """A file that fsspec reaches: in an object store, or behind any other protocol that it has a backend for."""

    def __init__(self, url: str) -> None:
        self.location = url
        self._files, self._path = open_fsspec(url)

    def state(self) -> State:
        info = _retrying(lambda: self._files.info(self._path), self.location)
        marks = [str(info.get(name, "")) for name in ("size", "ETag", "etag", "mtime", "updated", "LastModified")]
        return State(int(info.get("size") or -1), " ".join(marks))

    def read(self, start: int, size: int, what: str) -> bytes:
        data: bytes = _retrying(lambda: self._files.cat_file(self._path, start=start, end=start + size), what)
        return _whole(data, size, what)

    def chunks(self) -> Iterator[bytes]:
        with self._files.open(self._path, "rb") as file:
            while data := file.read(CHUNK):
                yield data


def place(location: str) -> Place:
    """The file at a path or URL. UsageError where fsspec does not know it or lacks the backend."""
    if location.startswith(("http://", "https://")):
        return HttpPlace(location)
    return FsspecPlace(location) if is_url(location) else LocalPlace(Path(location))


def is_url(location: str) -> bool:
    """Whether this is a URL, of whatever protocol, and not a path."""
    return "://" in location


def open_fsspec(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    core = importlib.import_module("fsspec.core")  # untyped
    try:
        files, path = core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(f"--data.root {url}: {error}{_installed_by(url)}") from None
    except Exception as error:  # each backend has its own for credentials and settings
        raise UsageError(f"--data.root {url}: {error or type(error).__name__}") from None
    return files, path


def _installed_by(url: str) -> str:
    """For a message, how to install what fsspec lacks for the protocol of `url`; empty where it does not tell."""
    known = importlib.import_module("fsspec.registry").known_implementations.get(url.partition("://")[0], {})
    package = known.get("class", "fsspec").partition(".")[0]
    return f"; pip install {package}" if package != "fsspec" else ""


def fetch_text(location: str) -> bytes:
    """A whole small file. AbsentError where there is none."""
    source = place(location)

    def read() -> bytes:
        data = bytearray()
        for chunk in source.chunks():
            data += chunk
            if len(data) > LARGEST_TEXT:
                raise DataError(f"{location}: more than {LARGEST_TEXT} bytes are no index of shards")
        return bytes(data)

    return _retrying(read, location)


class Copies:
    """Whole copies of remote shards in `folder`, together at most `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit

    def local(self, remote: Place, why: str) -> LocalPlace:
        """The copy, made unless it is there. UsageError where it may not be so large."""
        state = remote.state()
        name = hashlib.sha256(remote.location.encode()).hexdigest()[:24]
        path = self._folder / f"{name}-{hashlib.sha256(state.version.encode()).hexdigest()[:16]}.tar"
        with _disk_errors(path, remote):
            self._folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self._folder / "copies.lock"):
                if not path.exists():
                    for stale in (*self._folder.glob(f"{name}-*.tar"), *self._folder.glob(".*.tmp")):
                        stale.unlink()
                    _retrying(lambda: self._copy(remote, state.size, path, why), remote.location)
        return LocalPlace(path)

    def _copy(self, remote: Place, size: int, path: Path, why: str) -> None:
        used = sum(other.stat().st_size for other in self._folder.glob("*.tar"))
        room = min(self._limit - used, int(0.95 * shutil.disk_usage(self._folder).free))
        beside = hidden(path)
        done = 0

        def fits(size: int) -> None:
            if size > room:
                raise UsageError(
                    f"{remote.location}: {why}, and a copy of {size / 1e9:.2f} GB does not fit beside the "
                    f"{used / 1e9:.2f} GB of its cache; raise --data.cache-limit-gb (now {self._limit / 1e9:g}), free "
                    "some disk, or put an index.jsonl beside the shards on a server that gives byte ranges"
                )

        fits(size)
        try:
            with _disk_errors(path, remote), beside.open("xb") as file:
                for chunk in remote.chunks():
                    done += len(chunk)
                    fits(done)
                    file.write(chunk)
                if size >= 0 and done != size:
                    raise _TransientError(f"{done} bytes came instead of {size}")
                file.flush()
                os.fsync(file.fileno())
                beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


class ShardBytes:
    """A shard's bytes by range: from where it lies, or from a copy where that must be."""

    def __init__(self, origin: Place, copies: Copies) -> None:
        self.location = origin.location
        self._place, self._copies = origin, copies

    def read(self, start: int, size: int, what: str) -> bytes:
        """As `Place.read`. UsageError where that takes a copy that may not be so large."""
        try:
            return self._place.read(start, size, what)
        except _NoRangesError:
            self.copy("its server does not give byte ranges")
            return self._place.read(start, size, what)

    def copy(self, why: str) -> LocalPlace:
        """From now on read from a local file; gives it."""
        if not isinstance(self._place, LocalPlace):
            self._place = self._copies.local(self._place, why)
        return self._place

    def state(self) -> State:
        """As `Place.state`, of what is read from."""
        return self._place.state()


_sessions = threading.local()


def _request(method: str, url: str, **headers: str) -> requests.Response:
    """One answer, its body unread; the connection is kept open for the thread's next request."""
    if not hasattr(_sessions, "session"):
        _sessions.session = requests.Session()
    session: requests.Session = _sessions.session
    headers["Accept-Encoding"] = "identity"
    return session.request(method, url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=True)


def _refuse(response: requests.Response, what: str) -> None:
    if response.status_code in _TRANSIENT:
        raise _TransientError(f"HTTP {response.status_code}")
    if response.status_code in _ABSENT:
        raise AbsentError(f"{what}: HTTP {response.status_code} {response.reason}; check the URL and who may read it")
    if not response.ok:
        raise DataError(f"{what}: HTTP {response.status_code} {response.reason}")


def _retrying(call: Callable[[], _T], what: str) -> _T:
    """The result of `call`, tried again after a failure of the network. DataError names `what` at the end."""
    for wait in (*WAITS, None):
        try:
            return call()
        except (GessoError, _NoRangesError):
            raise
        except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
            raise AbsentError(f"{what}: cannot be read ({error.strerror or error})") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise UsageError(f"{what}: {error}") from None
        except Exception as error:  # requests, urllib3 and each of fsspec's backends have their own
            if wait is None:
                told = str(error)[:200] or type(error).__name__
                raise DataError(
                    f"{what}: {len(WAITS) + 1} tries failed ({told}); check the network, then go on with gesso resume"
                ) from None
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


@contextlib.contextmanager
def _disk_errors(path: Path, remote: Place) -> Iterator[None]:
    """What goes wrong with the disk that takes a copy; the network's own errors pass."""
    try:
        yield
    except OSError as error:
        if isinstance(error, requests.RequestException | TimeoutError | ConnectionError) or error.errno is None:
            raise
        raise DiskError(
            f"{path}: the copy of {remote.location} cannot be written ({error.strerror or error}); free some space or "
            "name another --data.cache-dir"
        ) from error


@contextlib.contextmanager
def _local_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AbsentError(f"{what}: cannot be read ({error.strerror or error})") from None


def _whole(data: bytes, size: int, what: str) -> bytes:
    if len(data) != size:
        raise DataError(f"{what}: the shard ends {size - len(data)} bytes too early; copy or prepare it again")
    return data
