"""A server on loopback for the public sets' archives."""

import gzip
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gesso.data.fetch import fetch
from gesso.errors import DataError

PAIRS = {"facades/train/1.jpg": os.urandom(300_000), "facades/val/2.jpg": b"two"}
UNPAIRED = {"horse2zebra/trainA/1.jpg": b"horse", "horse2zebra/trainB/1.jpg": b"zebra"}
FACADES, HORSES = "/pix2pix/datasets/facades.tar.gz", "/cyclegan/datasets/horse2zebra.zip"


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@dataclass
class Site:
    """What the server holds, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    url: str = ""
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    wrong_range: bool = False
    careless: bool = False
    """Gives the range of what it has, whatever If-Range says."""
    location: str = ""
    """Where it sends everyone."""
    cut: int | None = None
    length: bool = True
    status: int = 0
    encoding: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, asked = self.site, self.headers.get("Range")
        with site.lock:
            site.asked.append((self.path, asked))
            site.logins.append(self.headers.get("Authorization"))
        if site.location:
            self.send_response(302)
            self.send_header("Location", site.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.files.get(self.path)
        if site.status or body is None:
            self.send_error(site.status or 404)
            return
        start, whole = 0, len(body)
        unchanged = site.careless or self.headers.get("If-Range") in (site.etag, site.modified)
        if asked and site.ranges and unchanged:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= whole:
                self.send_error(416)
                return
            self.send_response(206)
            start += site.wrong_range
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        else:
            self.send_response(200)
        for name, value in (("ETag", site.etag), ("Last-Modified", site.modified), ("Content-Encoding", site.encoding)):
            if value:
                self.send_header(name, value)
        if site.length:
            self.send_header("Content-Length", str(whole - start))
        self.end_headers()
        self.wfile.write(body[start : None if site.cut is None else start + site.cut])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "*")
    site = Site({FACADES: tar_gz(PAIRS), HORSES: zipped(UNPAIRED)})
    handler = type("Handler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def quiet(line: str) -> None:
    pass


def get(site: Site, out: Path, name: str = "facades") -> Path:
    return fetch(name, out, site.url, say=quiet)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def cut_off(site: Site, out: Path, after: int = 100_000) -> None:
    """A first attempt, of which `after` bytes came."""
    site.cut = after
    with pytest.raises(DataError, match="goes on where it stopped"):
        get(site, out)
    site.cut = None
    site.asked.clear()
