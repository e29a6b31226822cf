"""A PostgreSQL server of the tests' own: in a new folder, on a socket in it, gone afterwards."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")  # where Debian keeps them, outside PATH
    return max((path.parent for path in versions), key=lambda path: int(path.parent.name), default=None)


@contextlib.contextmanager
def server(bin: Path) -> Iterator[str]:
    """Runs while inside; gives the URL at which its databases are, to be followed by a name. It refuses to run as root,
    so root runs it as a user that is there on every system, in a folder that this one may enter."""
    root = os.geteuid() == 0
    user = next((name for name in ("postgres", "nobody") if root and _exists(name)), None)
    folder = Path(tempfile.mkdtemp(prefix="gesso-", dir="/tmp"))  # short, as the path of a socket must be
    if user:
        shutil.chown(folder, user)

    def run(*words: object) -> None:
        done = subprocess.run(list(map(str, words)), user=user, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    data = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
    try:
        run(bin / "initdb", "-D", data, "-U", "gesso", "-A", "trust", "-E", "UTF8", "--no-sync")
        run(bin / "pg_ctl", "-D", data, "-w", "-t", "90", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://gesso@/{{name}}?host={folder}"
        finally:
            run(bin / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
