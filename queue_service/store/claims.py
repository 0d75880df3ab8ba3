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
from schemas.task_queues import TaskQueueLimits

_now = bindparam("now", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)

_queue_id = bindparam("task_queue_id", type_=Text)
_queue = tasks.c.task_queue_id == _queue_id
_has_due = exists(
    select(tasks.c.task_id).where(
        text(DELAYED), _queue, tasks.c.available_at <= _now, tasks.c.deadline > _now
    )
)
_has_lanes = exists(select(task_lanes.c.lane).where(task_lanes.c.task_queue_id == _queue_id))

# The row of the task queue is held: no pause and no limit comes between this claim and its commit.
_gate = (
    select(task_queues.c.paused_at, task_queues.c.limits)
    .where(task_queues.c.task_queue_id == _queue_id)
    .with_for_update(read=True, key_share=True)
    .cte("gate")
)
_look = select(
    exists(select(_gate.c.paused_at).where(_gate.c.paused_at.is_not(None))).label("paused"),
    or_(exists(select(_gate.c.limits).where(_gate.c.limits.is_not(None))), _has_lanes).label("limited"),
    _has_due.label("due"),
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
# The same row is locked: no other claim under its limits is under way.
_turn = (
    select(task_queues.c.paused_at, task_queues.c.limits)
    .where(task_queues.c.task_queue_id == _queue_id)
    .with_for_update(key_share=True)
    .cte("turn")
)
TAKE_TURN: Final = select(
    _turn,
    _has_lanes.label("lanes"),
    _has_due.label("due"),
    exists(select(tasks.c.task_id).where(text(PENDING), _queue, tasks.c.deadline > _now)).label("beside"),
)
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


@dataclass(frozen=True, slots=True)
class Turn:
    """A task queue that this transaction alone claims from under limits, and what waits in it."""

    paused: bool
    limits: TaskQueueLimits | None
    lanes: bool
    """Whether runs may wait in lanes."""
    due: bool
    """Whether a delayed run has come due."""
    beside: bool
    """Whether runs wait in no lane."""

    @property
    def limited(self) -> bool:
        return self.lanes or self.limits is not None


async def take_turn(tx: Tx, task_queue_id: str) -> Turn | None:
    """The task queue, once no other claim under its limits is under way; None when it has no row.

    What came while this waited for another process may be missing: its commit announces it to all claims.
    """
    row = (await tx.connection.execute(TAKE_TURN, {"task_queue_id": task_queue_id, "now": tx.now})).first()
    if row is None:
        return None
    limits = None if row.limits is None else TaskQueueLimits.from_json(row.limits)
    return Turn(row.paused_at is not None, limits, bool(row.lanes), bool(row.due), bool(row.beside))


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
