"""The outbox: messages that commit with the state they tell about, until the broker has confirmed them.

A row has order keys, each exclusive or shared, as a lock would be. A row with an exclusive key waits until
all earlier rows with that key are confirmed; one with a shared key waits for the earlier exclusive ones only.
A task's messages have its id as exclusive key; what its end causes has it as a shared one; the ends of a
group's tasks share the key of the group, which its own messages have exclusively. So nothing overtakes its
cause, and what has nothing to do with each other travels together.

A row that the broker refuses is set aside, with all that must not overtake it: it has a lane of its own
(``set_aside``), and its order keys are barriers for later rows, so the rows before it in the other lane never
hold up the rest. A row goes from the first lane to the second, never back. In the first lane, rows that the
log of events has already (``event_log.py``, ``set_aside`` is -1) come before those that it has not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from events.messages import OutboundMessage, encode
from queue_service.core.task import Change, Task
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.signals import OutboxFilled
from queue_service.store.statements import Connection, Result
from queue_service.store.tables import outbox, outbox_barriers
from schemas.messages import Message
from schemas.times import to_ms

_given = Rows(
    "given",
    place=Integer,
    exchange=Text,
    routing_key=Text,
    cc=Text,
    order_keys=Text,
    body=Text,
    created=BigInteger,
    traceparent=Text,
)
_COLUMNS: Final = ("exchange", "routing_key", "cc", "order_keys", "body", "created", "traceparent")
APPEND: Final = insert(outbox).from_select(
    list(_COLUMNS), select(*(_given.c[name] for name in _COLUMNS)).order_by(_given.c.place)
)


def _oldest(lane: str) -> Select[Any]:
    """The condition is a literal, so that generic plans use the index too; and it is no equation, or
    PostgreSQL might go through the key and step over everything in the other lane.
    """
    columns = (outbox.c[name] for name in ("id", *_COLUMNS, "set_aside"))
    return (
        select(*columns)
        .where(text(lane))
        .order_by(outbox.c.set_aside, outbox.c.id)
        .limit(bindparam("wanted", type_=Integer))
    )


NEXT_BATCH: Final = _oldest("set_aside <= 0")
NEXT_SET_ASIDE: Final = _oldest("set_aside > 0")

_wanting = Rows("wanting", id=BigInteger, order_key=Text, exclusive=Integer)
_present = Rows("present", id=BigInteger)


def _barrier(exclusive: int) -> ColumnElement[bool]:
    return exists().where(
        outbox_barriers.c.order_key == _wanting.c.order_key,
        outbox_barriers.c.exclusive == exclusive,
        outbox_barriers.c.id < _wanting.c.id,
        outbox_barriers.c.id.not_in(select(_present.c.id)),
    )


BARRED: Final = select(_wanting.c.id).where(or_(_barrier(1), and_(_wanting.c.exclusive == 1, _barrier(0))))

_confirmed = Rows("confirmed", id=BigInteger)
DELETE: Final = delete(outbox).where(outbox.c.id.in_(select(_confirmed.c.id)))
DELETE_BARRIERS: Final = delete(outbox_barriers).where(outbox_barriers.c.id.in_(select(_confirmed.c.id)))
DELETE_ORPHANS: Final = delete(outbox_barriers).where(~exists().where(outbox.c.id == outbox_barriers.c.id))
_refused = Rows("refused", id=BigInteger)
SET_ASIDE: Final = (
    update(outbox)
    .values(set_aside=bindparam("at", type_=BigInteger))
    .where(outbox.c.id.in_(select(_refused.c.id)))
    .returning(outbox.c.id)
)
_barriers = Rows("barriers", order_key=Text, exclusive=Integer, id=BigInteger)
ADD_BARRIERS: Final = insert(outbox_barriers).from_select(
    ["order_key", "exclusive", "id"], select(_barriers.c.order_key, _barriers.c.exclusive, _barriers.c.id)
)

_COUNTED: Final = 100_000
DEPTH: Final = select(func.count()).select_from(select(outbox.c.id).limit(_COUNTED).subquery())
SPAN: Final = select(
    select(func.max(outbox.c.id)).scalar_subquery() - select(func.min(outbox.c.id)).scalar_subquery() + 1
)
OLDEST: Final = select(outbox.c.created, outbox.c.set_aside).order_by(outbox.c.id).limit(1)

SHARED: Final = "~"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to record: the task's routes for its CC keys, and what it must not overtake."""

    message: Message
    routes: tuple[str, ...]
    order_keys: tuple[str, ...]
    """Shared keys are made by :func:`shared`."""
    traceparent: str | None = None
    """The trace of the task that it tells about."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A recorded message as the relay takes it."""

    id: int
    order_keys: tuple[str, ...]
    message: OutboundMessage
    set_aside: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outbox. ``depth`` is exact up to 100,000 and never too small beyond that."""

    depth: int
    oldest: datetime | None
    """When the oldest message was recorded; None when there is none."""
    refused: bool
    """The oldest message is set aside: the broker has refused it, or what it must not overtake."""


def shared(key: str) -> str:
    """The key, held together with other rows."""
    return SHARED + key


def messages_of(changes: Iterable[Change], *, caused_by: tuple[str, ...] = ()) -> list[Outgoing]:
    """All messages of these changes, in their order. ``caused_by``: tasks they must not overtake."""
    return [
        Outgoing(message, change.after.routes, _order_keys(change.after, caused_by), change.after.traceparent)
        for change in changes
        for message in change.messages
    ]


def _order_keys(task: Task, caused_by: tuple[str, ...]) -> tuple[str, ...]:
    keys = (task.task_id, *map(shared, caused_by))
    return (*keys, shared(task.task_group_id)) if task.resolved else keys


async def record(tx: Tx, outgoing: Sequence[Outgoing]) -> None:
    """Write messages into the outbox, in this order, within the caller's transaction."""
    if not outgoing:
        return
    created = to_ms(tx.now)
    rows = []
    for place, item in enumerate(outgoing):
        encoded = encode(item.message, item.routes)
        rows.append(
            {
                "place": place,
                "exchange": encoded.exchange,
                "routing_key": encoded.routing_key,
                "cc": to_json(encoded.cc).decode(),
                "order_keys": to_json(item.order_keys).decode(),
                "body": encoded.body.decode(),
                "created": created,
                "traceparent": item.traceparent,
            }
        )
    await tx.connection.execute(APPEND, _given.parameters(rows))
    tx.announce(OutboxFilled())


async def next_batch(connection: Connection, limit: int) -> list[OutboxRow]:
    """The oldest rows, oldest first.

    There is no "last id" to go on from: PostgreSQL makes ids visible out of order, so a row with a smaller
    id may appear later. Per task the order is right, because the task's row lock is held from the
    allocation of the id to the commit.
    """
    return _rows(await connection.execute(NEXT_BATCH, {"wanted": limit}))


async def next_set_aside(connection: Connection, limit: int) -> list[OutboxRow]:
    """The rows set aside whose last try was longest ago."""
    return _rows(await connection.execute(NEXT_SET_ASIDE, {"wanted": limit}))


def _rows(found: Result) -> list[OutboxRow]:
    return [
        OutboxRow(
            id=row.id,
            order_keys=tuple(from_json(row.order_keys)),
            message=OutboundMessage(
                exchange=row.exchange,
                routing_key=row.routing_key,
                cc=tuple(from_json(row.cc)),
                body=row.body.encode(),
                message_id=str(row.id),
                traceparent=row.traceparent,
            ),
            set_aside=row.set_aside > 0,
        )
        for row in found
    ]


async def barred(connection: Connection, rows: Sequence[OutboxRow]) -> frozenset[int]:
    """Those of ``rows``, by id, that wait for an earlier row that is set aside and not among them."""
    present = [row.id for row in rows if row.set_aside]
    found = await connection.execute(BARRED, _wanting.parameters(_keys(rows)) | _present.of(present))
    return frozenset(found.scalars())


async def delete_confirmed(tx: Tx, ids: Sequence[int], *, barriers: bool = False) -> None:
    """Forget rows that the broker has taken responsibility for; ``barriers``: some may be set aside."""
    if ids:
        await tx.connection.execute(DELETE, _confirmed.of(ids))
        if barriers:
            await tx.connection.execute(DELETE_BARRIERS, _confirmed.of(ids))


async def set_aside(tx: Tx, rows: Sequence[OutboxRow]) -> None:
    """Move rows behind all that are set aside already; later rows must not overtake them."""
    found = await tx.connection.execute(
        SET_ASIDE, _refused.of([row.id for row in rows]) | {"at": max(1, to_ms(tx.now))}
    )
    still_there = set(found.scalars())
    new = [row for row in rows if row.id in still_there and not row.set_aside]
    if new:
        await tx.connection.execute(ADD_BARRIERS, _barriers.parameters(_keys(new)))


async def delete_orphans(tx: Tx) -> None:
    """Forget barriers of rows that a relay which knew nothing of barriers has published."""
    await tx.connection.execute(DELETE_ORPHANS)


def _keys(rows: Iterable[OutboxRow]) -> list[dict[str, Any]]:
    return [
        {"id": row.id, "order_key": key.removeprefix(SHARED), "exclusive": int(not key.startswith(SHARED))}
        for row in rows
        for key in dict.fromkeys(row.order_keys)
    ]


async def depth(connection: Connection) -> int:
    """How many messages wait: exact up to 100,000, never too small beyond that."""
    counted = int((await connection.execute(DEPTH)).scalar_one())
    return counted if counted < _COUNTED else int((await connection.execute(SPAN)).scalar_one())


async def backlog(connection: Connection) -> Backlog:
    """What waits; costs three lookups, and a count of at most 100,000 index entries."""
    oldest = (await connection.execute(OLDEST)).first()
    if oldest is None:
        return Backlog(0, None, False)
    return Backlog(await depth(connection), oldest.created, oldest.set_aside > 0)
