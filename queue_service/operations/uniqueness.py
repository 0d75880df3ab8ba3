"""Who holds the keys of the unique tasks that a transaction is about (``seed-systems.md`` U-6 to U-9)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from queue_service.core.errors import RequestConflict
from queue_service.core.extras import PLAIN
from queue_service.core.task import Change, Task
from queue_service.core.uniqueness import UniqueKey, unique_key
from queue_service.store import tasks, uniqueness
from queue_service.store.database import Tx
from queue_service.store.uniqueness import Place
from schemas.task import TaskDefinition


class Wanted(Protocol):
    """A task to create."""

    @property
    def task_id(self) -> str: ...
    @property
    def definition(self) -> TaskDefinition: ...


class Keys:
    """The holders of the keys in question, with those that took one in this transaction.

    A key that is let go in the transaction stays taken until its end: rows are written in no order.
    """

    def __init__(self, holders: dict[Place, Task]) -> None:
        self._holders = holders

    def holder(self, project_id: str, key: UniqueKey | None) -> Task | None:
        """The task that has this key."""
        return None if key is None else self._holders.get(Place(key.key, project_id))

    def take(self, task: Task, key: UniqueKey | None) -> None:
        """The task has the key from now on."""
        if key is not None:
            self._holders[Place(key.key, task.project_id)] = task

    def check(self, change: Change, tx: Tx) -> None:
        """Raises RequestConflict when the task would need a key again that another one has by now (U-9)."""
        task, before = change.after, change.before
        if task.extras is None or task.extras.unique is None or not change.alters:
            return
        if task.held_key(tx.now) is None or (before is not None and before.held_key(tx.now) is not None):
            return
        holder = self.holder(task.project_id, task.extras.unique)
        if holder is not None and holder.task_id != task.task_id:
            raise RequestConflict(
                f"Task `{task.task_id}` is unique, and by now there is an equal one, `{holder.task_id}`, "
                f"which is {holder.state}."
            )
        self.take(task, task.extras.unique)


async def keys_of(tx: Tx, found: Iterable[Task]) -> Keys:
    """For changes of these tasks: the keys that they do not hold, and may need again."""
    places = {
        Place(task.extras.unique.key, task.project_id)
        for task in found
        if task.extras is not None and task.extras.unique is not None and task.held_key(tx.now) is None
    }
    return Keys(await uniqueness.holders(tx, places))


def key_of(definition: TaskDefinition, tx: Tx) -> UniqueKey | None:
    """The key of a task that is to be created now."""
    starts = definition.run_at or tx.now
    return unique_key(definition.unique, definition.payload, definition.task_queue_id, starts)


def with_key(task: Task, key: UniqueKey | None) -> Task:
    """A task that is to be created, with its key."""
    return task if key is None else replace(task, extras=replace(task.extras or PLAIN, unique=key))


async def duplicates(
    tx: Tx, wanted: Sequence[Wanted], keys: Sequence[UniqueKey | None]
) -> tuple[Keys, dict[int, Task]]:
    """The holders of the keys of tasks to create, and which of these are duplicates, by their places.

    A task that exists already is a repeat, whoever has the key by now.
    """
    pairs = list(zip(wanted, keys, strict=True))
    places = {Place(key.key, one.definition.project_id) for one, key in pairs if key is not None}
    holders = Keys(await uniqueness.holders(tx, places))
    held = {
        place: holder
        for place, (one, key) in enumerate(pairs)
        if (holder := holders.holder(one.definition.project_id, key)) and holder.task_id != one.task_id
    }
    existing = await tasks.get(tx.connection, [wanted[place].task_id for place in held])
    return holders, {place: holder for place, holder in held.items() if wanted[place].task_id not in existing}
