"""Dates of cron patterns: five fields, or six with the seconds in front, in any time zone."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby

from cronsim import CronSim, CronSimError

from queue_service.core.errors import InputError

_SECOND = timedelta(seconds=1)


def check(patterns: Iterable[str], place: str) -> None:
    """Raise InputError for the first pattern that is none; ``place`` is where the list is in the body."""
    for number, pattern in enumerate(patterns):
        try:
            CronSim(pattern, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise InputError(
                f"`{place}/{number}`: `{pattern}` is no cron pattern ({error}). Expected five fields, "
                "minute hour day-of-month month day-of-week, or six with the second in front."
            ) from None


def next_date(patterns: Iterable[str], after: datetime, zone: tzinfo = UTC) -> datetime | None:
    """The earliest time after ``after`` that matches one of the patterns; None when there is none.

    They are read on the clocks of ``zone``. A time that these skip does not match, one that they show twice
    matches the first time only (TR-2).
    """
    dates = (next(_forward(pattern, after, zone), None) for pattern in patterns)
    return min((date for date in dates if date is not None), default=None)


def dates_before(patterns: Iterable[str], end: datetime, zone: tzinfo = UTC) -> Iterator[datetime]:
    """The times that match one of the patterns, from ``end`` back into the past, each once."""
    merged = heapq.merge(*(_backward(pattern, end, zone) for pattern in patterns), reverse=True)
    return (date for date, _ in groupby(merged))


def _forward(pattern: str, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    for shown in CronSim(pattern, after.astimezone(zone).replace(tzinfo=None)):
        date = _first_time(shown, zone)
        if date is not None and date > after:
            yield date


def _backward(pattern: str, end: datetime, zone: tzinfo) -> Iterator[datetime]:
    local = end.astimezone(zone)
    # What the clocks show twice was due the first time: then all of that hour is in the past already.
    repeated = (local.utcoffset() or timedelta(0)) - (local.replace(fold=0).utcoffset() or timedelta(0))
    start = local.replace(tzinfo=None, microsecond=0) - repeated + _SECOND
    for shown in CronSim(pattern, start, reverse=True):
        date = _first_time(shown, zone)
        if date is not None and date <= end:
            yield date


def _first_time(shown: datetime, zone: tzinfo) -> datetime | None:
    """When the clocks of the zone first show this; None if they never do."""
    moment = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == shown else None
