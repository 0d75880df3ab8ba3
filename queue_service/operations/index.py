"""Putting tasks into the index: those that a caller names, and those that completed with index routes."""

from collections.abc import Iterable, Sequence

from queue_service.core.index import IndexedTask, best, entries_of, has_index_route, namespaces_of
from queue_service.store import index, tasks
from queue_service.store.database import Tx
from queue_service.store.dependencies import Resolution


async def insert(tx: Tx, entries: Iterable[IndexedTask]) -> None:
    """Index tasks and the namespaces above them; nothing of lower rank than what is there is kept."""
    chosen = best(entries)
    await index.insert(tx, chosen)
    await index.ensure_namespaces(tx, namespaces_of(chosen))


async def follow(tx: Tx, ended: Sequence[Resolution]) -> None:
    """Index those of the tasks that completed and have index routes; a follower of resolutions.

    The state it ended in counts: a rerun does not take the index entry back.
    """
    wanted = [
        entry.task_id for entry in ended if entry.state == "completed" and has_index_route(entry.routes)
    ]
    defined = await tasks.definitions(tx.connection, wanted)
    await insert(
        tx,
        (
            found
            for task_id in wanted
            if task_id in defined
            for found in entries_of(task_id, defined[task_id])
        ),
    )
