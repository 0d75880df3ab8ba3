"""Pausing and resuming task queues, and setting their limits (``seed-systems.md`` C.5, C.7)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from queue_service.core import controls as rules
from queue_service.core.controls import Controls
from queue_service.core.workers import KEPT, Seen, task_queue_not_found
from queue_service.store import backlog, controls, delays, lanes, outbox, workers
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import QueueFilled
from schemas.task_queues import TaskQueueLimits

Rule = Callable[[Controls, datetime], Controls]

PAGE: Final = 1000
"""Task queues of one transaction."""


async def change(tx: Tx, task_queue_ids: Sequence[str], rule: Rule) -> list[Controls]:
    """Pause or resume these task queues, as ``rule`` says.

    Known is one that workers ask, and one whose tasks wait or run: attached workers do not ask, and a pause
    may come before the first worker. Raises ResourceNotFound for an unknown one.
    """
    found = await controls.lock(tx, task_queue_ids)
    absent = set(task_queue_ids) - {each.task_queue_id for each in found}
    for task_queue_id in sorted(absent):
        if not await _has_tasks(tx, task_queue_id):
            raise task_queue_not_found(task_queue_id)
    if absent:
        await workers.note_queues(tx, dict.fromkeys(absent, Seen(tx.now, tx.now + KEPT)))
        found = await controls.lock(tx, task_queue_ids)
    return await _change(tx, found, rule)


async def change_page(tx: Tx, after: str, rule: Rule) -> list[Controls]:
    """The same for a page of all present task queues: those with the next ids."""
    return await _change(tx, await controls.lock_page(tx, after, PAGE), rule)


async def set_limits(tx: Tx, task_queue_id: str, limits: TaskQueueLimits | None) -> Controls:
    """Set the limits of a task queue, which becomes known by it; None takes them away."""
    found = await controls.lock(tx, [task_queue_id])
    if not found and limits is not None:
        await workers.note_queues(tx, {task_queue_id: Seen(tx.now, tx.now + KEPT)})
        found = await controls.lock(tx, [task_queue_id])
    for each in found:
        await controls.save(tx, [replace(each, limits=limits)])
        await lanes.open_all(tx, task_queue_id)
        tx.announce(QueueFilled(task_queue_id))
    return Controls(task_queue_id, limits=limits)


async def _has_tasks(tx: Tx, task_queue_id: str) -> bool:
    return (
        await backlog.count_pending(tx.connection, task_queue_id, tx.now) > 0
        or await delays.count_delayed(tx.connection, task_queue_id) > 0
        or await backlog.count_claimed(tx.connection, task_queue_id, tx.now) > 0
    )


async def _change(tx: Tx, found: Sequence[Controls], rule: Rule) -> list[Controls]:
    after = [rule(each, tx.now) for each in found]
    changed = [now for before, now in zip(found, after, strict=True) if now is not before]
    await controls.save(tx, changed)
    await outbox.record(
        tx, [Outgoing(rules.told(each), (), (f"queue {each.task_queue_id}",)) for each in changed]
    )
    for each in changed:
        if each.paused_at is None:
            tx.announce(QueueFilled(each.task_queue_id))
    return after
