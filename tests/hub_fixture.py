"""A plugin for the tests that publish or pull: a hub of their own. Beside hub_site.py, because pytest rewrites the
asserts of a plugin when it loads it, which is too late for a module that a test has imported."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_site import Hub, serving, use


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on loopback, to which this process is logged in."""
    hub = Hub()
    with serving(hub):
        use(hub, tmp_path / "hub-cache", monkeypatch)
        yield hub
