"""SQLite: statements run in the event loop's own thread, because waking another one costs more than they do.

One connection writes, one reads. A statement on an indexed table in WAL mode takes 20 to 50 µs and never
waits; a thread for it costs 100 to 400. What can take long has a thread: the checkpoint, which moves the log
into the file and syncs both, and the commit where each one is synced. A file that another program has locked
is tried again and again without holding up the loop. See ``docs/decisions/0007-thin-drivers.md``.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final, Self

from sqlalchemy import Dialect, Executable

from queue_service.counting import SECONDS, Distribution
from queue_service.store.statements import NO_VALUES, Result, Statements, Values

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 10.0
"""How long a statement waits for another program that holds the file's lock."""
BUSY_PAUSE: Final = 0.01
WRITER_SECONDS: Final = 60.0
"""How long a transaction waits for its turn."""
CHECKPOINT_CHANGES: Final = 2000
"""Rows changed between two checkpoints; some megabytes of log."""


class SqliteConnection:
    """A connection whose statements run at once."""

    def __init__(self, raw: sqlite3.Connection, statements: Statements) -> None:
        self.raw = raw
        self._statements = statements

    @classmethod
    async def open(cls, file: str, statements: Statements, synchronous: str) -> Self:
        """Raises sqlite3.Error."""
        connection = cls(
            sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False), statements
        )
        try:
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={synchronous}",
                "wal_autocheckpoint=0",
                "cache_size=-16384",
                "temp_store=MEMORY",
            ):
                await connection.run(f"PRAGMA {pragma}")
        except BaseException:
            connection.raw.close()
            raise
        return connection

    async def execute(self, statement: Executable, values: Values = NO_VALUES) -> Result:
        compiled = self._statements.get(statement, values)
        cursor = await self.run(compiled.sql, compiled.arguments(values))
        return compiled.result(lambda: [column[0] for column in cursor.description], cursor.fetchall())

    async def run(self, sql: str, arguments: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute; while another program holds the lock, try again later. Raises sqlite3.Error."""
        try:
            return self.raw.execute(sql, arguments)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        return await self._run_when_free(sql, arguments)

    async def _run_when_free(self, sql: str, arguments: Sequence[Any]) -> sqlite3.Cursor:
        loop = asyncio.get_running_loop()
        end = loop.time() + BUSY_SECONDS
        while True:
            await asyncio.sleep(BUSY_PAUSE)
            try:
                return self.raw.execute(sql, arguments)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or loop.time() > end:
                    raise


class Sqlite:
    """A file: one writer at a time, readers beside it."""

    def __init__(self, file: str, dialect: Dialect, synchronous: str) -> None:
        self._file = file
        self._statements = Statements(dialect)
        self._synchronous = synchronous
        self._commits_sync = synchronous.upper() in ("FULL", "EXTRA")
        self.waits = Distribution(SECONDS)
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._writer: SqliteConnection | None = None
        self._reader: SqliteConnection | None = None
        self._checkpoint_at = CHECKPOINT_CHANGES
        self._checkpoint: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteConnection]:
        """The writer, in a transaction that is committed at the end. Raises sqlite3.Error, TimeoutError."""
        asked = perf_counter()
        async with asyncio.timeout(WRITER_SECONDS):
            await self._turn.acquire()
        self.waits.add(perf_counter() - asked)
        try:
            if self._writer is None:
                self._writer = await self._open()
            connection = self._writer
            await connection.run("BEGIN IMMEDIATE")
            try:
                yield connection
                await self._commit(connection)
            finally:
                if connection.raw.in_transaction:
                    connection.raw.execute("ROLLBACK")
        finally:
            self._turn.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteConnection]:
        """The reader; each statement is read to its end at once, so all readers share it."""
        async with self._opening:
            reader = self._reader = self._reader or await self._open()
        yield reader

    async def close(self) -> None:
        async with self._turn:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.raw.close()
            self._reader = self._writer = None

    async def _open(self) -> SqliteConnection:
        return await SqliteConnection.open(self._file, self._statements, self._synchronous)

    async def _commit(self, connection: SqliteConnection) -> None:
        if self._commits_sync:
            await _in_thread(connection, "COMMIT")
        else:
            connection.raw.execute("COMMIT")
        changes = connection.raw.total_changes
        if changes >= self._checkpoint_at:
            self._checkpoint_at = changes + CHECKPOINT_CHANGES
            self._checkpoint = asyncio.create_task(self._run_checkpoint(), name="checkpoint")

    async def _run_checkpoint(self) -> None:
        """Between two transactions, so that the log is empty afterwards and starts again at its beginning."""
        async with self._turn:
            if self._writer is not None:
                try:
                    await _in_thread(self._writer, "PRAGMA wal_checkpoint(PASSIVE)")
                except sqlite3.OperationalError as error:
                    # What was committed stands in the log, and the next checkpoint moves it.
                    logger.warning("the database's log is not moved into its file now: %s", error)


async def _in_thread(connection: SqliteConnection, sql: str) -> None:
    """Execute in a thread, and wait for its end whatever happens to the caller.

    All rows are read there: a statement with rows left is in progress, and with it nothing can be committed,
    until the thread lets go of its cursor.
    """
    running = asyncio.ensure_future(asyncio.to_thread(lambda: connection.raw.execute(sql).fetchall()))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
