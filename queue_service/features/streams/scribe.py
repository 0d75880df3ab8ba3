"""Writes the log of events where the relay does not: what waits for a broker that is away, slow, or refuses.

While the broker takes messages the relay logs them as it retires them, at no further cost.
"""

from datetime import datetime, timedelta
from typing import Final

from queue_service.loops.loop import Loop
from queue_service.loops.schedule import idle
from queue_service.store import event_log
from queue_service.store.database import Database
from queue_service.store.signals import OutboxFilled, Signal, TopicStirred

BATCH: Final = 500
FORGOTTEN: Final = 2000
PATIENCE: Final = timedelta(milliseconds=200)
"""How long a message may wait for the broker before it is logged without."""
PACE_SECONDS: Final = 0.05
TRIM_SECONDS: Final = 10.0


class Scribe:
    """The background work of the log; safe in many processes by the lock of its state.

    ``most`` and ``oldest`` bound what is kept.
    """

    def __init__(self, database: Database, *, most: int, oldest: timedelta) -> None:
        self._database = database
        self._most = most
        self._oldest = oldest
        self._keeping = False
        self.writing = Loop(
            "event log",
            database.clock,
            self._write,
            batch=BATCH,
            idle=idle(database, 2),
            next_due=self._next,
            pace=PACE_SECONDS,
        )
        self.trimming = Loop(
            "event log's end",
            database.clock,
            self._trim,
            batch=FORGOTTEN,
            idle=timedelta(seconds=TRIM_SECONDS),
        )
        self.every = (self.writing, self.trimming)
        database.subscribe(self._on_signal)

    async def _write(self) -> int:
        due = await self._next()
        if due is None or due > self._database.clock.now():
            return 0
        return await self._database.write(lambda tx: event_log.take_waiting(tx, BATCH))

    async def _next(self) -> datetime | None:
        """When the oldest message is to be logged; None when none waits, or nobody streams."""
        async with self._database.read() as connection:
            self._keeping = (await event_log.state(connection)).kept
            oldest = await event_log.oldest_waiting(connection) if self._keeping else None
        return None if oldest is None else oldest + PATIENCE

    async def _trim(self) -> int:
        before = self._database.clock.now() - self._oldest
        async with self._database.read() as connection:
            if await event_log.state(connection) == event_log.NOTHING:
                return 0
        return await self._database.write(
            lambda tx: event_log.trim(tx, most=self._most, before=before, limit=FORGOTTEN)
        )

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, OutboxFilled):
            if self._keeping:
                self.writing.nudge()
        elif isinstance(signal, TopicStirred) and signal.topic == event_log.KEPT_TOPIC:
            self.writing.nudge()
