"""When the clock fires: intervals that do not drift, and ticks that nobody saw (TR-1, TR-4, R-3, R-5)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.features.triggers.ticks import Every, due_ticks, schedule_of
from schemas.triggers import Cron, Misfire

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = Every(START, MINUTE, timedelta(0))
durations = st.integers(1000, 10**8).map(lambda ms: timedelta(milliseconds=ms))
delays = st.integers(0, 10**10).map(lambda ms: timedelta(milliseconds=ms))


@given(duration=durations, offset=delays, later=delays)
def test_every_tick_lies_on_the_anchor_and_whole_durations(
    duration: timedelta, offset: timedelta, later: timedelta
) -> None:
    schedule = Every(START, duration, offset)
    tick = schedule.after(START + later)
    assert tick > START + later
    assert (tick - START - offset) % duration == timedelta(0)
    assert tick - duration <= max(START + later, START + offset)


@given(duration=durations, offset=delays, later=delays)
def test_no_tick_is_between_the_last_one_and_the_next(
    duration: timedelta, offset: timedelta, later: timedelta
) -> None:
    schedule = Every(START, duration, offset)
    last = next(schedule.back_from(START + later), None)
    first = schedule.after(START + later)
    assert first == (START + duration + offset if last is None else last + duration)


@pytest.mark.parametrize(
    ("misfire", "late", "expected"),
    [
        ("one", 0, [0]),
        ("one", 4.5, [4]),
        ("all", 4.5, [0, 1, 2, 3, 4]),
        ("skip", 0.4, [0]),
        ("skip", 4.4, [4]),
        ("skip", 4.6, []),
    ],
)
def test_of_missed_ticks_as_many_count_as_the_rule_says(
    misfire: Misfire, late: float, expected: list[int]
) -> None:
    first = START + MINUTE
    ticks, following = due_ticks(EVERY_MINUTE, first, first + late * MINUTE, misfire)
    assert ticks == [first + number * MINUTE for number in expected]
    assert following == first + (int(late) + 1) * MINUTE


def test_of_very_many_missed_ticks_the_latest_hundred_count() -> None:
    first = START + MINUTE
    ticks, following = due_ticks(EVERY_MINUTE, first, first + 1000 * MINUTE, "all")
    assert (len(ticks), ticks[-1], following) == (100, first + 1000 * MINUTE, first + 1001 * MINUTE)


def test_a_tick_within_the_next_hundred_milliseconds_is_due() -> None:
    first = START + MINUTE
    for early, expected in ((100, [first]), (101, [])):
        ticks, _ = due_ticks(EVERY_MINUTE, first, first - timedelta(milliseconds=early), "one")
        assert ticks == expected


def test_dates_are_late_by_the_offset_that_was_drawn() -> None:
    timed = Cron.model_validate({"cron": ["0 3 * * *", "0 15 * * *"], "timezone": "Europe/Berlin"})
    schedule = schedule_of(timed, START, timedelta(minutes=7))
    assert schedule.after(START) == datetime(2024, 5, 1, 13, 7, tzinfo=UTC)
    assert next(schedule.back_from(START)) == datetime(2024, 5, 1, 1, 7, tzinfo=UTC)


@given(late=st.integers(0, 10**6), misfire=st.sampled_from(["one", "all", "skip"]))
def test_whatever_was_missed_the_next_tick_is_the_next_in_the_future(late: int, misfire: Misfire) -> None:
    first = START + MINUTE
    now = first + timedelta(seconds=late)
    ticks, following = due_ticks(EVERY_MINUTE, first, now, misfire)
    assert following is not None
    assert now < following <= now + MINUTE + timedelta(milliseconds=100)
    assert all(first <= tick <= now + timedelta(milliseconds=100) for tick in ticks)
