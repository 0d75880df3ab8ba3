"""What waits in a task queue and what its workers have: counts and pages, read from indexes.

A count looks at the index alone. A page of pending runs takes the oldest of each priority, which the index
that hands out work has in order already, and merges them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
    type_coerce,
    union_all,
)

from queue_service.core.task import Task
from queue_service.core.workers import WorkerKey
from queue_service.store.database import Tx
from queue_service.store.statements import Connection
from queue_service.store.tables import IN_ANY_LANE, PENDING, RUNNING, tasks
from queue_service.store.tasks import task_of
from queue_service.store.types import Milliseconds
from schemas.task import PRIORITIES

_queue = tasks.c.task_queue_id == bindparam("task_queue_id", type_=Text)
_now = bindparam("now", type_=Milliseconds)
_order = bindparam("order", type_=BigInteger)
_limit = bindparam("wanted", type_=Integer)
# The sums keep PostgreSQL from the indexes of the timers, which hold the tasks of all task queues.
_before_deadline = type_coerce(tasks.c.deadline, BigInteger) + text("0") > _now
# What waits stands in one of two indexes.
_waiting = [and_(text(condition), _queue, _before_deadline) for condition in (PENDING, IN_ANY_LANE)]
_held = and_(text(RUNNING), _queue, type_coerce(tasks.c.taken_until, BigInteger) + text("0") > _now)
_later = and_(
    tasks.c.queue_order >= _order,
    or_(tasks.c.queue_order > _order, tasks.c.task_id > bindparam("task_id", type_=Text)),
)

_plain, _in_lanes = (
    select(func.count()).select_from(tasks).where(each).scalar_subquery() for each in _waiting
)
COUNT_PENDING: Final = select(_plain + _in_lanes)
COUNT_CLAIMED: Final = select(func.count()).select_from(tasks).where(_held)
_by_priority = [
    select(tasks.c.queue_order, tasks.c.task_id)
    .where(waiting, tasks.c.priority == text(str(priority)), _later)
    .order_by(tasks.c.queue_order, tasks.c.task_id)
    .limit(_limit)
    .subquery()
    for waiting in _waiting
    for priority in range(len(PRIORITIES))
]
_pending = union_all(*(select(line) for line in _by_priority)).subquery()
LIST_PENDING: Final = select(_pending).order_by(_pending.c.queue_order, _pending.c.task_id).limit(_limit)
LIST_CLAIMED: Final = (
    select(tasks.c.queue_order, tasks.c.task_id)
    .where(_held, _later)
    .order_by(tasks.c.queue_order, tasks.c.task_id)
    .limit(_limit)
)

PICK_HELD: Final = (
    select(tasks)
    .where(text(RUNNING), _queue, tasks.c.worker == bindparam("worker", type_=Text))
    .order_by(tasks.c.task_id)
    .limit(_limit)
    .with_for_update()
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands among the pending, or the claimed, of its task queue."""

    order: int
    task_id: str


async def count_pending(connection: Connection, task_queue_id: str, now: datetime) -> int:
    """How many runs wait whose task is not past its deadline."""
    return await _count(connection, COUNT_PENDING, task_queue_id, now)


async def count_claimed(connection: Connection, task_queue_id: str, now: datetime) -> int:
    """How many runs workers have whose claim has not run out."""
    return await _count(connection, COUNT_CLAIMED, task_queue_id, now)


async def list_pending(
    connection: Connection, task_queue_id: str, now: datetime, after: Place, wanted: int
) -> list[Place]:
    """The runs that wait, by when they began to, after a place."""
    return await _list(connection, LIST_PENDING, task_queue_id, now, after, wanted)


async def list_claimed(
    connection: Connection, task_queue_id: str, now: datetime, after: Place, wanted: int
) -> list[Place]:
    """The runs that workers have, by when they were claimed, after a place."""
    return await _list(connection, LIST_CLAIMED, task_queue_id, now, after, wanted)


async def pick_held(tx: Tx, worker: WorkerKey, limit: int) -> list[Task]:
    """Tasks whose running run this worker has, locked."""
    rows = await tx.connection.execute(
        PICK_HELD,
        {
            "task_queue_id": worker.task_queue_id,
            "worker": f"{worker.worker_group}/{worker.worker_id}",
            "wanted": limit,
        },
    )
    return [task_of(row) for row in rows]


async def _count(connection: Connection, statement: Any, task_queue_id: str, now: datetime) -> int:
    found = await connection.execute(statement, {"task_queue_id": task_queue_id, "now": now})
    return int(found.scalar_one())


async def _list(
    connection: Connection,
    statement: Any,
    task_queue_id: str,
    now: datetime,
    after: Place,
    wanted: int,
) -> list[Place]:
    rows = await connection.execute(
        statement,
        {
            "task_queue_id": task_queue_id,
            "now": now,
            "order": after.order,
            "task_id": after.task_id,
            "wanted": wanted,
        },
    )
    return [Place(row.queue_order, row.task_id) for row in rows]
