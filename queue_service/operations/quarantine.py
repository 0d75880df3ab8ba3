"""Workers that get no work: kept in memory, because every claimWork asks (``queue-behaviour.md`` 7.2).

Few workers are quarantined at a time, so each process holds all of them. A change is a signal, which reaches
this process with the commit and the others within moments; where that signal may be lost, what was read is
believed for :data:`MAX_AGE_SECONDS`. A read per claim would cost a tenth of the claim itself.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog

from queue_service.core.workers import WorkerKey
from queue_service.store import workers
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import QuarantineChanged, Signal

logger = structlog.get_logger(__name__)

MAX_AGE_SECONDS: Final = 5.0


class Quarantine:
    """Tells who is quarantined. ``dismiss`` ends the wait of a worker that came to be so."""

    def __init__(self, database: Database, dismiss: Callable[[WorkerKey], None]) -> None:
        self._database = database
        self._dismiss = dismiss
        self._until: dict[WorkerKey, datetime] = {}
        self._changed = True
        self._read_at = -math.inf
        self._max_age = math.inf if database.is_sqlite else MAX_AGE_SECONDS
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    async def holds(self, worker: WorkerKey) -> bool:
        """Whether the worker is quarantined now. Raises StoreUnavailable."""
        await self.read()
        return self.listed(worker)

    async def read(self) -> None:
        """Know what others have changed, for :meth:`listed`. Raises StoreUnavailable."""
        if self._outdated:
            await self._refresh()

    def listed(self, worker: WorkerKey) -> bool:
        """Whether the worker is quarantined, as far as was read."""
        until = self._until.get(worker)
        return until is not None and until > self._database.clock.now()

    async def sit_out(self, seconds: float, gone: Callable[[], Awaitable[object]]) -> None:
        """Wait as a worker does that gets nothing: so long, or until ``gone()`` returns."""
        waits = (asyncio.ensure_future(gone()), asyncio.ensure_future(self._closed.wait()))
        try:
            await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed.set()

    def on_signal(self, signal: Signal) -> None:
        """Subscribe this to the database's signals."""
        if isinstance(signal, QuarantineChanged):
            self._changed = True
            self._refreshing = asyncio.create_task(self._refresh_quietly(), name="quarantine")

    @property
    def _outdated(self) -> bool:
        return self._changed or asyncio.get_running_loop().time() - self._read_at > self._max_age

    async def _refresh(self) -> None:
        async with self._reading:
            if not self._outdated:
                return
            self._changed = False  # what changes from here on may be missed, and sets it again
            try:
                async with self._database.read() as connection:
                    until = await workers.quarantined(connection, self._database.clock.now())
            except BaseException:
                self._changed = True
                raise
            self._read_at = asyncio.get_running_loop().time()
            added = until.keys() - self._until.keys()
            self._until = until
        for worker in added:
            self._dismiss(worker)

    async def _refresh_quietly(self) -> None:
        try:
            await self._refresh()
        except StoreUnavailable as error:
            logger.warning("who is quarantined is read later", reason=str(error))
