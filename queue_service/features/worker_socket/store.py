"""Statements of attached work: what waits, what a gateway has, and the gateways themselves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Integer, SmallInteger, Text, bindparam, delete, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.task import Task
from queue_service.features.worker_socket.items import QUEUES, QUEUES_END
from queue_service.features.worker_socket.tables import work_gateways
from queue_service.store.database import Tx
from queue_service.store.statements import Connection
from queue_service.store.tables import PENDING, RUNNING, tasks
from queue_service.store.tasks import task_of
from queue_service.store.types import Milliseconds

_wanted = bindparam("wanted", type_=Integer)
_now = bindparam("now", type_=Milliseconds)

WAITING: Final = (
    select(tasks)
    .where(
        text(PENDING),
        tasks.c.task_queue_id == bindparam("task_queue_id", type_=Text),
        tuple_(tasks.c.priority, tasks.c.queue_order)
        > tuple_(bindparam("priority", type_=SmallInteger), bindparam("queue_order", type_=BigInteger)),
        tasks.c.deadline > _now,
    )
    .order_by(tasks.c.priority, tasks.c.queue_order)
    .limit(_wanted)
)
ALL_WAITING: Final = (
    select(tasks)
    .where(text(PENDING), tasks.c.task_queue_id >= QUEUES, tasks.c.task_queue_id < QUEUES_END)
    .order_by(tasks.c.task_queue_id, tasks.c.priority, tasks.c.queue_order)
    .limit(_wanted)
)
IN_FLIGHT: Final = (
    select(tasks)
    .where(text(RUNNING), tasks.c.task_queue_id >= QUEUES, tasks.c.task_queue_id < QUEUES_END)
    .order_by(tasks.c.task_queue_id, tasks.c.worker)
    .limit(_wanted)
)
OF_GATEWAY: Final = IN_FLIGHT.where(
    tasks.c.worker >= bindparam("first", type_=Text), tasks.c.worker < bindparam("behind", type_=Text)
)

_insert = upsert(work_gateways).values(
    gateway=bindparam("gateway", type_=Text),
    expires=bindparam("expires", type_=Milliseconds),
    descriptions=bindparam("descriptions", type_=Text),
)
RENEW: Final = _insert.on_conflict_do_update(
    index_elements=["gateway"],
    set_={"expires": _insert.excluded.expires, "descriptions": _insert.excluded.descriptions},
)
GATEWAYS: Final = select(work_gateways).order_by(work_gateways.c.gateway)
LAPSED: Final = (
    select(work_gateways.c.gateway)
    .where(work_gateways.c.expires <= _now)
    .order_by(work_gateways.c.expires)
    .limit(_wanted)
    .with_for_update(skip_locked=True)
)
FORGET: Final = delete(work_gateways).where(work_gateways.c.gateway == bindparam("of_gateway", type_=Text))


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a line; the next page begins behind it."""

    priority: int = -1
    queue_order: int = -1


async def waiting(
    connection: Connection, task_queue_id: str, after: Place, now: datetime, wanted: int
) -> tuple[list[Task], Place]:
    """Tasks of a queue that wait for a worker, in the order of their claims, and where the page ends."""
    values = {
        "task_queue_id": task_queue_id,
        "priority": after.priority,
        "queue_order": after.queue_order,
        "now": now,
        "wanted": wanted,
    }
    rows = (await connection.execute(WAITING, values)).all()
    end = Place(rows[-1].priority, rows[-1].queue_order) if rows else after
    return [task_of(row) for row in rows], end


async def all_waiting(connection: Connection, wanted: int) -> list[Task]:
    """Items that wait for a worker, of all names."""
    return [task_of(row) for row in await connection.execute(ALL_WAITING, {"wanted": wanted})]


async def in_flight(connection: Connection, wanted: int) -> list[Task]:
    """Items that workers have, of all gateways."""
    return [task_of(row) for row in await connection.execute(IN_FLIGHT, {"wanted": wanted})]


async def of_gateway(connection: Connection, gateway: str, wanted: int) -> list[Task]:
    """Items that connections of this gateway have."""
    values = {"first": f"{gateway}/", "behind": f"{gateway}0", "wanted": wanted}
    return [task_of(row) for row in await connection.execute(OF_GATEWAY, values)]


async def renew(tx: Tx, gateway: str, descriptions: Sequence[Any], lease: timedelta) -> None:
    """Say that a gateway is there, for so long, and what its connections take."""
    values = {"gateway": gateway, "expires": tx.now + lease, "descriptions": to_json(descriptions).decode()}
    await tx.connection.execute(RENEW, values)


async def others(connection: Connection, gateway: str, now: datetime) -> Iterable[Any]:
    """What connections of the other gateways take."""
    rows = await connection.execute(GATEWAYS)
    return [
        one
        for row in rows
        if row.gateway != gateway and row.expires > now
        for one in from_json(row.descriptions)
    ]


async def lapsed(tx: Tx, wanted: int) -> list[str]:
    """Gateways that have not said for too long that they are there, locked."""
    return list((await tx.connection.execute(LAPSED, {"now": tx.now, "wanted": wanted})).scalars())


async def forget(tx: Tx, gateway: str) -> None:
    """A gateway is gone."""
    await tx.connection.execute(FORGET, {"of_gateway": gateway})
