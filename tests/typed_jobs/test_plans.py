"""The statements of jobs, types and events use their indexes, on both databases, however they are planned."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from queue_service.features.jobs import event_store, store, type_store
from queue_service.store.database import Database
from tests.store.databases import administer, migrate, new_name, of_server, opened
from tests.store.manual_clock import ManualClock
from tests.store.plans import PlanKind, postgres_plan, sqlite_plan
from tests.store.test_plans import Hot

NOW: Final = datetime(2024, 5, 1, 12, 0, 20, tzinfo=UTC)
_NULL: Final = "CAST(NULL AS TEXT)"
_ROWS: Final = {
    "job_types": (20_000, "SELECT 'T' || CAST(n / 2 AS TEXT), n % 2, '{}', n FROM numbers"),
    "job_type_names": (10_000, "SELECT 'T' || CAST(n AS TEXT), 'T' || CAST(n AS TEXT), 1 FROM numbers"),
    "jobs": (
        40_000,
        "SELECT 'task' || CAST(n AS TEXT), 'T' || CAST(n % 500 AS TEXT), 1, 'prod', 'x', " + _NULL + ", 0, 0,"
        f" '[]', {_NULL}, {_NULL}, {_NULL}, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), n, n FROM numbers",
    ),
    "job_events": (
        40_000,
        "SELECT n, 'task' || CAST(n / 20 AS TEXT), n % 20, CASE WHEN n % 10 = 0 THEN 'state' ELSE 'step' END,"
        " '{}', 'T1', 'RUNNING', n FROM numbers",
    ),
}
_TASKS: Final = '[{"task_id": "task107"}]'
_PLACE: Final = {"created": 20_000, "after": "task107", "wanted": 100}
_OF_JOBS: Final = "sqlite_autoindex_jobs_1"

HOT: Final[dict[str, Hot]] = {
    "SELECT": Hot(store.SELECT, {"ids": _TASKS}, {_OF_JOBS}, {"jobs_pkey"}),
    "SAVE": Hot(
        store.SAVE,
        {
            "saved": '[{"task_id": "task107", "steps": "[]", "progress": null, "cursor": null, "noted": null,'
            ' "cancel_reason": null, "told": null, "expires": 1}]'
        },
        {_OF_JOBS},
        {"jobs_pkey"},
    ),
    "NEWEST": Hot(store.NEWEST, _PLACE, {"jobs_created"}, {"jobs_created"}),
    "NEWEST_OF_TYPE": Hot(store.NEWEST_OF_TYPE, {**_PLACE, "type": "T7"}, {"jobs_of_type"}, {"jobs_of_type"}),
    "EXPIRED": Hot(
        store.EXPIRED,
        {"before": NOW, "wanted": 100},
        {"ix_jobs_expires", "sqlite_autoindex_tasks_1"},
        {"ix_jobs_expires", "tasks_pkey"},
    ),
    "DELETE": Hot(store.DELETE, {"ids": _TASKS}, {_OF_JOBS}, {"jobs_pkey"}, sorts=True),
    "APPEND": Hot(
        event_store.APPEND,
        {
            "given": '[{"place": 0, "task_id": "task107", "nth": 1, "event": "log", "data": "{}",'
            ' "type": "T7", "state": "RUNNING", "created": 1}]'
        },
        {"job_events_of_job"},
        {"job_events_of_job"},
        sorts=True,
    ),
    "FORGET": Hot(
        event_store.FORGET,
        {"bounds": '[{"task_id": "task107", "first": 7}]'},
        {"job_events_of_job", "job_events key"},
        {"job_events_of_job", "job_events_pkey"},
        sorts=True,
    ),
    "FORGET_JOBS": Hot(
        event_store.FORGET_JOBS, {"ids": _TASKS}, {"job_events_of_job"}, {"job_events_of_job"}, sorts=True
    ),
    "AFTER": Hot(
        event_store.AFTER,
        {"of_task": "task107", "after": 7, "wanted": 100},
        {"job_events_of_job"},
        {"job_events_of_job"},
        sorts=True,  # a thousand rows at most
    ),
    "LAST": Hot(event_store.LAST, {"of_task": "task107"}, {"job_events_of_job"}, {"job_events_of_job"}),
    "STATES_AFTER": Hot(
        event_store.STATES_AFTER,
        {"after": 700, "wanted": 100},
        {"job_events_state"},
        {"job_events_state"},
    ),
    "WHICH": Hot(
        type_store.WHICH,
        {"names": '[{"name": "T7"}]'},
        {"sqlite_autoindex_job_type_names_1"},
        {"job_type_names_pkey"},
    ),
    "SELECT type": Hot(
        type_store.SELECT,
        {"of_type": "T7", "version": 1},
        {"sqlite_autoindex_job_types_1"},
        {"job_types_pkey"},
    ),
    "LIVE_WORKERS": Hot(
        type_store.LIVE_WORKERS,
        {"queues": '[{"task_queue_id": "jobs/etl"}]', "since": NOW},
        {"sqlite_autoindex_workers_1"},
        {"workers_pkey"},
        sorts=True,
    ),
}


def filling(dialect: str) -> list[str]:
    """Statements that fill a migrated database with many rows, and gather their statistics."""
    statements = []
    for table, (count, rows) in _ROWS.items():
        if dialect == "sqlite":
            numbers = (
                "WITH RECURSIVE numbers(n) AS"
                f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
            )
            statements.append(f"INSERT INTO {table} {numbers} {rows}")
        else:
            series = f"FROM generate_series(1, {count}) AS n"
            statements.append(f"INSERT INTO {table} {rows.replace('FROM numbers', series)}")
    return [*statements, "ANALYZE" if dialect == "sqlite" else "VACUUM ANALYZE"]


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
