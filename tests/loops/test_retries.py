"""When refused messages are tried again: not often while all are refused, at full speed when none is."""

import itertools

import pytest

from queue_service.loops.retries import FEW, FIRST_PAUSE, LONGEST_PAUSE, MOST, Retries


def refusing(retries: Retries, now: float, rounds: int) -> list[float]:
    """Times of so many tries that are all refused."""
    times = []
    for _ in range(rounds):
        now += retries.wait(now)
        wanted = retries.wanted(now)
        assert wanted
        times.append(now)
        retries.tried(now, wanted, wanted, 0)
    return times


def test_the_first_look_tells_that_there_are_none() -> None:
    retries = Retries()
    retries.tried(0.0, retries.wanted(0.0), 0, 0)
    assert not retries.some
    assert retries.wanted(0.0) == 0


def test_while_all_are_refused_a_bounded_number_is_tried_each_second() -> None:
    retries = Retries()
    times = refusing(retries, 100.0, 20)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] == pytest.approx(FIRST_PAUSE)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)
    assert retries.wanted(times[-1] + LONGEST_PAUSE) == FEW


def test_nothing_is_tried_in_a_pause() -> None:
    retries = Retries()
    (at,) = refusing(retries, 0.0, 1)
    assert retries.wanted(at + FIRST_PAUSE / 2) == 0


def test_when_the_broker_takes_them_again_more_are_tried_each_time_and_at_once() -> None:
    retries = Retries()
    now = refusing(retries, 0.0, 10)[-1] + LONGEST_PAUSE
    sizes = []
    for _ in range(6):
        sizes.append(retries.wanted(now))
        retries.tried(now, sizes[-1], sizes[-1], sizes[-1])
        assert retries.wait(now) == 0
    assert sizes == [FEW, 2 * FEW, 4 * FEW, 8 * FEW, MOST, MOST]


def test_when_some_are_refused_the_others_are_not_slowed_down_for_long() -> None:
    retries = Retries()
    now = refusing(retries, 0.0, 10)[-1] + LONGEST_PAUSE
    retries.tried(now, FEW, FEW, 1)
    assert retries.wait(now) == pytest.approx(FIRST_PAUSE)
    assert retries.wanted(now + LONGEST_PAUSE) == 2 * FEW


def test_when_all_have_been_taken_there_are_none() -> None:
    retries = Retries()
    now = refusing(retries, 0.0, 1)[-1] + FIRST_PAUSE
    retries.tried(now, FEW, FEW - 1, FEW - 1)
    assert not retries.some
    retries.added(now)
    assert retries.some
    assert (retries.wanted(now), retries.wanted(now + FIRST_PAUSE)) == (0, FEW)
