"""The outbox: messages that commit with the state they tell about, until the broker has confirmed them.

A row has order keys, each exclusive or shared, as a lock would be. A row with an exclusive key waits until
all earlier rows with that key are confirmed; one with a shared key waits for the earlier exclusive ones only.
A task's messages have its id as exclusive key; what its end causes has it as a shared one; the ends of a
group's tasks share the key of the group, which its own messages have exclusively. So nothing overtakes its
cause, and what has nothing to do with each other travels together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Integer, Text, bindparam, delete, func, insert, select

from events.messages import OutboundMessage, encode
from queue_service.core.task import Change, Task
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.signals import OutboxFilled
from queue_service.store.statements import Connection
from queue_service.store.tables import outbox
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
)
_COLUMNS: Final = ("exchange", "routing_key", "cc", "order_keys", "body", "created")
APPEND: Final = insert(outbox).from_select(
    list(_COLUMNS), select(*(_given.c[name] for name in _COLUMNS)).order_by(_given.c.place)
)
NEXT_BATCH: Final = select(outbox).order_by(outbox.c.id).limit(bindparam("wanted", type_=Integer))
_confirmed = Rows("confirmed", id=BigInteger)
DELETE: Final = delete(outbox).where(outbox.c.id.in_(select(_confirmed.c.id)))
DEPTH: Final = select(func.count()).select_from(outbox)

SHARED: Final = "~"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to record: the task's routes for its CC keys, and what it must not overtake."""

    message: Message
    routes: tuple[str, ...]
    order_keys: tuple[str, ...]
    """Shared keys are made by :func:`shared`."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A recorded message as the relay takes it."""

    id: int
    order_keys: tuple[str, ...]
    message: OutboundMessage


def shared(key: str) -> str:
    """The key, held together with other rows."""
    return SHARED + key


def messages_of(changes: Iterable[Change], *, caused_by: tuple[str, ...] = ()) -> list[Outgoing]:
    """All messages of these changes, in their order. ``caused_by``: tasks they must not overtake."""
    return [
        Outgoing(message, change.after.routes, _order_keys(change.after, caused_by))
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
    rows = await connection.execute(NEXT_BATCH, {"wanted": limit})
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
            ),
        )
        for row in rows
    ]


async def delete_confirmed(tx: Tx, ids: Sequence[int]) -> None:
    """Forget rows that the broker has taken responsibility for."""
    if ids:
        await tx.connection.execute(DELETE, _confirmed.of(ids))


async def depth(connection: Connection) -> int:
    """How many messages wait."""
    return int((await connection.execute(DEPTH)).scalar_one())
