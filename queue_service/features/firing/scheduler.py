"""The scheduler of hooks and triggers: fires what is due, then sleeps until the next date."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from queue_service.loops.loop import Loop
from queue_service.loops.schedule import idle
from queue_service.store.database import Database
from queue_service.store.signals import Signal, TopicStirred

BATCH: Final = 100
IDLE_SECONDS: Final = 5


def scheduler(
    name: str,
    topic: str,
    database: Database,
    fire_due: Callable[[], Awaitable[int]],
    next_date: Callable[[], Awaitable[datetime | None]],
    *,
    batch: int = BATCH,
) -> Loop:
    """A loop that calls ``fire_due``, which fires up to ``batch`` and tells how many there were.

    ``topic``: of the signal that dates have changed.
    """
    loop = Loop(
        name, database.clock, fire_due, batch=batch, idle=idle(database, IDLE_SECONDS), next_due=next_date
    )

    def on_signal(signal: Signal) -> None:
        if signal == TopicStirred(topic):
            loop.nudge()

    database.subscribe(on_signal)
    return loop
