"""The tasks of one transaction as they stand, with what is to be written and told at its end."""

from collections.abc import Mapping

from queue_service.core.run_steps import Step, run_steps
from queue_service.core.task import Change, Task
from queue_service.store import attempts, dependencies, outbox, tasks
from queue_service.store.database import Tx


class Ledger:
    """Applies changes one after the other; a task that changes twice is written once.

    Messages keep the order in which the changes were applied, and so do runs that became pending. Every end
    of a task is listed, also one that a later change of the same transaction undoes: its dependents may go.
    """

    def __init__(self, loaded: Mapping[str, Task]) -> None:
        self._loaded = dict(loaded)
        self._current = dict(loaded)
        self._ended: list[Task] = []
        self._outgoing: list[outbox.Outgoing] = []
        self._steps: list[Step] = []
        self._reports: list[Change] = []
        self._witnessed: dict[str, list[Change]] = {}

    def get(self, task_id: str) -> Task | None:
        """The task with all changes so far."""
        return self._current.get(task_id)

    def apply(self, change: Change, *, caused_by: tuple[str, ...] = ()) -> Task:
        """Take a change of a loaded task; ``caused_by`` as in :func:`outbox.messages_of`."""
        self.tell(change, caused_by=caused_by)
        self._steps.extend(run_steps(change))
        if change.error is not None or change.output is not None:
            self._reports.append(change)
        task = change.after
        if change.resolves:
            self._ended.append(task)
        if change.queues:
            del self._current[task.task_id]  # it comes after all that became pending before it
        self._current[task.task_id] = task
        return task

    def tell(self, change: Change, *, caused_by: tuple[str, ...] = ()) -> None:
        """Take only the messages of a change, for which the task is written elsewhere."""
        if change.alters and change.after.extras is not None and change.after.extras.witness:
            self._witnessed.setdefault(change.after.extras.witness, []).append(change)
        self._outgoing.extend(outbox.messages_of([change], caused_by=caused_by))

    def add(self, outgoing: outbox.Outgoing) -> None:
        """Take one more message."""
        self._outgoing.append(outgoing)

    async def write(self, tx: Tx) -> None:
        """Save every altered task, keep what was reported, list the ends, record all messages.

        Then witnesses are told of the tasks that they follow.
        """
        await tasks.save(
            tx, [Change(self._loaded[task_id], after) for task_id, after in self._current.items()]
        )
        if self._reports:
            await attempts.record(tx, self._reports)
        await dependencies.insert_resolutions(tx, self._ended)
        await outbox.record(tx, self._outgoing)
        for name, changes in self._witnessed.items():
            await tx.witnesses[name].changed(tx, changes)
        tx.count(self._steps)
