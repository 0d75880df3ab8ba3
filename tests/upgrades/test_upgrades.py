"""From the first released schema to the newest, with data in place, while an old process still runs.

So a revision expands: tables, columns that may be left out, indexes. What the old release needs goes in a
later one. Whatever revisions there are, these tests judge the newest.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, inspect
from sqlalchemy.engine import make_url

from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store.database import Database
from queue_service.store.migrations import runner
from schemas.times import parse_time
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import RunningQueue
from tests.loops.scripted_publisher import ScriptedPublisher
from tests.store.databases import BOTH, administer, new_name, of_server, opened
from tests.store.manual_clock import ManualClock as StillClock
from tests.upgrades.release import content, install, recorded

Shape = dict[str, dict[str, Any]]


@pytest.fixture(params=BOTH)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'taskbus.db'}"
        return
    server: str = request.getfixturevalue("postgres_url")
    name = new_name()
    await administer(server, f"CREATE DATABASE {name}")
    yield of_server(server, name)
    await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def released(url: str) -> AsyncIterator[Database]:
    """A database of the release, with data in place."""
    async with opened(url, StillClock()) as database:
        await install(database)
        yield database


@pytest.fixture
def clock() -> ManualClock:
    """At the time at which the recording was made."""
    clock = ManualClock()
    assert clock.now() == parse_time(recorded()["now"])
    return clock


# ---- the schema ---------------------------------------------------------------------------------------


def shape(connection: Connection) -> Shape:
    """Each table: its columns, and what refuses rows."""
    inspector = inspect(connection)
    return {
        name: {
            "columns": {column["name"]: column for column in inspector.get_columns(name)},
            "key": inspector.get_pk_constraint(name)["constrained_columns"],
            "unique": [
                set(index["column_names"]) for index in inspector.get_indexes(name) if index["unique"]
            ],
            "rules": len(inspector.get_check_constraints(name)) + len(inspector.get_foreign_keys(name)),
        }
        for name in inspector.get_table_names()
    }


async def test_a_revision_only_adds_what_an_old_process_may_leave_out(released: Database) -> None:
    async with released.engine.connect() as connection:
        before = await connection.run_sync(shape)
    await runner.migrate(released)
    async with released.engine.connect() as connection:
        after = await connection.run_sync(shape)
    for name, table in before.items():
        assert name in after, f"{name} is gone"
        assert after[name]["key"] == table["key"], name
        assert after[name]["rules"] == table["rules"], f"{name} refuses what it took"
        known = table["columns"].keys()
        assert [key for key in after[name]["unique"] if key <= known] == table["unique"], name
        columns = after[name]["columns"]
        for column, facts in table["columns"].items():
            assert column in columns, f"{name}.{column} is gone"
            assert str(columns[column]["type"]) == str(facts["type"]), f"{name}.{column}"
            assert columns[column]["nullable"] >= facts["nullable"], f"{name}.{column} must be given now"
        for column in columns.keys() - known:
            optional = columns[column]["nullable"] or columns[column]["default"] is not None
            assert optional, f"{name}.{column} must be given, and an old process does not know it"


# ---- the data -----------------------------------------------------------------------------------------


async def test_what_was_stored_is_the_same_afterwards(released: Database) -> None:
    before = await content(released)
    await runner.migrate(released)
    assert await content(released) == before


async def test_the_new_program_goes_on_with_what_the_old_one_left(
    released: Database, url: str, clock: ManualClock
) -> None:
    await runner.migrate(released)
    tasks: dict[str, str] = recorded()["tasks"]
    queue = RunningQueue(url, clock)
    try:
        states = {name: (await queue.status(task_id))["state"] for name, task_id in tasks.items()}
        assert states == {
            "pending": "pending", "waits": "unscheduled", "completed": "completed", "held": "running",
            "failed": "failed", "retried": "exception", "cancelled": "exception", "after": "pending",
        }  # fmt: skip
        await queue.post(f"/task/{tasks['held']}/runs/0/completed")
        (claim,) = await queue.claim("build")
        assert claim["status"]["taskId"] == tasks["pending"]
        await queue.post(f"/task/{tasks['pending']}/runs/0/completed")
        await queue.settle()
        given = {claim["status"]["taskId"] for claim in await queue.claim("test", tasks=9)}
        assert given == {tasks["waits"], tasks["after"]}
    finally:
        await queue.close()


async def test_what_waited_in_the_outbox_is_told_in_order(released: Database) -> None:
    await runner.migrate(released)
    publisher = ScriptedPublisher()
    relay = OutboxRelay(released, publisher, "new", idle=timedelta(hours=1))  # type: ignore[arg-type]
    if not released.is_sqlite:
        assert await relay._hold_lease()
    while await relay.run_once():
        pass
    await relay.stop()
    table = recorded()["tables"]["outbox"]
    place = table["columns"].index("order_keys")
    by_key: dict[str, list[str]] = {}
    for row in sorted(table["rows"]):
        by_key.setdefault(row[place], []).append(str(row[0]))
    sent = [message.message_id for message in publisher.sent]
    assert len(sent) == len(table["rows"])
    for ids in by_key.values():
        assert [each for each in sent if each in ids] == ids


# ---- an old process beside the new one ----------------------------------------------------------------

Execute = Callable[[str, list[Any]], Awaitable[list[list[Any]]]]


@asynccontextmanager
async def _sqlite(url: str) -> AsyncIterator[Execute]:
    with closing(sqlite3.connect(make_url(url).database or "", isolation_level=None)) as connection:

        async def execute(sql: str, values: list[Any]) -> list[list[Any]]:
            return [[*row] for row in connection.execute(sql, values).fetchall()]

        yield execute


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Execute]:
    connection = await asyncpg.connect(url)

    async def execute(sql: str, values: list[Any]) -> list[list[Any]]:
        return [[*row.values()] for row in await connection.fetch(sql, *values)]

    try:
        yield execute
    finally:
        await connection.close()


async def test_an_old_process_goes_on_working_with_the_new_schema(released: Database, url: str) -> None:
    """Each statement it said then gives the rows it gave then."""
    kind = "sqlite" if released.is_sqlite else "postgresql"
    await runner.migrate(released)
    said = recorded()["statements"][kind]
    run = _sqlite(url) if released.is_sqlite else _postgres(url)
    async with run as execute:
        for text, values, rows in said["executed"]:
            found = await execute(said["texts"][text], values)
            assert sorted(found, key=repr) == sorted(rows, key=repr), said["texts"][text]
