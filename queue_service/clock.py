"""The one source of time. Everything that needs to know the time is given a clock."""

from datetime import UTC, datetime
from typing import Protocol

from schemas.times import truncate


class Clock(Protocol):
    def now(self) -> datetime:
        """The time in UTC, in whole milliseconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return truncate(datetime.now(UTC))
