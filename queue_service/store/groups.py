"""Task group rows."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import BigInteger, Text, and_, bindparam, case, func, select, text, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.groups import TaskGroup
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import NEVER_RESOLVED, task_groups, tasks
from schemas.times import MILLISECOND, to_ms

_given = Rows("given", task_group_id=Text, scheduler_id=Text, expires=BigInteger)
_insert = upsert(task_groups).from_select(
    ["task_group_id", "scheduler_id", "expires"],
    select(_given.c.task_group_id, _given.c.scheduler_id, _given.c.expires)
    .where(true())
    .order_by(_given.c.task_group_id),
)
ENSURE: Final = _insert.on_conflict_do_update(
    index_elements=["task_group_id"],
    set_={
        "expires": case(
            (
                and_(
                    task_groups.c.scheduler_id == _insert.excluded.scheduler_id,
                    task_groups.c.sealed.is_(None),
                    task_groups.c.expires + bindparam("margin", type_=BigInteger) < _insert.excluded.expires,
                ),
                _insert.excluded.expires,
            ),
            else_=task_groups.c.expires,
        )
    },
).returning(*task_groups.c)
_ids = Rows("ids", task_group_id=Text)
SELECT_GROUPS: Final = (
    select(task_groups)
    .select_from(_ids.join(task_groups, task_groups.c.task_group_id == _ids.c.task_group_id))
    .order_by(task_groups.c.task_group_id)
)
LOCK_GROUPS: Final = SELECT_GROUPS.with_for_update(of=task_groups)
_sealing = Rows("sealing", task_group_id=Text, sealed=BigInteger)
SEAL: Final = (
    update(task_groups)
    .values(sealed=func.coalesce(task_groups.c.sealed, _sealing.c.sealed))
    .where(task_groups.c.task_group_id == _sealing.c.task_group_id)
    .returning(*task_groups.c)
)
RESOLVED_GROUPS: Final = SELECT_GROUPS.where(
    ~select(tasks.c.task_id)
    .where(tasks.c.task_group_id == task_groups.c.task_group_id, text(NEVER_RESOLVED))
    .exists()
)


async def ensure(tx: Tx, wanted: Iterable[TaskGroup], *, margin: timedelta) -> dict[str, TaskGroup]:
    """Create the groups that do not exist, prolong those that a task outlives; all of them as they are now.

    ``expires`` of those wanted is ``margin`` after that of their longest-lived task; a group that lives as
    long as this task is not prolonged (``queue-behaviour.md`` 5). A group of another scheduler and a sealed
    group are left as they are. The rows stay locked until the end of the transaction, so that no group is
    sealed while a task is added.
    """
    rows = {
        group.task_group_id: {
            "task_group_id": group.task_group_id,
            "scheduler_id": group.scheduler_id,
            "expires": to_ms(group.expires),
        }
        for group in sorted(wanted, key=lambda group: group.expires)
    }
    parameters = {**_given.parameters(rows.values()), "margin": margin // MILLISECOND}
    return _by_id(await tx.connection.execute(ENSURE, parameters))


async def get(connection: Connection, task_group_ids: Sequence[str]) -> dict[str, TaskGroup]:
    """The groups that exist, by id."""
    return _by_id(await connection.execute(SELECT_GROUPS, _ids.of(task_group_ids)))


async def lock(tx: Tx, task_group_ids: Sequence[str]) -> dict[str, TaskGroup]:
    """The groups that exist, by id, locked until the end of the transaction."""
    return _by_id(await tx.connection.execute(LOCK_GROUPS, _ids.of(task_group_ids)))


async def seal(tx: Tx, task_group_ids: Sequence[str]) -> dict[str, TaskGroup]:
    """Seal the groups that are not sealed yet; all of them as they are now."""
    rows = [{"task_group_id": group_id, "sealed": to_ms(tx.now)} for group_id in task_group_ids]
    return _by_id(await tx.connection.execute(SEAL, _sealing.parameters(rows)))


async def resolved(connection: Connection, task_group_ids: Sequence[str]) -> list[TaskGroup]:
    """Those of the groups in which every task was resolved at least once."""
    return list(_by_id(await connection.execute(RESOLVED_GROUPS, _ids.of(task_group_ids))).values())


def _by_id(rows: Iterable[Row]) -> dict[str, TaskGroup]:
    return {
        row.task_group_id: TaskGroup(row.task_group_id, row.scheduler_id, row.expires, row.sealed)
        for row in rows
    }
