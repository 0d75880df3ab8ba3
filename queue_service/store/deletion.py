"""Deleting tasks that somebody wants gone, with all that belongs to them (``seed-systems.md`` O-1)."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Text, delete, literal_column, select, update
from sqlalchemy import tuple_ as row_of

from queue_service.store import expiry, tasks
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.signals import TimerSet
from queue_service.store.tables import artifacts, task_dependencies

_ids = Rows("ids", task_id=Text)
EXPIRE_ARTIFACTS: Final = (
    update(artifacts)
    .values(expires=literal_column("0"))
    .where(artifacts.c.task_id.in_(select(_ids.c.task_id)))
)
_edges = Rows("edges", required=Text, dependent=Text)
DELETE_EDGES: Final = delete(task_dependencies).where(
    row_of(task_dependencies.c.required_task_id, task_dependencies.c.dependent_task_id).in_(
        select(_edges.c.required, _edges.c.dependent)
    )
)


async def delete_tasks(tx: Tx, task_ids: Sequence[str]) -> None:
    """Delete tasks; their artifacts are marked for the sweep, which deletes the bytes as well.

    What they wait for is forgotten; what waits for them goes on waiting, as for a task that fails.
    """
    if not task_ids:
        return
    defined = await tasks.definitions(tx.connection, task_ids)
    edges = [
        {"required": required, "dependent": task_id}
        for task_id, definition in defined.items()
        for required in definition.dependencies
    ]
    if edges:
        await tx.connection.execute(DELETE_EDGES, _edges.parameters(edges))
    await tx.connection.execute(EXPIRE_ARTIFACTS, _ids.of(task_ids))
    await expiry.forget(tx, task_ids)
    tx.announce(TimerSet("expiry", tx.now))
