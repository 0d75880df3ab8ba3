"""Deleting what has expired (``queue-behaviour.md`` 11), in batches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Executable, Integer, Text, bindparam, delete, func, select, text

from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection
from queue_service.store.tables import (
    UNRESOLVED,
    artifacts,
    attempt_errors,
    task_definitions,
    task_dependencies,
    task_groups,
    task_outputs,
    tasks,
)
from queue_service.store.types import Milliseconds

_before = bindparam("before", type_=Milliseconds)
_limit = bindparam("wanted", type_=Integer)

ENDED: Final = f"NOT ({UNRESOLVED})"
EXPIRED_TASKS: Final = (
    select(tasks.c.task_id)
    .where(
        tasks.c.expires < _before,
        text(ENDED),
        ~select(artifacts.c.task_id).where(artifacts.c.task_id == tasks.c.task_id).exists(),
    )
    .order_by(tasks.c.expires)
    .limit(_limit)
    .with_for_update(skip_locked=True)
)
_ids = Rows("ids", task_id=Text)
DELETE_TASKS: Final = delete(tasks).where(tasks.c.task_id.in_(select(_ids.c.task_id)))
DELETE_DEFINITIONS: Final = delete(task_definitions).where(
    task_definitions.c.task_id.in_(select(_ids.c.task_id))
)
DELETE_ERRORS: Final = delete(attempt_errors).where(attempt_errors.c.task_id.in_(select(_ids.c.task_id)))
DELETE_OUTPUTS: Final = delete(task_outputs).where(task_outputs.c.task_id.in_(select(_ids.c.task_id)))
DELETE_GROUPS: Final = (
    delete(task_groups)
    .where(
        task_groups.c.task_group_id.in_(
            select(task_groups.c.task_group_id)
            .where(task_groups.c.expires < _before)
            .order_by(task_groups.c.expires)
            .limit(_limit)
        )
    )
    .returning(task_groups.c.task_group_id)
)
DELETE_DEPENDENCIES: Final = (
    delete(task_dependencies)
    .where(
        task_dependencies.c.required_task_id.in_(
            select(task_dependencies.c.required_task_id)
            .where(task_dependencies.c.expires < _before)
            .order_by(task_dependencies.c.expires)
            .limit(_limit)
        ),
        task_dependencies.c.expires < _before,
    )
    .returning(task_dependencies.c.required_task_id)
)
NEXT_EXPIRY: Final = select(func.min(tasks.c.expires)).where(text(ENDED))


async def delete_tasks(tx: Tx, before: datetime, limit: int) -> int:
    """Delete tasks that expired before this time and have no artifacts left; how many there were.

    An unresolved task is kept until its deadline has been dealt with: after a time in which nothing ran,
    that may come later, and its end must be told. Artifacts expire no later than their task, so that they are
    gone first, with their bytes.
    """
    found = await tx.connection.execute(EXPIRED_TASKS, {"before": before, "wanted": limit})
    task_ids = list(found.scalars())
    if task_ids:
        await forget(tx, task_ids)
    return len(task_ids)


async def forget(tx: Tx, task_ids: Sequence[str]) -> None:
    """Delete tasks with all that is kept beside them but their artifacts and dependencies."""
    for statement in (DELETE_TASKS, DELETE_DEFINITIONS, DELETE_ERRORS, DELETE_OUTPUTS):
        await tx.connection.execute(statement, _ids.of(task_ids))


async def delete_groups(tx: Tx, before: datetime, limit: int) -> int:
    """Delete group records that expired before this time; how many there were."""
    return await _delete(tx, DELETE_GROUPS, before, limit)


async def delete_dependencies(tx: Tx, before: datetime, limit: int) -> int:
    """Delete dependency records whose dependent expired before this time; how many there were."""
    return await _delete(tx, DELETE_DEPENDENCIES, before, limit)


async def next_expiry(connection: Connection) -> datetime | None:
    """When the next task expires, of those that have ended."""
    due: datetime | None = (await connection.execute(NEXT_EXPIRY)).scalar()
    return due


async def _delete(tx: Tx, statement: Executable, before: datetime, limit: int) -> int:
    deleted = await tx.connection.execute(statement, {"before": before, "wanted": limit})
    return len(deleted.all())
