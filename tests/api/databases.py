"""An empty database of the newest schema for each test: migrated once, then copied or emptied."""

import asyncio
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url

from queue_service.clock import SystemClock
from queue_service.store.database import open_database
from queue_service.store.migrations import runner
from queue_service.store.tables import metadata

_numbers: Final = itertools.count(1)


class SqliteDatabase:
    """A migrated SQLite file."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "template.sqlite"
        asyncio.run(_migrate(f"sqlite:///{self._file}"))

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The URL of a copy."""
        file = self._file.with_name(f"copy-{next(_numbers)}.sqlite")
        shutil.copyfile(self._file, file)
        try:
            yield f"sqlite:///{file}"
        finally:
            for leftover in file.parent.glob(f"{file.name}*"):
                leftover.unlink()


class PostgresDatabase:
    """One migrated database on a PostgreSQL server, which ``url`` may administer.

    It is emptied for each test instead of copied: a copy is a checkpoint, and takes a second on a busy disk.
    """

    def __init__(self, url: str) -> None:
        self._server = url
        # Not one for the session: each folder of tests that imports the fixture has one of its own.
        self._name = f"taskbus_api_{os.getpid()}_{next(_numbers)}"
        self._url = self._url_of(self._name)
        asyncio.run(_execute(url, f"CREATE DATABASE {self._name}"))
        asyncio.run(_migrate(self._url))

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The URL of the database, without rows and without other users."""
        asyncio.run(_execute(self._url, _LEAVE, *(f"DELETE FROM {table}" for table in metadata.tables)))
        yield self._url

    @contextmanager
    def unmigrated(self) -> Iterator[str]:
        """The URL of a new database without any schema."""
        name = f"{self._name}_new"
        asyncio.run(_execute(self._server, f"CREATE DATABASE {name}"))
        try:
            yield self._url_of(name)
        finally:
            asyncio.run(_execute(self._server, f"DROP DATABASE {name} WITH (FORCE)"))

    def drop(self) -> None:
        asyncio.run(_execute(self._server, f"DROP DATABASE {self._name} WITH (FORCE)"))

    def _url_of(self, name: str) -> str:
        return make_url(self._server).set(database=name).render_as_string(hide_password=False)


_LEAVE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(url: str) -> None:
    database = open_database(url, SystemClock())
    try:
        await runner.migrate(database)
    finally:
        await database.close()
