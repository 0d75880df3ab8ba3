"""The database: real SQLite in memory, behind a driver that takes time, refuses, and outlives processes."""

import asyncio
import sqlite3
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from queue_service.clock import SystemClock
from queue_service.counting import SECONDS, Distribution
from queue_service.store.database import open_database
from queue_service.store.migrations import runner
from queue_service.store.sqlite import SqliteConnection
from queue_service.store.statements import Statements
from tests.simulation.scheduler import SimulatedLoop

Refusal = Literal["begin", "statement", "commit", "after commit"]
"""When a transaction fails: ``after commit`` is a link that broke while the commit was under way."""


@cache
def engine() -> AsyncEngine:
    """Knows the dialect; never connected."""
    return create_async_engine("sqlite+aiosqlite://")


@cache
def statements() -> Statements:
    """Compiled once for all lives."""
    return Statements(engine().dialect)


@cache
def _empty_database() -> bytes:
    """A database with the newest schema, by the real migrations."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.sqlite"

        async def migrate() -> None:
            database = open_database(f"sqlite:///{file}", SystemClock())
            await runner.migrate(database)
            await database.close()

        asyncio.run(migrate())
        raw = sqlite3.connect(file, isolation_level=None)
        raw.execute("PRAGMA journal_mode=DELETE")  # what is in memory cannot have a write-ahead log
        image = raw.serialize()
        raw.close()
        return image


class Owner(Protocol):
    """A process as the disk knows it."""

    loop: SimulatedLoop


class Disk:
    """One database that processes share: one transaction at a time, committed changes stay.

    ``committed`` is called after each commit that changed something, with the time of its transaction, before
    anybody learns of it. ``clock`` tells the time in milliseconds.
    """

    def __init__(self, random: Random, clock: Callable[[], int], committed: Callable[[int], None]) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        self.raw.deserialize(_empty_database())
        self.random = random
        self.refusal: Refusal | None = None
        self._clock = clock
        self._began = 0
        self._committed = committed
        self._holder: Owner | None = None
        self._line: deque[tuple[Owner, asyncio.Future[None]]] = deque()
        self._changes = self.raw.total_changes

    def close(self) -> None:
        self.raw.close()

    def forget(self, owner: Owner) -> None:
        """The process is dead: what it had not committed is gone."""
        if self._holder is owner:
            if self.raw.in_transaction:
                self.raw.execute("ROLLBACK")
            self.release(owner)

    async def acquire(self, owner: Owner) -> None:
        if self._holder is None:
            self._holder = owner
            return
        turn: asyncio.Future[None] = owner.loop.create_future()
        self._line.append((owner, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(owner)
            raise

    def release(self, owner: Owner) -> None:
        if self._holder is not owner:
            return
        self._holder = None
        while self._line:
            following, turn = self._line.popleft()
            if not turn.done() and not following.loop.killed:
                self._holder = following
                turn.set_result(None)
                return

    def holds(self, owner: Owner) -> bool:
        return self._holder is owner

    def refuse(self, moment: Refusal) -> None:
        """Raises sqlite3.OperationalError when the disk refuses at this moment."""
        if self.refusal == moment:
            raise sqlite3.OperationalError("disk I/O error")

    def begin(self) -> None:
        self.raw.execute("BEGIN IMMEDIATE")
        self._began = self._clock()

    def commit(self) -> None:
        self.raw.execute("COMMIT")
        if self.raw.total_changes != self._changes:
            self._changes = self.raw.total_changes
            self._committed(self._began)


class SimulatedDriver:
    """The driver of one process. Every statement may take its time, so that others come between."""

    def __init__(self, disk: Disk, owner: Owner) -> None:
        self.waits = Distribution(SECONDS)
        self._disk = disk
        self._owner = owner
        self._writing = _Connection(disk, owner, self.delay)
        self._reading = _Reading(disk, owner, self.delay)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteConnection]:
        disk, owner = self._disk, self._owner
        await disk.acquire(owner)
        try:
            await self.delay(0.3)
            disk.refuse("begin")
            disk.begin()
            try:
                yield self._writing
                await self.delay(0.3)
                disk.refuse("commit")
                disk.commit()
                disk.refuse("after commit")
            finally:
                if disk.holds(owner) and disk.raw.in_transaction:
                    disk.raw.execute("ROLLBACK")
        finally:
            disk.release(owner)
        await self.delay(0.3)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteConnection]:
        yield self._reading

    async def close(self) -> None:
        """It belongs to all processes."""

    async def delay(self, likely: float) -> None:
        random = self._disk.random
        if random.random() < likely:
            await self._owner.loop.pause(random.expovariate(100))


class _Connection(SqliteConnection):
    def __init__(self, disk: Disk, owner: Owner, delay: Callable[[float], Any]) -> None:
        super().__init__(disk.raw, statements())
        self._disk = disk
        self._owner = owner
        self._delay = delay

    async def run(self, sql: str, arguments: Sequence[Any] = ()) -> sqlite3.Cursor:
        await self._delay(STATEMENT_DELAY)
        if not self._disk.holds(self._owner):
            raise RuntimeError("a dead process reached the disk")
        self._disk.refuse("statement")
        return self.raw.execute(sql, arguments)


class _Reading(_Connection):
    """Sees what is committed."""

    async def run(self, sql: str, arguments: Sequence[Any] = ()) -> sqlite3.Cursor:
        await self._disk.acquire(self._owner)
        try:
            if self._disk.refusal == "begin":
                self._disk.refuse("begin")
            return await super().run(sql, arguments)
        finally:
            self._disk.release(self._owner)


STATEMENT_DELAY: Final = 0.05
