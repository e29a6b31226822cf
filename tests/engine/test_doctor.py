"""What `gesso doctor` says of files that a score needs."""

import hashlib
from pathlib import Path

import pytest

from gesso.engine.doctor import examine
from gesso.metrics.features import INCEPTION_NAME


def test_doctor_says_whether_the_network_of_fid_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.engine.doctor.measure_matmul_peak", lambda device, dtype: 1e12)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    cached = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: cached)

    def told() -> str:
        (line,) = [line for line in examine() if line.startswith("Inception")]
        return line

    assert "not found: FID and KID need the Inception network: pip install 'gesso[fid]'" in told()
    file = cached / "features" / INCEPTION_NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(b"torn")
    assert f"{file} is damaged or another network" in told()
    monkeypatch.setattr("gesso.engine.doctor.INCEPTION_SHA256", hashlib.sha256(b"torn").hexdigest())
    assert told() == f"Inception      {file}"


def test_doctor_says_whether_the_cache_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.engine.doctor.measure_matmul_peak", lambda device, dtype: 1e12)
    place = tmp_path / "not" / "made"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: place)

    def told() -> str:
        (line,) = [line for line in examine() if line.startswith("cache ")]
        return line

    assert f"{place}, " in told() and "GB free" in told()
    (tmp_path / "not").touch()
    assert "cannot be written; name another folder with --data.cache-dir" in told()
