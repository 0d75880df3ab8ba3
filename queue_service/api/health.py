"""Can this process do its work: what its heartbeat answers, for load balancers and supervisors."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from queue_service.store import vitals
from queue_service.store.database import Database
from queue_service.store.migrations import runner

logger = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
"""In which the database has to answer."""
OK: Final = "ok"
UNKNOWN: Final = "unknown"
NEWER: Final = "newer than this program; it is being upgraded"
NONE: Final = "none: run `taskbus migrate`"
OLDER: Final = "older than this program: run `taskbus migrate`"
NO_TABLE: Final = "42P01"
FRESH_SECONDS: Final = 1.0
"""For which an answer is given again, so that nobody keeps the database busy by asking."""


class Background(Protocol):
    """Something that works without a caller."""

    name: str

    @property
    def trouble(self) -> str | None:
        """What is wrong with it; None when it works or waits for work."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """How a process is. ``ready``: it can do what others want of it."""

    ready: bool
    facts: dict[str, Any]


class Health:
    """Looks at what this process needs.

    A process that answers calls is ready when it has its database, with the schema that it knows. It is ready
    without the broker, because events wait in the outbox. One that only runs background work
    (``answers_calls`` is False) is not ready when that is stuck, either. ``broker`` tells whether it is
    connected; None where nothing is published.
    """

    def __init__(
        self,
        database: Database,
        *,
        background: Sequence[Background],
        broker: Callable[[], bool] | None,
        answers_calls: bool,
    ) -> None:
        self._database = database
        self._background = background
        self._broker = broker
        self._answers_calls = answers_calls
        self._looking = asyncio.Lock()
        self._seen: tuple[float, str, str] | None = None
        self._was_ready = True

    async def look(self) -> Condition:
        """How this process is now; the database is asked once a second at most."""
        database, schema = await self._store()
        troubles = {part.name: trouble for part in self._background if (trouble := part.trouble)}
        facts: dict[str, Any] = {"database": database, "schema": schema}
        if self._broker is not None:
            facts["broker"] = "connected" if self._broker() else "away; events wait in the outbox"
        if self._background:
            facts["background"] = troubles or "ok"
        ready = database == OK and schema in (OK, NEWER) and (self._answers_calls or not troubles)
        if ready is not self._was_ready:
            self._was_ready = ready
            logger.log(
                logging.INFO if ready else logging.ERROR, "ready again" if ready else "not ready", **facts
            )
        return Condition(ready, {"ready": ready, **facts})

    async def _store(self) -> tuple[str, str]:
        """What is to be said of database and schema."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if self._seen is None or loop.time() - self._seen[0] >= FRESH_SECONDS:
                self._seen = loop.time(), *await self._look_at_store()
            return self._seen[1], self._seen[2]

    async def _look_at_store(self) -> tuple[str, str]:
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._database.read() as connection:
                return OK, _schema(await vitals.revision(connection))
        except TimeoutError:
            return f"does not answer within {LOOK_SECONDS:g} s", UNKNOWN
        except Exception as error:
            if getattr(error, "sqlstate", "") == NO_TABLE or "no such table" in str(error):
                return OK, NONE
            logger.warning("the heartbeat found the database unusable", reason=str(error))
            return "cannot be used; the log tells why", UNKNOWN


def _schema(found: str | None) -> str:
    if found is None:
        return NONE
    if found == runner.newest_revision():
        return OK
    return OLDER if found in runner.revisions() else NEWER
