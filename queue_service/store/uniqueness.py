"""Keys of unique tasks: who holds them, and letting go in time (``seed-systems.md`` U-8, U-11).

That no key has two holders is the promise of the index ``tasks_unique``. What is read here only tells so
beforehand; whoever loses a race for a key finds its holder when the transaction is tried again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, Text, bindparam, func, literal_column, null, select, text, update

from queue_service.core.task import Task
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.tables import HOLDS_KEY, LETS_GO, tasks
from queue_service.store.tasks import task_of
from queue_service.store.types import Milliseconds

_keys = Rows("keys", wanted=Text, project=Text)
HOLDERS: Final = (
    select(tasks)
    .select_from(
        _keys.join(tasks, (tasks.c.unique_key == _keys.c.wanted) & (tasks.c.project_id == _keys.c.project))
    )
    .where(text(HOLDS_KEY))
)
_ids = Rows("ids", task_id=Text)
_now = bindparam("now", type_=Milliseconds)
# An expression in place of the column, so that rows are found by their ids and not by their times.
_until = func.coalesce(tasks.c.unique_until, literal_column(str(2**63 - 1)))
LET_GO: Final = (
    update(tasks)
    .values(unique_key=null(), unique_until=null())
    .where(tasks.c.task_id.in_(select(_ids.c.task_id)), _until <= _now)
)
DUE: Final = (
    select(tasks.c.task_id)
    .where(text(LETS_GO), tasks.c.unique_until <= _now)
    .order_by(tasks.c.unique_until)
    .limit(bindparam("wanted", type_=Integer))
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class Place:
    """A key in a project: projects do not see each other's keys."""

    key: str
    project_id: str


async def holders(tx: Tx, places: Collection[Place]) -> dict[Place, Task]:
    """Who holds these keys; tasks whose time is up let go of theirs."""
    if not places:
        return {}
    given = ({"wanted": place.key, "project": place.project_id} for place in places)
    found = (await tx.connection.execute(HOLDERS, _keys.parameters(given))).all()
    overdue = [row.task_id for row in found if row.unique_until is not None and row.unique_until <= tx.now]
    if overdue:
        await tx.connection.execute(LET_GO, {**_ids.of(overdue), "now": tx.now})
    gone = set(overdue)
    return {Place(row.unique_key, row.project_id): task_of(row) for row in found if row.task_id not in gone}


async def let_go(tx: Tx, before: datetime, limit: int) -> int:
    """Tasks whose time is up let go of their keys; how many there were. A sweep, without its grace."""
    due = (await tx.connection.execute(DUE, {"now": tx.now, "wanted": limit})).scalars()
    if due:
        await tx.connection.execute(LET_GO, {**_ids.of(due), "now": tx.now})
    return len(due)
