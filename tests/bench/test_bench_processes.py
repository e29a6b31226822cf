"""One measurement by two processes: their steps are one rate, and one of them tells of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import toy
from gesso.bench.measuring import Job
from gesso.bench.results import Result
from gesso.bench.worker import RESULT
from worlds import Worlds


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with Worlds() as server:
        yield server


@pytest.mark.parametrize("data", ["synthetic", "real"])
def test_two_processes_measure_together(data: str, tmp_path: Path, pairs: Path, worlds: Worlds) -> None:
    path = tmp_path / "job.json"
    job = Job(toy("pix2pix", pairs), "train", data, devices=2, steps=2, warmup=1)
    path.write_text(job.to_json())
    codes = worlds.run(tmp_path / "out", 2, call="bench_worlds:work", job=str(path))
    assert codes == [0, 0], [file.read_text() for file in (tmp_path / "out").iterdir()]
    result = Result.from_json(path.with_suffix(RESULT).read_text())
    assert (result.devices, result.batch_size, len(result.step_seconds)) == (2, 2, 2)
    assert result.metrics["samples_per_second"] == pytest.approx(2 * 2 * 2 / sum(result.step_seconds))
    assert json.loads(result.recipe_json)["batch_size"] == 2
