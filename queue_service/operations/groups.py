"""What can be done to a whole task group."""

from collections.abc import Callable
from dataclasses import dataclass

from queue_service.core import transitions
from queue_service.core.errors import group_not_found
from queue_service.core.groups import TaskGroup, refuse_unless_sealed
from queue_service.core.task import Change, Task
from queue_service.operations.ledger import Ledger
from queue_service.store import groups, listing, outbox, tasks
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing, shared
from schemas.messages import TaskGroupPriorityChangedMessage, TaskGroupSealedMessage
from schemas.queue import CancelTaskGroupResponse, TaskGroupPriorityChangeResponse
from schemas.task import Priority

PAGE = 1000
"""How many tasks of a group are looked at with one statement."""

Authorize = Callable[[TaskGroup], None]


@dataclass(frozen=True, slots=True)
class Affected:
    """The members that a group call changed, and how many members there are."""

    size: int
    task_ids: tuple[str, ...]


async def seal(tx: Tx, task_group_id: str, authorize: Authorize) -> TaskGroup:
    """Seal the group, once; the message is told each time. Raises ResourceNotFound."""
    authorize(await _locked(tx, task_group_id))
    group = (await groups.seal(tx, [task_group_id]))[task_group_id]
    message = TaskGroupSealedMessage.trusted(
        task_group_id=group.task_group_id,
        scheduler_id=group.scheduler_id,
        expires=group.expires,
        sealed=group.sealed,
    )
    await outbox.record(tx, [Outgoing(message, (), (task_group_id,))])
    return group


async def cancel(tx: Tx, task_group_id: str, authorize: Authorize) -> CancelTaskGroupResponse:
    """Cancel every task of a sealed group that is not resolved and not past its deadline (5)."""
    group = await _locked(tx, task_group_id)
    refuse_unless_sealed(group)
    authorize(group)

    def rule(task: Task) -> Change | None:
        if task.resolved or task.deadline_passed(tx.now):
            return None
        return transitions.cancel_member(task, tx.now)

    affected = await _change_members(tx, task_group_id, rule)
    return CancelTaskGroupResponse.trusted(
        task_group_id=task_group_id,
        task_group_size=affected.size,
        cancelled_count=len(affected.task_ids),
        task_ids=affected.task_ids,
    )


async def change_priority(
    tx: Tx, task_group_id: str, priority: Priority, authorize: Authorize
) -> TaskGroupPriorityChangeResponse:
    """Give the never resolved tasks of a group another priority; one message for all (6.8)."""
    group = await _locked(tx, task_group_id)
    authorize(group)

    def rule(task: Task) -> Change | None:
        change = transitions.change_member_priority(task, priority, tx.now)
        return change if change.alters else None

    affected = await _change_members(tx, task_group_id, rule)
    message = TaskGroupPriorityChangedMessage.trusted(
        task_group_id=task_group_id,
        scheduler_id=group.scheduler_id,
        new_priority=priority,
        tasks_affected=len(affected.task_ids),
    )
    await outbox.record(tx, [Outgoing(message, (), (task_group_id, *map(shared, affected.task_ids[:PAGE])))])
    return TaskGroupPriorityChangeResponse.trusted(
        task_group_id=task_group_id,
        scheduler_id=group.scheduler_id,
        new_priority=priority,
        tasks_affected=len(affected.task_ids),
        task_ids=affected.task_ids,
    )


async def _locked(tx: Tx, task_group_id: str) -> TaskGroup:
    found = await groups.lock(tx, [task_group_id])
    if task_group_id not in found:
        raise group_not_found(task_group_id)
    return found[task_group_id]


async def _change_members(tx: Tx, task_group_id: str, rule: Callable[[Task], Change | None]) -> Affected:
    size, changed, after = 0, list[str](), ""
    while page := await listing.group_members(tx.connection, task_group_id, after, PAGE):
        ledger = Ledger(await tasks.lock(tx, page))
        for task_id in page:
            task = ledger.get(task_id)
            change = None if task is None else rule(task)
            if change is not None:
                ledger.apply(change)
                changed.append(task_id)
        await ledger.write(tx)
        size, after = size + len(page), page[-1]
    return Affected(size, tuple(changed))
