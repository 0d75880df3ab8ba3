"""When the clock fires a trigger: its ticks, and which of those that were missed count (TR-1, TR-2, R-5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import islice, takewhile
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from queue_service.features.firing import cron
from schemas.triggers import Cron, Interval, Misfire

TOGETHER: Final = timedelta(milliseconds=100)
"""Ticks that are due so soon are fired at once (R-3)."""
MAX_MISSED: Final = 100
"""Of the ticks that nobody saw, the latest so many are fired (R-5)."""
PUNCTUAL: Final = timedelta(seconds=30)
"""Later than that a tick was missed, for a trigger that skips those."""


class Schedule(Protocol):
    """The ticks of a trigger."""

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after this moment; None when there is none."""
        ...

    def back_from(self, moment: datetime) -> Iterator[datetime]:
        """The ticks until this moment, the latest first."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """``anchor`` + k·``duration`` + ``offset`` for k = 1, 2, … : never a drift."""

    anchor: datetime
    duration: timedelta
    offset: timedelta

    def after(self, moment: datetime) -> datetime:
        return self._tick(max((moment - self.anchor - self.offset) // self.duration + 1, 1))

    def back_from(self, moment: datetime) -> Iterator[datetime]:
        last = (moment - self.anchor - self.offset) // self.duration
        return (self._tick(number) for number in range(last, 0, -1))

    def _tick(self, number: int) -> datetime:
        return self.anchor + number * self.duration + self.offset


@dataclass(frozen=True, slots=True)
class Dates:
    """The dates of cron patterns on the clocks of a time zone, each ``offset`` later."""

    patterns: tuple[str, ...]
    zone: str
    offset: timedelta

    def after(self, moment: datetime) -> datetime | None:
        date = cron.next_date(self.patterns, moment - self.offset, _zone(self.zone))
        return None if date is None else date + self.offset

    def back_from(self, moment: datetime) -> Iterator[datetime]:
        dates = cron.dates_before(self.patterns, moment - self.offset, _zone(self.zone))
        return (date + self.offset for date in dates)


def schedule_of(timed: Interval | Cron, anchor: datetime, offset: timedelta) -> Schedule:
    """The ticks of a trigger that was created at ``anchor`` and has drawn this offset (TR-4)."""
    if isinstance(timed, Interval):
        return Every(anchor, timed.duration, offset)
    return Dates(timed.cron, timed.timezone, offset)


def due_ticks(
    schedule: Schedule, next_tick: datetime | None, now: datetime, misfire: Misfire
) -> tuple[list[datetime], datetime | None]:
    """The ticks to fire now, the earliest first, and the next one after them.

    ``next_tick`` is the first that was not fired. Of several only the latest counts, or the latest hundred,
    or the latest if it is not late.
    """
    horizon = now + TOGETHER
    if next_tick is None or next_tick > horizon:
        return [], next_tick
    wanted = MAX_MISSED if misfire == "all" else 1
    found = list(islice(takewhile(lambda tick: tick >= next_tick, schedule.back_from(horizon)), wanted))
    ticks = [tick for tick in reversed(found) if misfire != "skip" or tick >= now - PUNCTUAL]
    return ticks, schedule.after(horizon)


@cache
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
