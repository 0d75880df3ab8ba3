"""Pages of tasks: the statements behind the list endpoints (``queue-behaviour.md`` 9).

Each page continues after a key, never at an offset, so that rows which come and go do not shift it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, Text, bindparam, select

from queue_service.store.rows import Rows
from queue_service.store.statements import Connection
from queue_service.store.tables import task_dependencies, tasks
from queue_service.store.types import Milliseconds

_after = bindparam("after", type_=Text)
_limit = bindparam("wanted", type_=Integer)

GROUP_MEMBERS: Final = (
    select(tasks.c.task_id)
    .where(tasks.c.task_group_id == bindparam("task_group_id"), tasks.c.task_id > _after)
    .order_by(tasks.c.task_id)
    .limit(_limit)
)
DEPENDENTS: Final = (
    select(task_dependencies.c.dependent_task_id)
    .where(
        task_dependencies.c.required_task_id == bindparam("required_task_id"),
        task_dependencies.c.dependent_task_id > _after,
        task_dependencies.c.expires > bindparam("now", type_=Milliseconds),
    )
    .order_by(task_dependencies.c.dependent_task_id)
    .limit(_limit)
)
_ids = Rows("ids", task_id=Text)
EXISTING: Final = (
    select(tasks.c.task_id)
    .select_from(_ids.join(tasks, tasks.c.task_id == _ids.c.task_id))
    .where(tasks.c.task_id > _after)
    .order_by(tasks.c.task_id)
    .limit(_limit)
)


async def group_members(connection: Connection, group_id: str, after: str, wanted: int) -> list[str]:
    """Ids of the group's tasks that come after ``after``, in order."""
    found = await connection.execute(
        GROUP_MEMBERS, {"task_group_id": group_id, "after": after, "wanted": wanted}
    )
    return list(found.scalars())


async def dependents(
    connection: Connection, task_id: str, now: datetime, after: str, wanted: int
) -> list[str]:
    """Ids of the unexpired tasks that depend on ``task_id`` and come after ``after``, in order."""
    found = await connection.execute(
        DEPENDENTS, {"required_task_id": task_id, "now": now, "after": after, "wanted": wanted}
    )
    return list(found.scalars())


async def existing(connection: Connection, task_ids: Sequence[str], after: str, wanted: int) -> list[str]:
    """Those of the ids that exist and come after ``after``, in order."""
    found = await connection.execute(EXISTING, {**_ids.of(task_ids), "after": after, "wanted": wanted})
    return list(found.scalars())
