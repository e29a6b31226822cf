"""Public data sets in small, as their authors publish them: on a server, as archives, as folders."""

import contextlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN_TAR = "ILSVRC2012_img_train.tar"
CITYSCAPES = ("gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip")


def picture(seed: int, width: int = 32, height: int = 32, kind: str = "PNG") -> bytes:
    """A file with noise in it."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pix2pix_set(name: str) -> dict[str, bytes]:
    """What stands at each path of a server that has the set of pairs `name`."""
    counts = {"train": 4, "val": 2, "test": 2}
    files = {
        f"{name}/{split}/{i}.jpg": picture(i, 64, kind="JPEG") for split, count in counts.items() for i in range(count)
    }
    return {f"/pix2pix/datasets/{name}.tar.gz": tarred(files, "w:gz")}


def write_cityscapes(folder: Path) -> None:
    """The two archives: 3 scenes for training, 1 for validation."""
    labels, photos = {}, {}
    for split, count in (("train", 3), ("val", 1)):
        for i in range(count):
            name = f"{split}/here/here_000000_{i:06d}"
            photos[f"leftImg8bit/{name}_leftImg8bit.png"] = picture(i, 64)
            labels[f"gtFine/{name}_gtFine_color.png"] = picture(i + 9, 64)
    for archive, files in zip(CITYSCAPES, (labels, photos), strict=True):
        (folder / archive).write_bytes(zipped(files))


def write_imagenet(folder: Path) -> None:
    """The tar of a tar for each of two classes, of 4 images each, and 2 images of each in folders for validation."""
    classes = {}
    for class_ in ("n01440764", "n02119789"):
        classes[f"{class_}.tar"] = tarred({f"{class_}_{i}.JPEG": picture(i, 40, kind="JPEG") for i in range(4)})
        (folder / "val" / class_).mkdir(parents=True)
        for i in range(2):
            (folder / "val" / class_ / f"{i}.JPEG").write_bytes(picture(i, 40, kind="JPEG"))
    (folder / TRAIN_TAR).write_bytes(tarred(classes))


def write_msls(path: Path) -> None:
    """A volume with 3 images of Austin and 2 of Zürich."""
    counts = {"austin": 3, "zurich": 2}
    names = [f"train_val/{city}/query/images/{i}.jpg" for city, count in counts.items() for i in range(count)]
    path.write_bytes(zipped({name: picture(i, 60, 40, "JPEG") for i, name in enumerate(names)}))


@contextlib.contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[str]:
    """The address of a server on loopback that has `files` by their paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path, b"")
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Standard error belongs to the command."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{site.server_port}"
        finally:
            site.shutdown()
            thread.join()
