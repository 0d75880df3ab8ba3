"""The hot statements use their indexes, on both databases, and in both ways PostgreSQL plans them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import Executable

from queue_service.store import claims, dependencies, expiry, groups, listing, outbox, tasks
from queue_service.store.database import Database
from tests.core.samples import NOW
from tests.store.databases import administer, migrate, new_name, of_server, opened
from tests.store.filled import filling
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


IDS = '[{"task_id": "task100007"}]'
CHANGED = (
    '[{"task_id": "task100007", "version": 1, "queue_order": null, "state": "running", "priority": 1,'
    ' "taken_until": 1, "retries_left": 5, "ever_resolved": 0, "claimed_by_id": 0, "runs": "[]",'
    ' "worker": null}]'
)
EDGES = '[{"required_task_id": "task100007", "dependent_task_id": "task100014"}]'
DUE: Final = {"now": NOW, "wanted": 100}
EXPIRED: Final = {"before": NOW, "wanted": 100}

HOT: Final[dict[str, Hot]] = {
    "PICK_PENDING": Hot(
        claims.PICK_PENDING,
        {"task_queue_id": "prov/type3", "now": NOW, "wanted": 32},
        {"tasks_pending"},
        {"tasks_pending"},
    ),
    "PICK_EXPIRED": Hot(claims.PICK_EXPIRED, DUE, {"tasks_running"}, {"tasks_running"}),
    "PICK_PAST_DEADLINE": Hot(claims.PICK_PAST_DEADLINE, DUE, {"tasks_unresolved"}, {"tasks_unresolved"}),
    "NEXT_EXPIRING": Hot(claims.NEXT_EXPIRING, {"now": NOW}, {"tasks_running"}, {"tasks_running"}),
    "NEXT_DEADLINE": Hot(claims.NEXT_DEADLINE, {}, {"tasks_unresolved"}, {"tasks_unresolved"}),
    "LOCK_TASKS": Hot(
        tasks.LOCK_TASKS, {"ids": IDS}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}, sorts=True
    ),
    "SHARE_TASKS": Hot(
        tasks.SHARE_TASKS, {"ids": IDS}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}, sorts=True
    ),
    "SELECT_DEFINITIONS": Hot(
        tasks.SELECT_DEFINITIONS,
        {"ids": IDS},
        {"sqlite_autoindex_task_definitions_1"},
        {"task_definitions_pkey"},
    ),
    "SAVE_TASKS": Hot(tasks.SAVE_TASKS, {"changed": CHANGED}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}),
    "NEXT_BATCH": Hot(outbox.NEXT_BATCH, {"wanted": 500}, set(), {"outbox_pkey"}, in_order_of="outbox"),
    "DELETE from the outbox": Hot(
        outbox.DELETE, {"confirmed": '[{"id": 7}]'}, {"outbox key"}, {"outbox_pkey"}
    ),
    "NEXT_RESOLUTIONS": Hot(
        dependencies.NEXT_RESOLUTIONS, {"wanted": 100}, set(), {"resolutions_pkey"}, in_order_of="resolutions"
    ),
    "WAITING": Hot(
        dependencies.WAITING,
        {"ended": '[{"required_task_id": "task100007", "requires": "all-completed"}]', "wanted": 1000},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
    ),
    "SATISFY": Hot(
        dependencies.SATISFY,
        {"pairs": EDGES},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
    ),
    "FREE": Hot(
        dependencies.FREE,
        {"dependents": '[{"dependent_task_id": "task100014"}]'},
        {"task_dependencies_unsatisfied"},
        {"task_dependencies_unsatisfied"},
    ),
    "RESOLVED_GROUPS": Hot(
        groups.RESOLVED_GROUPS,
        {"ids": '[{"task_group_id": "group100007"}]'},
        {"sqlite_autoindex_task_groups_1", "tasks_group_open"},
        {"task_groups_pkey", "tasks_group_open"},
        sorts=True,
    ),
    "GROUP_MEMBERS": Hot(
        listing.GROUP_MEMBERS,
        {"task_group_id": "group100007", "after": "task100050", "wanted": 1000},
        {"tasks_group"},
        {"tasks_group"},
    ),
    "DEPENDENTS": Hot(
        listing.DEPENDENTS,
        {"required_task_id": "task100007", "now": NOW, "after": "", "wanted": 1000},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
    ),
    "EXPIRED_TASKS": Hot(expiry.EXPIRED_TASKS, EXPIRED, {"tasks_expires"}, {"tasks_expires"}),
    "NEXT_EXPIRY": Hot(expiry.NEXT_EXPIRY, {}, {"tasks_expires"}, {"tasks_expires"}),
}


@pytest.fixture(scope="module")
def filled_sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'filled.db'}"
    asyncio.run(fill_sqlite(url))
    return url


async def fill_sqlite(url: str) -> None:
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
    assert plan.scanned <= {hot.in_order_of}, plan.text
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
