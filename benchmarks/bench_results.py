"""How long a database of many results takes for each report, and how often `bench compare` decides rightly.

    python benchmarks/bench_results.py reports [--count 10000] [--database URL]
    python benchmarks/bench_results.py decisions [--tries 200]

Reports are timed in seconds of the processor, of this process, and of the clock, from opening the database to the
whole text; the database is a new SQLite file in a temporary folder where none is named. Decisions are made on
simulated runs of 100 steps with a threshold of 0.95: a share of tries in which the same speed failed, and one in which
a step slower by a tenth did, for a standard deviation between runs and a number of repeat runs on each side.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gesso.bench.comparing import throughput_ratio, undisturbed
from gesso.bench.reporting import as_csv, as_html, as_text
from gesso.bench.results import Result, open_results

RECIPES = ("pix2pix", "cyclegan", "dcgan", "densenet")
PACKAGES = {f"package-{number}": f"{number}.0.1" for number in range(40)}


def results(count: int, generator: np.random.Generator) -> Iterator[Result]:
    """5 repeats of each configuration of 4 models on 3 machines, at one state of the code after the other."""
    configurations = itertools.product(
        range(count),
        RECIPES,
        ("train", "forward"),
        ("fp32", "bf16"),
        (False, True),
        ("lab", "attic", "cloud"),
        range(5),
    )
    for number, (state, recipe, mode, precision, compiled, machine, _) in enumerate(
        itertools.islice(configurations, count)
    ):
        steps = 0.1 * np.exp(generator.normal(0, 0.01) + generator.normal(0, 0.03, 100))
        median = float(np.median(steps))
        yield Result(
            *("speed", recipe, recipe, mode, "synthetic", 8, 1, precision, compiled, "cpu", "a processor", machine),
            *(
                f"0.{state}.0",
                f"{state:012x}",
                f"2026-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:00+00:00",
            ),
            run_id=str(number // 5),
            environment=PACKAGES,
            step_seconds=tuple(steps.tolist()),
            metrics={"samples_per_second": 8 / median, "ms_median": 1e3 * median, "gmacs": 18.2},
        )


def reports(count: int, url: str) -> None:
    database = open_results(url)
    database.add(results(count, np.random.default_rng(0)))
    print(f"{database.count()} results in {database}")
    for name, report in (("terminal", as_text), ("html", as_html), ("csv", as_csv)):
        clock, processor = time.perf_counter(), time.process_time()
        text = report(open_results(url).query())
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        print(f"{name:8}  {processor:.2f} s of the processor, {clock:.2f} s of the clock, {len(text) / 1e6:.1f} MB")


def decisions(tries: int) -> None:
    generator = np.random.default_rng(0)

    def runs(count: int, noise: float, slowed: float) -> list[np.ndarray]:
        shifts = generator.normal(0, noise, (count, 1)) + generator.normal(0, 0.03, (count, 100))
        return list(0.1 * slowed * np.exp(shifts))

    print("| repeat runs | noise between runs | same speed fails | 10 % slower fails |\n|---|---|---|---|")
    for count, noise in itertools.product((1, 3, 5, 10), (0.005, 0.01, 0.02, 0.04)):
        failed = [
            sum(
                throughput_ratio(undisturbed(runs(count, noise, 1)), undisturbed(runs(count, noise, slowed))).high
                < 0.95
                for _ in range(tries)
            )
            for slowed in (1, 1.1)
        ]
        print(f"| {count} | {noise:.1%} | {failed[0] / tries:.1%} | {failed[1] / tries:.1%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("reports", "decisions"))
    parser.add_argument("--count", type=int, default=10_000, help="results (%(default)s)")
    parser.add_argument("--database", default="", help="as of `gesso bench`; it keeps what is added")
    parser.add_argument("--tries", type=int, default=200, help="of each row (%(default)s)")
    arguments = parser.parse_args()
    if arguments.what == "decisions":
        decisions(arguments.tries)
    elif arguments.database:
        reports(arguments.count, arguments.database)
    else:
        with tempfile.TemporaryDirectory() as folder:
            reports(arguments.count, str(Path(folder) / "bench.sqlite3"))


if __name__ == "__main__":
    main()
