"""PostgreSQL: a pool of asyncpg connections that execute our compiled statements."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

import asyncpg
from sqlalchemy import Dialect, Executable

from queue_service.counting import SECONDS, Distribution
from queue_service.store.statements import NO_VALUES, Result, Statements, Values

ACQUIRE_SECONDS: Final = 30.0


class PostgresConnection:
    """A connection of the pool for the time of a transaction, or of some reading."""

    def __init__(self, connection: Any, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements

    async def execute(self, statement: Executable, values: Values = NO_VALUES) -> Result:
        compiled = self._statements.get(statement, values)
        rows = await self._connection.fetch(compiled.sql, *compiled.arguments(values))
        return compiled.result(lambda: list(rows[0].keys()), rows)


class Postgres:
    """A database server; connections are made when they are needed."""

    def __init__(self, options: Mapping[str, Any], dialect: Dialect, pool_size: int) -> None:
        self._options = options
        self._statements = Statements(dialect)
        self._pool_size = pool_size
        self._pool: Any = None
        self.waits = Distribution(SECONDS)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresConnection]:
        """A connection in a transaction (READ COMMITTED). Raises asyncpg.PostgresError and OSError."""
        async with self._connection() as connection, connection.transaction():
            yield PostgresConnection(connection, self._statements)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PostgresConnection]:
        """A connection outside a transaction."""
        async with self._connection() as connection:
            yield PostgresConnection(connection, self._statements)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            if self._pool is None:
                self._pool = asyncpg.create_pool(
                    min_size=0, max_size=self._pool_size, reset=_keep_as_it_is, **self._options
                )
                await self._pool
            asked = perf_counter()
            async with asyncio.timeout(ACQUIRE_SECONDS):
                connection = await self._pool.acquire()
            self.waits.add(perf_counter() - asked)
            try:
                yield connection
            except asyncpg.InternalClientError as error:
                # The server has said goodbye, and the end of the link is still to be seen.
                connection.terminate()
                raise ConnectionError(str(error)) from error
            finally:
                await self._pool.release(connection)
        except asyncpg.InterfaceError as error:
            if isinstance(error, ValueError):  # a value that does not fit its parameter
                raise
            raise ConnectionError(str(error)) from error


async def _keep_as_it_is(connection: Any) -> None:
    """Our transactions leave no settings, cursors or locks behind; resetting them is a round trip."""
