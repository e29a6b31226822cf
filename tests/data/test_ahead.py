"""Work done ahead by threads: in order, bounded, and over when its consumer is."""

import itertools
import threading
import time

import pytest

from gesso.data.ahead import ahead
from gesso.errors import flag, spelling


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    assert list(ahead(lambda i: (time.sleep(0.02 * (i % 2 == 0)), i)[1], range(9), workers=3)) == list(range(9))


@pytest.mark.parametrize(("workers", "most", "expected"), [(2, 5, 5), (3, 0, 6)])
def test_no_more_items_are_taken_than_may_wait(workers: int, most: int, expected: int) -> None:
    taken = itertools.count()
    results = ahead(lambda i: i, taken, workers, most)
    assert next(results) == 0
    assert next(taken) == expected


def test_work_goes_on_while_the_consumer_is_busy() -> None:
    started = threading.Semaphore(0)
    results = ahead(lambda i: started.release(), range(4), workers=1, most=4)
    next(results)
    assert all(started.acquire(timeout=5) for _ in range(4))


def test_an_error_is_raised_at_its_items_turn_and_ends_it() -> None:
    results = ahead(lambda i: 6 // i, [3, 2, 0, 1], workers=2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_threads_end_with_a_consumer_that_stops_early() -> None:
    results = ahead(lambda i: i, itertools.count(), workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gesso-ahead")]


def test_threads_name_the_flags_as_their_consumer_does() -> None:
    with spelling({"data.max_pixels": "max_pixels"}):
        assert list(ahead(flag, ["data.max_pixels"] * 3, workers=2)) == ["--max-pixels"] * 3
