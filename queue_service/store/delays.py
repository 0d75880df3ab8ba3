"""Delayed runs, and tasks that start later: what has come due, and when the next one does.

Rules: ``seed-systems.md`` C-9 to C-12. Each statement has an EXPLAIN test on both databases.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Integer, Select, Text, bindparam, func, select, text

from queue_service.core.task import Task
from queue_service.store.database import Tx
from queue_service.store.statements import Connection
from queue_service.store.tables import DELAYED, tasks
from queue_service.store.tasks import task_of
from queue_service.store.types import Milliseconds

_now = bindparam("now", type_=Milliseconds)
_queue = tasks.c.task_queue_id == bindparam("task_queue_id", type_=Text)
_due = (
    select(tasks)
    .where(text(DELAYED), tasks.c.available_at <= _now, tasks.c.deadline > _now)
    .order_by(tasks.c.available_at, tasks.c.queue_order)
    .limit(bindparam("wanted", type_=Integer))
    .with_for_update(skip_locked=True)
)

PICK_DUE: Final = _due
PICK_DUE_IN_QUEUE: Final = _due.where(_queue)
NEXT_DUE: Final = select(func.min(tasks.c.available_at)).where(text(DELAYED), tasks.c.deadline > _now)
COUNT_DELAYED: Final = select(func.count()).select_from(tasks).where(text(DELAYED), _queue)


async def pick_due(tx: Tx, limit: int) -> list[Task]:
    """What has come due, longest ago first, locked."""
    return await _pick(tx, PICK_DUE, {"wanted": limit})


async def pick_due_in_queue(tx: Tx, task_queue_id: str, limit: int) -> list[Task]:
    """What has come due in one task queue, longest ago first, locked."""
    return await _pick(tx, PICK_DUE_IN_QUEUE, {"task_queue_id": task_queue_id, "wanted": limit})


async def next_due(connection: Connection, now: datetime) -> datetime | None:
    """When the next one comes due."""
    due: datetime | None = (await connection.execute(NEXT_DUE, {"now": now})).scalar()
    return due


async def count_delayed(connection: Connection, task_queue_id: str) -> int:
    """How many runs, and tasks that start later, wait for their time in a task queue (C-10)."""
    found = await connection.execute(COUNT_DELAYED, {"task_queue_id": task_queue_id})
    return int(found.scalar_one())


async def _pick(tx: Tx, statement: Select[Any], values: dict[str, Any]) -> list[Task]:
    rows = await tx.connection.execute(statement, {"now": tx.now, **values})
    return [task_of(row) for row in rows]
