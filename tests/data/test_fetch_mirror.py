"""Mirrors of data sets: addresses that are none, and passwords that are nobody's business."""

import base64
import json
from pathlib import Path

import pytest
from fetch_site import FACADES, Site, get, quiet, site

from gesso.data.fetch import REGISTRY, fetch
from gesso.errors import DataError, UsageError

__all__ = ["site"]


def test_a_mirror_may_have_a_path(site: Site, tmp_path: Path) -> None:
    site.files["/old/gans" + FACADES] = site.files[FACADES]
    fetch("facades", tmp_path, f"{site.url}/old/gans/", say=quiet)
    assert site.asked == [("/old/gans" + FACADES, None)]


@pytest.mark.parametrize(
    "mirror",
    [
        *("example.org", "file:///etc", "ftp://example.org", "https://", "http://a/?b=c", "https://me@"),
        *("http://[::1", "http://a:b", "http://a:99999", "http://\udcff.org"),
        *(
            "me:secret@a",
            "http://me:secret@a/?b",
            "http://me:sec/secret@a",
            "http://me:secret@[",
            "http://me:#secret@a",
        ),
    ],
)
def test_an_impossible_mirror_is_refused_without_its_password(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(UsageError, match=r"--mirror .*: must be an address such as") as caught:
        fetch("facades", tmp_path / "out", mirror, say=quiet)
    assert "sec" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_mirrors_password_goes_to_the_server_and_nowhere_else(site: Site, tmp_path: Path) -> None:
    mirror = site.url.replace("//", "//me%40home:s%C3%A9cret@")
    lines: list[str] = []
    site.cut = 100_000
    with pytest.raises(DataError) as caught:
        fetch("facades", tmp_path, mirror, say=lines.append)
    lines.append(str(caught.value))
    notes = (tmp_path / ".facades.fetching" / "facades.tar.gz.part.json").read_text()
    site.cut = None
    fetch("facades", tmp_path, mirror, say=lines.append)
    assert site.logins == ["Basic " + base64.b64encode("me@home:sécret".encode()).decode()] * 2
    assert json.loads((tmp_path / REGISTRY).read_text())["facades"]["url"] == site.url + FACADES
    assert not any(word in text for text in [*lines, notes] for word in ("me%40home", "me@home", "cret"))


def test_a_password_that_was_written_down_is_neither_shown_nor_kept(site: Site, tmp_path: Path) -> None:
    entry = {"sha256": "0" * 64, "size": 1, "url": "https://me:secret@example.org/x.zip", "date": "2020-11-20"}
    (tmp_path / REGISTRY).write_text(json.dumps({"facades": entry}))
    with pytest.raises(DataError, match=r"first fetched on 2020-11-20 from https://example\.org/x\.zip"):
        get(site, tmp_path)
    get(site, tmp_path, "horse2zebra")
    assert "secret" not in (tmp_path / REGISTRY).read_text()
