"""Public data sets by name: downloaded, checked, unpacked, and in their place only when whole.

The sets are years old, large, on one university's server, over plain HTTP and without published digests. Hence a
partial download goes on where it stopped, any mirror may be named, and trust is on first use: the digest of the first
download that unpacks to a data set is recorded beside it, and whatever is downloaded later under that name must
have it. So a change on the way or on the server is noticed, but nothing vouches for the first download.
"""

import contextlib
import datetime
import hashlib
import json
import logging
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import filelock

from gesso.data.folders import splits
from gesso.data.unpack import unpack
from gesso.errors import DataError, DiskError, UsageError, perhaps
from gesso.files import disk_errors, probe, sync_folder, write_atomically
from gesso.progress import Progress, Say, silent

if TYPE_CHECKING:
    from requests import Response

DATASETS: Final = Path("datasets")
"""Where data sets go unless told otherwise."""
REGISTRY: Final = "fetched.json"
"""In the data folder: by name, the sha256, size, URL and date of the first download."""
LARGEST: Final = 2**36
"""Bytes, packed or unpacked, beyond which a download is refused. All sets of the table are far smaller."""

MIRROR = "gesso data fetch NAME --mirror URL"
"""In messages, which those who fetch by `gesso train --data.fetch` read too."""
_CHUNK = 2**18
_TIMEOUT = (20.0, 60.0)  # seconds to connect, and between two pieces
_LOGIN = re.compile(r"//[^/]*@")

Login = tuple[str, str]
"""User and password. They are kept apart from addresses, which are shown and written down."""


@dataclass(frozen=True)
class PublicSet:
    """Where a set is, the folder in its archive that is the set, what it shows, and whose it is."""

    url: str
    root: str
    shows: str
    origin: str

    @property
    def suffix(self) -> str:
        """How the archive's name ends."""
        return ".tar.gz" if self.url.endswith(".tar.gz") else ".zip"


def _pix2pix(name: str, shows: str, origin: str) -> PublicSet:
    return PublicSet(
        f"http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/{name}.tar.gz", name, f"pairs: {shows}", origin
    )


def _cyclegan(name: str, shows: str, origin: str) -> PublicSet:
    return PublicSet(
        f"http://efrosgans.eecs.berkeley.edu/cyclegan/datasets/{name}.zip", name, f"unpaired: {shows}", origin
    )


_CMP = "CMP Facade Database, Tyleček & Šára 2013"
_MAPS = "Google Maps, by Isola et al. 2017"
_IMAGENET = "ImageNet, Deng et al. 2009; for research, not for commerce"
_FLICKR = "Flickr, by Zhu et al. 2017; each photo has its own licence"
_PAINTINGS = "WikiArt and Flickr, by Zhu et al. 2017; each picture has its own licence"

SETS: Final[dict[str, PublicSet]] = {
    "facades": _pix2pix("facades", "facades and their labels", _CMP),
    "maps": _pix2pix("maps", "aerial photos and maps", _MAPS),
    "cityscapes": _pix2pix(
        "cityscapes", "street photos and their labels", "Cityscapes, Cordts et al. 2016; not for commerce"
    ),
    "edges2shoes": _pix2pix(
        "edges2shoes", "edges and photos of shoes", "UT Zappos50K, Yu & Grauman 2014; for research, not for commerce"
    ),
    "edges2handbags": _pix2pix(
        "edges2handbags", "edges and photos of handbags", "photos of Amazon's, by Zhu et al. 2016"
    ),
    "night2day": _pix2pix("night2day", "a place by night and by day", "Transient Attributes, Laffont et al. 2014"),
    "apple2orange": _cyclegan("apple2orange", "apples and oranges", _IMAGENET),
    "horse2zebra": _cyclegan("horse2zebra", "horses and zebras", _IMAGENET),
    "summer2winter_yosemite": _cyclegan("summer2winter_yosemite", "Yosemite in summer and in winter", _FLICKR),
    "iphone2dslr_flower": _cyclegan("iphone2dslr_flower", "flowers by telephone and by camera", _FLICKR),
    "monet2photo": _cyclegan("monet2photo", "Monet's paintings and landscape photos", _PAINTINGS),
    "cezanne2photo": _cyclegan("cezanne2photo", "Cézanne's paintings and landscape photos", _PAINTINGS),
    "ukiyoe2photo": _cyclegan("ukiyoe2photo", "ukiyo-e prints and landscape photos", _PAINTINGS),
    "vangogh2photo": _cyclegan("vangogh2photo", "Van Gogh's paintings and landscape photos", _PAINTINGS),
    "cyclegan-maps": _cyclegan("maps", "aerial photos and maps", _MAPS),
    "cyclegan-facades": _cyclegan("facades", "facades and their labels", _CMP),
}
"""What `gesso data fetch` knows. `facades` and `maps` are pix2pix's pairs, which CycleGAN takes as well; the
unpaired editions of the two papers' sets that share a name begin with `cyclegan-`."""


def listing() -> list[str]:
    """A line for each set: its name, what it shows, whose it is."""
    width = max(map(len, SETS))
    return [f"{name:<{width}}  {found.shows} ({found.origin})" for name, found in SETS.items()]


def hint(root: Path | str) -> str | None:
    """One line that names the command which fetches the missing folder `root`, if there is one."""
    root = Path(root)
    if root.name not in SETS or root.exists():
        return None
    where = "" if root.parent == DATASETS else f" --out {shlex.quote(str(root.parent))}"
    return f"{root}: no such folder; `gesso data fetch {root.name}{where}` downloads it"


def fetch(
    name: str,
    out: Path = DATASETS,
    mirror: str = "",
    progress: Progress = silent,
    say: Say = print,
    existing: Literal["refuse", "keep"] = "refuse",
) -> Path:
    """The set `name` downloaded into the new folder `out`/`name`, which is returned.

    mirror: replaces the server in the set's address; the path after it stays. Its user and password, as in
    https://user:password@example.org, go to the server and nowhere else. `progress` is told bytes, of the download and
    then of the unpacking. What was downloaded when it stopped stays in the hidden folder
    `out`/.`name`.fetching, and the same call goes on from there. Where several processes ask for one set, one
    downloads and the others wait. existing: what to do where `out`/`name` is there already; nothing is ever written
    over it.

    Raises UsageError for an unknown name, a bad mirror, or a folder that is there and refused; DataError where the
    server cannot be reached, or sends what is no data set or is not what was fetched first; DiskError.
    """
    if name not in SETS:
        raise UsageError(f"data fetch {name}: no such set{perhaps(name, SETS)}; there are {', '.join(SETS)}")
    (url, login), target = _mirrored(SETS[name].url, mirror), out / name
    if existing == "refuse" and (target.exists() or target.is_symlink()):
        raise UsageError(f"{target} is there already and is not overwritten; remove it or name another --out")
    lock = filelock.FileLock(out / f".{name}.lock")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        probe(out)  # the lock would be waited for where none can be made
        lock.acquire()
    try:
        if not target.exists():  # else it is kept, or another process fetched it while this one waited
            _fetch(name, url, login, target, progress, say)
    finally:
        lock.release()
    return target


def _fetch(name: str, url: str, login: Login | None, target: Path, progress: Progress, say: Say) -> None:
    work, registry = target.with_name(f".{name}.fetching"), target.with_name(REGISTRY)
    known = _recorded(registry).get(name)
    download = _Download(work / f"{name}{SETS[name].suffix}.part", login, progress, say)
    archive = download.part.with_suffix("")
    with disk_errors(work):
        work.mkdir(exist_ok=True)
        for left in set(work.iterdir()) - {archive, download.part, download.notes}:  # of one that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    _retrieve(url, archive, download, known, registry)
    try:
        say(f"unpacking {archive.name} into {target}")
        unpack(archive, work / "unpacked", max_bytes=LARGEST, progress=progress)
        whole = _root(work / "unpacked", SETS[name].root, url)
    except DataError:
        shutil.rmtree(work, ignore_errors=True)  # whatever it is, it is not worth keeping
        raise
    with disk_errors(target):
        if known is None:
            known = _record(registry, name, archive, url)
            say(f"{name}: first download here, trusted as it is; sha256 {known['sha256']} recorded in {registry}")
        else:
            say(f"{name}: the same as first fetched on {known['date']}")
        whole.rename(target)
        sync_folder(target.parent)
        shutil.rmtree(work, ignore_errors=True)


def _mirrored(url: str, mirror: str) -> tuple[str, Login | None]:
    """The address at `mirror` of what is at `url`, without user and password, and these."""
    if not mirror:
        return url, None
    shown = re.sub(r"^([^/]*//)?.*@", r"\1", mirror, flags=re.DOTALL)  # no login, whatever else it is
    refused = UsageError(f"--mirror {shown}: must be an address such as https://example.org/gans")
    try:
        mirror.encode()
        parts = urlsplit(mirror)
        parts.port  # noqa: B018 - looked at only when it is asked for
    except ValueError:  # brackets, ports and letters that no address has
        raise refused from None
    _, at, server = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not server or parts.query or parts.fragment:
        raise refused
    login = (unquote(parts.username or ""), unquote(parts.password or "")) if at else None
    return f"{parts.scheme}://{server}{parts.path.rstrip('/')}{urlsplit(url).path}", login


def _retrieve(url: str, archive: Path, download: "_Download", known: dict[str, Any] | None, registry: Path) -> None:
    """`archive` from `url`, or as it is there already; with the known digest, where there is one."""
    import pooch  # type: ignore[import-untyped]  # here: it takes a tenth of a second, which only a download needs

    pooch.get_logger().setLevel(logging.ERROR)
    digest = f"sha256:{known['sha256']}" if known else None
    try:
        with disk_errors(archive):
            pooch.retrieve(url, digest, archive.name, archive.parent, downloader=download)
    except ValueError:
        assert known
        raise DataError(
            f"{url}: not the file that was first fetched on {known['date']} from {known['url']}, so it was not "
            f"used; name another server with {MIRROR}, or remove {archive.parent.name} and the entry from {registry} "
            "to trust it"
        ) from None


class _Download:
    """Pooch's downloader: into `part`, which stays when it is interrupted, then to where pooch wants it.

    `notes` beside it say what the part is a part of. The server is asked to go on only if that has not changed
    (RFC 9110, sections 13.1.5 and 14.2); whatever else it answers, the download begins anew.
    """

    def __init__(self, part: Path, login: Login | None, progress: Progress, say: Say) -> None:
        self.part, self.notes = part, part.with_name(f"{part.name}.json")
        self._login, self._progress, self._say = login, progress, say

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        have, total, validator = self._kept(url)
        if not have or have != total:
            response, start, total = self._ask(url, have, total, validator)
            with response:
                self._receive(url, response, start, total)
        self.part.replace(output_file)
        self.notes.unlink(missing_ok=True)

    def _kept(self, url: str) -> tuple[int, int, str]:
        """Bytes that are here of the file at `url`, its size, and what tells whether it changed; 0 bytes if no use."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            notes = json.loads(self.notes.read_text())
            if notes["url"] == url and notes["size"] and notes["validator"]:
                return self.part.stat().st_size, int(notes["size"]), str(notes["validator"])
        return 0, 0, ""

    def _ask(self, url: str, have: int, total: int, validator: str) -> tuple["Response", int, int]:
        """The server's answer, the place at which its bytes begin, and the size of the whole file, 0 if unknown."""
        asked = {"Range": f"bytes={have}-", "If-Range": validator} if have else {}
        response = _get(url, asked, self._login)
        if _goes_on(response, f"bytes {have}-{total - 1}/{total}", validator):
            self._say(f"going on with {url} at {have / 1e6:.1f} of {total / 1e6:.1f} MB")
            return response, have, total
        if response.status_code in (206, 416):  # another part than asked for, or none
            response.close()
            response = _get(url, {}, self._login)
        if response.status_code != 200:
            response.close()
            raise DataError(
                f"{url}: the server answers {response.status_code} {response.reason}; try again, or name another "
                f"server: {MIRROR}"
            )
        total = _number(response.headers.get("Content-Length"))
        etag = response.headers.get("ETag", "")
        # A weak tag promises the same meaning, not the same bytes.
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self.part.unlink(missing_ok=True)
        write_atomically(self.notes, json.dumps({"url": url, "size": total, "validator": validator}))
        self._say(f"downloading {url}" + (f", {total / 1e6:.1f} MB" if total else ""))
        return response, 0, total

    def _receive(self, url: str, response: "Response", done: int, total: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if total - done > free:
            raise DiskError(
                f"{self.part.parent}: {(total - done) / 1e6:.0f} MB are to come and {free / 1e6:.0f} MB are free; "
                "free some space or name another --out"
            )
        with self.part.open("ab") as file:
            for chunk in _chunks(url, response):
                done += len(chunk)
                if done > LARGEST or total > LARGEST:
                    raise DataError(
                        f"{url}: more than {LARGEST / 1e9:.0f} GB, so it is no such set; name another server: {MIRROR}"
                    )
                file.write(chunk)
                self._progress(done, total)
        if total and done != total:
            raise _interrupted(url, f"{done} of {total} bytes came")


def _get(url: str, headers: dict[str, str], login: Login | None) -> "Response":
    import requests

    headers = {"Accept-Encoding": "identity", **headers}
    auth = requests.auth.HTTPBasicAuth(*(word.encode() for word in login)) if login else None
    with _network(url):
        return requests.get(url, headers=headers, auth=auth, stream=True, timeout=_TIMEOUT)


def _goes_on(response: "Response", asked: str, validator: str) -> bool:
    """Whether this is the part `asked` for, of the file that `validator` tells: some servers and caches give the range
    of whatever they have now."""
    told = response.headers.get("ETag" if validator.startswith('"') else "Last-Modified", validator)
    return response.status_code == 206 and response.headers.get("Content-Range") == asked and told == validator


def _chunks(url: str, response: "Response") -> Iterator[bytes]:
    """The bytes as they are sent: some servers call a .tar.gz a compressed .tar, which must not be undone."""
    with _network(url):
        yield from response.raw.stream(_CHUNK, decode_content=False)


@contextlib.contextmanager
def _network(url: str) -> Iterator[None]:
    import requests
    import urllib3

    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:  # the last of a redirection
        raise _interrupted(url, _reason(error)) from None


def _interrupted(url: str, reason: str) -> DataError:
    return DataError(
        f"{url}: cannot be fetched ({reason}); see to the connection and give the same command again, which goes on "
        f"where it stopped, or name another server with {MIRROR}"
    )


def _reason(error: BaseException) -> str:
    """The operating system's word, which is wrapped a few times over."""
    link: BaseException | None = error
    while link:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return str(error)[:120] or type(error).__name__


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 20 else 0


def _root(folder: Path, name: str, url: str) -> Path:
    """The data set in an unpacked archive: the folder of that name, or the only one that there is."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("__MACOSX", "."))]
    root = folder / name if folder / name in folders or len(folders) != 1 else folders[0]
    if not root.is_dir() or not splits(root):
        raise DataError(
            f"{url}: no data set in this archive, which holds {len(folders)} folders; name another server: {MIRROR}"
        )
    return root


def _recorded(registry: Path) -> dict[str, dict[str, Any]]:
    try:
        entries: dict[str, dict[str, Any]] = json.loads(registry.read_text())
        for entry in entries.values():
            if not all(isinstance(entry[key], str) for key in ("sha256", "url", "date")):
                raise ValueError
            entry["url"] = _LOGIN.sub("//", entry["url"])  # older versions wrote it down
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{registry}: damaged; mend it, or remove it, and the next download of each set is trusted as the first"
        ) from None
    return entries


def _record(registry: Path, name: str, archive: Path, url: str) -> dict[str, Any]:
    """Enter `archive` as the first download of `name`."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    entry = {"sha256": digest, "size": archive.stat().st_size, "url": url, "date": today}
    with filelock.FileLock(registry.with_name(f".{registry.name}.lock")):
        write_atomically(registry, json.dumps({**_recorded(registry), name: entry}, indent=2) + "\n")
    return entry
