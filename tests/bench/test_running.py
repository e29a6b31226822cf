"""Which rows are measured, in which order, and what becomes of them where one fails or all are interrupted."""

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import toy
from gesso.bench import running, worker
from gesso.bench.measuring import Job
from gesso.bench.results import Results, open_results
from gesso.bench.running import Asked, Measured, jobs_of
from gesso.devices import ACCELERATORS, Choice
from gesso.errors import DataError, UsageError
from measured import measured


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return open_results(str(tmp_path / "bench.sqlite3"))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs whose process was started; each ends with a result, or as `ending` says."""
    started: list[Job] = []

    def run_python(words: Sequence[str]) -> int:
        path = Path(words[2])
        started.append(Job.from_json(path.read_text()))
        path.with_suffix(worker.RESULT).write_text(measured(len(started)).to_json())
        return 0

    monkeypatch.setattr("gesso.bench.fresh.run_python", run_python)
    return started


def ending(monkeypatch: pytest.MonkeyPatch, mode: str, code: int, suffix: str = "", text: str = "") -> None:
    """Jobs of `mode` end with an exit code, and a file beside them."""
    before = running.fresh.run_python

    def run_python(words: Sequence[str], out: Path | None = None) -> int:
        path = Path(words[2])
        if Job.from_json(path.read_text()).mode != mode:
            return before(words)
        if suffix:
            path.with_suffix(suffix).write_text(text)
        return code

    monkeypatch.setattr("gesso.bench.fresh.run_python", run_python)


def rows(jobs: Sequence[Job]) -> list[tuple[str, str, str, str]]:
    return [(job.recipe.recipe, job.recipe.compile, job.mode, job.data) for job in jobs]


def jobs(root: Path = Path("synthetic"), name: str = "pix2pix", **changes: object) -> list[Job]:
    recipe = running.with_root(toy(name, root), str(root))
    return jobs_of(Asked(**{"recipes": [recipe], **changes}), lambda line: None)  # type: ignore[arg-type]


def test_training_and_prediction_are_measured_on_tensors_and_on_the_data_set(pairs: Path) -> None:
    assert rows(jobs(pairs)) == [
        ("pix2pix", "off", mode, data) for mode in ("train", "forward") for data in ("synthetic", "real")
    ]


@pytest.mark.parametrize("name", ["pix2pix", "dcgan"])
def test_a_data_set_without_images_is_refused_before_anything_is_measured(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder is empty|no images"):
        jobs(tmp_path, name)


def test_noise_needs_no_data_set(pairs: Path) -> None:
    assert ("dcgan", "off", "forward", "real") not in rows(jobs(pairs, "dcgan"))
    assert ("dcgan", "off", "train", "real") in rows(jobs(pairs, "dcgan"))


def test_without_a_data_set_only_tensors_are_measured() -> None:
    assert {job.data for job in jobs()} == {"synthetic"}


def test_a_classifier_has_the_classes_of_its_data_set_or_those_of_imagenet(classes: Path) -> None:
    assert {len(job.recipe.data.class_names) for job in jobs(classes, "densenet121")} == {2}  # type: ignore[attr-defined]
    assert {len(job.recipe.data.class_names) for job in jobs(name="densenet121")} == {1000}  # type: ignore[attr-defined]


def test_every_precision_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = jobs(mode="train", precisions=("fp32", "bf16", "fp32"))
    assert [job.recipe.precision for job in found] == ["fp32", "bf16"]


def test_compiled_networks_follow_eager_ones_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        ACCELERATORS, "cpu", dataclasses.replace(ACCELERATORS["cpu"], compiler=lambda: Choice(True, "c++"))
    )
    assert [job.recipe.compile for job in jobs(mode="train", compile="both")] == ["off", "on"]


def test_what_cannot_be_compiled_is_named_and_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    none = dataclasses.replace(ACCELERATORS["cpu"], compiler=lambda: Choice(False, "no C++ compiler"))
    monkeypatch.setitem(ACCELERATORS, "cpu", none)
    said: list[str] = []
    recipe = running.with_root(toy("pix2pix", Path()), "synthetic")
    assert [job.recipe.compile for job in jobs_of(Asked([recipe], compile="both", mode="train"), said.append)] == [
        "off"
    ]
    assert said == ["pix2pix: not measured compiled: no C++ compiler"]
    with pytest.raises(UsageError, match=r"--compile on: no C\+\+ compiler"):
        jobs_of(Asked([recipe], compile="on"), said.append)


def test_a_machine_has_the_same_label_each_time_unless_it_is_named() -> None:
    assert jobs()[0].machine == jobs()[0].machine != ""
    assert jobs(machine="lab")[0].machine == "lab"


def test_repeats_go_round_all_rows_and_each_is_kept_at_once(process: list[Job], results: Results) -> None:
    kept = Measured()
    counts: list[int] = []
    running.run(jobs(), 2, results, lambda line: counts.append(results.count()), kept)
    assert [job.mode for job in process] == ["train", "forward"] * 2
    assert counts == [1, 2, 3, 4]
    assert len(kept.results) == 4


@pytest.mark.parametrize(
    ("code", "suffix", "says"),
    [
        (2, worker.MEMORY, r"out of memory; use a smaller --batch-size"),
        (-9, "", "killed by SIGKILL"),
        (1, "", "its process failed"),
    ],
)
def test_a_row_that_fails_is_named_and_the_others_go_on(
    code: int, suffix: str, says: str, process: list[Job], results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, "train", code, suffix)
    kept = Measured()
    running.run(jobs(), 3, results, lambda line: None, kept)
    assert results.count() == 3
    assert len(kept.failed) == 1 and says in kept.failed[0]


def test_what_the_user_did_wrong_ends_it(process: list[Job], results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, "forward", 2, worker.ERROR, "--data.root x: no such folder")
    with pytest.raises(UsageError, match=r"--data.root x: no such folder"):
        running.run(jobs(), 1, results, lambda line: None, Measured())


def test_an_interrupt_leaves_the_rows_before_it(
    process: list[Job], results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, "forward", worker.INTERRUPTED)
    kept = Measured()
    with pytest.raises(KeyboardInterrupt):
        running.run(jobs(), 2, results, lambda line: None, kept)
    assert results.count() == len(kept.results) == 1


def test_a_worker_writes_what_came_of_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.bench.measuring.measure_matmul_peak", lambda *_: 1e11)
    job = dataclasses.replace(jobs(mode="train")[0], steps=1, warmup=1)
    path = tmp_path / "job.json"
    path.write_text(job.to_json())
    assert worker.main(path) == 0
    assert path.with_suffix(worker.RESULT).exists()
    for error, suffix in ((UsageError("no"), worker.ERROR), (MemoryError(), worker.MEMORY)):

        def fail(job: Job, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("gesso.bench.measuring.measure", fail)
        assert worker.main(path) == 2
        assert path.with_suffix(suffix).exists()


def test_a_worker_loads_torch_only_where_an_interrupt_is_heard() -> None:
    code = "import sys, gesso.bench.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
