"""Whether hot statements use their indexes, with many rows, on both databases and in both ways of planning.

A test module lists its statements (:class:`Hot`) and has a function ``filling(dialect)``, whose statements
fill a migrated database and gather its statistics. Its tests ask for ``filled_sqlite`` and
``filled_postgres``, which are filled once for the module.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Executable

from queue_service.store.database import Database
from tests.store.databases import administer, migrate, new_name, of_server, opened
from tests.store.manual_clock import ManualClock
from tests.store.plans import PlanKind, postgres_plan, sqlite_plan


@dataclass(frozen=True)
class Hot:
    """A statement, values for it, and the indexes it is meant to use: on SQLite, on PostgreSQL.

    ``sorts``: its rows have to be sorted, because no index gives their order. ``in_order_of``: SQLite walks
    this table in the order of its key.
    """

    statement: Executable
    values: Mapping[str, Any]
    sqlite: set[str]
    postgres: set[str]
    sorts: bool = False
    in_order_of: str = ""


async def check_sqlite(database: Database, hot: Hot) -> None:
    """Fails with the plan that SQLite has instead."""
    async with database.engine.connect() as connection:
        plan = await sqlite_plan(connection, hot.statement, hot.values)
    assert plan.indexes == hot.sqlite, plan.text
    assert plan.scanned <= {hot.in_order_of}, plan.text
    assert hot.sorts or not plan.sorts, plan.text


async def check_postgres(database: Database, hot: Hot, kind: PlanKind) -> None:
    """Fails with the plan that PostgreSQL has instead."""
    async with database.engine.connect() as connection:
        plan = await postgres_plan(connection, hot.statement, hot.values, kind)
    assert plan.indexes == hot.postgres, plan.text
    assert not plan.scanned, plan.text
    assert hot.sorts or not plan.sorts, plan.text


def filling_of(dialect: str, rows: Mapping[str, tuple[int, str]]) -> list[str]:
    """Statements for tables by name: so many rows, selected ``FROM numbers``, which are n from 1 on."""
    gather = "ANALYZE" if dialect == "sqlite" else "VACUUM ANALYZE"
    return [*(_insert(dialect, table, *of_table) for table, of_table in rows.items()), gather]


def _insert(dialect: str, table: str, count: int, select: str) -> str:
    if dialect == "sqlite":
        numbers = (
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        )
        return f"INSERT INTO {table} {numbers} {select}"
    return f"INSERT INTO {table} {select.replace('FROM numbers', f'FROM generate_series(1, {count}) AS n')}"


@pytest.fixture(scope="module")
def filled_sqlite_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'filled.db'}"
    asyncio.run(_fill_sqlite(url, request.module.filling("sqlite")))
    return url


async def _fill_sqlite(url: str, statements: Iterable[str]) -> None:
    await migrate(url)
    async with opened(url, ManualClock()) as database, database.engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


@pytest.fixture(scope="module")
def filled_postgres_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    name = new_name()
    url = of_server(postgres_url, name)
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {name}"))
    asyncio.run(migrate(url))
    asyncio.run(administer(url, *request.module.filling("postgresql")))
    yield url
    asyncio.run(administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def filled_sqlite(filled_sqlite_url: str) -> AsyncIterator[Database]:
    async with opened(filled_sqlite_url, ManualClock()) as database:
        yield database


@pytest.fixture
async def filled_postgres(filled_postgres_url: str) -> AsyncIterator[Database]:
    async with opened(filled_postgres_url, ManualClock()) as database:
        yield database
