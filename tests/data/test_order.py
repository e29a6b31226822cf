"""Order and augmentation: pure functions of the seed and the images seen."""

import numpy as np
import pytest

from gesso.data.order import indices, random, windows


def test_every_epoch_holds_every_image_once() -> None:
    for epoch in range(3):
        order = indices(7, 0, np.arange(epoch * 10, epoch * 10 + 10), 10)
        assert sorted(order) == list(range(10))


def test_epochs_and_seeds_differ_in_order() -> None:
    first, second = indices(7, 0, np.arange(50), 50), indices(7, 0, np.arange(50, 100), 50)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, indices(8, 0, np.arange(50), 50))


def test_any_position_is_known_without_those_before_it() -> None:
    whole = indices(3, 1, np.arange(100), 13)
    assert [int(indices(3, 1, np.array([p]), 13)[0]) for p in range(100)] == list(whole)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_processes_share_an_epoch_without_loss_or_repetition(world: int) -> None:
    batch, count = 2, 24
    seen: list[int] = []
    for step in range(count // (batch * world)):
        for rank in range(world):
            position = step * batch * world + rank * batch
            seen += list(indices(5, 0, position + np.arange(batch), count))
    assert sorted(seen) == list(range(count))


def test_windows_are_the_same_whenever_they_are_asked_for() -> None:
    assert windows(1, 0, np.array([5, 6]), True)[1] == windows(1, 0, np.array([6]), True)[0]


def test_windows_spread_over_the_whole_room_and_mirror_half() -> None:
    drawn = windows(1, 0, np.arange(2000), True)
    tops = np.array([w.top for w in drawn])
    assert tops.min() < 0.01 and tops.max() > 0.99 and abs(tops.mean() - 0.5) < 0.02
    assert abs(np.mean([w.flip for w in drawn]) - 0.5) < 0.04
    assert not any(w.flip for w in windows(1, 0, np.arange(50), False))


def test_purposes_and_counters_have_streams_of_their_own() -> None:
    draws = [tuple(random(1, purpose, counter).random(3)) for purpose in range(4) for counter in range(4)]
    assert len(set(draws)) == len(draws)
