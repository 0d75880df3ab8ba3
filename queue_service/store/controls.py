"""The controls in the rows of task queues: read, locked, written.

A claim holds the row of its task queue as a foreign key would (``FOR KEY SHARE``), which neither another
claim nor a sighting of a worker waits for. Whoever changes the controls locks the row against that. So a
pause waits for the claims under way, and none commits after it.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Text, bindparam, select, update

from queue_service.core.controls import Controls
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import task_queues
from queue_service.store.workers import PRESENT
from schemas.task_queues import TaskQueueLimits
from schemas.times import to_ms

_columns = (task_queues.c.task_queue_id, task_queues.c.paused_at, task_queues.c.limits)
_ids = Rows("ids", task_queue_id=Text)
SELECT: Final = (
    select(*_columns)
    .select_from(_ids.join(task_queues, task_queues.c.task_queue_id == _ids.c.task_queue_id))
    .where(PRESENT)
    .order_by(task_queues.c.task_queue_id)
)
LOCK: Final = SELECT.with_for_update(of=task_queues)
TAKE_TURNS: Final = SELECT.with_for_update(of=task_queues, key_share=True)
HOLD: Final = SELECT.with_for_update(of=task_queues, read=True, key_share=True)
LOCK_PAGE: Final = (
    select(*_columns)
    .where(task_queues.c.task_queue_id > bindparam("after", type_=Text), PRESENT)
    .order_by(task_queues.c.task_queue_id)
    .limit(bindparam("wanted", type_=Integer))
    .with_for_update()
)
_saved = Rows("saved", task_queue_id=Text, paused_at=BigInteger, limits=Text)
SAVE: Final = (
    update(task_queues)
    .values(paused_at=_saved.c.paused_at, limits=_saved.c.limits)
    .where(task_queues.c.task_queue_id == _saved.c.task_queue_id)
)


async def get(connection: Connection, task_queue_id: str, now: Any) -> Controls:
    """The controls of a task queue; none for one that nobody knows."""
    values = {**_ids.of([task_queue_id]), "now": now}
    row = (await connection.execute(SELECT, values)).first()
    return Controls(task_queue_id) if row is None else _controls_of(row)


async def hold(tx: Tx, task_queue_ids: Sequence[str]) -> dict[str, Controls]:
    """Controls that cannot change before this transaction ends, by id; in order of the ids."""
    return {each.task_queue_id: each for each in await _given(tx, HOLD, task_queue_ids)}


async def take_turns(tx: Tx, task_queue_id: str) -> Controls | None:
    """The controls of a task queue, once no other claim under its limits is under way; None if unknown."""
    return next(iter(await _given(tx, TAKE_TURNS, [task_queue_id])), None)


async def lock(tx: Tx, task_queue_ids: Sequence[str]) -> list[Controls]:
    """Controls of those that are present, once no claim of them is under way (in order of the ids)."""
    return await _given(tx, LOCK, task_queue_ids)


async def lock_page(tx: Tx, after: str, wanted: int) -> list[Controls]:
    """The same for a page of all present task queues."""
    values = {"after": after, "wanted": wanted, "now": tx.now}
    return [_controls_of(row) for row in await tx.connection.execute(LOCK_PAGE, values)]


async def save(tx: Tx, changed: Sequence[Controls]) -> None:
    """Write controls that this transaction has locked."""
    if changed:
        await tx.connection.execute(SAVE, _saved.parameters(map(_row, changed)))


async def _given(tx: Tx, statement: Any, task_queue_ids: Sequence[str]) -> list[Controls]:
    values = {**_ids.of(task_queue_ids), "now": tx.now}
    return [_controls_of(row) for row in await tx.connection.execute(statement, values)]


def _controls_of(row: Row) -> Controls:
    return Controls(
        row.task_queue_id,
        row.paused_at,
        None if row.limits is None else TaskQueueLimits.from_json(row.limits),
    )


def _row(controls: Controls) -> dict[str, Any]:
    return {
        "task_queue_id": controls.task_queue_id,
        "paused_at": None if controls.paused_at is None else to_ms(controls.paused_at),
        "limits": None if controls.limits is None else controls.limits.to_json().decode(),
    }
