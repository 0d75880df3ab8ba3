"""Dates of cron patterns in time zones whose clocks are changed (``seed-systems.md`` TR-2)."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.core.errors import InputError
from queue_service.features.firing import cron

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("patterns", "after", "expected"),
    [
        (["0 3 * * *"], "2024-05-01T12:00", "2024-05-02T03:00"),
        (["0 3 * * *"], "2024-05-02T03:00", "2024-05-03T03:00"),
        (["30 0 3 * * *"], "2024-05-01T12:00", "2024-05-02T03:00:30"),
        (["*/10 * * * * *"], "2024-05-01T12:00:09.500", "2024-05-01T12:00:10"),
        (["0 3 * * *", "0 15 * * *"], "2024-05-01T12:00", "2024-05-01T15:00"),
        (["0 0 29 2 *"], "2024-03-01T00:00", "2028-02-29T00:00"),
        (["0 0 * * MON#1"], "2024-05-01T00:00", "2024-05-06T00:00"),
    ],
)
def test_the_next_date_is_strictly_after_and_of_any_pattern(
    patterns: list[str], after: str, expected: str
) -> None:
    assert cron.next_date(patterns, utc(after)) == utc(expected)


@pytest.mark.parametrize(
    ("pattern", "after", "expected"),
    [
        ("0 3 * * *", "2024-01-01T12:00", ["2024-01-02T02:00", "2024-01-03T02:00"]),
        # On 31 March 2024 the clocks go from 2:00 to 3:00: 2:30 is skipped that day.
        ("30 2 * * *", "2024-03-29T12:00", ["2024-03-30T01:30", "2024-04-01T00:30"]),
        ("0 3 * * *", "2024-03-30T12:00", ["2024-03-31T01:00", "2024-04-01T01:00"]),
        ("*/30 * * * *", "2024-03-31T00:15", ["2024-03-31T00:30", "2024-03-31T01:00"]),
        # On 27 October 2024 the clocks go from 3:00 to 2:00: 2:30 is shown twice.
        ("30 2 * * *", "2024-10-26T12:00", ["2024-10-27T00:30", "2024-10-28T01:30"]),
        ("*/30 2 * * *", "2024-10-26T12:00", ["2024-10-27T00:00", "2024-10-27T00:30", "2024-10-28T01:00"]),
        ("15 30 2 * * *", "2024-10-27T00:31", ["2024-10-28T01:30:15"]),
        ("*/30 * * * *", "2024-10-27T00:15", ["2024-10-27T00:30", "2024-10-27T02:00"]),
    ],
)
def test_a_skipped_time_does_not_match_and_a_doubled_one_matches_once(
    pattern: str, after: str, expected: list[str]
) -> None:
    dates = []
    moment = utc(after)
    for _ in expected:
        date = cron.next_date([pattern], moment, BERLIN)
        assert date is not None
        dates.append(date)
        moment = date
    assert dates == list(map(utc, expected))


def test_a_pattern_that_never_matches_has_no_date() -> None:
    assert cron.next_date(["0 0 30 2 1"], utc("2024-01-01")) is not None
    with pytest.raises(InputError):
        cron.check(["0 0 30 2 *"], "/cron/cron")


@pytest.mark.parametrize("pattern", ["", "* * * *", "60 * * * *", "* * * * * * *", "@daily", "0 0 30 2 *"])
def test_what_is_no_pattern_is_named_with_its_place(pattern: str) -> None:
    with pytest.raises(InputError, match="`/cron/cron/1`"):
        cron.check(["0 3 * * *", pattern], "/cron/cron")


@given(
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ),
    pattern=st.sampled_from(
        ["*/20 * * * *", "30 2 * * *", "0 */3 * * *", "15 5,30 1-3 * * *", "7 2 * * SUN"]
    ),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2025, 12, 31)),
    days=st.integers(1, 12),
)
def test_dates_are_the_same_forwards_and_backwards(
    zone: str, pattern: str, start: datetime, days: int
) -> None:
    begin, clocks = start.replace(tzinfo=UTC), ZoneInfo(zone)
    end = begin + timedelta(days=days)
    forwards = []
    moment = begin
    while (date := cron.next_date([pattern], moment, clocks)) is not None and date <= end:
        forwards.append(date)
        moment = date
    backwards = list(takewhile(lambda date: date > begin, cron.dates_before([pattern], end, clocks)))
    assert backwards[::-1] == forwards


def test_dates_before_of_several_patterns_come_once_each() -> None:
    dates = cron.dates_before(["0 * * * *", "*/30 * * * *"], utc("2024-05-01T12:00"))
    assert list(islice(dates, 4)) == [
        utc("2024-05-01T12:00"),
        utc("2024-05-01T11:30"),
        utc("2024-05-01T11:00"),
        utc("2024-05-01T10:30"),
    ]
