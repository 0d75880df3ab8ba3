"""The one way to the database: transactions on an injected clock, for SQLite and PostgreSQL.

Here is how a write is retried, and what "unavailable" means. Writers on SQLite begin IMMEDIATE and queue for
one connection (``sqlite.py``); on PostgreSQL they run under READ COMMITTED and take row locks
(``postgres.py``).
"""

import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from queue_service.clock import Clock
from queue_service.core.run_steps import Step
from queue_service.counting import Distribution
from queue_service.store.signals import Signal, Signals, Subscriber
from queue_service.store.sqlite import Sqlite
from queue_service.store.statements import Connection
from queue_service.store.witness import Witness
from schemas.times import to_ms

T = TypeVar("T")

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a transaction is tried that lost a race (a deadlock, a stale version)."""
DUE_PLACES = 500
"""Of the thousand places in line of a millisecond, those for what comes due in it."""
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60
"""A statement that takes longer is given up: the link to the database may be half open."""
PLANNER = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""Every statement here looks rows up by an index. A list parameter is estimated at 100 rows, whatever it
holds, so that a plan made while a table is small would read it whole, and be kept after it has grown."""
NO_WITNESSES: Mapping[str, Witness] = MappingProxyType({})
_RACE_SQLSTATES = frozenset({"40001", "40P01", "23505"})
"""Serialization failure, deadlock, unique violation: the next attempt finds what the other one has done."""
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

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        places: "Places",
        witnesses: Mapping[str, Witness] = NO_WITNESSES,
    ) -> None:
        self.connection = connection
        self.now = now
        self.witnesses = witnesses
        """What is told of changes of the tasks that it follows, by name."""
        self._places = places
        self._signals = Signals()
        self._came_due = 0
        self.steps: list[Step] = []
        """What happened to runs; it counts once it is committed."""

    def announce(self, signal: Signal) -> None:
        """Tell the subscribers after the commit; equal signals are told once."""
        self._signals.add(signal)

    def count(self, steps: Iterable[Step]) -> None:
        """Count these steps of runs when the transaction has committed."""
        self.steps.extend(steps)

    def next_queue_order(self) -> int:
        """A place at the end of every line: later calls get larger numbers, also within a millisecond."""
        return self._places.next_queue_order(self.now)

    def due_queue_order(self, due: datetime) -> int:
        """The place in line of what came due at that time: before all that was queued then or later.

        Of what came due in one millisecond, earlier calls get smaller numbers.
        """
        self._came_due += 1
        return to_ms(due) * 1000 + min(self._came_due, DUE_PLACES) - 1

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self._signals.all()


class Places(Protocol):
    """Gives out places at the end of every line."""

    def next_queue_order(self, now: datetime) -> int: ...


class Driver(Protocol):
    """A kind of database: how a transaction begins and ends, and what executes its statements."""

    waits: Distribution
    """Seconds for which transactions waited for their turn or their connection."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """A connection whose changes are committed at the end, or taken back when it raises."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for statements that change nothing."""
        ...

    async def close(self) -> None: ...


class Database:
    """Transactions and announcements. Create it with :func:`open_database`."""

    def __init__(self, engine: AsyncEngine, driver: Driver, clock: Clock) -> None:
        self.url = engine.url
        self.clock = clock
        self.engine = engine
        """For what changes or looks at the schema; everything else goes through :attr:`driver`."""
        self.driver = driver
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.witnesses: dict[str, Witness] = {}
        """The features that follow tasks, by the name that these have as their witness."""
        self._subscribers: list[Subscriber] = []
        self._last_queue_order = 0
        self.run_steps: Counter[Step] = Counter()
        """What happened to runs in the transactions that this process has committed."""
        self.retries = 0
        """Transactions that were tried again because they had lost a race."""
        self.unavailable = 0
        """Transactions and readings that failed because the database could not be used."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` for every signal of a committed transaction; it must not block."""
        self._subscribers.append(subscriber)

    def announce(self, signals: tuple[Signal, ...]) -> None:
        for subscriber in self._subscribers:
            for signal in signals:
                subscriber(signal)

    def next_queue_order(self, now: datetime) -> int:
        self._last_queue_order = max(self._last_queue_order + 1, to_ms(now) * 1000 + DUE_PLACES)
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
                    async with self.driver.transaction() as connection:
                        tx = Tx(connection, self.clock.now(), self, self.witnesses)
                        outcome = await script(tx)
            except Concurrent:
                self.retries += 1
                logger.info("transaction lost a race", extra={"attempt": attempt})
                continue
            except StoreUnavailable:
                self.unavailable += 1
                raise
            self.run_steps.update(tx.steps)
            self.announce(tx.signals)
            return outcome
        self.unavailable += 1
        raise StoreUnavailable(
            f"the transaction lost {ATTEMPTS} races in a row; the rows it needs are under heavy contention"
        )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for reading only; each statement sees what was committed before it began."""
        try:
            with translated_errors():
                async with self.driver.reading() as connection:
                    yield connection
        except StoreUnavailable:
            self.unavailable += 1
            raise

    async def close(self) -> None:
        await self.driver.close()
        await self.engine.dispose()


class translated_errors:
    """Turn what drivers raise into Concurrent or StoreUnavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        sqlstate = getattr(cause, "sqlstate", None)
        if sqlstate in _RACE_SQLSTATES:
            raise Concurrent(str(cause)) from error
        if sqlstate is not None and sqlstate[:2] in _REFUSALS:
            raise StoreUnavailable(f"the database refuses: {cause}") from error
        if isinstance(cause, sqlite3.OperationalError | sqlite3.InterfaceError) or (
            type(cause) is sqlite3.DatabaseError
        ):
            raise StoreUnavailable(f"the database does not answer: {cause}") from error
        if isinstance(cause, OSError):
            reason = str(cause) or "no answer in time"
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


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, poolclass=NullPool)

    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    def begin_immediate(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


def open_database(text: str, clock: Clock, *, pool_size: int = 10, synchronous: str = "NORMAL") -> Database:
    """The database at this URL; nothing is connected yet. Raises ValueError for a wrong URL."""
    url = normal_url(text)
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(url)
        return Database(engine, Sqlite(url.database or "", engine.dialect, synchronous), clock)
    from queue_service.store.postgres import Postgres

    settings = {"application_name": "taskbus", **PLANNER}
    options: dict[str, Any] = {
        "timeout": CONNECT_SECONDS,
        "command_timeout": STATEMENT_SECONDS,
        "server_settings": settings,
    }
    engine = create_async_engine(url, poolclass=NullPool, connect_args=options)
    _, address = engine.dialect.create_connect_args(url)
    return Database(engine, Postgres({**address, **options}, engine.dialect, pool_size), clock)
