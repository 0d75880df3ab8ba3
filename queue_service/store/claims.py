"""Picking work: the next pending runs of a task queue, and what has fallen due.

The hot statements of the service; each has an EXPLAIN test on both databases.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, Select, Text, bindparam, exists, func, not_, or_, select, text, true

from queue_service.core.task import Task
from queue_service.store.database import Tx
from queue_service.store.statements import Connection
from queue_service.store.tables import DELAYED, PENDING, RUNNING, UNRESOLVED, task_lanes, task_queues, tasks
from queue_service.store.tasks import task_of
from queue_service.store.types import Milliseconds

_now = bindparam("now", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)

_queue = tasks.c.task_queue_id == bindparam("task_queue_id", type_=Text)

# The row of the task queue is held: no pause and no limit comes between this claim and its commit.
_gate = (
    select(task_queues.c.paused_at, task_queues.c.limits)
    .where(task_queues.c.task_queue_id == bindparam("task_queue_id", type_=Text))
    .with_for_update(read=True, key_share=True)
    .cte("gate")
)
_look = select(
    exists(select(_gate.c.paused_at).where(_gate.c.paused_at.is_not(None))).label("paused"),
    or_(
        exists(select(_gate.c.limits).where(_gate.c.limits.is_not(None))),
        exists(
            select(task_lanes.c.lane).where(
                task_lanes.c.task_queue_id == bindparam("task_queue_id", type_=Text)
            )
        ),
    ).label("limited"),
    exists(
        select(tasks.c.task_id).where(
            text(DELAYED), _queue, tasks.c.available_at <= _now, tasks.c.deadline > _now
        )
    ).label("due"),
).cte("look")
_open = select(not_(or_(_look.c.paused, _look.c.limited))).scalar_subquery()
_line = (
    select(tasks)
    .where(text(PENDING), _queue, tasks.c.deadline > _now, _open)
    .order_by(tasks.c.priority, tasks.c.queue_order)
    .limit(_limit)
    .with_for_update(skip_locked=True)
    .subquery("line")
)
# One row, with no task in it, when nobody waits.
PICK_PENDING: Final = select(_line, *_look.c).select_from(_look.outerjoin(_line, true()))
PICK_EXPIRED: Final = (
    select(tasks)
    .where(text(RUNNING), tasks.c.taken_until <= _now, tasks.c.deadline > _now)
    .order_by(tasks.c.taken_until)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
PICK_PAST_DEADLINE: Final = (
    select(tasks)
    .where(text(UNRESOLVED), tasks.c.deadline <= _now)
    .order_by(tasks.c.deadline)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
NEXT_EXPIRING: Final = select(func.min(tasks.c.taken_until)).where(text(RUNNING), tasks.c.deadline > _now)
NEXT_DEADLINE: Final = select(func.min(tasks.c.deadline)).where(text(UNRESOLVED))


@dataclass(frozen=True, slots=True)
class Line:
    """The front of a task queue's line, and whether a delayed run of the queue has come due meanwhile.

    It has no front while the task queue is paused, and when limits decide whose turn it is.
    """

    tasks: list[Task]
    due: bool
    paused: bool
    limited: bool


async def pick_pending(tx: Tx, task_queue_id: str, wanted: int) -> Line:
    """Up to ``wanted`` tasks with a pending run, most urgent and oldest first, locked."""
    rows = (
        await tx.connection.execute(
            PICK_PENDING, {"task_queue_id": task_queue_id, "now": tx.now, "wanted": wanted}
        )
    ).all()
    found = sorted(
        (row for row in rows if row.task_id is not None), key=lambda row: (row.priority, row.queue_order)
    )
    look = rows[0]
    return Line([task_of(row) for row in found], bool(look.due), bool(look.paused), bool(look.limited))


async def pick_expired(tx: Tx, limit: int) -> list[Task]:
    """Tasks whose claim has run out before their deadline, locked."""
    return await _due(tx, PICK_EXPIRED, tx.now, limit)


async def pick_past_deadline(tx: Tx, deadline: datetime, limit: int) -> list[Task]:
    """Unresolved tasks whose deadline is at or before ``deadline``, locked."""
    return await _due(tx, PICK_PAST_DEADLINE, deadline, limit)


async def next_expiring(connection: Connection, now: datetime) -> datetime | None:
    """When the next claim runs out."""
    due: datetime | None = (await connection.execute(NEXT_EXPIRING, {"now": now})).scalar()
    return due


async def next_deadline(connection: Connection) -> datetime | None:
    """The earliest deadline of an unresolved task."""
    due: datetime | None = (await connection.execute(NEXT_DEADLINE)).scalar()
    return due


async def _due(tx: Tx, statement: Select[tuple[object, ...]], now: datetime, limit: int) -> list[Task]:
    rows = await tx.connection.execute(statement, {"now": now, "wanted": limit})
    return [task_of(row) for row in rows]
