"""When the clock fires a hook: cron patterns in UTC, five fields or six with the seconds in front."""

from collections.abc import Iterable
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from queue_service.core.errors import InputError


def check(schedule: Iterable[str]) -> None:
    """Raise InputError for the first pattern that is none."""
    for place, pattern in enumerate(schedule):
        try:
            CronSim(pattern, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise InputError(
                f"`/schedule/{place}`: `{pattern}` is no cron pattern ({error}). Expected five fields, "
                "minute hour day-of-month month day-of-week, or six with the second in front."
            ) from None


def next_date(schedule: Iterable[str], after: datetime) -> datetime | None:
    """The earliest time after ``after`` that matches one of the patterns; None when there is none."""
    dates = (next(CronSim(pattern, after), None) for pattern in schedule)
    return min((date for date in dates if date is not None), default=None)
