"""Deleting tasks that somebody wants gone (``seed-systems.md`` O-1, O-4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from queue_service.core import transitions
from queue_service.core.errors import QueueError, RequestConflict, task_not_found
from queue_service.core.task import Task
from queue_service.operations.ledger import Ledger
from queue_service.store import deletion, tasks
from queue_service.store.database import Tx


@dataclass(frozen=True, slots=True)
class Deletion:
    """A task to delete, after ``authorize`` had its say about it (it raises)."""

    task_id: str
    authorize: Callable[[Task], None]


async def delete(tx: Tx, wanted: Sequence[Deletion]) -> list[Task | QueueError]:
    """Delete tasks; each as it was at last, or why not: a running one is left alone.

    One that has not ended is cancelled first, so that its end is told, dependents and group look, and nobody
    waits for it.
    """
    ledger = Ledger(await tasks.lock(tx, [one.task_id for one in wanted]))
    gone: dict[str, Task] = {}
    outcomes: list[Task | QueueError] = []
    for one in wanted:
        try:
            task = None if one.task_id in gone else ledger.get(one.task_id)
            if task is None:
                raise task_not_found(one.task_id)
            one.authorize(task)
            if task.state == "running":
                raise RequestConflict(
                    f"TaskRunning: run {task.runs[-1].run_id} of task `{task.task_id}` is running. Cancel "
                    "the task, or wait for its end, and delete it then.",
                    {"code": "TaskRunning"},
                )
            gone[task.task_id] = (
                task if task.resolved else ledger.apply(transitions.cancel_member(task, tx.now))
            )
            outcomes.append(gone[task.task_id])
        except QueueError as error:
            outcomes.append(error)
    await ledger.write(tx)
    await deletion.delete_tasks(tx, list(gone))
    return outcomes
