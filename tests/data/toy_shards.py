"""Small shards and a server for them."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesso.data import shards_bytes
from gesso.data.shards import ShardSource, open_shards
from gesso.data.shards_index import index_shard, write_index

COLOURS = [(i * 20 % 256, i * 55 % 256, 255 - i * 9) for i in range(24)]


def picture(i: int) -> bytes:
    """A PNG of one colour that tells its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), COLOURS[i]).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_shards(root: Path, split: str = "train", shards: int = 3, each: int = 8, index: bool = False) -> Path:
    lines = []
    for number in range(shards):
        files = {}
        for i in range(number * each, (number + 1) * each):
            files[f"{i:06d}.png"] = picture(i)
            files[f"{i:06d}.cls"] = str(i % 5).encode()
        path = write_tar(root / f"{split}-{number:06d}.tar", files)
        with path.open("rb") as file:
            lines.append(index_shard(file, path.name, path.stat().st_size, path.name).line())
    if index:
        (root / "index.jsonl").write_bytes(write_index(lines))
    return root


def opened(root: Path | str, cache: Path, split: str = "train", **options: object) -> ShardSource:
    return open_shards(str(root), split, cache, say=lambda line: None, **options)  # type: ignore[arg-type]


def colour(source: ShardSource, i: int) -> tuple[int, ...]:
    image = source.decode(source.units[i])["image", i]
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    return tuple(int(value) for value in image[0, 0])


def all_right(source: ShardSource) -> bool:
    return [colour(source, i) for i in range(24)] == COLOURS and [source.class_of(i) for i in range(24)] == [
        i % 5 for i in range(24)
    ]


class Server:
    """Serves a folder on loopback. `ranges`: answers Range; `failures`: that many answers are 503 first; `cuts`: that
    many answers break off in their middle first."""

    def __init__(self, root: Path, ranges: bool = True, failures: int = 0) -> None:
        self.asked: list[tuple[str, str | None, int]] = []
        self.logins: set[str | None] = set()
        self.failures, self.cuts = failures, 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = root / self.path.lstrip("/")
                wanted = self.headers.get("Range")
                status, data, headers = 200, b"", {}
                if server.failures:
                    server.failures -= 1
                    status = 503
                elif not path.is_file():
                    status = 404
                else:
                    data = path.read_bytes()
                    if ranges and wanted:
                        first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
                        headers["Content-Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
                        status, data = (206, data[first : last + 1]) if first < len(data) else (416, b"")
                server.asked.append((self.path, wanted, status))
                server.logins.add(self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if server.cuts:
                    server.cuts -= 1
                    self.close_connection = True
                    data = data[: len(data) // 2]
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # a client that closes an answer unread is no error

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(root: Path, **options: object) -> Server:
        running.append(Server(root, **options))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for server in running:
        server.close()
    if hasattr(shards_bytes._sessions, "session"):
        shards_bytes._sessions.session.close()
        del shards_bytes._sessions.session


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_bytes, "WAITS", (0.0, 0.0, 0.0))
