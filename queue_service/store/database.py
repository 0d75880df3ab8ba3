"""The one way to the database: transactions on an injected clock, for SQLite and PostgreSQL.

Differences of the two databases live here: how a write begins, how it is retried, what "unavailable"
means. Writers on SQLite begin IMMEDIATE and queue for one connection; on PostgreSQL they run under READ
COMMITTED and take row locks.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from queue_service.clock import Clock
from queue_service.store.signals import Signal, Signals, Subscriber
from schemas.times import to_ms

T = TypeVar("T")

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a transaction is tried that lost a race (a deadlock, a stale version)."""
STATEMENT_SECONDS = 60
"""A statement that takes longer is given up: the link to the database may be half open."""
PLANNER = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""Every statement here looks rows up by an index. A list parameter is estimated at 100 rows, whatever it
holds, so that a plan made while a table is small would read it whole, and be kept after it has grown."""
_RACE_SQLSTATES = frozenset({"40001", "40P01"})
_REFUSALS = frozenset({"08", "28", "3D", "53", "57"})
"""Classes of SQLSTATE: connection, login, no such database, resources, operator intervention."""


class Concurrent(Exception):
    """A guarded write found another version than the one it had read: somebody else was faster."""


class StoreUnavailable(Exception):
    """The database cannot be reached or cannot take the write now.

    Nothing of the transaction was kept; or all of it, if the link broke while it was committed.
    """


class Tx:
    """One write transaction: a connection, the time it happens at, and what it will announce."""

    def __init__(self, connection: AsyncConnection, now: datetime, database: "Database") -> None:
        self.connection = connection
        self.now = now
        self._database = database
        self._signals = Signals()

    def announce(self, signal: Signal) -> None:
        """Tell the subscribers after the commit; equal signals are told once."""
        self._signals.add(signal)

    def next_queue_order(self) -> int:
        """A place at the end of every line: later calls get larger numbers, also within a millisecond."""
        return self._database.next_queue_order(self.now)

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self._signals.all()


class Database:
    """Engines, transactions and announcements. Create it with :func:`open_database`."""

    def __init__(self, url: URL, writer: AsyncEngine, reader: AsyncEngine, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.writer = writer
        self.reader = reader
        self._subscribers: list[Subscriber] = []
        self._last_queue_order = 0

    @property
    def is_sqlite(self) -> bool:
        return self.writer.dialect.name == "sqlite"

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` for every signal of a committed transaction; it must not block."""
        self._subscribers.append(subscriber)

    def announce(self, signals: tuple[Signal, ...]) -> None:
        for subscriber in self._subscribers:
            for signal in signals:
                subscriber(signal)

    def next_queue_order(self, now: datetime) -> int:
        self._last_queue_order = max(self._last_queue_order + 1, to_ms(now) * 1000)
        return self._last_queue_order

    async def write(self, script: Callable[[Tx], Awaitable[T]]) -> T:
        """Run a transaction script and commit it; then announce its signals.

        The script runs again when it lost a race, so it must have no effect outside the transaction.
        Raises StoreUnavailable when the database is gone, and whatever the script raises (then nothing
        is kept).
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with translated_errors():
                    async with self.writer.begin() as connection:
                        tx = Tx(connection, self.clock.now(), self)
                        outcome = await script(tx)
            except Concurrent:
                logger.info("transaction lost a race", extra={"attempt": attempt})
                continue
            self.announce(tx.signals)
            return outcome
        raise StoreUnavailable(
            f"the transaction lost {ATTEMPTS} races in a row; the rows it needs are under heavy contention"
        )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading only; each statement sees what was committed before it began."""
        with translated_errors():
            async with self.reader.connect() as connection:
                yield connection

    async def close(self) -> None:
        await self.writer.dispose()
        if self.reader is not self.writer:
            await self.reader.dispose()


class translated_errors:
    """Turn what drivers raise into Concurrent or StoreUnavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PoolTimeout):
            raise StoreUnavailable("no database connection became free in time") from error
        if isinstance(error, DBAPIError):
            sqlstate = getattr(error.orig, "sqlstate", None)
            if sqlstate in _RACE_SQLSTATES:
                raise Concurrent(str(error.orig)) from error
            unusable = isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError
            if unusable or error.connection_invalidated:
                raise StoreUnavailable(f"the database does not answer: {error.orig}") from error
            if sqlstate is not None and sqlstate[:2] in _REFUSALS:
                raise StoreUnavailable(f"the database refuses: {error.orig}") from error
        elif isinstance(error, OSError):
            reason = str(error) or "no answer in time"
            raise StoreUnavailable(f"the database cannot be reached: {reason}") from error


def normal_url(text: str) -> URL:
    """The URL with the asynchronous driver we use. Raises ValueError for another kind of database."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError("database URL must have the form sqlite:///FILE or postgresql://…") from None
    match url.get_backend_name():
        case "sqlite":
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+asyncpg")
        case other:
            raise ValueError(f"database URL must start with sqlite:/// or postgresql://, not {other}://")


def open_database(text: str, clock: Clock, *, pool_size: int = 10, synchronous: str = "NORMAL") -> Database:
    """Engines for the database at this URL; nothing is connected yet. Raises ValueError for a wrong URL."""
    url = normal_url(text)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, clock, synchronous)
    engine = create_async_engine(
        url,
        skip_autocommit_rollback=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=False,
        connect_args={
            "timeout": 10,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {"application_name": "taskbus", **PLANNER},
        },
    )
    return Database(url, engine, engine.execution_options(isolation_level="AUTOCOMMIT"), clock)


def _open_sqlite(url: URL, clock: Clock, synchronous: str) -> Database:
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=60)
    reader = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=4,
        max_overflow=0,
        pool_timeout=60,
    )

    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "busy_timeout=10000",
            "cache_size=-16384",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    for engine in (writer, reader):
        event.listen(engine.sync_engine, "connect", prepare)
    event.listen(writer.sync_engine, "begin", begin_immediate)
    return Database(url, writer, reader, clock)
