"""The statements of triggers use their indexes, on both databases and in both ways of planning."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from queue_service.features.triggers import fires, store
from queue_service.store.database import Database
from tests.store.databases import administer, migrate, new_name, of_server, opened
from tests.store.manual_clock import ManualClock
from tests.store.plans import PlanKind, postgres_plan, sqlite_plan
from tests.store.test_plans import Hot

NOW: Final = datetime(2024, 5, 1, 12, 0, 20, tzinfo=UTC)
ROWS: Final = 20_000
_TABLES: Final = {
    "triggers": "SELECT 'group' || CAST(n % 20 AS TEXT), 'trigger' || CAST(n AS TEXT), '{}', 'active',"
    " 1714564800000, 0, 1714564800000 + n, CAST(NULL AS BIGINT),"
    " CASE WHEN n % 3 = 0 THEN 1714564800000 + n END, CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END, '{}', 0, 0, 0"
    " FROM numbers",
    "trigger_fires": "SELECT 'group7', 'trigger' || CAST(n % 20 AS TEXT), n,"
    " 'tick' || CAST(n AS TEXT), 'cron', 'task' || CAST(n AS TEXT), 1714564800000 + n, CAST(NULL AS BIGINT),"
    " CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), 'created', CAST(NULL AS TEXT), CAST(NULL AS TEXT)"
    " FROM numbers",
}
_KEY: Final = '[{"group_id": "group7", "trigger_id": "trigger107"}]'
_OF: Final = {"of_group": "group7", "of_trigger": "trigger7"}
_PRIMARY: Final = ({"sqlite_autoindex_triggers_1"}, {"triggers_pkey"})
_FIRES: Final = ({"sqlite_autoindex_trigger_fires_1"}, {"trigger_fires_pkey"})

HOT: Final[dict[str, Hot]] = {
    "PICK_DUE": Hot(store.PICK_DUE, {"now": NOW, "wanted": 100}, {"triggers_due"}, {"triggers_due"}),
    "NEXT_DUE": Hot(store.NEXT_DUE, {}, {"triggers_due"}, {"triggers_due"}),
    "LISTEN": Hot(store.LISTEN, {"listens": 1}, {"triggers_listening"}, {"triggers_listening"}, sorts=True),
    "LOCK": Hot(store.LOCK, {"keys": _KEY}, *_PRIMARY, sorts=True),
    "SELECT": Hot(store.SELECT, _OF, *_PRIMARY),
    "DELETE": Hot(store.DELETE, _OF, *_PRIMARY),
    "PAGE": Hot(
        store.PAGE, {"after_group": "group7", "after_trigger": "trigger107", "wanted": 100}, *_PRIMARY
    ),
    "SAVE": Hot(
        store.SAVE,
        {
            "changed": '[{"group_id": "group7", "trigger_id": "trigger107", "version": 1, "created": 1,'
            ' "definition": "{}", "state": "active", "offset_ms": 0, "next_tick": 1, "waiting": null,'
            ' "due_at": 1, "listens": 0, "progress": "{}", "fires": 1, "counted": 0}]'
        },
        *_PRIMARY,
    ),
    "KNOWN": Hot(
        fires.KNOWN,
        {"occasions": '[{"group_id": "group7", "trigger_id": "trigger107", "occasion": "tick107"}]'},
        {"trigger_fires_occasion"},
        {"trigger_fires_occasion"},
    ),
    "OF_TASKS": Hot(
        fires.OF_TASKS,
        {"ended": '[{"task_id": "task107"}]'},
        {"ix_trigger_fires_task_id"},
        {"ix_trigger_fires_task_id"},
    ),
    "LAST": Hot(fires.LAST, {**_OF, "wanted": 50}, *_FIRES),
    "FORGET": Hot(fires.FORGET, _OF, *_FIRES),
    "PRUNE": Hot(
        fires.PRUNE,
        {"old": '[{"group_id": "group7", "trigger_id": "trigger107", "number": 5, "created": 9}]'},
        *_FIRES,
        sorts=True,
    ),
}


def filling(dialect: str) -> list[str]:
    """Statements that fill a migrated database with many rows, and gather their statistics."""
    if dialect == "sqlite":
        numbers = (
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})"
        )
        filled = [f"INSERT INTO {table} {numbers} {rows}" for table, rows in _TABLES.items()]
        return [*filled, "ANALYZE"]
    series = f"FROM generate_series(1, {ROWS}) AS n"
    filled = [
        f"INSERT INTO {table} {rows.replace('FROM numbers', series)}" for table, rows in _TABLES.items()
    ]
    return [*filled, "VACUUM ANALYZE"]


@pytest.fixture(scope="module")
def filled_sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'filled.db'}"
    asyncio.run(_fill_sqlite(url))
    return url


async def _fill_sqlite(url: str) -> None:
    await migrate(url)
    async with opened(url, ManualClock()) as database, database.engine.begin() as connection:
        for statement in filling("sqlite"):
            await connection.exec_driver_sql(statement)


@pytest.fixture(scope="module")
def filled_postgres_url(postgres_url: str) -> Iterator[str]:
    name = new_name()
    url = of_server(postgres_url, name)
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {name}"))
    asyncio.run(migrate(url))
    asyncio.run(administer(url, *filling("postgresql")))
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


@pytest.mark.parametrize("name", HOT)
async def test_sqlite_uses_the_index(filled_sqlite: Database, name: str) -> None:
    hot = HOT[name]
    async with filled_sqlite.engine.connect() as connection:
        plan = await sqlite_plan(connection, hot.statement, hot.values)
    assert plan.indexes == hot.sqlite, plan.text
    assert not plan.scanned, plan.text
    assert hot.sorts or not plan.sorts, plan.text


@pytest.mark.parametrize("kind", ["custom", "generic"])
@pytest.mark.parametrize("name", HOT)
async def test_postgres_uses_the_index(filled_postgres: Database, name: str, kind: PlanKind) -> None:
    hot = HOT[name]
    async with filled_postgres.engine.connect() as connection:
        plan = await postgres_plan(connection, hot.statement, hot.values, kind)
    assert plan.indexes == hot.postgres, plan.text
    assert not plan.scanned, plan.text
    assert hot.sorts or not plan.sorts, plan.text
