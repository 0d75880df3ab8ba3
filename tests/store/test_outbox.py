"""The outbox: messages in the order they were recorded, until they are confirmed."""

import json

from events.messages import encode
from queue_service.core import transitions
from queue_service.store import outbox
from queue_service.store.database import Database
from queue_service.store.outbox import OutboxRow, Outgoing
from queue_service.store.signals import OutboxFilled, Signal
from schemas.messages import Message
from tests.core.samples import GROUP_ID, NOW, TASK_ID, task
from tests.core.states import STATES
from tests.store.given import read

DEFINED, PENDING = transitions.create(task(), NOW, unmet_dependencies=False).messages


async def record(database: Database, *outgoing: Outgoing) -> None:
    await database.write(lambda tx: outbox.record(tx, outgoing))


async def rows(database: Database, limit: int = 100) -> list[OutboxRow]:
    return await read(database, outbox.next_batch, limit)


async def forget(database: Database, ids: list[int]) -> None:
    await database.write(lambda tx: outbox.delete_confirmed(tx, ids))


def numbered(count: int) -> list[Outgoing]:
    return [Outgoing(PENDING, (), (str(number),)) for number in range(count)]


async def test_a_row_is_the_message_as_it_will_be_published(database: Database) -> None:
    routes = ("ci.try", "naïve \u2028 route")
    await record(database, Outgoing(PENDING, routes, (TASK_ID, "other")))
    (row,) = await rows(database)
    expected = encode(PENDING, routes, message_id=str(row.id))
    assert row == OutboxRow(row.id, (TASK_ID, "other"), expected)
    assert json.loads(row.message.body) == PENDING.to_wire()


async def test_rows_keep_the_order_of_one_transaction(database: Database) -> None:
    await record(database, *numbered(300))
    found = await rows(database, 1000)
    assert [row.order_keys for row in found] == [(str(number),) for number in range(300)]
    assert [row.id for row in found] == sorted(row.id for row in found)


async def test_rows_keep_the_order_of_transactions(database: Database) -> None:
    for number in range(3):
        await record(database, Outgoing(PENDING, (), (f"{number}a",)), Outgoing(PENDING, (), (f"{number}b",)))
    found = [row.order_keys[0] for row in await rows(database)]
    assert found == ["0a", "0b", "1a", "1b", "2a", "2b"]


async def test_the_oldest_rows_come_first_and_no_more_than_asked_for(database: Database) -> None:
    await record(database, *numbered(5))
    assert [row.order_keys for row in await rows(database, 2)] == [("0",), ("1",)]


async def test_confirmed_rows_are_forgotten(database: Database) -> None:
    await record(database, *numbered(4))
    first, second, third, fourth = [row.id for row in await rows(database)]
    await forget(database, [first, third])
    await forget(database, [first])
    await forget(database, [])
    assert [row.id for row in await rows(database)] == [second, fourth]
    assert await read(database, outbox.depth) == 2


async def test_an_id_is_never_used_again(database: Database) -> None:
    """It is the message-id: a consumer may remember it to leave out what it has seen."""
    seen: set[int] = set()
    for _ in range(3):
        await record(database, *numbered(2))
        ids = [row.id for row in await rows(database)]
        assert not seen & set(ids)
        seen.update(ids)
        await forget(database, ids)


async def test_recording_announces_the_outbox_and_nothing_to_record_does_not(database: Database) -> None:
    seen: list[Signal] = []
    database.subscribe(seen.append)
    await record(database)
    assert seen == []
    await record(database, *numbered(2))
    assert seen == [OutboxFilled()]


def test_messages_of_changes_carry_routes_and_what_they_must_not_overtake() -> None:
    create = transitions.create(task(), NOW, unmet_dependencies=False)
    rerun = transitions.rerun(STATES["failed"], NOW)
    found = outbox.messages_of([create, rerun], caused_by=(GROUP_ID,))
    messages: list[Message] = [*create.messages, *rerun.messages]
    assert [item.message for item in found] == messages
    assert {(item.routes, item.order_keys) for item in found} == {(("ci.try",), (TASK_ID, "~" + GROUP_ID))}
