"""A clock that stands still until the test moves it."""

from datetime import datetime, timedelta

from tests.core.samples import NOW


class ManualClock:
    """Starts at the time of the samples."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, **duration: float) -> datetime:
        """Move on, for instance ``clock.advance(minutes=20)``; the new time."""
        self._now += timedelta(**duration)
        return self._now

    def move_to(self, moment: datetime) -> None:
        self._now = moment
