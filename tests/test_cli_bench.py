"""`gesso bench report | compare | export | import`, as a user and as CI call them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from commands import Gesso, refused
from gesso.bench.exchange import export_results
from gesso.bench.results import Result, open_results
from measured import measured


def repeats(first: int, seconds: float, commit: str) -> list[Result]:
    steps = [[seconds + 1e-5 * (run + step) for step in range(20)] for run in range(5)]
    return [
        measured(first + run, commit=commit, run_id=commit[:1], step_seconds=steps[run], environment={})
        for run in range(5)
    ]


BASE, SAME, SLOW = repeats(0, 0.1, "a" * 12), repeats(10, 0.101, "b" * 12), repeats(20, 0.11, "c" * 12)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "bench.sqlite3"
    open_results(str(path)).add([*BASE, *SAME, *SLOW])
    return path


def test_a_gate_passes_the_same_speed_and_fails_a_tenth_less(gesso: Gesso, database: Path) -> None:
    words = ("--fail-below", "0.95", "--database", database)
    assert gesso("bench", "compare", "aaaaaaa", "bbbbbbb", *words).code == 0
    slow = gesso("bench", "compare", "aaaaaaa", "ccccccc", *words)
    assert slow.code == 1
    assert any("TOO SLOW" in line and "0.909" in line for line in slow.out)
    assert slow.err == [
        "gesso: 1 of 1 configurations in ccccccc are surely below 0.95 of aaaaaaa: pix2pix train synthetic -b 4 fp32"
    ]


def test_without_a_threshold_a_comparison_only_shows(gesso: Gesso, database: Path) -> None:
    said = gesso("bench", "compare", "a" * 12, "c" * 12, "--database", database)
    assert (said.code, said.err) == (0, [])
    assert any(line.endswith(" slower") for line in said.out)


def test_a_gate_fails_where_surely_fewer_seeds_converge(gesso: Gesso, tmp_path: Path) -> None:
    for name, converged in (("all", 20), ("some", 10)):
        metrics = [{"seed": seed, "converged": seed < converged} for seed in range(20)]
        seeds = [measured(n, kind="converge", step_seconds=[], metrics=held) for n, held in enumerate(metrics)]
        export_results(seeds, tmp_path / name)
    words = ("bench", "compare", tmp_path / "all", tmp_path / "some")
    assert gesso(*words).code == 0
    said = gesso(*words, "--converged-below", "0.95")
    assert said.code == 1
    assert said.err == [
        f"gesso: 1 of 1 configurations in {tmp_path / 'some'} converge surely less often than in {tmp_path / 'all'}: "
        "pix2pix converge -b 4 fp32 -e 2"
    ]


def test_files_are_compared_with_each_other_and_with_the_database(gesso: Gesso, database: Path, tmp_path: Path) -> None:
    export_results(SLOW, tmp_path / "slow.jsonl")
    words = ("--fail-below", "0.95", "--database", database)
    assert gesso("bench", "compare", "a", tmp_path / "slow.jsonl", *words).code == 1
    assert gesso("bench", "compare", tmp_path / "slow.jsonl", tmp_path / "slow.jsonl", *words).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["0.0.9", "a"], r"0\.0\.9: no run id, version or commit in .*; and there is no such file"),
        (["a", "b", "--fail-below", "95"], "--fail-below 95: must be from 0 to 1"),
        (["a", "b", "--converged-below", "-1"], "--converged-below -1: must be from 0 to 1"),
        (["a", "b", "--confidence", "1"], "--confidence 1: must be from 0.5 to below 1"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(words: Sequence[str], says: str, gesso: Gesso, database: Path) -> None:
    refused(gesso("bench", "compare", *words, "--database", database), says)


def test_export_and_import_carry_results_to_another_database(gesso: Gesso, database: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "some.jsonl", tmp_path / "other.sqlite3"
    assert gesso("bench", "export", file, "--run-id", "a", "--database", database).out == [f"{file}: 5 results"]
    for added in (5, 0):
        said = gesso("bench", "import", file, "--database", other)
        assert said.out == [f"{other}: {added} results added, {5 - added} were there already"]
    assert {result.commit for result in open_results(str(other)).query()} == {"a" * 12}


def test_a_bad_file_is_refused_in_one_line(gesso: Gesso, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n{\n")
    refused(gesso("bench", "import", tmp_path / "bad.jsonl"), r"bad\.jsonl: line 1: .* missing; line 2: not JSON")


def test_a_report_is_shown_or_written_as_asked(
    gesso: Gesso, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert gesso("bench", "report", "--database", database).out[0] == "pix2pix on lab (a processor)"
    assert gesso("bench", "report", "--database", database, "--model", "dcgan").out == ["No results."]
    rows = list(csv.reader(gesso("bench", "report", "--format", "csv", "--database", database).out))
    assert len(rows) == 1 + 15
    assert gesso("bench", "report", "--format", "html", "--database", database).out == ["bench.html: 15 results"]
    assert (tmp_path / "bench.html").read_text().startswith("<!DOCTYPE html>")
    gesso("bench", "report", "--commit", "a" * 12, "-o", "some.txt", "--database", database)
    assert "a" * 12 in Path("some.txt").read_text() and "b" * 12 not in Path("some.txt").read_text()
