"""The log of events: positions, and what is logged when ids become visible out of order."""

from datetime import UTC, datetime, timedelta

import pytest

from queue_service.store import event_log, outbox
from queue_service.store.database import Database, Tx
from tests.loops.outbox_rows import RECORD, record
from tests.store.databases import (  # noqa: F401
    clock,
    database,
    database_url,
    migrated_postgres_url,
    migrated_sqlite_file,
    postgres_database,
    postgres_database_url,
    sqlite_database,
    sqlite_database_url,
)
from tests.store.given import read

LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def logged(database: Database) -> list[tuple[int, str]]:  # noqa: F811
    """Positions and routing keys."""
    page = await read(database, event_log.after, 0, 1000)
    return [(event.position, event.routing_key) for event in page.events]


async def ids(database: Database) -> list[int]:  # noqa: F811
    return [row.id for row in await read(database, outbox.next_batch, 1000)]


async def keep(database: Database) -> event_log.State:  # noqa: F811
    return await database.write(lambda tx: event_log.keep(tx, LATER))


async def test_positions_follow_each_other_whoever_logs(database: Database) -> None:  # noqa: F811
    begun = await keep(database)
    await record(database, "a1", "b1", "c1")
    first, *_ = await ids(database)
    await database.write(lambda tx: event_log.take(tx, [first]))
    await database.write(lambda tx: outbox.delete_confirmed(tx, [first]))
    assert await database.write(lambda tx: event_log.take_waiting(tx, 1)) == 1
    rest = await ids(database)
    await database.write(lambda tx: event_log.take(tx, rest))
    assert await logged(database) == [
        (begun.position + 1 + place, key) for place, key in enumerate(["a1", "b1", "c1"])
    ]
    assert (await read(database, event_log.state)).position == begun.position + 3


async def test_nothing_is_logged_twice(database: Database) -> None:  # noqa: F811
    await keep(database)
    await record(database, "a1", "b1")
    await database.write(lambda tx: event_log.take_waiting(tx, 10))
    waiting = await ids(database)
    await database.write(lambda tx: event_log.take(tx, waiting))
    assert await database.write(lambda tx: event_log.take_waiting(tx, 10)) == 0
    assert [key for _, key in await logged(database)] == ["a1", "b1"]


async def test_rows_in_the_log_go_to_the_broker_first(database: Database) -> None:  # noqa: F811
    """In the order of their ids; what one of them must not overtake is in the log as well."""
    await keep(database)
    await record(database, "a1", "b1", "c1")
    await database.write(lambda tx: event_log.take_waiting(tx, 2))
    batch = await read(database, outbox.next_batch, 10)
    assert [row.message.routing_key for row in batch] == ["a1", "b1", "c1"]
    assert [row.set_aside for row in batch] == [False] * 3


async def test_what_was_set_aside_before_anybody_streamed_is_not_told_later(
    database: Database,  # noqa: F811
) -> None:
    await record(database, "a1", "a2")
    rows = await read(database, outbox.next_batch, 1)
    await database.write(lambda tx: outbox.set_aside(tx, rows))
    await keep(database)
    await database.write(lambda tx: event_log.take_waiting(tx, 10))
    await database.write(lambda tx: event_log.take(tx, [rows[0].id]))
    assert [key for _, key in await logged(database)] == ["a2"]


@pytest.mark.parametrize("kept", [False, True])
async def test_retiring_without_readers_costs_one_look(database: Database, kept: bool) -> None:  # noqa: F811
    if kept:
        await keep(database)
        await database.write(
            lambda tx: event_log.trim(
                Tx(tx.connection, LATER + timedelta(1), database, {}), most=10, before=LATER, limit=10
            )
        )
    await record(database, "a1")
    statements = 0

    async def script(tx: Tx) -> None:
        nonlocal statements
        execute = tx.connection.execute

        async def counted(*arguments: object) -> object:
            nonlocal statements
            statements += 1
            return await execute(*arguments)  # type: ignore[arg-type]

        tx.connection.execute = counted  # type: ignore[method-assign,assignment]
        try:
            await event_log.take(tx, [1, 2, 3])
        finally:
            tx.connection.execute = execute  # type: ignore[method-assign]

    await database.write(script)
    assert statements == 1
    assert await logged(database) == []


async def test_a_smaller_id_that_is_committed_later_is_logged_later(
    postgres_database: Database,  # noqa: F811
) -> None:
    await keep(postgres_database)
    async with postgres_database.driver.transaction() as connection:
        tx = Tx(connection, postgres_database.clock.now(), postgres_database, {})
        await _record(tx, "early")
        await record(postgres_database, "late")
        await postgres_database.write(lambda tx: event_log.take_waiting(tx, 10))
        assert [key for _, key in await logged(postgres_database)] == ["late"]
    await postgres_database.write(lambda tx: event_log.take_waiting(tx, 10))
    assert [key for _, key in await logged(postgres_database)] == ["late", "early"]


async def _record(tx: Tx, name: str) -> None:
    await tx.connection.execute(
        RECORD,
        {
            "exchange": "exchange/test",
            "routing_key": name,
            "cc": "[]",
            "order_keys": '["x"]',
            "body": "{}",
            "created": tx.now,
        },
    )
