"""An empty database for every test, on SQLite and PostgreSQL: migrated once for the session.

Our code commits for real, so a transaction that is rolled back in the end would test another program. A
SQLite file is copied; a PostgreSQL database is emptied, which is ten times as fast as making one from a
template. Imported by the ``conftest.py`` of every suite that needs a database.
"""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from queue_service import catalogue  # noqa: F401 its features bring tables
from queue_service.store.database import Database, open_database
from queue_service.store.migrations import runner
from queue_service.store.tables import metadata
from tests.store.manual_clock import ManualClock

BOTH: Final = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]

DISCONNECT: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_numbers = itertools.count()


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database of the newest schema; to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    asyncio.run(migrate(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_url: str) -> Iterator[str]:
    """A PostgreSQL database of the newest schema; to be emptied before use."""
    name = new_name()
    url = of_server(postgres_url, name)
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {name}"))
    asyncio.run(migrate(url))
    yield url
    asyncio.run(administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; the test runs once per kind of database."""
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture
def sqlite_database_url(migrated_sqlite_file: Path, tmp_path: Path) -> str:
    """For what only SQLite does."""
    return f"sqlite:///{shutil.copy(migrated_sqlite_file, tmp_path / 'taskbus.db')}"


@pytest.fixture
def postgres_database_url(migrated_postgres_url: str) -> str:
    """For what only PostgreSQL does."""
    empty = "; ".join(f"DELETE FROM {name}" for name in metadata.tables)
    asyncio.run(administer(migrated_postgres_url, DISCONNECT, empty))
    return migrated_postgres_url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """An empty database, on a clock that the test moves; the test runs once per kind of database."""
    async with opened(database_url, clock) as database:
        yield database


@pytest.fixture
async def sqlite_database(sqlite_database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    async with opened(sqlite_database_url, clock) as database:
        yield database


@pytest.fixture
async def postgres_database(postgres_database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    async with opened(postgres_database_url, clock) as database:
        yield database


@asynccontextmanager
async def opened(url: str, clock: ManualClock, **options: int) -> AsyncIterator[Database]:
    """The database at this URL as one server process has it."""
    database = open_database(url, clock, **options)  # type: ignore[arg-type]
    try:
        yield database
    finally:
        await database.close()


async def migrate(url: str) -> None:
    async with opened(url, ManualClock()) as database:
        await runner.migrate(database)


async def administer(url: str, *statements: str) -> None:
    """Run statements on a PostgreSQL database, past our own code."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def new_name() -> str:
    """For a PostgreSQL database that no other test uses."""
    return f"taskbus_test_{os.getpid()}_{next(_numbers)}"


def of_server(url: str, name: str) -> str:
    """The URL of the database of this name on the same server."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)
