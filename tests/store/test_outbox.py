"""The outbox: messages in the order they were recorded, until they are confirmed."""

import json

import pytest

from events.messages import encode
from queue_service.core import transitions
from queue_service.store import outbox
from queue_service.store.database import Database
from queue_service.store.outbox import Backlog, OutboxRow, Outgoing
from queue_service.store.signals import OutboxFilled, Signal
from schemas.messages import Message
from tests.core.samples import GROUP_ID, NOW, TASK_ID, task
from tests.core.states import STATES
from tests.store.given import read
from tests.store.manual_clock import ManualClock

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


# Set aside


async def set_aside(database: Database, found: list[OutboxRow]) -> None:
    await database.write(lambda tx: outbox.set_aside(tx, found))


async def barred(database: Database, found: list[OutboxRow]) -> list[int]:
    async with database.read() as connection:
        return sorted(await outbox.barred(connection, found))


async def test_rows_set_aside_are_in_the_other_lane_the_longest_untried_first(
    database: Database, clock: ManualClock
) -> None:
    await record(database, *numbered(4))
    first, second, third, fourth = await rows(database)
    await set_aside(database, [second, third])
    clock.advance(seconds=1)
    await set_aside(database, [first])
    clock.advance(seconds=1)
    (aside, *_) = await read(database, outbox.next_set_aside, 10)
    assert (aside.id, aside.set_aside, aside.message) == (second.id, True, second.message)
    await set_aside(database, [aside])
    assert [row.id for row in await read(database, outbox.next_set_aside, 10)] == [
        third.id,
        first.id,
        second.id,
    ]
    assert await rows(database) == [fourth]


@pytest.mark.parametrize(
    ("earlier", "later", "waits"),
    [
        (("a",), ("a",), True),
        (("~a",), ("a",), True),
        (("a",), ("~a",), True),
        (("~a",), ("~a",), False),
        (("a",), ("b",), False),
        (("x", "~a"), ("y", "a"), True),
        ((), (), False),
    ],
)
async def test_a_row_is_barred_by_what_it_must_not_overtake(
    database: Database, earlier: tuple[str, ...], later: tuple[str, ...], waits: bool
) -> None:
    await record(database, Outgoing(PENDING, (), earlier), Outgoing(PENDING, (), later))
    first, second = await rows(database)
    await set_aside(database, [first])
    assert await barred(database, [second]) == ([second.id] if waits else [])


async def test_rows_set_aside_bar_each_other_only_when_they_are_not_tried_together(
    database: Database,
) -> None:
    await record(database, *[Outgoing(PENDING, (), ("a",))] * 3)
    await set_aside(database, await rows(database))
    first, second, third = await read(database, outbox.next_set_aside, 10)
    assert await barred(database, [first, second, third]) == []
    assert await barred(database, [first, third]) == [third.id]
    assert await barred(database, [second]) == [second.id]


async def test_a_confirmed_row_bars_nothing(database: Database) -> None:
    await record(database, *[Outgoing(PENDING, (), ("a",))] * 2)
    first, second = await rows(database)
    await set_aside(database, [first])
    await database.write(lambda tx: outbox.delete_confirmed(tx, [first.id], barriers=True))
    assert await barred(database, [second]) == []


async def test_a_row_that_another_relay_has_published_is_not_set_aside(database: Database) -> None:
    await record(database, *[Outgoing(PENDING, (), ("a",))] * 2)
    first, second = await rows(database)
    await forget(database, [first.id])
    await set_aside(database, [first])
    assert await barred(database, [second]) == []


async def test_the_backlog_tells_how_many_wait_since_when_and_whether_they_are_refused(
    database: Database, clock: ManualClock
) -> None:
    assert await read_backlog(database) == Backlog(0, None, False)
    since = clock.now()
    await record(database, *numbered(2))
    clock.advance(seconds=5)
    await record(database, *numbered(1))
    assert await read_backlog(database) == Backlog(3, since, False)
    await set_aside(database, (await rows(database))[:1])
    assert await read_backlog(database) == Backlog(3, since, True)


async def test_a_deep_backlog_is_counted_by_its_ids(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_COUNTED", 2)
    await record(database, *numbered(3))
    assert await read(database, outbox.depth) == 3


async def read_backlog(database: Database) -> Backlog:
    async with database.read() as connection:
        return await outbox.backlog(connection)
