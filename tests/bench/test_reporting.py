"""What the reports say of results, and that a page is one file."""

import csv
import html.parser
import io
import math
import re
from datetime import UTC, datetime

import pytest

from gesso.bench.plots import MOST_BARS, Bar, History, bars, history
from gesso.bench.reporting import HEADER, as_csv, as_html, as_text, lines_of
from measured import measured


def test_repeats_are_one_line_with_their_median_and_noise() -> None:
    (line,) = lines_of([measured(n, metrics={"samples_per_second": 100 * math.exp(0.02 * n)}) for n in range(3)])
    assert line.runs == 3
    assert line.samples_per_second == pytest.approx(100 * math.exp(0.02))
    assert line.noise == pytest.approx(0.02)


def test_states_of_the_code_and_configurations_are_lines_of_their_own() -> None:
    several = [measured(0), measured(1, commit="c" * 12), measured(2, version="2"), measured(3, precision="bf16")]
    assert len(lines_of(several)) == 4


def test_text_has_a_table_for_each_model_and_machine() -> None:
    text = as_text([measured(0), measured(1, machine="attic"), measured(2, model="dcgan", recipe="dcgan")])
    assert re.findall(r"^\w+ on \w+ \(.*\)$", text, re.MULTILINE) == [
        "dcgan on lab (a processor)",
        "pix2pix on attic (a processor)",
        "pix2pix on lab (a processor)",
    ]
    assert "1048576 MiB" in text


def test_what_all_rows_share_is_told_once() -> None:
    both = [measured(0, commit="c" * 12), measured(0, commit="c" * 12, precision="bf16")]
    assert as_text(both).count("c" * 12) == 1
    assert as_text([*both, measured(0, commit="d" * 12)]).count("c" * 12) == 2


def test_seeds_that_converged_are_counted() -> None:
    seeds = [measured(n, kind="converge", step_seconds=[], metrics={"seed": n, "converged": n != 1}) for n in range(3)]
    assert "2 of 3" in as_text(seeds)


def test_no_results_are_told() -> None:
    assert as_text([]) == "No results."
    assert "No results." in as_html([])


def test_csv_has_a_row_for_each_result_and_a_column_for_each_metric() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([measured(0), measured(1, metrics={"score/L1": 0.5})]))))
    assert len(rows) == 2
    assert rows[0]["samples_per_second"] == "40.0" and rows[0]["score/L1"] == ""
    assert rows[1]["score/L1"] == "0.5" and rows[1]["steps"] == "20"


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and the tags that are open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


PAGE = [
    measured(n, commit=f"{n % 2:012x}", machine=machine, metrics={"samples_per_second": 40.0 + n})
    for n in range(6)
    for machine in ("lab", "<b>attic</b>")
]


def test_the_page_stands_alone_and_is_well_formed() -> None:
    text = as_html(PAGE, datetime(2026, 1, 2, tzinfo=UTC))
    page = Page(text)
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    links = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]
    assert "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert "Written 2026-01-02 00:00 UTC" in text


def test_the_page_explains_every_column_of_its_tables() -> None:
    text = as_html(PAGE)
    assert all(f"<dt>{name}</dt>" in text for name in HEADER)


def test_the_page_has_bars_a_history_and_no_markup_of_names() -> None:
    text = as_html(PAGE)
    assert text.count('class="bar"') == 2
    assert text.count('class="line"') == 2
    assert "<b>attic" not in text and "&lt;b&gt;attic" in text


def test_bars_stay_inside_their_plot_with_their_whiskers() -> None:
    drawn = bars([Bar("a", 10, 0.5), Bar("b", 5, math.nan)])
    lengths = [float(width) for width in re.findall(r'class="bar" style="width: ([\d.]+)%', drawn)]
    assert lengths == [50, 25]
    assert re.findall(r'class="whisker" style="left: ([\d.]+)%; width: ([\d.]+)%', drawn) == [("0.00", "100.00")]


def test_a_long_name_is_shown_whole() -> None:
    name = "cyclegan-gaudi forward synthetic -b 4 bf16 compiled · nvidia-h200-1-3f9a02" * 2
    assert f"<span>{name}</span>" in bars([Bar(name, 5, math.nan)])


def test_bars_beyond_the_most_are_counted() -> None:
    drawn = bars([Bar(str(number), 1, math.nan) for number in range(MOST_BARS + 3)])
    assert drawn.count('class="bar"') == MOST_BARS
    assert "3 more are in the tables" in drawn


def test_a_history_is_a_share_of_its_first_point() -> None:
    drawn = history([History("a", [("2026-01-01T00:00:00+00:00", "x", 10), ("2026-01-02T00:00:00+00:00", "y", 20)])])
    assert re.findall(r'class="point" .*? d="M([\d.]+ [\d.]+)h0"', drawn) == ["0.00 90.91", "100.00 0.00"]
    assert ">200%</span>" in drawn and "<span>2026-01-01</span><span>2026-01-02</span>" in drawn


def test_nothing_to_plot_is_no_plot() -> None:
    assert bars([]) == history([]) == ""
