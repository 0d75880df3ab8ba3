"""A clock that moves when the test says so."""

from datetime import UTC, datetime, timedelta

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


class ManualClock:
    """Stands still at :data:`START` until it is set or advanced."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        self._now = now

    def advance(self, **by: float) -> datetime:
        """Move by so many ``milliseconds``, ``seconds``, ``minutes``, …; the new time."""
        self._now += timedelta(**by)
        return self._now
