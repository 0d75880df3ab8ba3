"""A line in the log while the outbox is too long or too old, with what to do about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from queue_service.store.outbox import Backlog

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Threshold:
    """How much may wait in the outbox, and how long, before someone should look."""

    depth: int = 100_000
    age: timedelta = timedelta(minutes=5)


class OutboxAlarm:
    """Tells when the threshold is passed, again each minute, and when all is well again."""

    AGAIN = timedelta(minutes=1)

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._told: datetime | None = None

    def look(self, backlog: Backlog, now: datetime, *, connected: bool) -> None:
        """Judge what waits; ``connected`` tells whether the broker is there."""
        age = now - backlog.oldest if backlog.oldest is not None else timedelta()
        if backlog.depth <= self._threshold.depth and age <= self._threshold.age:
            if self._told is not None:
                logger.info("the outbox is below its threshold again", waiting=backlog.depth)
            self._told = None
            return
        if self._told is not None and timedelta() <= now - self._told < self.AGAIN:
            return
        self._told = now
        logger.warning(
            "many or old events wait in the outbox; listeners hear of them late, nothing is lost",
            waiting=backlog.depth,
            oldest_seconds=round(age.total_seconds()),
            advice=_advice(backlog, connected),
        )


def _advice(backlog: Backlog, connected: bool) -> str:
    if not connected:
        return "bring the broker back, or correct TASKBUS_AMQP_URL; the database needs room for what waits"
    if backlog.refused:
        return (
            "the broker refuses the oldest: find the full queue with overflow=reject-publish, and consume it"
        )
    return "the broker is slow or blocks publishers: look at its memory and disk alarms and at its load"
